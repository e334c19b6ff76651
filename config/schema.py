"""Types and ranges of the keys of each config.

The groups are `Node`s here: their keys are the arguments of a `_target_`, and checked against its signature.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from utils.value_types import (
    Backend,
    BatchSize,
    BenchmarkColumn,
    Deviation,
    Device,
    ExportFormat,
    Flag,
    FolderName,
    Fraction,
    FreeText,
    NonNegative,
    Overlap,
    PictureFormat,
    Positive,
    Precision,
    Rate,
    RegularExpression,
    Seed,
    Size,
    TableFormat,
    Text,
    Threads,
    View,
    Workers,
)

Node = dict[str, Any]
TYPED_AS = {"models": "model", "classifier": "model"}
"""Keys that users type under another name: Hydra would read `model=` as the choice of a group's option."""
Names = Text | Annotated[list[Text], Field(min_length=1)]


def _several(value: Any) -> Any:
    return value if isinstance(value, list) else [value]


def _several_sizes(value: Any) -> Any:
    return [value] if isinstance(value, list) and value and not isinstance(value[0], list) else value


class Keys(BaseModel):
    """A config with exactly these keys."""

    model_config = ConfigDict(extra="forbid")


class InputSize(Keys):
    """The size of the network's input, which other keys of a config may refer to."""

    image_size: Size


class Loader(InputSize):
    """The keys of `data` that the loader takes, not the data set."""

    train_split: Text
    val_split: Text
    batch_size: BatchSize
    num_workers: Literal["auto"] | Workers
    cache: Literal["none", "ram", "disk", "device"]
    augment_on: Literal["auto", "cpu", "device"]
    limit: Positive | None
    allow_single_class: Flag
    fit: Literal["stretch", "pad"]
    mean: Annotated[list[Fraction], Field(min_length=1)] | None = None  # some files of weights/ have neither
    std: Annotated[list[Deviation], Field(min_length=1)] | None = None
    crop_size: Size
    sampling: Literal["uniform", "rare_class"]
    sampling_temperature: Annotated[float, Field(ge=1e-4, le=100)]
    folds: Annotated[int, Field(strict=True, ge=2, le=1000)] | None
    fold: NonNegative
    group_by: RegularExpression | None
    fold_seed: NonNegative


class ParameterGroups(Keys):
    """The keys of `optimizer` that set the learning rates of groups of parameters."""

    encoder_lr_factor: Rate = 1.0


class Teacher(Keys):
    """The keys of `distill` that its `_target_` does not take."""

    teacher: Text
    weight: Rate


class Train(Keys):
    """The config of train_segmentation.py."""

    seed: Seed
    name: FolderName | None
    notes: FreeText | None
    resume: Text | None
    sweep: Text | None
    like: Text | None
    model: Node
    data: Node
    augmentation: Node
    loss: Node
    optimizer: Node
    scheduler: Node
    distill: Node
    trainer: Node
    logger: Node


class Evaluate(Keys):
    """The config of evaluate.py."""

    checkpoint: Names | None
    runs: Names | None
    split: Text | None
    data: Node | None = None
    tta: list[View] | View | None
    window: Size | None
    overlap: Overlap
    output: Text | None
    device: Device


class CheckData(Keys):
    """The config of tools.check_data."""

    data: Node | None = None
    splits: Names | None
    pictures: NonNegative
    output: Text | None


class ScanLabels(Keys):
    """The config of tools.scan_labels."""

    root: Text
    images: Text
    masks: Text
    mask_suffix: Text | None
    output: Text | None
    overwrite: Flag


class PreviewAugmentation(Keys):
    """The config of tools.preview_augmentation."""

    data: Node
    augmentation: Node
    index: NonNegative
    count: Annotated[int, Field(strict=True, ge=1, le=1000)]
    seed: NonNegative
    output: Text


class FindLr(Keys):
    """The config of tools.find_lr."""

    model: Node
    data: Node
    augmentation: Node
    loss: Node
    optimizer: Node
    trainer: Node
    min_lr: Rate
    max_lr: Rate
    steps: Annotated[int, Field(strict=True, ge=10, le=1_000_000)]
    repeats: Annotated[int, Field(strict=True, ge=1, le=6)]
    seed: Seed
    output: Text


class Export(Keys):
    """The config of tools.export."""

    checkpoint: Text
    format: ExportFormat
    output: Text | None
    overwrite: Flag
    preprocessing: Flag
    dynamic: Flag
    image_size: Size | None
    quantize: Literal["int8"] | None
    calibration: Positive
    images: Text | None
    data: Node | None = None


class Release(Keys):
    """The config of tools.release."""

    checkpoint: Text
    output: Text
    overwrite: Flag


class Compare(Keys):
    """The config of compare.py."""

    runs: Names
    where: Names | None
    columns: Names | None
    sort: Text | None
    group_by: Names | None
    baseline: Text | None
    format: TableFormat
    report: Text | None
    watch: Flag


class Benchmark(Keys):
    """The config of tools.benchmark."""

    models: Names | None
    image_size: Annotated[list[Size], Field(min_length=1), BeforeValidator(_several_sizes)]
    num_classes: Annotated[int, Field(strict=True, ge=1, le=10_000)]
    backends: Annotated[list[Backend], BeforeValidator(_several)]
    batch_size: Annotated[list[BatchSize], Field(min_length=1), BeforeValidator(_several)]
    device: Literal["auto", "cpu", "cuda"]
    threads: Threads | None
    amp: Precision
    seconds: Rate
    runs: Names | None
    sort: BenchmarkColumn | None
    max_ms: Rate | None
    plot: Text | None
    format: Literal["table", "csv", "markdown", "json"]


class Classify(Keys):
    """The config of tools.classify."""

    classifier: Text | None
    input: Text
    labels: Text
    weights: Text | None
    format: Literal["table", "json"]
    device: Device


class Infer(Keys):
    """The config of infer.py."""

    checkpoint: Names | None
    model: Node | None = None
    weights: Text | None
    labels: Text | None
    image_size: Size | None
    input: Text
    output: Text | None
    format: Annotated[list[PictureFormat], Field(min_length=1)] | PictureFormat
    tta: list[View] | View | None
    window: Size | None
    overlap: Overlap
    samples: Annotated[int, Field(strict=True, ge=1, le=10_000)]
    ids: Literal["train", "label"]
    skip_existing: Flag
    overwrite: Flag
    device: Device


class Share(Keys):
    """The config of tools.share."""

    run: Text
    output: Text | None
    overwrite: Flag


SCHEMAS: dict[str, type[Keys]] = {
    "train": Train,
    "evaluate": Evaluate,
    "infer": Infer,
    "compare": Compare,
    "benchmark": Benchmark,
    "check_data": CheckData,
    "classify": Classify,
    "export": Export,
    "find_lr": FindLr,
    "preview_augmentation": PreviewAugmentation,
    "scan_labels": ScanLabels,
    "share": Share,
    "release": Release,
}
"""The schema of each file in conf/."""
