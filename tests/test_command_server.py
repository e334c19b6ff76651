"""Forked commands differ from new processes in nothing that tests look at."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.command_server import CommandServer
from tests.conftest import CAN_FORK, command_server, run_command, start_command
from tests.in_process import run_here

pytestmark = pytest.mark.skipif(not CAN_FORK, reason="commands are not forked here")

ENDS = {
    "nothing": "",
    "sys.exit": "import sys; sys.exit(7)",
    "a large code": "import sys; sys.exit(-1)",
    "a message": "import sys; sys.exit('it broke')",
    "an exception": "def f(): raise KeyError('x')\nf()",
    "unread output": "import sys; print('x'); sys.stdout.flush(); import os; os.close(1); print('y')",
    "SIGKILL": "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
    "SIGTERM": "import os, signal; os.kill(os.getpid(), signal.SIGTERM)",
    "SIGINT": "import os, signal, time; os.kill(os.getpid(), signal.SIGINT); time.sleep(10)",
    "abort": "import os; os.abort()",
    "os._exit": "import os; print('lost'); os._exit(3)",
    "exit handlers": "import atexit; atexit.register(print, 'bye'); print('hello')",
    "a thread": "import threading, time\nthreading.Thread(target=lambda: (time.sleep(0.1), print('late'))).start()",
    "a failing thread": "import threading\nthreading.Thread(target=lambda: 1 / 0).start()",
    "teardown": "class A:\n    def __del__(self): print('gone')\na = A()\nb = [a]\nb.append(b)",
    "both streams": "import sys; print('out'); print('err', file=sys.stderr); print('a\\rb\\r\\nc')",
    "a lot": "import sys; print('x' * 10**6); print('y' * 10**6, file=sys.stderr)",
    "stdin": "import sys; print(repr(sys.stdin.read()), [s.isatty() for s in (sys.stdin, sys.stdout, sys.stderr)])",
    "arguments": "import sys; print(sys.argv, sys.path, __name__, __file__, __doc__, __spec__)",
    "streams": "import sys\nfor s in (sys.stdin, sys.stdout, sys.stderr): print(s, s.seekable(), s.line_buffering)",
    "changed streams": "import sys; sys.stdout.reconfigure(errors='ignore'); sys.stderr.reconfigure(encoding='ascii')",
    "handlers": "import signal; print([signal.getsignal(n) for n in range(1, 32) if n not in (9, 19)])",
    "mask": "import signal; print(signal.pthread_sigmask(signal.SIG_BLOCK, []))",
    "files": "import os; print([n for n in os.listdir('/proc/self/fd') if int(n) < 60][:-1])",
    "environment": "import os; print(sorted(os.environ.items())); print(os.getcwd(), os.getenv('HOME'))",
    "session": "import os; print(os.getsid(0) == os.getpgid(0) == os.getpid())",
    "threads": "import os; print(os.listdir('/proc/self/task') == [str(os.getpid())])",
    "limits": "import resource; print([resource.getrlimit(n) for n in range(8)], resource.getpagesize())",
    "a warning": "import warnings; warnings.warn('careful')",
    "a log": "import logging; print(logging.root.handlers, logging.root.level); logging.warning('careful')",
    "children": "import multiprocessing as m; print(m.active_children(), m.current_process().name, m.parent_process())",
}


def without_frames(text: str) -> str:
    """Drop the frames of the server from a traceback; they lie above those of the script."""
    lines, kept = text.splitlines(), []
    skipped = False
    for line in lines:
        if line.startswith("  File "):
            skipped = "runpy" in line or "command_server.py" in line
        elif not line.startswith("    "):
            skipped = False
        if not skipped:
            kept.append(line)
    return "\n".join(kept)


OFTEN = ("sys.exit", "a message", "an exception", "SIGTERM", "exit handlers", "both streams", "environment", "files")


@pytest.mark.parametrize("how", [pytest.param(how, marks=[pytest.mark.slow] * (how not in OFTEN)) for how in ENDS])
def test_a_fork_does_what_a_process_of_its_own_does(tmp_path: Path, how: str) -> None:
    (tmp_path / "script.py").write_text(ENDS[how])
    words = (str(tmp_path / "script.py"), "a b", "ä")
    forked, real = run_command(*words, cwd=tmp_path, light=True), run_command(*words, cwd=tmp_path, fresh=True)
    assert forked.returncode == real.returncode
    assert forked.stdout == real.stdout
    assert without_frames(forked.stderr) == without_frames(real.stderr)


def test_a_module(tmp_path: Path) -> None:
    (tmp_path / "tool.py").write_text("import sys; print(sys.argv, sys.path[0], __name__, __spec__.name)")
    words = ("-m", "tool", "x")
    forked, real = run_command(*words, cwd=tmp_path, light=True), run_command(*words, cwd=tmp_path, fresh=True)
    assert forked.returncode == real.returncode == 0
    assert forked.stdout == real.stdout


@pytest.mark.slow
def test_nothing_is_left_to_the_next_command(tmp_path: Path) -> None:
    (tmp_path / "helper.py").write_text("value = 0")
    script = tmp_path / "script.py"
    script.write_text(
        "import helper, os, random\nimport numpy, torch\n"
        "print(helper.value, 'LEFT' in os.environ, hasattr(torch, 'left'))\n"
        "print(random.random(), numpy.random.rand(), torch.rand(1).item(), os.getpid())\n"
        "helper.value, torch.left, os.environ['LEFT'] = 1, 1, ''\n"
        "torch.manual_seed(0); os.umask(0)"
    )
    one, other = (run_command(str(script), cwd=tmp_path).stdout.splitlines() for _ in range(2))
    real = run_command(str(script), cwd=tmp_path, fresh=True).stdout.splitlines()
    assert one[0] == other[0] == real[0] and one[0].startswith("0 False False")
    assert not set(one[1].split()) & set(other[1].split())  # as two processes draw them that nobody has seeded


LOADS = """
import sys
import torch
from torch.utils.data import DataLoader

