"""Measures a trained network on a split.

python evaluate.py checkpoint=experiments/<run> split=val
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, Literal

from omegaconf import DictConfig

from utils.checks import Origin, check_data
from utils.config import advice, build_dataset, chosen, plain
from utils.errors import DataFault, UserError
from utils.files import make_writable
from utils.launch import launch, overrides

log = logging.getLogger("evaluate")


def evaluate(cfg: DictConfig) -> None:
    """Prints the metrics of a checkpoint on a split, and writes them to files."""
    # Slow to import, so only here, where the config is known to be right.
    from data.checking import checked_samples
    from engine.checkpoint import load_checkpoint
    from engine.device import choose_device
    from engine.metrics import scores
    from utils.figures import draw_confusion
    from utils.run_folder import write_json

    device = choose_device(cfg.device)
    checkpoint = load_checkpoint(cfg.checkpoint)
    node = data_node(cfg, checkpoint)
    split = cfg.split or node["val_split"]
    dataset = build_dataset(node, split)
    check_classes(checkpoint["labels"]["names"], list(dataset.labels.names))
    size = node["image_size"][0], node["image_size"][1]
    # In memory, samples that are read once would gain nothing.
    cache: Literal["none", "disk"] = "disk" if node.get("cache") == "disk" else "none"
    try:
        samples = checked_samples(dataset, split, size, masks=False, limit=node["limit"], cache=cache)
    except DataFault as fault:
        raise UserError(f"{fault}\n{advice(node)}") from fault
    folder = output_folder(cfg)
    make_writable(folder)

    counted, benchmark = measure(checkpoint, dataset, samples, node, device, split)
    show(dataset.labels.names, counted, benchmark, f"{split}, {len(samples)} samples, epoch {checkpoint.get('epoch')}")
    found, stem = scores(counted.confusion), file_stem(cfg, split)
    table, picture = folder / f"{stem}.json", folder / f"{stem}_confusion_matrix.png"
    facts = {
        "checkpoint": str(cfg.checkpoint),
        "epoch": checkpoint.get("epoch"),
        "overrides": overrides(),
        "data": node,
    }
    write_json(table, facts | as_dict(dataset.labels.names, counted, benchmark))
    title = f"{split}: mIoU {found.miou:.4f}, pixel accuracy {found.pixel_accuracy:.4f}"
    draw_confusion(counted.confusion.numpy(), dataset.labels, title, picture)
    for path in (table, picture):
        log.info("wrote %s", path)


def data_node(cfg: DictConfig, checkpoint: dict[str, Any]) -> dict[str, Any]:
    """The node `data`: that of the checkpoint's run, or of the option chosen, with the keys that were typed.

    Raises:
        UserError: a key is wrong, or the checkpoint names something else than a data set of this project.
    """
    import data
    from engine.checkpoint import own_class

    typed = plain(cfg.data) if cfg.get("data") else {}
    if "_target_" in typed:
        node = typed
        if not any(word.startswith("data.image_size") for word in overrides()):
            node["image_size"] = list(checkpoint["image_size"])
    else:
        # A checkpoint may come from anywhere: it may choose a data set and its plain options, and have nothing fetched.
        stored = checkpoint["config"].get("data") or {}
        known = hasattr(own_class(stored.get("_target_"), data), "splits")
        if not known or not all(is_plain(value) for value in stored.values()):
            raise UserError(
                f"the checkpoint was trained on '{stored.get('_target_')}', which is not a data set of this project;"
                " say data=<an option of conf/data/>"
            )
        node = {**stored, **({"download": False} if "download" in stored else {}), **typed}
    check_data(node, Origin({}, frozenset(f"data.{key}" for key in typed)))
    return node


def is_plain(value: Any) -> bool:
    """Whether a value of a checkpoint's config is a number, a text or a list of them, without anything to resolve."""
    if isinstance(value, list):
        return all(is_plain(item) for item in value)
    return value is None or isinstance(value, bool | int | float) or (isinstance(value, str) and "${" not in value)


def check_classes(known: list[str], there: list[str]) -> None:
    """
    Raises:
        UserError: the network knows other classes than the data set has.
    """
    if known != there:
        different = [name for name in [*known, *there] if (name in known) != (name in there)]
        raise UserError(
            f"the network tells {len(known)} classes apart and the data set has {len(there)};"
            f" {', '.join(different[:4]) or 'their order'}{' ...' if len(different) > 4 else ''} make the difference."
            " Choose the data that it was trained for"
        )


