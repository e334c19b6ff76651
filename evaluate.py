"""Measures a trained network on a split.

python evaluate.py checkpoint=experiments/<run> split=val
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, Literal

from omegaconf import DictConfig

from utils.checked import shown
from utils.checks import Origin, check_data
from utils.config import advice, build_dataset, chosen, plain
from utils.errors import DataFault, UserError
from utils.files import make_writable
from utils.launch import launch, overrides
from utils.paths import is_file, is_folder, user_path
from utils.trusted import check_targets, plain_copy, trusted_class

log = logging.getLogger("evaluate")


def evaluate(cfg: DictConfig) -> None:
    """Prints the metrics of a checkpoint on a split, and writes them to files."""
    # Slow to import, so only here, where the config is known to be right.
    import cv2

    from data.checking import checked_samples
    from data.labels import LabelSet
    from engine.checkpoint import load_checkpoint
    from engine.device import choose_device
    from engine.predictor import Predictor
    from evaluation.measuring import measure
    from evaluation.results import show, write_results
    from utils.memory import keep_freed_memory

    keep_freed_memory()
    cv2.setNumThreads(1)  # it works beside the network, which needs the cores
    device = choose_device(cfg.device)
    checkpoint = load_checkpoint(cfg.checkpoint)
    node = data_node(cfg, checkpoint)
    split = cfg.split or node["val_split"]
    dataset = build_dataset(node, split)
    check_classes(list(LabelSet.from_dict(checkpoint["labels"]).names), list(dataset.labels.names))
    size = node["image_size"][0], node["image_size"][1]
    # In memory, samples that are read once would gain nothing.
    cache: Literal["none", "disk"] = "disk" if node.get("cache") == "disk" else "none"
    try:
        samples = checked_samples(dataset, split, size, masks=False, limit=node["limit"], cache=cache)
    except DataFault as fault:
        raise UserError(f"{fault}\n{advice(node)}") from fault
    folder = output_folder(cfg)
    make_writable(folder)

    tta: list[Any] = [] if cfg.tta is None else [cfg.tta] if isinstance(cfg.tta, str) else list(cfg.tta)
    window = (cfg.window[0], cfg.window[1]) if cfg.window else None
    predictor = Predictor.from_loaded(checkpoint, device, tta=tta, window=window, overlap=cfg.overlap)
    predictor.image_size = size
    amp = checkpoint["config"].get("trainer", {}).get("amp")
    measured = measure(predictor, dataset, samples, node, split, amp)
    how = "".join(f", {view}" for view in tta) + (f", window {window[0]}x{window[1]}" if window else "")
    title = f"{split}, {len(samples)} samples, epoch {checkpoint.get('epoch')}{how}"
    show(dataset.labels.names, measured, title)
    facts = {
        "checkpoint": str(cfg.checkpoint),
        "epoch": checkpoint.get("epoch"),
        "overrides": overrides(),
        "data": node,
        "tta": tta,
        "window": list(window) if window else None,
    }
    for path in write_results(folder, file_stem(cfg, node, split, tta), facts, measured, dataset, predictor):
        log.info("wrote %s", path)


def data_node(cfg: DictConfig, checkpoint: dict[str, Any]) -> dict[str, Any]:
    """The node `data`: that of the checkpoint's run, or of the option chosen, with the keys that were typed.

    Raises:
        UserError: a key is wrong, or the checkpoint names something else than a data set of this project.
    """
    typed = plain(cfg.data) if cfg.get("data") else {}
    if "_target_" in typed:
        node = typed
        if not any(word.startswith("data.image_size") for word in overrides()):
            node["image_size"] = list(checkpoint["image_size"])
    else:
        # A checkpoint may come from anywhere: it may choose a data set and its plain options, and have nothing fetched.
        try:
            stored = plain_copy(checkpoint["config"].get("data") or {})
        except ValueError as error:
            raise UserError(f"{cfg.checkpoint}: its config is not that of a run: {error}") from error
        if not hasattr(trusted_class(stored.get("_target_")), "splits"):
            raise UserError(
                f"the checkpoint was trained on '{shown(str(stored.get('_target_')))}', which is not a data set of"
                " this project; pass data=<an option of conf/data/>"
            )
        check_targets(stored, f"{cfg.checkpoint}: its config")
        node = {**stored, **({"download": False} if "download" in stored else {}), **typed}
    check_data(node, Origin({}, frozenset(f"data.{key}" for key in typed)))
    return node


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


def file_stem(cfg: DictConfig, node: dict[str, Any], split: str, tta: list[str]) -> str:
    """What the files are called: after the split, and what else is not as in the run, so that no measurement takes the
    place of another one."""
    given = Path(cfg.checkpoint)
    typed = {word.partition("=")[0] for word in overrides()}
    window = cfg.window or []
    parts = [
        split.replace("/", "_"),
        given.stem if given.parent.name == "checkpoints" and given.stem != "best" else None,
        chosen("data"),
        "x".join(map(str, node["image_size"])) if "data.image_size" in typed else None,
        f"limit{node['limit']}" if "data.limit" in typed else None,
        *tta,
        f"window{window[0]}x{window[1]}" if window else None,
        f"overlap{cfg.overlap}" if "overlap" in typed else None,
    ]
    return "_".join(part for part in parts if part)


def output_folder(cfg: DictConfig) -> Path:
    """Where the figures go: `output`, or `evaluation/` in the run folder, or beside a file that is in none."""
    if cfg.output:
        return user_path(cfg.output, "output")
    given = user_path(cfg.checkpoint, "checkpoint")
    if is_folder(given):
        return given / "evaluation"
    in_run = given.parent.name == "checkpoints" and is_file(given.parent.parent / "config.yaml")
    return given.parent.parent / "evaluation" if in_run else given.with_name(f"{given.stem}_evaluation")


if __name__ == "__main__":
    launch(evaluate, "evaluate")
