"""Write masks for photos and videos with a trained network.

python infer.py input=street.jpg
python infer.py checkpoint=experiments/<run> input=dog.jpg output=dog_mask.png
"""

from __future__ import annotations

if __name__ == "__main__":  # before the imports below, which may swallow exceptions raised by signals
    from utils.interruption import end_at_once

    end_at_once()

import logging
import signal
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig

from cli.launch import launch
from utils.errors import PartlyFailed, UserError
from utils.files import prepare_output
from utils.flat import listed
from utils.paths import is_file, is_folder, is_there, user_path
from utils.text import plural

if TYPE_CHECKING:
    from inference.predictor import Predictor

log = logging.getLogger("infer")


def infer(cfg: DictConfig) -> None:
    """Segment the photos or the video of `input`."""
    from inference.plan import VIDEO_SUFFIXES, is_camera, plan_photos, still_to_write

    formats = list(dict.fromkeys(listed(cfg.format)))
    if cfg.samples > 1:
        formats.append("uncertainty")
    if is_camera(cfg.input) or Path(cfg.input).suffix.lower() in VIDEO_SUFFIXES:
        if cfg.skip_existing:
            raise UserError("skip_existing=true: only for photos; overwrite=true replaces an existing video")
        return infer_video(cfg, formats)
    photos = plan_photos(cfg.input, cfg.output, formats)
    total = len(photos)
    existing = [path for photo in photos for path in photo.outputs.values() if is_there(path)]
    if cfg.skip_existing:
        photos = still_to_write(photos)
        log.info("outputs exist already for %d of %s", total - len(photos), plural(total, "image"))
    elif existing and not cfg.overwrite:
        more = f" (and {len(existing) - 1} more)" if len(existing) > 1 else ""
        raise UserError(
            f"{existing[0]} exists already{more}; overwrite=true replaces it, skip_existing=true skips such images,"
            " output= writes elsewhere"
        )
    if not photos:
        return None

    # Imported here because torch takes seconds: a mistake in the config is reported before.
    from tqdm import tqdm

    from inference.clock import ImageClock, per_image_text
    from inference.photos import segment
    from runs.prediction import predictor_of

    predictor = predictor_of(cfg)
    clock = ImageClock(predictor)
    shares: Counter[str] = Counter()
    with tqdm(total=len(photos), unit="img", disable=len(photos) == 1 or None, dynamic_ncols=True) as bar:

        def after_photo(mask: Any) -> None:
            bar.update()
            clock.tick()
            if mask is not None:
                shares.update(shares_of(mask, predictor))

        broken = segment(photos, predictor, own_ids=cfg.ids == "label", after_photo=after_photo)
    if broken and total == 1 and not is_folder(user_path(cfg.input, "input")):
        raise broken[0]
    show_shares(shares, len(photos) - len(broken))
    if len(broken) < len(photos):
        log.info("%s", per_image_text(clock))
    written = [path for photo in photos for path in photo.outputs.values() if is_there(path)]
    for place in written if len(photos) == 1 else sorted({path.parent for path in written}):
        log.info("wrote %s", place)
    if broken:
        reasons = [str(error) for error in broken]
        raise PartlyFailed("\n".join([f"{len(broken)} of {plural(len(photos), 'image')} could not be read:", *reasons]))


def infer_video(cfg: DictConfig, formats: list[str]) -> None:
    """Segment a video or a camera: one video per format, but one PNG per frame for masks and uncertainty."""
    from inference.plan import is_camera, plan_video

    camera = is_camera(cfg.input)
    source = cfg.input if camera else str(user_path(cfg.input, "input"))
    if not camera and not is_file(source):
        raise UserError(f"input={cfg.input}: there is no such file or folder")
    outputs = plan_video(source, cfg.output, formats)
    for path in outputs.values():
        prepare_output(path, cfg.overwrite)

    from inference.clock import ImageClock, per_image_text
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
        clock, shares = ImageClock(predictor), Counter[str]()

        def after_frame(mask: Any) -> None:
            clock.tick()
            shares.update(shares_of(mask, predictor))

        try:
            count = segment(frames, predictor, outputs, own_ids=cfg.ids == "label", after_frame=after_frame)
        except Interrupted as stop:
            signal.raise_signal(stop.signal)  # exit as for photos: unlike a training, not everything is saved
            raise
    if count == 0:
        raise UserError(f"input={cfg.input}: no frame of the video can be read")
    show_shares(shares, count)
    log.info("%s", per_image_text(clock, "frame"))
    for path in outputs.values():
        log.info("wrote %s", path)
    expected = frames.count or 0
    if expected - count > max(0.01 * expected, 1):  # headers of intact videos may be off by as much
        raise PartlyFailed(f"input={cfg.input}: {count} of {expected} frames could be read; the video may be truncated")


def shares_of(mask: Any, predictor: Predictor) -> dict[str, float]:
    """Return the share of the pixels of each class in a mask."""
    from visualization.overlay import class_shares

    return {name: share for name, _, share in class_shares(mask, predictor.labels)}


def show_shares(shares: Counter[str], images: int) -> None:
    """Print the mean share of each class."""
    from utils.tables import table

    if images:
        rows = [[name, f"{share / images:.2%}"] for name, share in shares.most_common()]
        log.info("%s", table([["class", "pixels"], *rows], f"mean of {images} images" if images > 1 else None))


if __name__ == "__main__":
    launch(infer, "infer")