class Squares(torch.utils.data.Dataset):
    def __len__(self):
        return 8
    def __getitem__(self, i):
        return torch.full((3, 64, 64), i * i)

if __name__ == "__main__":
    context = sys.argv[1]
    loader = DataLoader(Squares(), 2, num_workers=2, persistent_workers=True, multiprocessing_context=context)
    for _ in range(2):
        print([int(batch[1, 0, 0, 0]) for batch in loader])
    weight = torch.ones(64, 64, requires_grad=True)
    (weight @ weight).sum().backward()
    print(weight.grad.sum())
"""


@pytest.mark.parametrize("context", ["fork", pytest.param("spawn", marks=pytest.mark.slow)])
def test_loader_workers_and_gradients(tmp_path: Path, context: str) -> None:
    (tmp_path / "loads.py").write_text(LOADS)
    done = run_command(str(tmp_path / "loads.py"), context, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split("\n")[:2] == ["[1, 9, 25, 49]"] * 2


def test_a_started_command_is_signalled_and_waited_for(tmp_path: Path) -> None:
    (tmp_path / "sleeps.py").write_text("import time; open('here', 'w'); time.sleep(100)")
    process = start_command(str(tmp_path / "sleeps.py"), cwd=tmp_path, light=True)
    while not (tmp_path / "here").exists():
        time.sleep(0.001)
    assert process.poll() is None
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(timeout=0.01)
    with pytest.raises(subprocess.TimeoutExpired):
        process.communicate(timeout=0.01)
    process.terminate()
    assert process.wait(timeout=300) == -signal.SIGTERM == process.returncode
    assert process.communicate()[1] == ""
    assert not Path(f"/proc/{process.pid}").exists()


def test_output_of_what_outlives_a_command_is_waited_for(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text("import os, time\nif not os.fork():\n    time.sleep(0.3); print('late')")
    assert run_command(str(tmp_path / "script.py"), cwd=tmp_path, light=True).stdout == "late\n"


@pytest.mark.parametrize("name", ["PYTHONHASHSEED", "MPLCONFIGDIR"])
def test_what_libraries_read_when_they_are_imported_needs_a_process_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    (tmp_path / "script.py").write_text("import os, sys; print('torch' in sys.modules, os.environ.get(sys.argv[1]))")
    words = str(tmp_path / "script.py"), name
    assert run_command(*words, cwd=tmp_path).stdout.startswith("True ")
    assert run_command(*words, cwd=tmp_path, fresh=True).stdout.startswith("False ")
    monkeypatch.setenv(name, "3")
    assert run_command(*words, cwd=tmp_path).stdout == "False 3\n"


def test_commands_are_forked_after_a_sweep_in_this_process(tmp_path: Path) -> None:
    """It sets PYTHONPATH for its jobs."""
    server = command_server(light=True, copied=False)
    seen: list[str] = []
    run_here(lambda cfg: seen.append(os.environ["PYTHONPATH"]), "train", "--multirun", "seed=0", cwd=tmp_path)
    assert seen and server.serves(os.environ)


def test_a_light_command_reports_torch(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text("import sys\nif len(sys.argv) > 1: import torch")
    assert run_command(str(tmp_path / "script.py"), cwd=tmp_path, light=True).stderr == ""
    assert run_command(str(tmp_path / "script.py"), "x", cwd=tmp_path, light=True).stderr == "imported: torch\n"


def test_a_command_ends_with_its_tests(tmp_path: Path) -> None:
    (tmp_path / "sleeps.py").write_text("import time; time.sleep(100)")
    server = CommandServer([])
    process = server.start([str(tmp_path / "sleeps.py")], tmp_path, server.environment, read_stdout=True)
    process._status.close()  # as the system does when the process of the tests ends
    while Path(f"/proc/{process.pid}").exists():
        time.sleep(0.01)
    server.close()


@pytest.fixture
def noisy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[CommandServer]:
    (tmp_path / "noisy.py").write_text("import warnings; warnings.warn('old')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    server = CommandServer(["noisy"])
    yield server
    server.close()


def test_a_library_that_warns_is_not_imported_beforehand(noisy: CommandServer) -> None:
    """Each command is then a real one, so that its stderr holds the warning."""
    assert "old" in noisy.trouble and not noisy.serves(noisy.environment)


def test_a_server_that_has_ended_is_an_error(tmp_path: Path) -> None:
    server = CommandServer([])
    server._process.kill()
    server._process.wait()
    with pytest.raises((RuntimeError, OSError)):
        server.start(["-c"], tmp_path, os.environ, read_stdout=True)
