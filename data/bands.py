"""Read and show photos of any number of channels, of 8 or 16 bits or floats.

TIFFs are read with tifffile, because Pillow does not read several bands of 16 bits, and OpenCV at most four.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeGuard

import cv2
import numpy as np

from data import tiff
from data.images import ORIENTATION, decode, orientation, read_encoded, read_image, turned
from utils.errors import Unreadable, UserError
from utils.text import plural, shown

MOST_CHANNELS = 512
"""OpenCV's limit."""
STRETCH = 2, 98
"""Percentiles of the values of a photo that are black and white in its picture."""
DARK = 64
"""Photos without a value above this are nearly black, such as 14-bit photos in 16-bit files."""


class Bands(NamedTuple):
    """The channels of photos and the range of their values.

    Attributes:
        channels: number of channels.
        value_range: smallest and largest value; None for bytes, from 0 to 255.
        preview: channels to show as red, green and blue, counted from 1; None for the first three.
    """

    channels: int = 3
    value_range: tuple[float, float] | None = None
    preview: tuple[int, int, int] | None = None

    @property
    def is_rgb(self) -> bool:
        """Whether these are ordinary photos."""
        return self.channels == 3 and self.value_range is None

    @property
    def dtype(self) -> type:
        """The dtype of the photos in memory: bytes, or floats of the same scale, from 0 to 255."""
        return np.uint8 if self.value_range is None else np.float32

    @property
    def form(self) -> str:
        """The form of photos in memory, in words."""
        return f"{np.dtype(self.dtype)} (H, W, {self.channels}){', RGB' * self.is_rgb}"

    def fits(self, image: object) -> TypeGuard[np.ndarray]:
        """Whether an object is a photo in memory, as `read` returns it."""
        if not isinstance(image, np.ndarray) or image.dtype != self.dtype:
            return False
        return image.ndim == 3 and image.shape[2] == self.channels and image.size > 0

    def read(self, path: str | Path) -> np.ndarray:
        """Read a photo, `dtype` (H, W, channels).

        Values are scaled from `value_range` to 0 to 255. Those beyond it are clipped, and NaN becomes 0.

        Raises:
            Unreadable: as for `data.images.read_image`; or the photo has another number of channels, values other than
                bytes without `value_range`, or a compression that needs another package.
        """
        if self.is_rgb:
            return read_image(path)
        encoded = read_encoded(path)
        values = _decoded(encoded, path) if tiff.read_facts(encoded) is None else _values_of_tiff(encoded, path)
        if values.shape[2] != self.channels:
            raise Unreadable(
                f"{path}: has {plural(values.shape[2], 'channel')}, expected {self.channels}; pass photos of"
                f" {plural(self.channels, 'channel')}, or train with data.channels={values.shape[2]}"
            )
        if values.dtype.kind not in "uif":
            raise Unreadable(f"{path}: its values are {values.dtype}; save it with integers or floats")
        if self.value_range is None:
            if values.dtype != np.uint8:
                raise Unreadable(
                    f"{path}: its values are {values.dtype}, not bytes; train with data.value_range=[low,high], the"
                    " range of the values"
                )
            return np.ascontiguousarray(values)
        low, high = self.value_range
        scaled = (values.astype(np.float32) - low) * (255 / (high - low))
        return np.nan_to_num(scaled.clip(0, 255), copy=False)

    def range_warning(self, largest: float, saturated: float) -> str | None:
        """Return a warning that photos may have another range of values, such as 12 bits in 16-bit files; None if not.

        Args:
            largest: the largest of their values as `read` returns them.
            saturated: share of the values that are 255.
        """
        given = self.value_range and f"data.value_range=[{self.value_range[0]:g},{self.value_range[1]:g}]"
        if given and saturated > 0.5:
            return f"more than half of the values are at the upper end of {given} or beyond; is it their range?"
        if largest > DARK:
            return None
        used = int(0.9 * largest).bit_length()  # decoders round up, and JPEG 2000 overshoots
        bits = 8 + used + used % 2
        ways = f"multiply their values by {2 ** (16 - bits)}, or train with data.value_range=[0,{2**bits - 1}]"
        advice = f"if files of 16 bits use only {bits} of them, {ways}"
        advice = f"is {given} their range?" if given else advice
        return f"nearly black, with no value above {largest:.3g} of 255; {advice}"

    def check(self, image: object) -> None:
        """Raise ValueError if an object is not a photo as `read` returns it."""
        if not self.fits(image):
            raise ValueError(f"expected a photo {self.form}, not {described(image)}")

    def picture(self, image: np.ndarray) -> np.ndarray:
        """Return what to show of a photo (H, W, channels): uint8 (H, W, 3).

        Floats are stretched so that all but the darkest and the lightest 2 % of the values have some contrast.
        """
        if self.is_rgb:
            return image
        chosen = self.preview or tuple(min(channel, self.channels) for channel in (1, 2, 3))
        bands = image[..., [channel - 1 for channel in chosen]]
        if bands.dtype == np.uint8:
            return np.ascontiguousarray(bands)
        low, high = np.percentile(bands, STRETCH)
        return ((bands - low) * (255 / max(high - low, 1e-3))).clip(0, 255).astype(np.uint8)