def measure(
    checkpoint: dict[str, Any], dataset: Any, samples: Any, node: dict[str, Any], device: Any, split: str
) -> tuple[Any, dict[str, float]]:
    """What a pass over the samples counted, and the scores that the data set's own benchmark defines."""
    from tqdm import tqdm

    from data.loading import ValidationLoader
    from data.samples import HasScores
    from data.workers import deaths_named, worker_count
    from engine import out_of_memory
    from engine.checkpoint import build_model
    from engine.device import autocast_dtype
    from engine.evaluator import evaluate as pass_over
    from engine.normalization import Normalization

    amp = checkpoint["config"].get("trainer", {}).get("amp")
    benchmark = dataset.scores() if isinstance(dataset, HasScores) else None
    loader = ValidationLoader(
        samples,
        batch_size=node["batch_size"],
        num_workers=worker_count(node["num_workers"], device),
        pin_memory=device.type == "cuda",
    )
    size = node["image_size"][0], node["image_size"][1]
    with (
        out_of_memory.advised(node["batch_size"], size, device),
        deaths_named([loader.watched]),
        tqdm(total=len(samples), desc=split, unit="img", leave=False, dynamic_ncols=True) as bar,
    ):
        counted = pass_over(
            build_model(checkpoint).to(device),
            None,
            loader,
            num_classes=len(dataset.labels),
            device=device,
            normalization=Normalization.from_dict(checkpoint["normalization"]),
            autocast=autocast_dtype(amp if amp in ("off", "fp16", "bf16") else "auto", device),
            after_batch=lambda images: bar.update(images),
            after_sample=None
            if benchmark is None
            else lambda index, mask: benchmark.add(index, mask.byte().cpu().numpy()),
        )
    return counted, benchmark.results(counted.confusion.numpy(), counted.ignored.numpy()) if benchmark else {}


def as_dict(names: tuple[str, ...], counted: Any, benchmark: dict[str, float]) -> dict[str, Any]:
    """All metrics, as the JSON file holds them."""
    from engine.metrics import scores

    found = scores(counted.confusion)
    by_class = {"iou": found.iou, "dice": found.dice, "accuracy": found.accuracy}
    return {
        "miou": found.miou,
        "dice": found.mean_dice,
        "pixel_accuracy": found.pixel_accuracy,
        "class_accuracy": found.mean_accuracy,
        "frequency_weighted_iou": found.frequency_weighted_iou,
        "benchmark": benchmark,
        "classes": {key: dict(zip(names, values.tolist(), strict=True)) for key, values in by_class.items()},
        "confusion": counted.confusion.tolist(),
    }


def show(names: tuple[str, ...], counted: Any, benchmark: dict[str, float], title: str) -> None:
    """Prints a table of the classes, and one of everything else."""
    from engine.metrics import scores
    from utils.tables import class_table, number, table

    found = scores(counted.confusion)
    columns = {"IoU": found.iou.tolist(), "Dice": found.dice.tolist(), "accuracy": found.accuracy.tolist()}
    share = (counted.confusion.sum(1).double() / counted.confusion.sum().clamp(min=1)).tolist()
    log.info("%s", class_table(names, columns, share, title))
    rest = {k: v for k, v in as_dict(names, counted, benchmark).items() if isinstance(v, float)} | benchmark
    log.info("%s", table([["metric", "value"], *([name, number(value)] for name, value in rest.items())]))


def file_stem(cfg: DictConfig, split: str) -> str:
    """What the files are called: after the split, and what else is not the run's own: the checkpoint, the data."""
    given = Path(cfg.checkpoint)
    which = [given.stem] if given.parent.name == "checkpoints" and given.stem != "best" else []
    return "_".join([split.replace("/", "_"), *which, *([option] if (option := chosen("data")) else [])])


def output_folder(cfg: DictConfig) -> Path:
    """Where the figures go: `output`, or `evaluation/` in the run folder, or beside a file that is in none."""
    if cfg.output:
        return Path(cfg.output).expanduser()
    given = Path(cfg.checkpoint).expanduser()
    if given.is_dir():
        return given / "evaluation"
    in_run = given.parent.name == "checkpoints" and (given.parent.parent / "config.yaml").is_file()
    return given.parent.parent / "evaluation" if in_run else given.with_name(f"{given.stem}_evaluation")


if __name__ == "__main__":
    launch(evaluate, "evaluate")
