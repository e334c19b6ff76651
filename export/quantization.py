"""Quantise ONNX files to 8 bits, with ranges of activations measured on images."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from export.exported import quiet
from utils.errors import UserError

OPERATIONS = ("Conv", "ConvTranspose", "Add", "Mul", "Sigmoid", "Relu", "MaxPool", "Concat", "Resize")
"""Operations to quantise. With only convolutions, values would be converted to floats and back between them."""


def quantize_onnx(content: bytes, images: Iterable[np.ndarray]) -> Any:
    """Quantise an ONNX file statically, calibrated on its inputs; return an onnx.ModelProto in the QDQ format.

    Weights have a range per channel. Activations are unsigned, which the fast instructions (VNNI) need, and range from
    the smallest to the largest value seen: clipping was no better for ENet and ESPNet S0.

    Raises:
        UserError: a package is missing.
    """
    try:
        import onnx
        from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static
        from onnxruntime.quantization.calibrate import CalibrationDataReader
        from onnxruntime.quantization.shape_inference import quant_pre_process
    except ImportError as error:
        raise UserError(f"quantize: {error.name} is not installed; pip install -r requirements-export.txt") from error

    class Images(CalibrationDataReader):
        def __init__(self) -> None:
            self.images: Iterator[np.ndarray] = iter(images)

        def get_next(self) -> dict[str, np.ndarray] | None:
            image = next(self.images, None)
            return None if image is None else {"images": image}

    with tempfile.TemporaryDirectory() as folder, quiet():
        plain, prepared, written = (Path(folder, f"{name}.onnx") for name in ("plain", "prepared", "written"))
        plain.write_bytes(content)
        quant_pre_process(plain, prepared, skip_symbolic_shape=True)
        quantize_static(
            prepared,
            written,
            Images(),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=list(OPERATIONS),
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
        )
        return onnx.load(written)