RGB = Bands()


def saturated(image: np.ndarray) -> float:
    """Return the share of the values of a photo that are 255."""
    return np.count_nonzero(image == 255) / image.size


def described(pixels: object) -> str:
    """Return dtype and shape of an array or tensor, or the type of another object, for messages."""
    shape = getattr(pixels, "shape", None)
    return type(pixels).__name__ if shape is None else f"{getattr(pixels, 'dtype', '')} {tuple(shape)}"


def checked_bands(channels: int, value_range: Sequence[float] | None, preview: Sequence[int] | None) -> Bands:
    """Return bands after a check of the keys `data.channels`, `data.value_range` and `data.preview_bands`.

    Raises:
        UserError: a value is out of range.
    """
    if type(channels) is not int or not 1 <= channels <= MOST_CHANNELS:
        raise UserError(f"data.channels={shown(channels)}: must be 1 to {MOST_CHANNELS}")
    if value_range is not None and not _is_range(value_range):
        raise UserError(
            f"data.value_range={shown(value_range)}: must be the smallest and the largest value, such as [0,10000]"
        )
    if preview is not None and not _are_channels(preview, channels):
        raise UserError(
            f"data.preview_bands={shown(preview)}: must be three numbers from 1 to data.channels={channels}, for red,"
            " green and blue"
        )
    return Bands(
        channels,
        None if value_range is None else (float(value_range[0]), float(value_range[1])),
        None if preview is None else (preview[0], preview[1], preview[2]),
    )


def bands_of(config: Mapping[str, Any], channels: int) -> Bands:
    """Return the bands of a run's config, which may come from anywhere; errors as for `checked_bands`.

    Args:
        channels: number of channels of the network's input.
    """
    data = config.get("data")
    data = data if isinstance(data, Mapping) else {}
    return checked_bands(channels, data.get("value_range"), data.get("preview_bands"))


def _is_range(value: object) -> bool:
    if not isinstance(value, list | tuple) or len(value) != 2 or not all(type(v) in (int, float) for v in value):
        return False
    return bool(np.isfinite(value).all()) and value[0] < value[1]


def _are_channels(value: object, channels: int) -> bool:
    if not isinstance(value, list | tuple) or len(value) != 3:
        return False
    return all(type(v) is int and 1 <= v <= channels for v in value)


def _decoded(encoded: bytes, path: str | Path) -> np.ndarray:
    """Decode a photo that is not a TIFF: (H, W, channels), red first."""
    pixels = decode(encoded, path, cv2.IMREAD_UNCHANGED)
    if pixels is None:
        raise Unreadable(f"{path}: not an image that can be read")
    pixels = turned(pixels, orientation(encoded))  # OpenCV does so only when it converts to 8 bits and RGB
    if pixels.ndim == 2:
        return pixels[..., None]
    return pixels[..., [2, 1, 0, *range(3, pixels.shape[2])]] if pixels.shape[2] > 2 else pixels


def _values_of_tiff(encoded: bytes, path: str | Path) -> np.ndarray:
    """Decode a TIFF: (H, W, bands), with alpha; or (H, W, pages) if it has several pages of one band.

    Smaller versions and transparency masks of the picture are left out.
    """
    try:
        with tiff.opened(encoded) as file:
            pages = tiff.pictures(file)
            if len({page.shape for page in pages}) > 1 or (len(pages) > 1 and pages[0].ndim > 2):
                raise Unreadable(
                    f"{path}: its {len(pages)} pages are of several sizes or have several bands each; save the page"
                    " you need as a separate file, or one band per page"
                )
            if pages[0].photometric == tiff.PALETTE:
                raise Unreadable(f"{path}: its values are indices of a palette; save it as RGB or grey")
            tag = pages[0].tags.get(ORIENTATION)
            if len(pages) > 1:
                values = np.stack([page.asarray(maxworkers=1) for page in pages], axis=-1)
            else:
                values = np.asarray(pages[0].asarray(maxworkers=1))
                values = np.moveaxis(values, 0, -1) if pages[0].axes.startswith("S") else values
                values = values if values.ndim == 3 else values[..., None]
            if pages[0].photometric == tiff.MIN_IS_WHITE and values.dtype.kind == "u":
                values = np.iinfo(values.dtype).max - values
            return turned(values, int(tag.value) if tag else 1)
    except Unreadable:
        raise
    except Exception as error:  # damaged bytes raise many undocumented exceptions
        needs = re.search(r"<(\w+)\.(\w+).*imagecodecs", str(error))
        if needs:
            raise Unreadable(
                f"{path}: the {needs[1].lower()} {needs[2]} needs a package: pip install imagecodecs; or save it with"
                " DEFLATE without a predictor for floats"
            ) from error
        raise Unreadable(f"{path}: the image is damaged or truncated; copy or download it again") from error
