"""Checks of a composed config: types, ranges, and the arguments of every `_target_`, without importing any."""

from __future__ import annotations

from collections.abc import Collection
from importlib.util import find_spec

from cli import schema
from cli.validation import (
    Config,
    Origin,
    check_data,
    check_groups,
    check_keys,
    check_missing,
    check_model,
    check_target,
    shown,
)
from utils.errors import UserError, did_you_mean
from utils.flat import flattened
from utils.groups import options

EXPORT_PACKAGES = ("onnx", "onnxscript", "onnxruntime")
"""What requirements-export.txt brings."""
TIMING_KEYS = ("batch_size", "device", "threads", "amp", "seconds", "plot")
"""Keys of tools.benchmark that say nothing where nothing is timed."""
MAY_CHANGE = {"resume", "trainer.epochs", "trainer.device", "trainer.log_every", "data.num_workers", "data.cache"}
"""Keys that may be typed beside `resume=` with another value than the run's, as those of the logger may."""
CLASSIFIERS = (*(f"efficientnet_b{i}" for i in range(8)), *(f"efficientnet_lite{i}" for i in range(3)))
"""What tools.classify knows, said here since the check imports no torch."""


def check_train(config: Config, origin: Origin) -> None:
    """Checks the config of train_segmentation.py.

    Args:
        config: resolved, in plain containers.
        origin: where its values come from.

    Raises:
        UserError: names the first mistake and where it is.
    """
    check_missing(config)
    check_keys(schema.Train, config, origin)
    groups = ("model", "data", "augmentation", "loss", "optimizer", "scheduler", "trainer", "logger")
    check_groups(config, groups, origin)
    check_rate(config, origin)


def check_rate(config: Config, origin: Origin) -> None:
    """Check the learning rate, which optimizers accept to be 0; errors as `check_train`."""
    rate = config["optimizer"].get("lr", 1.0)
    if isinstance(rate, int | float) and not rate > 0:
        raise UserError(f"optimizer.lr={rate} {origin.place('optimizer.lr')}: must be greater than 0")


def check_infer(config: Config, origin: Origin) -> None:
    """Checks the config of infer.py; arguments and errors as `check_train`."""
    check_missing(config)
    check_keys(schema.Infer, config, origin)
    if not config["input"]:
        raise UserError("input is missing; say input=<a photo, folder, pattern, list or video>")
    if config["overwrite"] and config["skip_existing"]:
        raise UserError("overwrite=true replaces what is there and skip_existing=true keeps it: leave one of them out")
    if config["checkpoint"] is None:
        missing = [key for key in ("model", "weights", "labels") if config.get(key) is None]
        if missing == ["model", "weights", "labels"]:
            raise UserError(
                "checkpoint is missing; say checkpoint=<a run folder or file>, or model=, weights=, labels="
            )
        if missing:
            raise UserError(f"{' and '.join(missing)} missing: weights without a checkpoint need model= and labels=")
        check_model(config["model"], origin)
    elif config.get("model") or config["weights"] or config["labels"]:
        raise UserError("a checkpoint says all by itself: leave out model=, weights= and labels=, or the checkpoint")
    if config["window"] and config["image_size"]:
        raise UserError("image_size= is for photos that are resized; with window= they are not: leave one of them out")
    _check_overlap(config, origin)


def _check_overlap(config: Config, origin: Origin) -> None:
    if not config["window"] and "overlap" in origin.typed:
        raise UserError("overlap= is that of windows: say window=[512,512] too, or leave it out")


def check_evaluate(config: Config, origin: Origin) -> None:
    """Checks the config of evaluate.py; arguments and errors as `check_train`.

    `data` is checked later, when it is known what the checkpoint says.
    """
    check_missing(config)
    check_keys(schema.Evaluate, config, origin)
    _check_overlap(config, origin)


def check_check_data(config: Config, origin: Origin) -> None:
    """Checks the config of tools.check_data; arguments and errors as `check_train`."""
    check_missing(config)
    check_keys(schema.CheckData, config, origin)
    if "_target_" not in (config.get("data") or {}):
        raise UserError(f"which data? Say data=<option>; available: {', '.join(options('data'))}")
    check_data(config["data"], origin)


