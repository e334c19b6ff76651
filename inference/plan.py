"""Plan which photos to read and which files to write."""

from __future__ import annotations

import glob
import logging
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from data.images import stored_size
from inference.inputs import described, found_below, listed_in, matches_of, only_images
from inference.pipeline import BUDGET
from utils.errors import UserError
from utils.files import make_writable
from utils.paths import is_file, is_folder, is_there, user_path
from utils.text import is_utf_8, plural
from utils.value_types import PictureFormat

log = logging.getLogger(__name__)

VIDEO_SUFFIXES = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg")
FRAME_FOLDERS = {"mask": "masks", "uncertainty": "uncertainty"}
"""Formats whose frames are PNGs, since videos are compressed with loss -> end of the name of their folder."""


@dataclass(frozen=True)
class Photo:
    """A photo to read, and the files to write for it.

    Attributes:
        outputs: format -> file.
    """

    path: Path
    outputs: dict[str, Path]


def plan_photos(given: str, output: str | None, formats: Sequence[str]) -> list[Photo]:
    """Return a plan for the photos in `input=`: a photo, a folder (recursively), a pattern, or a list in a .txt file.

    By default, files for a folder go to `<folder>_masks/`, others next to their photos. With an output, they go to the
    same subfolders of it as those of the photos.

    Raises:
        UserError: there are no photos, two outputs have the same name, an output would replace a photo, or a folder is
            not writable.
    """
    source = user_path(given, "input")
    place = user_path(output, "output") if output else None
    if is_folder(source):
        if place is not None and place.resolve() == source.resolve():
            raise UserError(
                f"output={output}: in the photos' own folder, a later run would take masks for photos; choose another"
            )
        found = without_results_beside(found_below(source, place))
        photos = _several(source, found, place or _beside(source), formats)
    elif source.suffix.lower() == ".txt" and is_file(source):
        photos = _several(None, listed_in(source), place, formats)
    elif is_there(source) or not glob.has_magic(str(source)):
        photos = [_one(source, output, formats)]
    else:
        matching = matches_of(source)
        chosen = only_images(matching)
        if not chosen:
            raise UserError(f"input={given}: no image matches{described(matching, '; it matches ')}")
        photos = _several(None, without_earlier_outputs(chosen, place, formats), place, formats)
    refuse_collisions(photos)
    return photos


def without_results_beside(paths: list[Path]) -> list[Path]:
    """Return the images of a folder except the ones that infer.py wrote next to photos; log how many it skips."""
    kinds = [*get_args(PictureFormat), "uncertainty"]
    written = {file for path in paths for file in _beside_photo(path, kinds).values()}
    photos = [path for path in paths if path not in written]
    if len(photos) < len(paths):
        first = next(path for path in paths if path in written)
        log.info("skipped %s beside photos, such as %s", plural(len(paths) - len(photos), "earlier result"), first.name)
    return photos


def without_earlier_outputs(matching: list[Path], output: Path | None, formats: Sequence[str]) -> list[Path]:
    """Return the matches of a pattern except outputs of an earlier run, below `output` or else next to photos.

    If all matches are below `output`, it is the photos' own folder, where outputs look like photos.
    """
    if output is not None:
        elsewhere = [path for path in matching if not Path(os.path.realpath(path)).is_relative_to(output.resolve())]
        return elsewhere or matching
    written = {file for path in matching for file in _beside_photo(path, formats).values()}
    return [path for path in matching if path not in written]


def is_camera(given: str) -> bool:
    """Whether `input=` is the number of a camera, and not the name of a file or folder."""
    return given.isascii() and given.isdigit() and not is_there(Path(given))


def plan_video(source: str, output: str | None, formats: Sequence[str]) -> dict[str, Path]:
    """Return format -> file or folder to write for a video file or the number of a camera.

    Raises:
        UserError: a format is not for videos, the output is not an .mp4, or a folder is not writable.
    """
    if "probabilities" in formats:
        raise UserError("format=probabilities: only for photos; those of a video would fill the disk")
    video = Path("camera.mp4" if is_camera(source) else source)
    first = user_path(output, "output") if output else video
    into_folder = is_folder(first) or not first.suffix
    if into_folder:
        first = first / f"{video.stem}.mp4"
    if output and first.suffix.lower() != ".mp4":
        raise UserError(f"output={output}: must be an .mp4 (masks go to a folder next to it) or a folder")
    files = {kind: first.with_name(f"{first.stem}_{FRAME_FOLDERS.get(kind, f'{kind}.mp4')}") for kind in formats}
    videos = [kind for kind in formats if kind not in FRAME_FOLDERS]
    if output and len(videos) == 1 and not into_folder:
        files[videos[0]] = first
    for path in (Path(source), *files.values()):
        if not is_utf_8(str(path)):  # OpenCV would crash
            raise UserError(f"{path}: the path of a video must be valid UTF-8; rename it")
    if any(path.resolve() == Path(source).resolve() for path in files.values()):
        raise UserError(f"output={output}: this is the input video; choose another file")
    make_writable(first.parent)
    return files


