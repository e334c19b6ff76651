"""What an exported file says of itself: in the metadata of an ONNX file, in `facts.json` within the others."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from torch import nn

from data.labels import LabelSet
from engine.normalization import Normalization
from utils.errors import UserError

VERSION = 1


@dataclass(frozen=True)
class Facts:
    """What is known of an exported network.

    Attributes:
        image_size: (H, W) that photos are resized to.
        dynamic: whether it takes other sizes and batches too; else one image of `image_size`.
        preprocessing: whether it takes uint8 RGB (N, H, W, 3) in place of normalised float32 (N, 3, H, W).
        quantized: `int8`, or '' for float32.
        model: name of the network's class.
        code: commit of the program that trained it.
        config: the run's, as JSON.
    """

    labels: LabelSet
    normalization: Normalization
    image_size: tuple[int, int]
    dynamic: bool
    preprocessing: bool
    quantized: str
    model: str
    code: str
    config: str

    def to_texts(self) -> dict[str, str]:
        """A text for each key, JSON where it is no plain word."""
        return {
            "format_version": str(VERSION),
            "labels": json.dumps(self.labels.to_dict()),
            "normalization": json.dumps(self.normalization.to_dict()),
            "image_size": json.dumps(self.image_size),
            "dynamic": json.dumps(self.dynamic),
            "preprocessing": json.dumps(self.preprocessing),
            "quantized": self.quantized,
            "model": self.model,
            "code": self.code,
            "config": self.config,
        }

    @classmethod
    def from_texts(cls, texts: dict[str, str], file: object) -> Facts:
        """The inverse of `to_texts`.

        Raises:
            UserError: they are not there, or of a newer version; `file` is named.
        """
        try:
            version = int(texts["format_version"])
            if version > VERSION:
                raise UserError(
                    f"{file}: exported in format {version} by a newer version of this program; this one reads up to"
                    f" format {VERSION}"
                )
            height, width = json.loads(texts["image_size"])
            return cls(
                LabelSet.from_dict(json.loads(texts["labels"])),
                Normalization.from_dict(json.loads(texts["normalization"])),
                (int(height), int(width)),
                json.loads(texts["dynamic"]) is True,
                json.loads(texts["preprocessing"]) is True,
                texts["quantized"],
                texts["model"],
                texts["code"],
                texts["config"],
            )
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(
                f"{file}: does not say what its classes are and how images are prepared, so it was not exported by"
                " this program; python -m tools.export writes one that does"
            ) from error


def facts_of(
    checkpoint: dict[str, Any], model: nn.Module, image_size: tuple[int, int], dynamic: bool, preprocessing: bool
) -> Facts:
    """What a checkpoint says, for a file."""
    return Facts(
        LabelSet.from_dict(checkpoint["labels"]),
        Normalization.from_dict(checkpoint["normalization"]),
        image_size,
        dynamic,
        preprocessing,
        "",
        type(model).__name__,
        str(checkpoint.get("code")),
        json.dumps(checkpoint["config"]),
    )
