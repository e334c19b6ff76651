"""Facts about an exported network, stored in the metadata of an ONNX file, or as `facts.json` in the other formats."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from typing import Annotated, Any

from torch import nn

from data.labels import LabelSet
from engine.checkpoint import Pixels, StoredLabels, StoredNormalization, Two
from engine.normalization import Normalization
from utils.errors import UserError
from utils.safe_reading import FileSchema, check_schema
from utils.text import shown

VERSION = 1
DAMAGED = "the file is damaged; export it again with python -m tools.export"


class StoredFacts(FileSchema):
    """Types of the values that are stored as JSON; the others are plain text."""

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
        preprocessing: whether it takes bytes (N, H, W, channels) instead of normalised float32 (N, channels, H, W).
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

    def run_config(self) -> dict[str, Any]:
        """Return the run's config; {} if it is damaged."""
        try:
            config = json.loads(self.config)
        except (ValueError, RecursionError):
            return {}
        return config if isinstance(config, dict) else {}

    def to_texts(self) -> dict[str, str]:
        """Return a text for each key, as JSON unless it is a plain word."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        values |= {"labels": self.labels.to_dict(), "normalization": self.normalization.to_dict()}
        in_json = {key: json.dumps(values[key]) for key in StoredFacts.model_fields}
        return {"format_version": str(VERSION), **values, **in_json}

    @classmethod
    def from_texts(cls, texts: dict[str, str], file: object) -> Facts:
        """Restore what `to_texts` returned.

        Raises:
            UserError: a text is missing, of a wrong type, or of a newer version; `file` is named.
        """
        keys = [field.name for field in fields(cls)]
        missing = [key for key in ("format_version", *keys) if key not in texts]
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
        values: dict[str, Any] = {key: texts[key] for key in keys}
        for key in StoredFacts.model_fields:
            try:
                values[key] = json.loads(texts[key])
            except (ValueError, RecursionError) as error:
                raise UserError(f"{file}: {key}: not valid JSON; {DAMAGED}") from error
        check_schema(StoredFacts, values, file, DAMAGED)
        try:
            labels = LabelSet.from_dict(values["labels"])
        except ValueError as error:
            raise UserError(f"{file}: labels: {shown(str(error), 200)}; {DAMAGED}") from error
        normalization, image_size = Normalization.from_dict(values["normalization"]), tuple(values["image_size"])
        return cls(**values | {"labels": labels, "normalization": normalization, "image_size": image_size})


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
