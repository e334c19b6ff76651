"""The environment of a run."""

from __future__ import annotations

import os
import platform
import subprocess
from pathlib import Path
from typing import Any

import torch

REPOSITORY = Path(__file__).resolve().parent.parent
LARGEST_NEW = 1_000_000


def environment(device: torch.device) -> dict[str, Any]:
    """Return versions, device and state of the code, for summary.json."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or platform.machine()
    commit = _git("rev-parse", "HEAD")
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "platform": platform.platform(),
        "device": f"{device.type} ({name})",
        "cpu_cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "git_commit": commit,
        "git_dirty": None if commit is None else bool(_git("status", "--porcelain")),
    }


def code_diff() -> bytes:
    """Return the changes to the commit of this repository, with new files that git does not ignore, as `git apply`
    takes them. New files of more than `LARGEST_NEW` bytes are left out."""
    parts = [_output("diff", "HEAD", "--binary") or b""]
    for name in (_git("ls-files", "--others", "--exclude-standard", "-z") or "").split("\0"):
        path = REPOSITORY / name
        if name and path.is_file() and not path.is_symlink() and path.stat().st_size <= LARGEST_NEW:
            # git exits with 1 if files differ, as they always do.
            parts.append(_output("diff", "--no-index", "--binary", "--", "/dev/null", name, codes=(0, 1)) or b"")
    return b"".join(parts)


def _git(*arguments: str) -> str | None:
    """Return the output of a git command in this repository; None if it is not a git checkout."""
    found = _output(*arguments)
    return None if found is None else found.decode(errors="surrogateescape").strip()


def _output(*arguments: str, codes: tuple[int, ...] = (0,)) -> bytes | None:
    """Return the output of a git command in this repository; None if it exits with another code."""
    try:
        done = subprocess.run(["git", *arguments], cwd=REPOSITORY, capture_output=True, timeout=10, check=False)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout if done.returncode in codes else None
