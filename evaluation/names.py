"""Names of the files of an evaluation, which contain every setting that changes the result."""

from __future__ import annotations

import os
import re
import zlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from utils.bundled_weights import bundled_names
from utils.paths import is_folder, user_path
from utils.run_folder import run_of

UNMEASURED = frozenset(
    {
        *("_target_", "download", "train_split", "val_split", "batch_size", "num_workers", "cache", "augment_on"),
        *("allow_single_class", "crop_size", "sampling", "sampling_temperature", "preview_bands", "mean", "std"),
    }
)
"""Keys of the node `data` that change neither the samples nor the result."""
PATHS = ("root", "labels")
USUAL_OVERLAP = 0.25
"""The default in conf/evaluate.yaml."""
LONGEST = 200
"""Maximum bytes of a stem: file systems allow 255 for the whole name."""


def file_stem(
    split: str,
    *,
    checkpoint: str | None,
    data: str | None,
    different: Sequence[str],
    tta: Sequence[str],
    window: tuple[int, int] | None,
    overlap: float,
) -> str:
    """Return the split followed by everything that differs from the run.

    Args:
        checkpoint: result of `checkpoint_part`.
        data: name of the data set, unless it is the run's.
        different: result of `different_parts`.
    """
    parts = [split, checkpoint, data, *different, *tta]
    if window:
        parts += [f"window{window[0]}x{window[1]}", f"overlap{overlap:g}" if overlap != USUAL_OVERLAP else None]
    return _shortened("_".join(_printable(part) for part in parts if part))


def different_parts(node: Mapping[str, Any], usual: Mapping[str, Any]) -> list[str]:
    """Return a short text for each value of a node `data` that differs from the usual one.

    A path becomes its last part and a checksum of the whole, since two folders may have the same name.
    """
    parts = []
    relevant = measured_keys(node)
    for key, value in sorted(relevant.items(), key=lambda item: (item[0] not in PATHS, item[0] != "image_size")):
        if value == usual.get(key):
            continue
        if key in PATHS and value is not None:
            if not is_same_place(value, usual.get(key)):
                parts.append(f"{key}-{place_part(value)}")
        elif key == "image_size":
            parts.append("x".join(map(str, value)))
        else:
            parts.append(f"{key}{'x'.join(map(str, value)) if isinstance(value, list) else value}")
    return parts


def measured_keys(node: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of a node `data` that decide which samples are measured, and how."""
    unmeasured = UNMEASURED - ({"train_split"} if node.get("folds") else set())  # folds are parts of it
    return {key: value for key, value in node.items() if key not in unmeasured}


def ensemble_part(checkpoints: Sequence[str]) -> str:
    """Return a text that identifies an ensemble: the number of its networks, and a checksum of their paths."""
    places = "\n".join(sorted(_real(checkpoint) for checkpoint in checkpoints))
    return f"ensemble{len(checkpoints)}-{_checksum(places)}"


def checkpoint_part(checkpoint: str, in_own_folder: bool) -> str | None:
    """Return a text that identifies a checkpoint among others with results in the same folder; None for a run's best.

    Args:
        in_own_folder: whether the results are in the run folder or beside the file, not in `output`.
    """
    given = user_path(checkpoint, "checkpoint")
    inside = given.parent.name == "checkpoints" and not is_folder(given)
    own = given.name.removesuffix(".pt") if inside and given.name != "best.pt" else None
    if in_own_folder:
        return own
    run = given.parent.parent if inside else given
    return "_".join(part for part in (f"of-{place_part(str(run))}", own) if part)


def output_folder(output: str | None, checkpoint: str) -> Path:
    """Return the folder for the files: `output`, or `evaluation/` in the run folder, or one beside a single file."""
    if output:
        return user_path(output, "output")
    given = user_path(checkpoint, "checkpoint")
    run = run_of(given)
    return run / "evaluation" if run else given.with_name(f"{given.name.removesuffix('.pt')}_evaluation")


def ensemble_folder(output: str | None, checkpoints: Sequence[str]) -> Path:
    """Return the folder for the files of an ensemble: `output`, or `ensemble_evaluation/`.

    That is in the folder that holds its runs and files. It is in the working directory if they have no folder in common
    but the root, or all of them are networks of `weights/`, which are named and have no place of their own.
    """
    if output:
        return user_path(output, "output")
    given = [user_path(each, "checkpoint") for each in checkpoints if each not in bundled_names()]
    parents = [(run_of(path) or path).absolute().parent for path in given]
    with suppress(ValueError):  # no path, or paths on several drives of Windows
        holder = Path(os.path.commonpath(parents))
        inside = holder.relative_to(Path.cwd()) if holder.is_relative_to(Path.cwd()) else holder
        if holder.parent != holder:
            return inside / "ensemble_evaluation"
    return Path("ensemble_evaluation")


def is_same_place(path: str, other: Any) -> bool:
    """Whether a path leads to the same file or folder as a value from a checkpoint, which may have any type."""
    return isinstance(other, str) and _real(path) == _real(other)


def place_part(path: str) -> str:
    """Return the last part of a path and a checksum of the whole."""
    real = _real(path)
    return f"{_cut(_printable(Path(real).name), 40)}-{_checksum(real)}"


def _real(path: str) -> str:
    try:
        return os.path.realpath(os.path.expanduser(path))  # noqa: PTH111 - Path raises for unknown users, too
    except (OSError, ValueError):
        return path


def _printable(text: str) -> str:
    """Replace characters that some file systems do not allow by dashes; append a checksum if there were any."""
    plain = re.sub(r"[^\w .,+=()\[\]'-]", "-", text)
    return plain if plain == text else f"{plain}-{_checksum(text)}"


def _shortened(text: str) -> str:
    """Cut a text to `LONGEST` bytes, ending in a checksum of the whole."""
    return text if len(text.encode()) <= LONGEST else f"{_cut(text, LONGEST - 9)}-{_checksum(text)}"


def _cut(text: str, longest: int) -> str:
    return text.encode()[:longest].decode(errors="ignore")


def _checksum(text: str) -> str:
    return f"{zlib.crc32(text.encode('utf-8', 'surrogateescape')):08x}"
