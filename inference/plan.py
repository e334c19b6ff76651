"""What to read, and what to write for it."""

from __future__ import annotations

import glob
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from data.images import stored_size
from inference.inputs import found_below, in_words, listed_in, matches_of, only_images
from inference.pipeline import BUDGET
from utils.errors import UserError
from utils.files import make_writable
from utils.paths import is_file, is_folder, is_there, user_path

VIDEO_SUFFIXES = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg")
SUFFIXES = {"probabilities": ".npz"}
"""Of a format's files, where it is not .png."""


@dataclass(frozen=True)
class Photo:
    """A photo to read, and the files to write for it.

    Attributes:
        outputs: format -> file.
    """

    path: Path
    outputs: dict[str, Path]


def plan_photos(given: str, output: str | None, formats: Sequence[str]) -> list[Photo]:
    """The photos that `input=` names: a photo, a folder with all that is in it, a pattern, or a list in a .txt file.

    Without an output, a folder's files go to `<folder>_masks/` and others beside their photos; with one, they go there,
    in the same folders below it as the photos are.

    Raises:
        UserError: there are none, two files would be one, a photo would be replaced, or nothing can be written.
    """
    source = user_path(given, "input")
    place = user_path(output, "output") if output else None
    if is_folder(source):
        if place is not None and place.resolve() == source.resolve():
            raise UserError(
                f"output={output}: in the photos' own folder a later run would take masks for photos; name another"
            )
        photos = _several(source, found_below(source, place), place or _beside(source), formats)
    elif source.suffix.lower() == ".txt" and is_file(source):
        photos = _several(None, listed_in(source), place, formats)
    elif is_there(source) or not glob.has_magic(str(source)):
        photos = [_one(source, output, formats)]
    else:
        matching = matches_of(source)
        chosen = only_images(matching)
        if not chosen:
            raise UserError(f"input={given}: no image matches{in_words(matching, '; it matches ')}")
        photos = _several(None, without_earlier_outputs(chosen, place, formats), place, formats)
    refuse_collisions(photos)
    return photos


def without_earlier_outputs(matching: list[Path], output: Path | None, formats: Sequence[str]) -> list[Path]:
    """What a pattern matches but for what an earlier run wrote: below the output, or else beside the photos.

    An output with all of them below it is the photos' own folder, in which nothing tells the two apart.
    """
    if output is not None:
        elsewhere = [path for path in matching if not path.resolve().is_relative_to(output.resolve())]
        return elsewhere or matching
    written = {file for path in matching for file in _beside_photo(path, formats).values()}
    return [path for path in matching if path not in written]


def is_camera(given: str) -> bool:
    """Whether `input=` is a camera's number, and no file or folder that is called so."""
    return given.isascii() and given.isdigit() and not is_there(Path(given))


def plan_video(source: str, output: str | None, formats: Sequence[str]) -> dict[str, Path]:
    """Format -> file or folder to write for a video, or for a camera, which is a number.

    Raises:
        UserError: a format does not go with videos, the output is no .mp4, or nothing can be written.
    """
    if "probabilities" in formats:
        raise UserError("format=probabilities: for photos alone; of a video they would fill the disk")
    video = Path("camera.mp4" if is_camera(source) else source)
    first = user_path(output, "output") if output else video
    into_folder = is_folder(first) or not first.suffix
    if into_folder:
        first = first / f"{video.stem}.mp4"
    if output and first.suffix.lower() != ".mp4":
        raise UserError(f"output={output}: say an .mp4, which masks get a folder beside, or a folder for all of it")
    files = {
        kind: first.with_name(f"{first.stem}_{kind}s" if kind == "mask" else f"{first.stem}_{kind}")
        if kind in ("mask", "uncertainty")
        else first.with_name(f"{first.stem}_{kind}.mp4")
        for kind in formats
    }
    videos = [kind for kind in formats if kind not in ("mask", "uncertainty")]
    if output and len(videos) == 1 and not into_folder:
        files[videos[0]] = first
    if any(path.resolve() == Path(source).resolve() for path in files.values()):
        raise UserError(f"output={output}: this is the video to be read; write somewhere else")
    make_writable(first.parent)
    return files


