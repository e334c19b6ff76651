import io
import logging
import re
import sys
from pathlib import Path

import pytest
import yaml

from tests.conftest import ROOT
from utils.console import CleanFormatter, ConsoleHandler
from utils.tables import column_widths, table

NASTY = "\x1b]0;title\x07cat\x9b2J\u202e"
SPELLED = r"\x1b]0;title\x07cat\x9b2J\u202e"


@pytest.mark.parametrize("config", ["console", "run"])
def test_messages_do_nothing_to_a_terminal(config: str, tmp_path: Path) -> None:
    """All formatters that the entry points log with, on the console and into train.log."""
    settings = yaml.safe_load((ROOT / "conf" / "hydra" / "job_logging" / f"{config}.yaml").read_text())
    record = logging.LogRecord("name", logging.INFO, "", 0, "classes: %s\nend", (NASTY,), None)
    for formatter in settings["formatters"].values():
        assert formatter["class"] == "utils.console.CleanFormatter"
        assert CleanFormatter(formatter["format"]).format(record).endswith(f"classes: {SPELLED}\nend")


def test_a_title_wider_than_the_table_is_above_it() -> None:
    rows = [["a", "b"], ["1", "2"]]
    assert table(rows, "ab").splitlines()[0] == "+ab-+---+"
    assert table(rows, "folder /data/x: 2 runs").splitlines()[:2] == ["folder /data/x: 2 runs", "+---+---+"]
    assert table(rows).splitlines()[0] == "+---+---+"


def test_tables_do_nothing_to_a_terminal() -> None:
    rows = [["class", "pixels"], [NASTY, "1"]]
    assert SPELLED in table(rows, NASTY).splitlines()[0]
    lines = table(rows).splitlines()
    assert lines[3].split("|")[1].strip() == SPELLED and len(set(map(len, lines))) == 1
    assert sum(column_widths(rows)) + 1 == len(lines[0])
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", table(rows, NASTY))


@pytest.mark.parametrize("terminal", [True, False])
def test_a_table_is_for_terminals_only(monkeypatch: pytest.MonkeyPatch, terminal: bool) -> None:
    class Stream(io.StringIO):
        def isatty(self) -> bool:
            return terminal

    stream = Stream()
    monkeypatch.setattr(sys, "stderr", stream)
    handler = ConsoleHandler()
    for extra in ({"for_terminal": "+--+\n|\x07|"}, {"for_terminal": None}, {}):
        handler.emit(logging.makeLogRecord({"msg": "epoch 1", "levelno": logging.INFO, **extra}))
    shown = "+--+\n|\\x07|" if terminal else "epoch 1"
    assert stream.getvalue() == f"{shown}\nepoch 1\nepoch 1\n"
