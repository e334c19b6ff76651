"""A console that is closed, full, without a reader or of a small encoding never fails a run."""

import io
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.terminal import shown_in
from utils import console

SCRIPT = """
import logging, sys
from tqdm import tqdm
from utils import console
from utils.tables import table, terminal_width
console.prepare()
log = logging.getLogger()
log.addHandler(console.ConsoleHandler())
log.setLevel("INFO")
with open(sys.argv[1], "w") as file:  # would get the number of a closed stream
    for i in tqdm(range(3), desc="größe"):
        log.info("Straße %d", i)
        print(table([["größe", "b"], ["李明 \\udce9", str(terminal_width())]], "Straße"))
    for _ in range(20000):
        print("more than fits into a pipe")
    file.write("done")
sys.exit(int(console.output_error() is not None))
"""


def shell(command: str, path: Path, **environment: str) -> subprocess.CompletedProcess:
    script = path.with_suffix(".py")
    script.write_text(SCRIPT, encoding="utf-8")
    words = {"PYTHON": sys.executable, "SCRIPT": str(script), "FILE": str(path), "PYTHONPATH": str(ROOT)}
    command = command.replace("RUN", '"$PYTHON" "$SCRIPT" "$FILE"')
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", command],
        env={**os.environ, **words, **environment},
        capture_output=True,
        timeout=300,
    )


@pytest.mark.parametrize(
    ("command", "code"),
    [
        ("RUN", 0),
        ("RUN | head -1", 0),
        ("RUN | true", 0),
        ("RUN 2>&1 | head -1", 0),
        ("RUN 2> >(true)", 0),
        ("RUN >&-", 0),
        ("RUN 2>&-", 0),
        ("RUN <&- >&- 2>&-", 0),
        ("RUN > /dev/full", 1),
        ("RUN 2> /dev/full", 0),
        ("PYTHONIOENCODING=ascii RUN", 0),
        ("PYTHONIOENCODING=latin-1:strict RUN", 0),
        ("LC_ALL=C PYTHONUTF8=0 RUN", 0),
        ("COLUMNS=20 RUN", 0),
        ("COLUMNS=0 RUN", 0),
    ],
)
def test_nothing_fails(tmp_path: Path, command: str, code: int) -> None:
    done = shell(command, tmp_path / "file")
    assert done.returncode == code, done.stderr.decode(errors="replace")
    assert (tmp_path / "file").read_text() == "done"  # and nothing of the console
    for word in (b"Traceback", b"Exception ignored", b"BrokenPipe", b"rror"):
        assert word not in done.stdout + done.stderr


def test_what_an_encoding_lacks_is_spelled(tmp_path: Path) -> None:
    done = shell("PYTHONIOENCODING=ascii RUN", tmp_path / "file")
    assert rb"gr\xf6\xdfe" in done.stdout and rb"\u674e\u660e \udce9" in done.stdout
    assert rb"Stra\xdfe 2" in done.stderr


@pytest.mark.parametrize("columns", [1, 20, 200])
def test_narrow_terminals(tmp_path: Path, columns: int) -> None:
    main, terminal = pty.openpty()
    words = [sys.executable, "-c", SCRIPT.replace("20000", "0"), str(tmp_path / "file")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": str(columns)}
    done = subprocess.run(words, env=environment, stdout=terminal, stderr=terminal, timeout=300)
    os.close(terminal)
    assert done.returncode == 0
    assert f"| {columns}" in " ".join(shown_in(main).split())


def test_an_output_that_would_block_loses_only_that() -> None:
    class Busy(io.StringIO):
        def write(self, text: str) -> int:
            if text == "b":
                raise BlockingIOError
            return super().write(text)

    stream = Busy()
    output = console.BestEffort(stream)
    for letter in "abc":
        print(letter, end="", file=output)
    assert stream.getvalue() == "ac" and isinstance(output.lost, BlockingIOError)


def test_a_benchmark_whose_reader_has_gone_ends_quietly() -> None:
    code = "import benchmarks; print('a\\n' * 100000)"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", f'"$0" -c "{code}" | head -1', sys.executable],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "a\n", "")