def still_to_write(photos: Sequence[Photo]) -> list[Photo]:
    """The photos of which a file is not there yet, with such files alone: the others may have been corrected since."""
    missing = [
        Photo(photo.path, {kind: path for kind, path in photo.outputs.items() if not is_there(path)})
        for photo in photos
    ]
    return [photo for photo in missing if photo.outputs]


def pixels(path: Path) -> int:
    """How many a photo has, by its header; where that cannot be read, as many as may be held at all."""
    try:
        height, width = stored_size(path)
    except UserError:
        return BUDGET
    return height * width


def refuse_collisions(photos: Sequence[Photo]) -> None:
    """Refuses a plan in which two files would be one, a file would replace a photo, or nothing can be written.

    Raises:
        UserError: names the file.
    """
    written = [path for photo in photos for path in photo.outputs.values()]
    places = [path.resolve() for path in written]
    count = Counter(places)
    sources = {photo.path.resolve() for photo in photos}
    for path, place in zip(written, places, strict=True):
        is_there(path)  # raises where no file can be, for a name that is too long
        if count[place] > 1:
            raise UserError(f"{path} would be written for two images; rename one of them, or write one format alone")
        if place in sources:
            raise UserError(f"output={path}: this is an image to be read; write somewhere else")
    for folder in sorted({path.parent for path in written}):
        make_writable(folder)


def _several(root: Path | None, paths: list[Path], output: Path | None, formats: Sequence[str]) -> list[Photo]:
    """A plan for several photos, in the folders below `output` in which they are below `root`."""
    if output is not None and (is_file(output) or output.suffix.lower() in (".png", ".npz")):
        raise UserError(f"output={output}: must be a folder, since the input is several images")
    if output is None:
        return [Photo(path, _beside_photo(path, formats)) for path in paths]
    plain = [Path(os.path.abspath(path)) for path in paths]  # noqa: PTH100 - without '..', which leads out of `output`
    above = os.path.abspath(root) if root else os.path.commonpath([path.parent for path in plain])  # noqa: PTH100
    firsts = [output / path.relative_to(above).parent / f"{path.stem}.png" for path in plain]
    return [Photo(path, named(first, formats)) for path, first in zip(paths, firsts, strict=True)]


def _one(source: Path, output: str | None, formats: Sequence[str]) -> Photo:
    """The plan for one photo: `output` itself where there is one format, else the mask; or files in the folder that it
    is, which need not be there yet.

    Raises:
        UserError: there is no such photo, or the output is not a .png (a mask would be lossy in .jpg).
    """
    if not is_file(source):
        raise UserError(f"input={source}: there is no such file or folder")
    if not output:
        return Photo(source, _beside_photo(source, formats))
    first = user_path(output, "output")
    suffix = suffix_of(_main(formats))
    if is_folder(first) or not first.suffix or output.endswith(("/", os.sep)):
        first = first / f"{source.stem}{suffix}"
    if first.suffix.lower() != suffix:
        raise UserError(
            f"output={output}: {_main(formats)} is written as {suffix}, which keeps every value; say that, or a folder"
        )
    return Photo(source, named(first, formats))


def named(first: Path, formats: Sequence[str]) -> dict[str, Path]:
    """Format -> file: `first` for the mask, or for the only format; the others are called after it."""
    main = _main(formats)
    files = {kind: first.with_name(f"{first.stem}_{kind}{suffix_of(kind)}") for kind in formats}
    if main in files:
        files[main] = first if first.suffix.lower() == suffix_of(main) else first.with_suffix(suffix_of(main))
    return files


def _main(formats: Sequence[str]) -> str:
    """The format whose file is called what the user says: the mask, or the only one but for the uncertainty."""
    asked = [kind for kind in formats if kind != "uncertainty"]
    return asked[0] if len(asked) == 1 else "mask"


def suffix_of(kind: str) -> str:
    """The suffix of a format's files."""
    return SUFFIXES.get(kind, ".png")


def _beside_photo(path: Path, formats: Sequence[str]) -> dict[str, Path]:
    return {kind: path.with_name(f"{path.stem}_{kind}{suffix_of(kind)}") for kind in formats}


def _beside(folder: Path) -> Path:
    """Where the masks of a folder go."""
    whole = folder if folder.name not in ("", "..") else folder.resolve()  # '.' has no name
    return whole.with_name(f"{whole.name}_masks")
