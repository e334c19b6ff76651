"""Run commands in forks of a process that has already imported the slow libraries.

A short command spends most of its time on imports. A server does them once and forks for each command. The fork
has its own session, working directory, environment, arguments and standard streams, and ends as any Python program
does: with an exit code, a traceback, or by a signal.

A fork differs from a new process in five ways: modules were imported in the environment of the server; all commands
of a server share one hash seed; the parent and the command line in `ps` are those of the server; Hydra does not look
for `hydra.mode` in the config, for which it would compose it once more; `os.fsync` does nothing. Pass `fresh=True` to
`tests.conftest.run_command` to test the start itself. A command with other environment variables, which libraries may
read when imported, gets a new process anyway.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import importlib.abc
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from multiprocessing import process as multiprocessing_process
from pathlib import Path
from typing import Any

LIBRARIES = (
    *("hydra.main", "hydra.core.plugins", "hydra.experimental.callback", "hydra._internal.core_plugins.basic_launcher"),
    *("omegaconf", "psutil", "pydantic.type_adapter", "terminaltables", "yaml"),
)
"""Libraries that every command imports, even one that only prints its config."""
LIGHT = (*LIBRARIES, "cli.launch")
HEAVY = (
    *LIBRARIES,
    *("torch", "torch._dynamo", "torch.distributed", "torch.utils.data", "torch.utils.tensorboard", "torchvision"),
    *("albumentations", "cv2", "efficientnet_pytorch", "pycocotools.mask", "scipy.io", "tqdm"),
    *("matplotlib.figure", "matplotlib.backends.backend_agg", "PIL.Image"),
    *("cli.launch", "data.augmentation", "data.synthetic", "engine.run_record", "engine.trainer", "engine.trial"),
    *("evaluation.report", "losses.combinations", "models.enet", "runs.evaluating", "runs.recording"),
)
"""Modules that a training, evaluate.py or infer.py imports, of libraries and of the project."""
READ_LATE = {
    *("HYDRA_FULL_ERROR", "PYTEST_CURRENT_TEST", "SEGMENTATION_DATA"),
    *("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", "TORCHELASTIC_RUN_ID"),
    "TORCHELASTIC_USE_AGENT_STORE",
}
"""Environment variables that no library reads at import."""


class ForkedProcess(subprocess.Popen):
    """A command that a server runs, with the part of `Popen` that tests use."""

    def __init__(self, args: Sequence[str], status: socket.socket, outputs: Sequence[int]) -> None:
        self.args, self.returncode = args, None
        self._status = status.makefile("r")
        self._readers = [_Reader(output) for output in outputs]
        self.pid = int(self._line())

    def _line(self) -> str:
        line = self._status.readline()
        if not line:
            raise RuntimeError("the server of the commands has ended")
        return line

    def poll(self) -> int | None:
        """Return the exit code, negative for a signal; None while the command runs."""
        if self.returncode is None and select.select([self._status], [], [], 0)[0]:
            self.returncode = int(self._line())
            self._status.close()
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            if not select.select([self._status], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(self.args, timeout or 0)
            self.poll()
        return self.returncode

    def communicate(self, input: None = None, timeout: float | None = None) -> tuple[str, str]:
        """Return stdout (empty if not captured) and stderr, once every process that could write to them has ended."""
        deadline = None if timeout is None else time.monotonic() + timeout
        for reader in self._readers:
            reader.join(None if deadline is None else max(deadline - time.monotonic(), 0))
            if reader.is_alive():
                raise subprocess.TimeoutExpired(self.args, timeout or 0)
        self.wait(None if deadline is None else max(deadline - time.monotonic(), 0))
        texts = [reader.text for reader in self._readers]
        return ("", texts[0]) if len(texts) == 1 else (texts[0], texts[1])

    def send_signal(self, sig: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, sig)


class _Reader(threading.Thread):
    """A thread that reads a pipe to its end, so that no command blocks on a full pipe."""

    def __init__(self, pipe: int) -> None:
        super().__init__(daemon=True)
        self.pipe, self.text = pipe, ""
        self.start()

    def run(self) -> None:
        with open(self.pipe) as file:  # noqa: PTH123 - a descriptor
            self.text = file.read()


class CommandServer:
    """The client of a server process.

    Args:
        modules: to import in the server; those that are not installed are skipped.
        watched: modules whose import by a command is reported in its stderr as `imported: <name>`.
    """

    def __init__(self, modules: Sequence[str], watched: Sequence[str] = ()) -> None:
        self.environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with its:
            self._process = subprocess.Popen(
                [sys.executable, __file__, str(its.fileno()), ",".join(modules), ",".join(watched)],
                env={**self.environment, "NO_ALBUMENTATIONS_UPDATE": "1"},
                pass_fds=[its.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,  # a pipe, as a command's: Python's streams are made for what they write to
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._requests = ours
        ready = ours.recv(1024)
        assert self._process.stdout is not None
        os.set_blocking(self._process.stdout.fileno(), False)
        said = self._process.stdout.read() or b""
        self.trouble = said.decode() or ("" if ready == b"ready" else ready.decode() or "it has ended")
        """Why this server cannot be used: threads, or warnings at import, which a fork would not repeat."""

    def serves(self, environment: Mapping[str, str]) -> bool:
        """Return whether a command in this environment may be forked: imports would have had the same result in it."""
        names = {*environment, *self.environment} - READ_LATE
        return not self.trouble and all(environment.get(name) == self.environment.get(name) for name in names)

    def start(
        self, words: Sequence[str], cwd: Path, environment: Mapping[str, str], *, read_stdout: bool
    ) -> ForkedProcess:
        """Run `python <words>`: a script, or `-m` and a module, and its arguments."""
        status, its_status = socket.socketpair()
        out_end, out = os.pipe() if read_stdout else (None, os.open(os.devnull, os.O_WRONLY))
        err_end, err = os.pipe()
        request = json.dumps({"words": list(words), "cwd": str(cwd), "environment": dict(environment)})
        socket.send_fds(self._requests, [request.encode()], [its_status.fileno(), out, err])
        its_status.close()
        os.close(out)
        os.close(err)
        ends = [err_end] if out_end is None else [out_end, err_end]
        with status:
            return ForkedProcess([sys.executable, *words], status, ends)

    def close(self) -> None:
        """End the server and wait for it."""
        self._requests.close()
        self._process.communicate()


class _Watch(importlib.abc.MetaPathFinder):
    """A finder that reports the import of some modules."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = names

    def find_spec(self, fullname: str, *_: Any) -> None:
        if fullname in self.names:
            print(f"imported: {fullname}", file=sys.stderr)


