"""Check a composed config: types, ranges, keys that exclude each other, and the arguments of every `_target_`.

Nothing slow is imported: the arguments of a `_target_` are read from its source.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from importlib.util import find_spec

from config.schema import SCHEMAS
from config.validation import GROUPS, Config, Origin, check_group, check_keys, key_typed_for
from utils.config_groups import options
from utils.config_values import flattened, listed
from utils.errors import UserError, did_you_mean
from utils.text import is_utf_8, shown

EXPORT_PACKAGES = ("onnx", "onnxscript", "onnxruntime")
"""Packages of requirements-export.txt."""
TIMING_KEYS = ("batch_size", "device", "threads", "amp", "seconds", "sort", "max_ms", "plot")
"""Keys of tools.benchmark that have no effect unless something is timed."""
MAY_CHANGE = {
    "resume",
    "trainer.epochs",
    "trainer.early_stopping",
    "trainer.device",
    "trainer.threads",
    "trainer.log_every",
    "data.num_workers",
    "data.cache",
    *("data.root", "data.labels"),  # the samples are compared instead
}
"""Keys that may differ from the run's when it is resumed, besides the keys of the logger."""
NEEDED = {"trainer.ema_decay": "trainer.ema", "loss.auxiliary_weight": "model.auxiliary"}
"""Key of a training -> the key without which it has no effect."""
CLASSIFIERS = (*(f"efficientnet_b{i}" for i in range(8)), *(f"efficientnet_lite{i}" for i in range(3)))
"""The networks of tools.classify. Listed here because a check imports no torch."""


def check_config(name: str, config: Config, origin: Origin) -> None:
    """Check the config of an entry point.

    Keys of `data` that evaluate.py and tools.export add to the checkpoint's are checked later.

    Args:
        name: name of the file in conf/.
        config: resolved, in plain containers.
        origin: where its values come from.

    Raises:
        UserError: names the first mistake and where it is.
    """
    for key, value in flattened(config).items():
        if value == "???" or (isinstance(value, list) and "???" in value):
            needed = "<run or file>" if key in ("checkpoint", "distill.teacher") else "<value>"
            raise UserError(f"{key_typed_for(key)} is missing; pass {key_typed_for(key)}={needed}")
    schema = SCHEMAS[name]
    check_keys(schema, config, origin)
    if name in RULES:
        RULES[name](config, origin)
    for group in GROUPS:
        field, node = schema.model_fields.get(group), config.get(group) or {}
        if field and ("_target_" in node or (field.is_required() and group != "distill")):  # distill=none has none
            check_group(group, node, origin)
    if "augmentation" in schema.model_fields:
        _check_crop(config, origin)


def _check_crop(config: Config, origin: Origin) -> None:
    data, cropped = config["data"], "crop_size" in config["augmentation"]
    if not cropped and data.get("crop_size") not in (None, data["image_size"]):
        raise origin.mistake("data.crop_size", data["crop_size"], "needs augmentation=crop")


def _check_train(config: Config, origin: Origin) -> None:
    distill = config["distill"]
    # distill=none may be typed beside a teacher: a job of --multirun distill=none,logits distill.teacher=...
    unasked = "_target_" not in distill and "distill" not in origin.typed_choices
    if unasked and distill.get("teacher") is not None:
        raise origin.mistake("distill.teacher", distill["teacher"], "needs distill=logits or distill=channel")
    values = flattened(config)
    for key, value in values.items():
        if not is_utf_8(str(value)):  # loggers and YAML refuse them
            raise origin.mistake(key, value, "must be valid UTF-8; rename it, or pass a link")
    for key, needed in NEEDED.items():
        is_set = key in values and key in origin.typed  # a key that ~ removes is typed, too
        if is_set and needed not in origin.typed and values.get(needed) is False:
            raise origin.mistake(key, values[key], f"needs {needed}=true")
    factor = values.get("optimizer.encoder_lr_factor", 1)
    if values.get("model.freeze_encoder") is True and factor != 1:
        reason = "model.freeze_encoder=true freezes the encoder; pass only one of them"
        raise origin.mistake("optimizer.encoder_lr_factor", factor, reason)
    if "data.val_split" in origin.typed and values.get("data.folds"):
        reason = "data.folds validates on data.train_split"
        raise origin.mistake("data.val_split", values.get("data.val_split"), reason)
    warmup, epochs = values.get("scheduler.warmup_epochs"), values.get("trainer.epochs")
    typed = "scheduler.warmup_epochs" in origin.typed  # values that are not numbers are reported by check_group
    if typed and isinstance(warmup, int | float) and isinstance(epochs, int) and warmup > epochs:
        raise origin.mistake("scheduler.warmup_epochs", warmup, f"longer than the training, trainer.epochs={epochs}")