def check_preview_augmentation(config: Config, origin: Origin) -> None:
    """Checks the config of tools.preview_augmentation; arguments and errors as `check_train`."""
    check_missing(config)
    check_keys(schema.PreviewAugmentation, config, origin)
    check_data(config["data"], origin)
    check_target(config["augmentation"], "augmentation", set(), origin)


def check_find_lr(config: Config, origin: Origin) -> None:
    """Checks the config of tools.find_lr; arguments and errors as `check_train`."""
    check_missing(config)
    check_keys(schema.FindLr, config, origin)
    check_groups(config, ("model", "data", "augmentation", "loss", "optimizer", "trainer"), origin)
    check_rate(config, origin)
    if config["min_lr"] >= config["max_lr"]:
        raise UserError(f"min_lr={config['min_lr']}: must be less than max_lr={config['max_lr']}")


def check_export(config: Config, origin: Origin) -> None:
    """Checks the config of tools.export; arguments and errors as `check_train`.

    `data` is checked later, when it is known what the checkpoint says.
    """
    check_missing(config)
    check_keys(schema.Export, config, origin)
    if config["quantize"] and config["format"] != "onnx":
        raise UserError(f"quantize={config['quantize']}: is for format=onnx, not {config['format']}")


def check_compare(config: Config, origin: Origin) -> None:
    """Checks the config of compare.py; arguments and errors as `check_train`."""
    check_missing(config)
    check_keys(schema.Compare, config, origin)
    usual = {"sort": None, "group_by": None, "baseline": None, "format": "table", "report": None}
    others = [f"{key}={config[key]}" for key, value in usual.items() if config[key] != value]
    if config["watch"] and others:
        raise UserError(f"watch=true goes with runs= alone: leave out {' '.join(others)}")


def check_benchmark(config: Config, origin: Origin) -> None:
    """Checks the config of tools.benchmark; arguments and errors as `check_train`."""
    check_missing(config)
    check_keys(schema.Benchmark, config, origin)
    idle = [key for key in TIMING_KEYS if key in origin.typed and not config["backends"]]
    if idle:
        raise UserError(f"{idle[0]}={shown(config[idle[0]])}: is for timings; say backends=[eager] besides")
    if config["plot"] is not None and config["runs"] is None:
        raise UserError(f"plot={config['plot']}: draws the accuracy of runs; say runs=<a folder of runs> besides")
    absent = [package for package in EXPORT_PACKAGES if find_spec(package) is None]
    if "onnx" in config["backends"] and absent:
        raise UserError(
            f"backends=onnx: {' and '.join(absent)} not installed; say pip install -r requirements-export.txt"
        )


def check_classify(config: Config, origin: Origin) -> None:
    """Checks the config of tools.classify; arguments and errors as `check_train`."""
    check_missing(config)
    check_keys(schema.Classify, config, origin)
    name = config["classifier"]
    if name not in CLASSIFIERS:
        said = f"model={name}: there is no such classifier" if name else "which network? Say model=<name>"
        hint = did_you_mean(name or "", CLASSIFIERS)
        raise UserError(f"{said}{hint}\navailable: {', '.join(CLASSIFIERS)}")
    if config["weights"] is None:
        raise UserError(
            "weights is missing; say weights=imagenet, which downloads the published ones, or weights=<their file>\n"
            "the files: https://github.com/lukemelas/EfficientNet-PyTorch/releases/tag/1.0"
        )


def differences(before: Config, now: Config, may_change: Collection[str] = MAY_CHANGE) -> list[str]:
    """What a resumed run's config says otherwise than before, in words; keys that may change left out."""
    old, new = flattened(before), flattened(now)
    return [
        f"{key} was {shown(old.get(key, 'not there'))} and is now {shown(new.get(key, 'not there'))}"
        for key in dict.fromkeys([*old, *new])
        if key not in may_change
        and not key.startswith("logger.")
        and (key not in old or key not in new or new[key] != old[key])
    ]