def still_to_write(photos: Sequence[Photo]) -> list[Photo]:
    """Return the photos with missing files, and only those files: existing ones may have been edited since."""
    missing = [
        Photo(photo.path, {kind: path for kind, path in photo.outputs.items() if not is_there(path)})
        for photo in photos
    ]
    return [photo for photo in missing if photo.outputs]


def pixels(path: Path) -> int:
    """Return the number of pixels of a photo from its header; the whole budget if it cannot be read."""
    try:
        height, width = stored_size(path)
    except UserError:
        return BUDGET
    return height * width


def refuse_collisions(photos: Sequence[Photo]) -> None:
    """Check that all outputs differ, replace no photo, and can be written.

    Raises:
        UserError: names the file.
    """
    written = [path for photo in photos for path in photo.outputs.values()]
    places = [os.path.realpath(path) for path in written]  # Path raises for a link that leads to itself
    count = Counter(places)
    sources = {os.path.realpath(photo.path) for photo in photos}
    for path, place in zip(written, places, strict=True):
        is_there(path)  # raises if the name is too long
        if count[place] > 1:
            raise UserError(f"{path} would be written for two images; rename one of them, or write only one format")
        if place in sources:
            raise UserError(f"output={path}: this is an input image; choose another file")
    for folder in sorted({path.parent for path in written}):
        make_writable(folder)


def _several(root: Path | None, paths: list[Path], output: Path | None, formats: Sequence[str]) -> list[Photo]:
    """Return the plan for several photos, with the same subfolders below `output` as below `root`."""
    if output is not None and (is_file(output) or output.suffix.lower() in (".png", ".npz")):
        raise UserError(f"output={output}: must be a folder, since the input is several images")
    if output is None:
        return [Photo(path, _beside_photo(path, formats)) for path in paths]
    plain = [Path(os.path.abspath(path)) for path in paths]  # noqa: PTH100 - resolves '..', which would lead out of `output`
    above = os.path.abspath(root) if root else os.path.commonpath([path.parent for path in plain])  # noqa: PTH100
    firsts = [output / path.relative_to(above).parent / f"{path.stem}.png" for path in plain]
    return [Photo(path, named(first, formats)) for path, first in zip(paths, firsts, strict=True)]


def _one(source: Path, output: str | None, formats: Sequence[str]) -> Photo:
    """Return the plan for one photo. `output` is the file of the mask or only format, or a folder, which may not exist.

    Raises:
        UserError: the photo does not exist, or the output has the wrong suffix (a .jpg would be lossy).
    """
    if not is_file(source):
        hint = "; pass several as a folder, a pattern, or a .txt with one path per line" if "," in str(source) else ""
        raise UserError(f"input={source}: there is no such file or folder{hint}")
    if not output:
        return Photo(source, _beside_photo(source, formats))
    first = user_path(output, "output")
    suffix = suffix_of(_main(formats))
    if is_folder(first) or not first.suffix or output.endswith(("/", os.sep)):
        first = first / f"{source.stem}{suffix}"
    if first.suffix.lower() != suffix:
        raise UserError(
            f"output={output}: {_main(formats)} is written as {suffix}, which is lossless; pass a {suffix} or a folder"
        )
    return Photo(source, named(first, formats))


def named(first: Path, formats: Sequence[str]) -> dict[str, Path]:
    """Return format -> file: `first` for the mask or only format, `<first>_<format>` for the others."""
    main, files = _main(formats), _beside_photo(first, formats)
    if main in files:
        files[main] = first if first.suffix.lower() == suffix_of(main) else first.with_suffix(suffix_of(main))
    return files


def _main(formats: Sequence[str]) -> str:
    """Return the format to which `output` refers: the only one besides the uncertainty, or else the mask."""
    asked = [kind for kind in formats if kind != "uncertainty"]
    return asked[0] if len(asked) == 1 else "mask"


def suffix_of(kind: str) -> str:
    """Return the suffix of a format's files."""
    return ".npz" if kind == "probabilities" else ".png"


def _beside_photo(path: Path, formats: Sequence[str]) -> dict[str, Path]:
    return {kind: path.with_name(f"{path.stem}_{kind}{suffix_of(kind)}") for kind in formats}


def _beside(folder: Path) -> Path:
    """Return the folder for the masks of a folder."""
    whole = folder if folder.name not in ("", "..") else folder.resolve()  # '.' has no name
    return whole.with_name(f"{whole.name}_masks")