def serve(requests: socket.socket, modules: Sequence[str], watched: Sequence[str]) -> Callable[[], object]:
    """Import the modules and fork for each request; return, in the fork only, the function that runs the command."""
    sys.path[0] = str(Path(__file__).resolve().parent.parent)  # the project, in place of the folder of this file
    for name in modules:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    del sys.path[0]
    if "hydra.main" in sys.modules:
        sys.modules["hydra._internal.hydra"].Hydra.get_mode = lambda *_, **__: None
    gc.collect()
    gc.freeze()  # a command's collections leave alone what it shares with this process
    threads = len(list(Path("/proc/self/task").iterdir()))
    early = [name for name in watched if name in sys.modules]
    requests.send(b"ready" if threads == 1 and not early else f"{threads} threads, imported: {early}".encode())
    while True:
        request, streams, *_ = socket.recv_fds(requests, 2**20, 3)
        if not request:
            os._exit(0)
        guard = os.fork()
        if guard == 0:
            requests.close()
            return _command(json.loads(request), watched, *streams)
        for stream in streams:
            os.close(stream)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass


def _command(request: dict[str, Any], watched: Sequence[str], status: int, out: int, err: int) -> Callable[[], object]:
    """Fork again: the parent waits for the child and reports its exit code; the child prepares the command."""
    pid = os.fork()
    if pid:
        os.close(out)  # whoever reads it waits until all who could write have ended
        os.close(err)
        threading.Thread(target=_kill_without_client, args=(status, pid), daemon=True).start()
        try:
            code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            os.write(status, f"{code}\n".encode())
        finally:
            os._exit(0)
    os.setsid()
    os.write(status, f"{os.getpid()}\n".encode())  # only now can its group be signalled
    os.close(status)
    for stream, number in ((out, 1), (err, 2)):
        os.dup2(stream, number)
        os.close(stream)
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["environment"])
    multiprocessing_process.ORIGINAL_DIR = request["cwd"]  # type: ignore[attr-defined] # where spawned processes start
    # A generator that nobody has seeded differs between processes; `random` sees to that itself.
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed()
    if "torch" in sys.modules:
        sys.modules["torch"].default_generator.seed()
    setattr(os, "fsync", lambda _: None)  # noqa: B010 - no test cuts the power: files need not reach the disk
    if watched:
        sys.meta_path.insert(0, _Watch(watched))
    script, *arguments = request["words"]
    if script == "-m":
        module, *arguments = arguments
        sys.path.insert(0, request["cwd"])
        sys.argv = [module, *arguments]
        return partial(runpy.run_module, module, run_name="__main__", alter_sys=True)
    sys.path.insert(0, str(Path(script).resolve().parent))
    sys.argv = [script, *arguments]
    return partial(runpy.run_path, script, run_name="__main__")


def _kill_without_client(status: int, pid: int) -> None:
    os.read(status, 1)  # nothing is ever written there: it returns when the tests have ended
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)


if __name__ == "__main__":
    _socket = socket.socket(fileno=int(sys.argv[1]))
    _run = serve(_socket, *(names.split(",") if names else [] for names in sys.argv[2:4]))
    _run()  # the last statement: what it raises ends the command as it would end any program
