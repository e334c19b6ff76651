"""Write the masks that infer.py is asked for: of photos, or of a video.

Each function plans first, and imports torch, which takes seconds, after a mistake in the config is reported.
"""

from __future__ import annotations

import logging
import signal
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from inference.plan import VIDEO_SUFFIXES, Photo, is_camera, plan_photos, plan_video, still_to_write
from utils.config_values import listed
from utils.errors import PartlyFailed, UserError, partly_failed
from utils.files import prepare_output
from utils.paths import is_file, is_folder, is_there, user_path
from utils.text import plural

log = logging.getLogger("infer")


def is_video(source: str) -> bool:
    """Whether `input=` is a video or a camera."""
    return is_camera(source) or Path(source).suffix.lower() in VIDEO_SUFFIXES


def segment_photos(cfg: DictConfig) -> None:
    """Write the files of each photo, and print the share of each class.

    Raises:
        UserError: there are no photos, an output exists already, or the predictor cannot be built.
        PartlyFailed: some photos could not be read.
    """
    photos = _photos_to_segment(cfg)
    if not photos:
        return

    from tqdm import tqdm

    from inference.photos import segment
    from inference.totals import Totals
    from runs.prediction import predictor_of

    predictor = predictor_of(cfg)
    totals = Totals(predictor)
    with tqdm(total=len(photos), unit="img", disable=len(photos) == 1 or None, dynamic_ncols=True) as bar:

        def after_photo(mask: Any) -> None:
            bar.update()
            totals.add(mask)

        broken = segment(photos, predictor, own_ids=cfg.ids == "label", after_photo=after_photo)
    if broken and len(photos) == 1 and not is_folder(user_path(cfg.input, "input")):
        raise broken[0]
    for line in totals.lines():
        log.info("%s", line)
    written = [path for photo in photos for path in photo.outputs.values() if is_there(path)]
    for place in written if len(photos) == 1 else sorted({path.parent for path in written}):
        log.info("wrote %s", place)
    if broken:
        raise partly_failed(len(broken), plural(len(photos), "image"), "read", broken)


def segment_video(cfg: DictConfig) -> None:
    """Write one video per format, but one PNG per frame for masks and uncertainty, and print the share of each class.

    Raises:
        UserError: the video cannot be read, an output exists already, or the network takes other channels.
        PartlyFailed: the video ends early.
    """
    if cfg.skip_existing:
        raise UserError("skip_existing=true: only for photos; overwrite=true replaces an existing video")
    camera = is_camera(cfg.input)
    source = cfg.input if camera else str(user_path(cfg.input, "input"))
    if not camera and not is_file(source):
        raise UserError(f"input={cfg.input}: there is no such file or folder")
    outputs = plan_video(source, cfg.output, _formats(cfg))
    for path in outputs.values():
        prepare_output(path, cfg.overwrite)

    from inference.totals import Totals
    from inference.video import Frames, segment
    from runs.prediction import predictor_of
    from utils.interruption import Interrupted

    with Frames(int(source) if camera else source) as frames:
        predictor = predictor_of(cfg)
        if not predictor.bands.is_rgb:
            raise UserError(
                f"input={cfg.input}: a video has red, green and blue of 8 bits, and the network takes photos of"
                f" {plural(predictor.bands.channels, 'channel')}; pass such photos"
            )
        totals = Totals(predictor, "frame")
        try:
            count = segment(frames, predictor, outputs, own_ids=cfg.ids == "label", after_frame=totals.add)
        except Interrupted as stop:
            signal.raise_signal(stop.signal)  # exit as for photos: unlike a training, not everything is saved
            raise
    if count == 0:
        raise UserError(f"input={cfg.input}: no frame of the video can be read")
    for line in totals.lines():
        log.info("%s", line)
    for path in outputs.values():
        log.info("wrote %s", path)
    expected = frames.count or 0
    if expected - count > max(0.01 * expected, 1):  # headers of intact videos may be off by as much
        raise PartlyFailed(f"input={cfg.input}: {count} of {expected} frames could be read; the video may be truncated")


def _formats(cfg: DictConfig) -> list[str]:
    formats = list(dict.fromkeys(listed(cfg.format)))
    return [*formats, "uncertainty"] if cfg.samples > 1 else formats


def _photos_to_segment(cfg: DictConfig) -> list[Photo]:
    """Return the photos, without those whose outputs exist if `skip_existing` is set.

    Raises:
        UserError: there are no photos, or an output exists already.
    """
    photos = plan_photos(cfg.input, cfg.output, _formats(cfg))
    if cfg.skip_existing:
        left = still_to_write(photos)
        log.info("outputs exist already for %d of %s", len(photos) - len(left), plural(len(photos), "image"))
        return left
    existing = [path for photo in photos for path in photo.outputs.values() if is_there(path)]
    if existing and not cfg.overwrite:
        more = f" (and {len(existing) - 1} more)" if len(existing) > 1 else ""
        raise UserError(
            f"{existing[0]} exists already{more}; overwrite=true replaces it, skip_existing=true skips such images,"
            " output= writes elsewhere"
        )
    return photos
