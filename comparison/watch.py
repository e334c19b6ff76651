"""The runs that are under way, in a table that keeps itself up to date."""

from __future__ import annotations

import math
import shutil
import signal
import sys
import time
from collections.abc import Callable, Sequence
from datetime import datetime

from comparison.report_data import short_names
from comparison.runs import Run, as_number, number_or_none
from comparison.table import differing_keys
from utils.interruption import StopRequest, Terminated
from utils.tables import duration, number, table

INTERVAL = 2.0  # seconds
HEAD = ["name", "status", "epoch", "loss", "best mIoU", "images/s", "left"]
CLEAR = "\x1b[H\x1b[2J\x1b[3J"


def watch(find: Callable[[], Sequence[Run]], source: str) -> None:
    """Shows the runs until Ctrl-C; a terminal is cleared each time, anything else gets a table when it has changed.

    Args:
        find: reads the runs anew.
        source: what they are chosen by.
    """
    terminal, before = sys.stdout.isatty(), ""
    with StopRequest() as stop:  # which is asked: a reader of files may take an exception for damage
        while stop.signal is None:
            room = shutil.get_terminal_size().lines - 6 if terminal else 40
            text = drawn(find(), source, max(room, 5))
            if terminal:
                print(f"{CLEAR}{text}\n{time.strftime('%H:%M:%S')}, Ctrl-C ends", flush=True)
            elif text != before:
                print(text, flush=True)
            if getattr(sys.stdout, "lost", None) is not None:  # nobody reads on
                return
            before = text
            until = time.monotonic() + INTERVAL
            while stop.signal is None and time.monotonic() < until:
                time.sleep(0.05)
    if stop.signal == signal.SIGTERM:
        raise Terminated


def drawn(runs: Sequence[Run], source: str, room: int) -> str:
    """A table of the runs, those under way first, then the latest; as many as there is room for."""
    if not runs:
        return f"no run in {source} yet"
    ordered = sorted(runs, key=_ended, reverse=True)
    ordered.sort(key=lambda run: {"running": 0, "running?": 1}.get(run.live_status, 2))
    shown = ordered[:room]
    names = short_names(shown, differing_keys(shown))
    under_way = sum(run.live_status == "running" for run in runs)
    more = f", the latest {room} shown" if len(runs) > room else ""
    rows = [progress(run, name) for run, name in zip(shown, names, strict=True)]
    return table([HEAD, *rows], f"{under_way} of {len(runs)} running{more}")


def progress(run: Run, name: str) -> list[str]:
    """The cells of a run: of its last epoch, and how long it will take if it goes on as in its latest epochs."""
    last = run.rows[-1] if run.rows else {}
    epochs, done = run.config.get("trainer.epochs"), f"{last.get('epoch', 0):g}"
    rate = last.get("images_per_second", math.nan)
    loss = last.get("train/loss", math.nan)
    best = max((row["val/miou"] for row in run.rows if "val/miou" in row), default=math.nan)
    return [
        name if len(name) <= 44 else f"{name[:43]}…",
        run.live_status,
        f"{done}/{epochs}" if epochs is not None else done,
        number(loss),
        number(best),
        "-" if math.isnan(rate) else f"{rate:.1f}",
        left(run),
    ]


def left(run: Run) -> str:
    """How long a run will still take, or for how long it has been silent; '' where it has ended."""
    if run.status != "running":
        return ""
    if run.live_status != "running":
        silence = run.silence()
        return f"silent for {_lasting(silence) if silence >= 3600 else f'{silence // 60:.0f} min'}"
    recent = [seconds for row in run.rows[-5:] if (seconds := number_or_none(row.get("seconds"))) is not None]
    if not recent:
        return "-"
    epochs = as_number(run.config.get("trainer.epochs")) - run.rows[-1].get("epoch", 0)
    return _lasting(max(epochs * sum(recent) / len(recent) - run.since_last_epoch(), 0.0))


def _lasting(seconds: float) -> str:
    return duration(seconds) if math.isfinite(seconds) else "-"


def _ended(run: Run) -> float:
    """When a run ended, or else began, as seconds; 0 where that is not known."""
    for key in ("ended", "started"):
        try:
            return datetime.fromisoformat(str(run.summary.get(key))).timestamp()
        except (ValueError, OverflowError, OSError):
            continue
    return 0.0
