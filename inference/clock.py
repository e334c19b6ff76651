"""How long images take, in the network and as a whole."""

from __future__ import annotations

import time

from inference.predictor import Predictor


class ImageClock:
    """Measure the time per image. The first image of several is left out: it includes the start of the device.

    Args:
        predictor: measures the time in the network.
    """

    def __init__(self, predictor: Predictor) -> None:
        self.predictor = predictor
        self.images = 0
        self._start = self._now()
        self._first = self._last = self._start

    def tick(self) -> None:
        """Note that an image is done."""
        self.images += 1
        self._last = self._now()
        if self.images == 1:
            self._first = self._last

    def per_image(self) -> tuple[float, float]:
        """Return the milliseconds per image, with reading and writing, and in the network."""
        since, images = (self._first, self.images - 1) if self.images > 1 else (self._start, max(self.images, 1))
        whole, network = (1000 * (end - begin) / images for begin, end in zip(since, self._last, strict=True))
        return whole, network

    def _now(self) -> tuple[float, float]:
        return time.perf_counter(), self.predictor.network_seconds


def per_image_text(clock: ImageClock, unit: str = "image") -> str:
    """Return a line with the times of a clock."""
    whole, network = clock.per_image()
    return f"{whole:.1f} ms per {unit} with reading and writing, {network:.1f} ms in the network"
