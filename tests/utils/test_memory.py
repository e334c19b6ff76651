"""The thresholds of Python's garbage collection."""

import gc
import subprocess
import sys

from utils.memory import look_for_garbage_as_usual, look_for_garbage_rarely


def test_thresholds_return_to_those_of_python() -> None:
    asked = [sys.executable, "-c", "import gc; print(gc.get_threshold())"]
    usual = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()
    look_for_garbage_rarely()
    try:
        assert gc.get_threshold()[0] > 10_000
    finally:
        look_for_garbage_as_usual()
    assert str(gc.get_threshold()) == usual
