import os
import subprocess
import sys
import time

import pytest

from utils import torchrun


@pytest.mark.parametrize(("seconds", "ended"), [(0.2, True), (60, False)])
def test_waiting_for_the_first_process(monkeypatch: pytest.MonkeyPatch, seconds: float, ended: bool) -> None:
    monkeypatch.setattr(os, "getppid", os.getpid)  # this process is the agent of torchrun, too
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", f"import time; time.sleep({60 if rank else seconds})"],
            env={**os.environ, "LOCAL_RANK": str(rank)},
        )
        for rank in (0, 1)
    ]
    began = time.monotonic()
    try:
        assert torchrun.first_process_ended(timeout=60 if ended else 0.5) == ended
        assert time.monotonic() - began < 50
    finally:
        for process in processes:
            process.kill()
            process.wait()
