"""Augmentation of whole batches on a device, with the numbers that albumentations would draw.

Albumentations draws each sample's random numbers, on the CPU and within microseconds; the pixels are moved and coloured
on the device. So both give the same sample, up to rounding (tests/data/test_device_augmentation.py).
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import albumentations as A
import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from data.augmentation import Augmentation
from data.cropping import RandomCrop
from data.device_cropping import DeviceCrop, Size
from data.labels import IGNORE_INDEX
from data.mixing import Mixing
from utils.errors import UserError

GRAY = (0.299, 0.587, 0.114)  # of red, green and blue (ITU-R BT.601)


class DeviceAugmentation:
    """The transforms of an `Augmentation` for batches on a device.

    Args:
        augmentation: made up of horizontal flips, `RandomScale`, `RandomCrop`, `Affine`, `ColorJitter`, `RGBShift` and
            `RandomBrightnessContrast`; or a `data.cropping.RandomCrop` with these.
        size: (H, W) of the samples; those of a `data.cropping.RandomCrop` have any size.

    Attributes:
        output_size: (H, W) of the augmented samples.

    Raises:
        UserError: a transform is not one of them, has options that are not supported here, or would leave samples of
            different sizes.
    """

    def __init__(self, augmentation: Augmentation, size: Size) -> None:
        if isinstance(augmentation, Mixing):
            raise UserError(
                f"augmentation: {type(augmentation).__name__} runs on the CPU only; pass data.augment_on=cpu, and"
                " data.cache=ram instead of device"
            )
        self.crop = DeviceCrop(augmentation) if isinstance(augmentation, RandomCrop) else None
        self.augmentation, self.size = augmentation, self.crop.size if self.crop else size
        self.stages: list[_Warp | _Color] = []
        for transform in augmentation.transforms:
            _check_supported(transform)
            if type(transform) in COLORS:
                self.stages.append(_Color(transform))
                continue
            last = self.stages[-1] if self.stages else None
            # A separate canvas before and after an affine map, which fills what it uncovers.
            if not isinstance(last, _Warp) or isinstance(transform, A.Affine) or last.ends:
                last = _Warp(self._size())
                self.stages.append(last)
            last.add(transform)
        if any(isinstance(stage, _Warp) and stage.size is None for stage in self.stages):
            raise UserError("augmentation: RandomScale leaves samples of different sizes; add a RandomCrop after it")

        self.output_size = self._size()

    def _size(self) -> Size:
        """(H, W) after the stages so far."""
        sizes = [stage.size for stage in self.stages if isinstance(stage, _Warp) and stage.size is not None]
        return sizes[-1] if sizes else self.size

    def draw(self, seed: int, size: Size) -> np.ndarray:
        """Draw the numbers of a sample of a size (H, W): float32 (K,), as `Augmentation` draws them for this seed."""
        drawn = [self.crop.draw(seed, size)] if self.crop else []
        if (compose := self.augmentation.compose) is not None:
            compose.set_random_state(np.random.default_rng(seed), random.Random(seed))
            compose.py_random.random()  # a Compose first draws whether to run
            drawn += [stage.draw() for stage in self.stages]
        return np.concatenate([np.zeros(0), *drawn], dtype=np.float32)

    def __call__(self, images: Tensor, masks: Tensor, drawn: Tensor) -> tuple[Tensor, Tensor]:
        """Augment a batch.

        Args:
            images: uint8 (N, 3, H, W); smaller ones are padded at the bottom and right.
            masks: uint8 (N, H, W).
            drawn: float32 (N, K), a row of `draw` per sample, on the same device.

        Returns:
            Images float32 (N, 3, H', W') from 0 to 255 and masks uint8 (N, H', W').
        """
        floats = images.float()
        stages = [self.crop, *self.stages] if self.crop else self.stages
        numbers = drawn.split([stage.numbers for stage in stages], dim=1)
        for stage, own in zip(stages, numbers, strict=True):
            floats, masks = stage.apply(floats, masks, own)
        return floats, masks


class _Warp:
    """Geometric transforms that are applied together, each pixel being sampled once.

    Attributes:
        size: (H, W) of the output, None as long as it differs from sample to sample.
        numbers: how many numbers are drawn: the affine map from output to input pixels, row by row.
        ends: whether no further transform can be added.
    """

    numbers = 6

    def __init__(self, size: Size) -> None:
        self.input = size
        self.size: Size | None = size
        self.transforms: list[A.BasicTransform] = []
        self.fill: tuple[float, ...] = (0.0, 0.0, 0.0)
        self.ends = False

    def add(self, transform: A.BasicTransform) -> None:
        self.transforms.append(transform)
        if isinstance(transform, A.RandomScale):
            self.size = None
        elif isinstance(transform, A.RandomCrop):
            self.size = (transform.height, transform.width)
        if isinstance(transform, A.RandomCrop | A.Affine):
            fill = np.broadcast_to(np.asarray(transform.fill, np.float32), 3)
            self.fill = tuple(float(value) for value in fill)
        self.ends = isinstance(transform, A.Affine)

    def draw(self) -> np.ndarray:
        matrix, size = np.eye(3), self.input
        for transform in self.transforms:
            params = _params(transform, size)
            if params is not None:
                step, size = GEOMETRY[type(transform)](params, size)
                matrix = matrix @ step
        return matrix[:2].ravel()

    def apply(self, images: Tensor, masks: Tensor, numbers: Tensor) -> tuple[Tensor, Tensor]:
        assert self.size is not None
        (height, width), (rows, columns) = self.input, self.size
        device = images.device
        x, y = torch.arange(columns, device=device), torch.arange(rows, device=device)
        a, b, c, d, e, f = numbers.view(-1, 6, 1, 1).unbind(1)
        u = a * x + b * y[:, None] + c  # where each output pixel (x, y) lies in the input
        v = d * x + e * y[:, None] + f
        inside = ((u >= -0.5) & (u <= width - 0.5) & (v >= -0.5) & (v <= height - 0.5))[:, None]
        grid = torch.stack([(2 * u + 1) / width - 1, (2 * v + 1) / height - 1], dim=-1)
        moved = F.grid_sample(images, grid, "bilinear", "border", align_corners=False)
        fill = torch.tensor(self.fill).view(1, 3, 1, 1)
        moved = torch.where(inside, moved, fill.to(device, non_blocking=True))
        # What lies between two pixels goes to the later one, as in OpenCV's INTER_NEAREST_EXACT.
        u, v = (u + 0.5).floor().clamp(0, width - 1).long(), (v + 0.5).floor().clamp(0, height - 1).long()
        found = masks.flatten(1).gather(1, (v * width + u).flatten(1)).view(-1, rows, columns)
        return moved, found.where(inside[:, 0], IGNORE_INDEX)


def _flip(params: dict[str, Any], size: Size) -> tuple[np.ndarray, Size]:
    return np.array([[-1, 0, size[1] - 1], [0, 1, 0], [0, 0, 1]], float), size


def _scale(params: dict[str, Any], size: Size) -> tuple[np.ndarray, Size]:
    height, width = size
    rows, columns = int(height * params["scale"]), int(width * params["scale"])
    x, y = width / columns, height / rows
    return np.array([[x, 0, (x - 1) / 2], [0, y, (y - 1) / 2], [0, 0, 1]]), (rows, columns)


def _crop(params: dict[str, Any], size: Size) -> tuple[np.ndarray, Size]:
    left, top, right, bottom = params["crop_coords"]
    pad = params["pad_params"] or {"pad_left": 0, "pad_top": 0}
    step = np.array([[1, 0, left - pad["pad_left"]], [0, 1, top - pad["pad_top"]], [0, 0, 1]], float)
    return step, (bottom - top, right - left)


def _affine(params: dict[str, Any], size: Size) -> tuple[np.ndarray, Size]:
    return np.linalg.inv(params["matrix"]), size


GEOMETRY: dict[type, Callable[[dict[str, Any], Size], tuple[np.ndarray, Size]]] = {
    A.HorizontalFlip: _flip,
    A.RandomScale: _scale,
    A.RandomCrop: _crop,
    A.Affine: _affine,
}
"""The map from output to input pixels, and the size of the output."""


class _Color:
    """One transform of colours."""

    def __init__(self, transform: A.BasicTransform) -> None:
        self.transform = transform
        self.encode, self.change, self.numbers = COLORS[type(transform)]

    def draw(self) -> np.ndarray:
        params = _params(self.transform, (8, 8))  # no number depends on the size
        # The first number says whether the transform is applied.
        return np.zeros(self.numbers) if params is None else np.array([1.0, *self.encode(params)])

    def apply(self, images: Tensor, masks: Tensor, numbers: Tensor) -> tuple[Tensor, Tensor]:
        applied, *own = numbers.view(*numbers.shape, 1, 1, 1).unbind(1)
        return torch.where(applied > 0, self.change(images, own), images), masks


def _jitter(images: Tensor, numbers: list[Tensor]) -> Tensor:
    factors, order = numbers[:4], numbers[4:]
    for place in order:
        changed = images
        for kind, (change, factor) in enumerate(zip(JITTER, factors, strict=True)):
            changed = torch.where(place == kind, change(images, factor).clamp(0, 255), changed)
        images = changed
    return images


def _gray(images: Tensor) -> Tensor:
    red, green, blue = images.split(1, dim=1)
    return GRAY[0] * red + GRAY[1] * green + GRAY[2] * blue


def _hue(images: Tensor, turn: Tensor) -> Tensor:
    """Turn the hue by a share of a full turn, at the same value and saturation (HSV)."""
    value, least = images.amax(1, keepdim=True), images.amin(1, keepdim=True)
    chroma = (value - least).clamp(min=1e-6)
    red, green, blue = images.split(1, dim=1)
    hue = torch.where(
        value == red,
        (green - blue) / chroma,
        torch.where(value == green, (blue - red) / chroma + 2, (red - green) / chroma + 4),
    )
    hue = hue + 6 * turn
    # Each channel is the value less the chroma's share k(n) = max(0, min(k, 4 - k, 1)), k = (n + hue) mod 6.
    k = torch.cat([(n + hue) % 6 for n in (5, 3, 1)], dim=1)
    return value - (value - least) * torch.minimum(k, 4 - k).clamp(0, 1)


JITTER: tuple[Callable[[Tensor, Tensor], Tensor], ...] = (
    torch.mul,  # brightness
    lambda images, factor: images * factor + _gray(images).mean((1, 2, 3), keepdim=True) * (1 - factor),  # contrast
    lambda images, factor: images * factor + _gray(images) * (1 - factor),  # saturation
    _hue,
)


def _jitter_numbers(params: dict[str, Any]) -> list[float]:
    return [*(params[key] for key in ("brightness", "contrast", "saturation", "hue")), *params["order"]]


COLORS: dict[type, tuple[Callable[[dict[str, Any]], Any], Callable[[Tensor, list[Tensor]], Tensor], int]] = {
    A.ColorJitter: (_jitter_numbers, _jitter, 9),
    A.RandomBrightnessContrast: (
        lambda params: [params["alpha"], params["beta"]],
        lambda images, numbers: (images * numbers[0] + numbers[1]).clamp(0, 255),
        3,
    ),
    A.RGBShift: (
        lambda params: params["noise_map"],
        lambda images, numbers: (images + torch.cat(numbers, dim=1)).clamp(0, 255),
        4,
    ),
}
"""What is drawn for a transform, what is done with it, and how many numbers that takes."""


def _params(transform: A.BasicTransform, size: Size) -> dict[str, Any] | None:
    """The parameters that a transform draws for an image of this size; None where it is not applied."""
    if not transform.should_apply():
        return None
    data = {"image": np.broadcast_to(np.uint8(0), (*size, 3))}
    params = transform.update_transform_params(params=transform.get_params(), data=data)
    return params | transform.get_params_dependent_on_data(params=params, data=data)


def _check_supported(transform: A.BasicTransform) -> None:
    name = type(transform).__name__
    if type(transform) not in {**GEOMETRY, **COLORS}:
        known = ", ".join(kind.__name__ for kind in (*GEOMETRY, *COLORS))
        raise UserError(f"augmentation: {name} runs on the CPU only; pass data.augment_on=cpu (on devices: {known})")
    options = {
        "interpolation": cv2.INTER_LINEAR,
        "border_mode": cv2.BORDER_CONSTANT,
        "area_for_downscale": None,
        "fit_output": False,
        "brightness_by_max": True,
    }
    for key, expected in options.items():
        if getattr(transform, key, expected) != expected:
            given = f"{name} with {key}={getattr(transform, key)}"
            raise UserError(f"augmentation: {given} runs on the CPU only; pass data.augment_on=cpu")