def _check_infer(config: Config, origin: Origin) -> None:
    if not config["input"]:
        raise UserError("input is missing; pass input=<photo, folder, pattern, list or video>")
    if config["overwrite"] and config["skip_existing"]:
        raise UserError("overwrite=true replaces existing files and skip_existing=true keeps them: pass only one")
    given = [key for key in ("model", "weights", "labels") if config.get(key)]
    if config["checkpoint"] is None:
        missing = [key for key in ("model", "weights", "labels") if key not in given]
        if given and missing:
            raise UserError(f"{' and '.join(missing)} missing: weights without a checkpoint need model= and labels=")
    elif given:
        raise UserError("a checkpoint includes network, weights and labels: leave out model=, weights= and labels=")
    if config["window"] and config["image_size"]:
        raise UserError("window= keeps the size of photos and image_size= resizes them: pass only one")
    if config["ids"] == "label" and "mask" not in listed(config["format"]):
        raise UserError("ids=label: only masks have ids; add mask to format=, or leave it out")
    _check_overlap(config, origin)


def _check_evaluate(config: Config, origin: Origin) -> None:
    if config["checkpoint"] is None and config["runs"] is None:
        raise UserError("checkpoint is missing; pass checkpoint=<run or file>, or runs=<sweep, pattern or list>")
    if config["checkpoint"] is not None and config["runs"] is not None:
        raise UserError("checkpoint= measures one network or ensemble and runs= measures each run: pass only one")
    _check_overlap(config, origin)


def _check_overlap(config: Config, origin: Origin) -> None:
    if not config["window"] and "overlap" in origin.typed:
        raise UserError("overlap= has no effect without windows: pass window=[512,512] too, or leave it out")


def _check_check_data(config: Config, origin: Origin) -> None:
    if "_target_" not in (config.get("data") or {}):
        raise UserError(f"data is missing; pass data=<option>; available: {', '.join(options('data'))}")


def _check_find_lr(config: Config, origin: Origin) -> None:
    if config["min_lr"] >= config["max_lr"]:
        raise UserError(f"min_lr={config['min_lr']}: must be less than max_lr={config['max_lr']}")


def _check_export(config: Config, origin: Origin) -> None:
    if config["quantize"] and config["format"] != "onnx":
        raise UserError(f"quantize={config['quantize']}: needs format=onnx, not {config['format']}")
    if "calibration" in origin.typed and not config["quantize"]:
        raise UserError(f"calibration={config['calibration']}: needs quantize=int8")
    if config["format"] == "onnx":
        _check_export_packages("format=onnx")


def _check_compare(config: Config, origin: Origin) -> None:
    others = sorted(origin.typed - {"runs", "watch"})
    if config["watch"] and others:
        raise UserError(f"watch=true: only runs= can be passed with it; leave out {', '.join(others)}")


def _check_benchmark(config: Config, origin: Origin) -> None:
    unused = [key for key in TIMING_KEYS if key in origin.typed and not config["backends"]]
    if unused:
        raise UserError(f"{unused[0]}={shown(config[unused[0]])}: has no effect without timing; pass backends=[eager]")
    if config["plot"] is not None and config["runs"] is None:
        raise UserError(f"plot={config['plot']}: plots the mIoU of runs; pass runs=<folder of runs>")
    if "onnx" in config["backends"]:
        _check_export_packages("backends=onnx")


def _check_export_packages(word: str) -> None:
    missing = [package for package in EXPORT_PACKAGES if find_spec(package) is None]
    if missing:
        raise UserError(f"{word}: {' and '.join(missing)} not installed; pip install -r requirements-export.txt")


def _check_classify(config: Config, origin: Origin) -> None:
    name = config["classifier"]
    if name not in CLASSIFIERS:
        hint = did_you_mean(name or "", CLASSIFIERS)
        raise UserError(f"model={shown(name)}: there is no such classifier{hint}\navailable: {', '.join(CLASSIFIERS)}")
    if config["weights"] is None:
        raise UserError(
            "weights is missing; pass weights=imagenet to download the published ones, or weights=<file>\n"
            "the files: https://github.com/lukemelas/EfficientNet-PyTorch/releases/tag/1.0"
        )


RULES: dict[str, Callable[[Config, Origin], None]] = {
    "train": _check_train,
    "infer": _check_infer,
    "evaluate": _check_evaluate,
    "check_data": _check_check_data,
    "find_lr": _check_find_lr,
    "export": _check_export,
    "compare": _check_compare,
    "benchmark": _check_benchmark,
    "classify": _check_classify,
}
"""What types and ranges cannot express, by the name of the config."""


def differences(before: Config, now: Config, may_change: Collection[str] = MAY_CHANGE) -> list[str]:
    """Describe each value of a resumed run's config that has changed, except those that may."""
    old, new = flattened(before), flattened(now)
    return [
        f"{key} was {shown(old.get(key, 'absent'))} and is now {shown(new.get(key, 'absent'))}"
        for key in dict.fromkeys([*old, *new])
        if key not in may_change
        and not key.startswith("logger.")
        and (key not in old or key not in new or new[key] != old[key])
    ]
