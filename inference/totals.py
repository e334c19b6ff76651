"""What infer.py says about all images together: the time of each, and the shares of the classes."""

from __future__ import annotations

import time
from collections import Counter

import numpy as np

from inference.predictor import Predictor
from utils.tables import table
from utils.text import plural
from visualization.overlay import class_shares


class Totals:
    """Add up the time and the masks of images.

    The time of the first of several images is left out: it includes the start of the device.

    Args:
        predictor: measures the time in the network, and knows the classes.
        unit: what an image is, such as a frame.
    """

    def __init__(self, predictor: Predictor, unit: str = "image") -> None:
        self.predictor, self.unit = predictor, unit
        self.images = self.masks = 0
        self._shares: Counter[str] = Counter()
        self._start = self._now()
        self._first = self._last = self._start

    def add(self, mask: np.ndarray | None) -> None:
        """Note that an image is done, with its mask uint8 (H, W), or None if it could not be read."""
        self.images += 1
        self._last = self._now()
        if self.images == 1:
            self._first = self._last
        if mask is not None:
            self.masks += 1
            self._shares.update({name: share for name, _, share in class_shares(mask, self.predictor.labels)})

    def lines(self) -> list[str]:
        """Return a table of the mean share of each class, and a line with the times; nothing if there is no mask."""
        if self.masks == 0:
            return []
        rows = [[name, f"{share / self.masks:.2%}"] for name, share in self._shares.most_common()]
        title = f"mean of {plural(self.masks, self.unit)}" if self.masks > 1 else None
        whole, network = self.per_image()
        times = f"{whole:.1f} ms per {self.unit} with reading and writing, {network:.1f} ms in the network"
        return [table([["class", "pixels"], *rows], title), times]

    def per_image(self) -> tuple[float, float]:
        """Return the milliseconds per image, with reading and writing, and in the network."""
        since, images = (self._first, self.images - 1) if self.images > 1 else (self._start, max(self.images, 1))
        whole, network = (1000 * (end - begin) / images for begin, end in zip(since, self._last, strict=True))
        return whole, network

    def _now(self) -> tuple[float, float]:
        return time.perf_counter(), self.predictor.network_seconds
