"""Show running trainings in a table that is updated every two seconds."""

from __future__ import annotations

import math
import shutil
import signal
import sys
import time
from collections.abc import Callable, Sequence
from datetime import datetime

from comparison.rows import differing_keys
from comparison.run_names import short_names
from comparison.runs import Run, number_or_none
from utils.interruption import StopRequest, Terminated
from utils.tables import duration, number, table

INTERVAL = 2.0  # seconds
HEAD = ["name", "status", "epoch", "loss", "best mIoU", "images/s", "left"]
CLEAR = "\x1b[H\x1b[2J\x1b[3J"


def watch(find: Callable[[], Sequence[Run]], source: str) -> None:
    """Show the runs until Ctrl-C. On a terminal, redraw in place; otherwise print the table whenever it changes.

    Args:
        find: reads the runs again.
        source: the folder or pattern that they come from.
    """
    terminal, before = sys.stdout.isatty(), ""
    with StopRequest() as stop:  # polled, since readers of files might report an exception as damage
        while stop.signal is None:
            room = shutil.get_terminal_size().lines - 6 if terminal else 40
            text = drawn(find(), source, max(room, 5))
            if terminal:
                print(f"{CLEAR}{text}\n{time.strftime('%H:%M:%S')}, Ctrl-C ends", flush=True)
            elif text != before:
                print(text, flush=True)
            if getattr(sys.stdout, "lost", None) is not None:  # the reader of the pipe is gone
                return
            before = text
            until = time.monotonic() + INTERVAL
            while stop.signal is None and time.monotonic() < until:
                time.sleep(0.05)
    if stop.signal == signal.SIGTERM:
        raise Terminated


def drawn(runs: Sequence[Run], source: str, room: int) -> str:
    """Return a table of at most `room` runs: the running ones first, then the latest."""
    if not runs:
        return f"no run in {source} yet"
    ordered = sorted(runs, key=_ended, reverse=True)
    ordered.sort(key=lambda run: {"running": 0, "running?": 1}.get(run.live_status, 2))
    shown = ordered[:room]
    names = short_names(shown, differing_keys(shown))
    under_way = sum(run.live_status == "running" for run in runs)
    more = f", showing the latest {room}" if len(runs) > room else ""
    rows = [progress(run, name) for run, name in zip(shown, names, strict=True)]
    return table([HEAD, *rows], f"{under_way} of {len(runs)} running{more}")


def progress(run: Run, name: str) -> list[str]:
    """Return the cells of a run: its last epoch, and the time left at the speed of its last five epochs."""
    last = run.rows[-1] if run.rows else {}
    epochs, done = run.config.get("trainer.epochs"), f"{last.get('epoch', 0):g}"
    rate = number_or_none(last.get("images_per_second"))
    best = max((row["val/miou"] for row in run.rows if "val/miou" in row), default=None)
    return [
        name if len(name) <= 44 else f"{name[:43]}…",
        run.live_status,
        f"{done}/{epochs}" if epochs is not None else done,
        number(last.get("train/loss")),
        number(best),
        "-" if rate is None else f"{rate:.1f}",
        left(run),
    ]


def left(run: Run) -> str:
    """Return the time left of a running run, or how long it has been silent; '' if it has ended."""
    if run.status != "running":
        return ""
    if run.live_status != "running":
        silence = run.silence()
        return f"silent for {_lasting(silence) if silence >= 3600 else f'{silence // 60:.0f} min'}"
    recent, epochs = run.last_seconds(5), number_or_none(run.config.get("trainer.epochs"))
    if not recent or epochs is None:
        return "-"
    epochs -= run.rows[-1].get("epoch", 0)
    return _lasting(max(epochs * sum(recent) / len(recent) - run.age("metrics.csv"), 0.0))


def _lasting(seconds: float) -> str:
    return duration(seconds) if math.isfinite(seconds) else "-"


def _ended(run: Run) -> float:
    """Return the time when a run ended, or else started, in seconds since the epoch; 0 if unknown."""
    for key in ("ended", "started"):
        try:
            return datetime.fromisoformat(str(run.summary.get(key))).timestamp()
        except (ValueError, OverflowError, OSError):
            continue
    return 0.0
