"""Facts about an exported network, stored in the metadata of an ONNX file, or as `facts.json` in the other formats."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Annotated, Any

from torch import nn

from data.labels import LabelSet
from engine.checkpoint import Pixels, StoredLabels, StoredNormalization, Two
from engine.normalization import Normalization
from utils.checked import FileSchema, check_schema, shown
from utils.errors import UserError

VERSION = 1
KEYS = (
    *("format_version", "labels", "normalization", "image_size", "dynamic", "preprocessing"),
    *("quantized", "model", "code", "config"),
)
IN_JSON = ("labels", "normalization", "image_size", "dynamic", "preprocessing")
DAMAGED = "the file is damaged; export it again with python -m tools.export"


class StoredFacts(FileSchema):
    """The types of the values that are stored as JSON."""

    labels: StoredLabels
    normalization: StoredNormalization
    image_size: Annotated[list[Pixels], Two]
    dynamic: bool
    preprocessing: bool


@dataclass(frozen=True)
class Facts:
    """Facts about an exported network.

    Attributes:
        image_size: (H, W) that photos are resized to.
        dynamic: whether it takes any size and batch; otherwise only one image of `image_size`.
        preprocessing: whether it takes uint8 RGB (N, H, W, 3) instead of normalised float32 (N, 3, H, W).
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
        """Return a text for each key, as JSON unless it is a plain word."""
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
        """Restore what `to_texts` returned.

        Raises:
            UserError: a text is missing, of a wrong type, or of a newer version; `file` is named.
        """
        missing = [key for key in KEYS if key not in texts]
        if missing or not (texts["format_version"].isascii() and texts["format_version"].isdecimal()):
            raise UserError(
                f"{file}: has no metadata about its classes and preprocessing, so it was not exported by this"
                " program; use a file of python -m tools.export"
            )
        version = texts["format_version"]
        if int(version[:9]) > VERSION:
            raise UserError(
                f"{file}: exported in format {shown(version)} by a newer version of this program; this one reads up to"
                f" format {VERSION}"
            )
        values: dict[str, Any] = dict(texts)
        for key in IN_JSON:
            try:
                values[key] = json.loads(texts[key])
            except (ValueError, RecursionError) as error:
                raise UserError(f"{file}: {key}: not valid JSON; {DAMAGED}") from error
        check_schema(StoredFacts, values, file, DAMAGED)
        try:
            labels = LabelSet.from_dict(values["labels"])
        except ValueError as error:
            raise UserError(f"{file}: labels: {shown(str(error), 200)}; {DAMAGED}") from error
        height, width = values["image_size"]
        return cls(
            labels,
            Normalization.from_dict(values["normalization"]),
            (height, width),
            values["dynamic"],
            values["preprocessing"],
            texts["quantized"],
            texts["model"],
            texts["code"],
            texts["config"],
        )


def facts_of(
    checkpoint: dict[str, Any], model: nn.Module, image_size: tuple[int, int], dynamic: bool, preprocessing: bool
) -> Facts:
    """Return the facts of a checkpoint, for an exported file."""
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
