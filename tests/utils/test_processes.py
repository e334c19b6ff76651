"""Whether the process of a run is still there."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import psutil
import pytest

from utils.processes import is_gone, this_process


def test_a_process_that_is_killed() -> None:
    assert not is_gone(this_process())
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    facts = this_process() | {"pid": process.pid, "created": psutil.Process(process.pid).create_time()}
    assert not is_gone(facts)
    assert not is_gone(facts | {"created": facts["created"] + 1})  # a clock that was set
    assert is_gone(facts | {"created": facts["created"] - 1000})  # another process has the number now
    process.kill()
    process.wait()
    assert is_gone(facts)
    assert not is_gone(facts | {"host": "another machine"})


@pytest.mark.parametrize(
    "facts", [None, {}, [], "x", {"pid": "1"}, {"pid": -1}, {"pid": 10**12}, {"pid": 1}, {"pid": 1, "created": "now"}]
)
def test_what_is_not_known(facts: Any) -> None:
    assert not is_gone(this_process() | facts if isinstance(facts, dict) and "created" in facts else facts)
