"""The trained networks that come with the program, in `weights/`."""

from __future__ import annotations

from pathlib import Path

from utils.paths import is_there, user_path

FOLDER = Path(__file__).parents[1] / "weights"
DEFAULT = "deeplabv3plus_camvid"
"""The network that infer.py uses if none is given: the one with the best mIoU."""


def bundled_names() -> list[str]:
    """Return the names of the networks: the names of the files without `.pt`."""
    return sorted(path.stem for path in FOLDER.glob("*.pt"))


def checkpoint_path(given: str | Path, key: str) -> Path:
    """Return the path of a checkpoint or run folder from a user: a path, or the name of a network in `weights/`.

    A run folder of that name comes first, but not another file or folder, such as one of the network's predictions.

    Raises:
        UserError: as for `utils.paths.user_path`.
    """
    path = user_path(given, key)
    is_name = str(given) in bundled_names() and not is_there(path / "checkpoints")
    return FOLDER / f"{given}.pt" if is_name else path
