"""Segment videos and camera streams frame by frame."""

from __future__ import annotations

import logging
import math
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from data.quiet import quiet
from inference.pictures import frame, write_files
from inference.pipeline import WriteBehind, prefetched
from inference.predictor import Prediction, Predictor
from utils.errors import Unreadable, UserError
from utils.files import make_folder
from utils.interruption import Interrupted, StopRequest

log = logging.getLogger(__name__)


def segment(
    frames: Frames,
    predictor: Predictor,
    outputs: Mapping[str, Path],
    *,
    own_ids: bool = False,
    after_frame: Callable[[np.ndarray], None],
) -> int:
    """Write the outputs of each frame and return the number of frames. Ctrl-C ends the recording of a camera.

    Args:
        outputs: format -> .mp4, or for masks and uncertainties a folder, with one PNG per frame.
        own_ids: as for `inference.pictures.write_files`.
        after_frame: called with each mask, uint8 (H, W).

    Raises:
        UserError: a file cannot be written.
        Interrupted: Ctrl-C or SIGTERM before the end of a video file; no .mp4 is written.
    """
    folders = {kind: path for kind, path in outputs.items() if path.suffix != ".mp4"}
    for path in folders.values():
        make_folder(path)
    paths = {kind: path for kind, path in outputs.items() if kind not in folders}
    videos = {kind: VideoWriter(path, frames.rate, keep_part=frames.is_camera) for kind, path in paths.items()}
    count = 0

    def write(number: int, image: np.ndarray, found: Prediction) -> None:
        pictures = {kind: path / f"{number:06}.png" for kind, path in folders.items()}
        write_files(pictures, image, found, predictor.labels, own_ids)
        for kind, video in videos.items():
            video.add(frame(kind, image, found.mask, predictor.labels))

    with ExitStack() as stack:
        stop = stack.enter_context(StopRequest())
        for video in videos.values():
            stack.enter_context(video)
        later = stack.enter_context(WriteBehind())
        bar = stack.enter_context(tqdm(total=frames.count, unit="frame", dynamic_ncols=True, disable=None))
        ready = stack.enter_context(closing(prefetched((image, predictor.resized(image)) for image in frames)))
        for image, resized in ready:
            found = predictor.predict_with(image, resized, uncertainty="uncertainty" in outputs)
            after_frame(found.mask)
            later(partial(write, count, image, found), found.mask.size)
            count += 1
            bar.update()
            if stop.signal is not None and frames.is_camera:
                break
            if stop.signal is not None:
                bar.close()  # the message needs its own line
                log.warning("stopped at frame %d of %s", count, frames.count or "an unknown number")
                raise Interrupted(stop.signal)
    for path in folders.values():
        _remove_frames_after(path, count)
    return count


def _remove_frames_after(folder: Path, count: int) -> None:
    """Remove the remaining PNGs of an earlier, longer video. Without any frame, keep everything."""
    for path in folder.iterdir() if count else ():
        if re.fullmatch(r"[0-9]{6}\.png", path.name) and int(path.stem) >= count:
            path.unlink()


class Frames:
    """The frames of a video file or camera. Use it with `with`.

    Args:
        source: a file, or the number of a camera.

    Attributes:
        rate: frames per second.
        count: number of frames by the file's header; None if unknown.

    Raises:
        Unreadable: it does not exist, or is not a video.
    """

    def __init__(self, source: str | int) -> None:
        os.environ.setdefault("OPENCV_LOG_LEVEL", "OFF")  # it would report every backend that fails
        with quiet():
            self._capture = cv2.VideoCapture(source)
        self.is_camera = isinstance(source, int)
        what = f"camera {source}" if self.is_camera else str(source)
        if not self._capture.isOpened():
            reason = "there is no such camera" if self.is_camera else "not a video that can be read"
            raise Unreadable(f"input={what}: {reason}")
        rate = self._capture.get(cv2.CAP_PROP_FPS)
        self.rate = rate if math.isfinite(rate) and 0 < rate <= 1000 else 25.0
        count = self._capture.get(cv2.CAP_PROP_FRAME_COUNT)
        self.count = int(count) if not self.is_camera and count > 0 else None

    def __iter__(self) -> Iterator[np.ndarray]:
        """Yield frames uint8 (H, W, 3), RGB."""
        while True:
            there, frame = self._capture.read()
            if not there:
                return
            yield cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)

    def __enter__(self) -> Frames:
        return self

    def __exit__(self, *_: object) -> None:
        self._capture.release()


class VideoWriter:
    """Write frames to an .mp4 file of the first frame's size, which appears when it is complete. Use it with `with`.

    Args:
        path: the file.
        rate: frames per second.
        keep_part: keep the file on an error too, because a recording cannot be repeated.

    Raises:
        UserError: it cannot be written.
    """

    def __init__(self, path: Path, rate: float, keep_part: bool = False) -> None:
        self.path, self.rate, self.keep_part = path, rate, keep_part
        # OpenCV chooses the format by the suffix. The end of the name tells outputs apart; all of it may be too long.
        self._temporary = path.with_name(f".{path.stem[-30:]}.{os.getpid()}.mp4")
        self._writer: cv2.VideoWriter | None = None
        self._size = (0, 0)

    def add(self, frame: np.ndarray) -> None:
        """Add a frame uint8 (H, W, 3), RGB; crop it or pad it with white to the size of the first one."""
        if self._writer is None:
            # Codecs need even sides.
            self._size = frame.shape[0] + frame.shape[0] % 2, frame.shape[1] + frame.shape[1] % 2
            code = cv2.VideoWriter.fourcc(*"mp4v")
            self._writer = cv2.VideoWriter(str(self._temporary), code, self.rate, self._size[::-1])
            if not self._writer.isOpened():
                height, width = self._size
                raise UserError(f"{self.path}: a video of {width}x{height} pixels cannot be written")
        fitting = np.full((*self._size, 3), 255, np.uint8)
        height, width = min(frame.shape[0], self._size[0]), min(frame.shape[1], self._size[1])
        fitting[:height, :width] = frame[:height, :width]
        self._writer.write(cv2.cvtColor(fitting, cv2.COLOR_RGB2BGR))

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._writer is None:
            return
        self._writer.release()
        try:
            if kind is None or self.keep_part:
                with Frames(str(self._temporary)):  # OpenCV does not report a full disk
                    self._temporary.replace(self.path)
        except Unreadable as error:
            raise UserError(f"{self.path}: the video cannot be written; the disk may be full") from error
        except OSError as error:
            raise UserError(f"{self.path}: cannot be written ({error.strerror})") from error
        finally:
            self._temporary.unlink(missing_ok=True)
