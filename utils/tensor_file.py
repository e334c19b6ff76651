"""Read files of `torch.save` without running code from them, and check them for damage."""

from __future__ import annotations

import errno
import pickle
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from utils.errors import UserError
from utils.text import shown

MOST_REPEATED = 2**26  # bytes of a tensor that repeats its memory


def read_tensor_file(file: Path, what: str) -> Any:
    """Read tensors, on the CPU, and plain values from a file.

    Checksums are verified, which PyTorch does not do: a flipped bit would be a wrong weight. It takes 0.1 s for 240 MB.
    Files in the format before PyTorch 1.6 have no checksums.

    Args:
        what: what the file should be, for messages: "a checkpoint".

    Raises:
        UserError: the file cannot be read, is damaged, or holds other objects.
    """
    try:
        is_zip = zipfile.is_zipfile(file)
        if is_zip:
            with zipfile.ZipFile(file) as archive:
                damaged = archive.testzip()
            if damaged is not None:
                raise UserError(
                    f"{file}: damaged: the checksum of its record {damaged!r} is wrong; use another copy of the file"
                )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about damaged files
            return torch.load(file, map_location="cpu", weights_only=True)
    except UserError:
        raise
    except pickle.UnpicklingError as error:
        if is_zip:
            raise UserError(f"{file}: holds more than tensors and plain values, which could run code") from error
        raise UserError(f"{file}: not {what}, or a damaged one") from error
    except OSError as error:
        if error.errno == errno.EINVAL:  # a negative offset in a truncated archive
            raise UserError(f"{file}: damaged or truncated; use another copy of the file") from error
        raise UserError(f"{file}: cannot be read ({error.strerror or error})") from error
    except Exception as error:  # damaged bytes raise all kinds of exceptions
        raise UserError(f"{file}: damaged or truncated; use another copy of the file") from error


def check_tensors(tensors: Mapping[str, Any], file: object) -> None:
    """Check that tensors are dense and finite.

    Args:
        tensors: tensors by name; other values are ignored.
        file: where they come from, for the message.

    Raises:
        UserError: names the first tensor that is not.
    """
    for name, tensor in tensors.items():
        if not isinstance(tensor, Tensor):
            continue
        if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_meta or _is_inflated(tensor):
            raise UserError(f"{file}: {shown(name, 200)} is not an ordinary dense tensor; use another file")
        if not tensor.is_floating_point():
            continue
        values = tensor if tensor.element_size() > 1 else tensor.float()  # 8-bit floats have no isfinite
        finite = values.isfinite()
        if not finite.all():
            wrong = tensor.numel() - int(finite.sum())
            raise UserError(
                f"{file}: {shown(name, 200)} has {wrong} NaN or infinite of {tensor.numel()} values: the file is"
                " damaged, or the training had diverged; use another one"
            )


def _is_inflated(tensor: Tensor) -> bool:
    """Whether a tensor is much larger than its memory, which it repeats."""
    return tensor.numel() * tensor.element_size() > max(tensor.untyped_storage().nbytes(), MOST_REPEATED)
