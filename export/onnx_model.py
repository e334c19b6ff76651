"""Run exported ONNX files with ONNX Runtime, as networks."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from engine.normalization import Normalization
from export.facts import DAMAGED, Facts
from utils.errors import UserError
from utils.paths import is_file
from utils.text import plural, shown


class OnnxModel(nn.Module):
    """The network of an ONNX file that this program exported. Inputs and outputs are on the CPU, whatever the device.

    Attributes:
        facts: stored in the file.
        normalization: to be applied to images before `forward`.

    Raises:
        UserError: ONNX Runtime is not installed or lacks the device, or the file is missing, damaged or was exported by
            another program.
    """

    def __init__(self, path: Path, device: torch.device | str = "cpu") -> None:
        super().__init__()
        self.path = path
        self.session = open_session(path, torch.device(device), torch.get_num_threads())
        self.facts = Facts.from_texts(self.session.get_modelmeta().custom_metadata_map, path)
        self.normalization = self.facts.normalization
        if self.facts.preprocessing:  # keeps the values 0 to 255, as floats
            channels = len(self.normalization.mean)
            self.normalization = Normalization((0.0,) * channels, (1 / 255,) * channels)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits float32 (N, C, H, W) of images float32 (N, channels, H, W) prepared by `normalization`.

        Raises:
            UserError: the file is for another size, or damaged.
        """
        size = tuple(images.shape[-2:])
        if not self.facts.dynamic and size != self.facts.image_size:
            own = "x".join(map(str, self.facts.image_size))
            raise UserError(
                f"{self.path}: takes only images of {own}, not {size[0]}x{size[1]}; export it with dynamic=true"
            )
        given = images.cpu()
        if self.facts.preprocessing:
            given = given.round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1)
        batches = [given] if self.facts.dynamic else given.split(1)
        found = [self._logits(np.ascontiguousarray(part.numpy())) for part in batches]
        return torch.from_numpy(found[0] if len(found) == 1 else np.concatenate(found))

    def _logits(self, images: np.ndarray) -> np.ndarray:
        try:
            logits = np.asarray(self.session.run(["logits"], {"images": images})[0])
        except Exception as error:  # ONNX Runtime does not document its exceptions
            reason = shown(str(error).splitlines()[0] if str(error) else type(error).__name__, 200)
            raise UserError(f"{self.path}: ONNX Runtime cannot run it ({reason}); {DAMAGED}") from error
        if logits.ndim != 4 or logits.shape[:2] != (len(images), len(self.facts.labels)):
            raise UserError(
                f"{self.path}: returns {logits.shape}, not logits of"
                f" {plural(len(self.facts.labels), 'class', 'classes')}; {DAMAGED}"
            )
        if not np.isfinite(logits).all():  # the file has no checksums
            raise UserError(f"{self.path}: returns NaN or infinite logits; {DAMAGED}")
        return logits


def size_of(session: Any, path: Path) -> tuple[int, int] | None:
    """Return the height and width that an ONNX file takes; None if it takes any.

    Raises:
        UserError: it does not take images, bytes (N, H, W, channels) or float32 (N, channels, H, W).
    """
    given = session.get_inputs()
    kinds = {"tensor(uint8)": slice(1, 3), "tensor(float)": slice(2, 4)}
    if len(given) != 1 or given[0].type not in kinds or len(given[0].shape) != 4:
        raise UserError(f"{path}: does not take images, uint8 (N, H, W, channels) or float32 (N, channels, H, W)")
    height, width = given[0].shape[kinds[given[0].type]]
    return (height, width) if isinstance(height, int) and isinstance(width, int) else None


def random_images(session: Any, path: Path, batch_size: int, size: tuple[int, int]) -> dict[str, np.ndarray]:
    """Return random images of a height and width under the name of the input of an ONNX file.

    Raises:
        UserError: as for `size_of`, or the file takes another size or batch.
    """
    fixed, given, rng = size_of(session, path), session.get_inputs()[0], np.random.default_rng(0)
    batch = given.shape[0] if isinstance(given.shape[0], int) else batch_size
    if fixed not in (None, size) or batch != batch_size:
        raise UserError(f"{path}: takes only batches of {batch}, not {batch_size}; export it with dynamic=true")
    if given.type == "tensor(uint8)":
        return {given.name: rng.integers(0, 256, (batch, *size, given.shape[3]), np.uint8)}
    return {given.name: rng.random((batch, given.shape[1], *size), np.float32)}


def choose_device(name: str) -> torch.device:
    """Return the device of a name; `auto` is CUDA if this ONNX Runtime supports it, else the CPU.

    Raises:
        UserError: it is Apple's MPS, which ONNX Runtime does not support.
    """
    if name == "mps":
        raise UserError("device=mps: ONNX Runtime runs .onnx files on cpu or cuda")
    if name != "auto":
        return torch.device(name)
    with suppress(ImportError):  # reported later, when the file is opened
        import onnxruntime

        if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
            return torch.device("cuda")
    return torch.device("cpu")


def open_session(path: Path, device: torch.device, threads: int) -> Any:
    """Open an ONNX Runtime session.

    Raises:
        UserError: as for `OnnxModel`, except that files of other programs are accepted.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise UserError(f"{path}: ONNX Runtime is not installed; pip install -r requirements-export.txt") from error
    if not is_file(path):
        raise UserError(f"there is no file {path}")
    provider = {"cuda": "CUDAExecutionProvider"}.get(device.type, "CPUExecutionProvider")
    if provider not in onnxruntime.get_available_providers():
        raise UserError(
            f"device={device.type}: this ONNX Runtime does not support it; pip install onnxruntime-gpu in place of"
            " onnxruntime, or pass device=cpu"
        )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3  # only errors; it warns about unused values
    try:
        return onnxruntime.InferenceSession(path.read_bytes(), options, [provider])
    except Exception as error:  # ONNX Runtime does not document its exceptions
        raise UserError(f"{path}: not an ONNX file, or a damaged one") from error
