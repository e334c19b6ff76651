"""Choose the samples that an evaluation measures."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from config.current_run import chosen, overrides
from config.nodes import FOLD, OTHER_FOLDS, build_dataset, option_node, plain, usual_root, validation_split
from config.overrides import key_of
from config.validation import Origin, check_group
from data.fingerprint import fingerprint
from data.folder import ALL, Folder
from data.layout import Layout
from data.samples import SegmentationDataset
from data.splits import same_split
from evaluation.names import is_same_place
from utils.errors import UserError
from utils.paths import user_path
from utils.safe_reading import plain_copy
from utils.text import plural, shown
from utils.trusted import check_targets, trusted_class

WITHOUT_FOLDS = {"folds": None, "fold": 0, "group_by": None, "fold_seed": 0}
OWN_DATA_ONLY = {"limit": None, **WITHOUT_FOLDS}
"""Values, for another data set, of the keys that choose samples of the run's own data."""


def run_node(checkpoint: dict[str, Any]) -> dict[str, Any]:
    """Return the node `data` of the checkpoint's run; {} if it is not a data set of this project.

    Its `image_size` is that of the checkpoint, which may be a file that was exported for another size.
    If its folder is not there, as with weights that were trained elsewhere, it is the usual one of the same name.
    """
    try:
        stored = plain_copy(checkpoint["config"].get("data") or {})
    except ValueError:
        return {}
    if not hasattr(trusted_class(stored.get("_target_")), "splits"):
        return {}
    root, usual = stored.get("root"), usual_root(stored["_target_"].split(".")[1])
    if isinstance(root, str) and Path(root).name == Path(usual).name and not os.path.isdir(root):  # noqa: PTH112 - never raises
        stored["root"] = usual
    return stored | {"image_size": list(checkpoint["image_size"])}


def data_node(cfg: DictConfig, checkpoint: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    """Return the node `data` of the chosen option, or else of the checkpoint's run, with the keys of the command line.

    The run's `limit` and folds apply to its own data only.

    Raises:
        UserError: a key is wrong or has no effect, or the checkpoint's data set is not one of this project.
    """
    typed = plain(cfg.data) if cfg.get("data") else {}
    words = {key_of(word): word for word in overrides()}
    for key in ("data.mean", "data.std"):
        if key in words:
            raise UserError(f"{words[key]}: has no effect; images are normalised as in training")
    if "_target_" in typed:
        # What the network was trained for, unless typed.
        trained = {"fit": "stretch", **own, "image_size": list(checkpoint["image_size"])}
        keys = ("image_size", "fit", "channels", "value_range", "preview_bands")
        node = typed | {k: trained[k] for k in keys if k in typed and k in trained and f"data.{k}" not in words}
    else:
        # A checkpoint may come from anywhere: accept a data set and its plain options, and download nothing.
        if not own:
            target = (checkpoint["config"].get("data") or {}).get("_target_")
            raise UserError(
                f"the checkpoint was trained on '{shown(str(target))}', which is not a data set of this project; pass"
                " data=<an option of conf/data/>"
            )
        check_targets(own, f"{cfg.checkpoint}: its config")
        node = {**own, **({"download": False} if "download" in own else {}), **typed}
        if is_another(node, own):
            node |= {key: value for key, value in OWN_DATA_ONLY.items() if key not in typed}
    check_group("data", node, Origin({}, frozenset(f"data.{key}" for key in typed)))
    return node


def is_another(node: dict[str, Any], own: dict[str, Any]) -> bool:
    """Whether a node `data` names another data set than the run's."""
    if node["_target_"] != own.get("_target_"):
        return True
    return "root" in node and not is_same_place(node["root"], own.get("root"))


def usual_node(node: dict[str, Any], own: dict[str, Any], checkpoint: dict[str, Any]) -> dict[str, Any]:
    """Return the node that a node `data` is compared with; file names contain the differences.

    It is the run's node or, for another kind of data set, the option in conf/ at the run's image size.
    """
    option = chosen("data")
    usual = option_node("data", option) if option else {}
    if node["_target_"] == own.get("_target_"):
        usual |= own
        if is_another(node, own):
            usual |= OWN_DATA_ONLY
        if not node.get("folds"):  # a whole split, whose name says so
            usual |= WITHOUT_FOLDS
    else:
        usual |= {"root": None, "labels": None, "limit": None}
    return usual | {"image_size": list(checkpoint["image_size"]), "fit": own.get("fit", "stretch")}


def usual_split(node: dict[str, Any], own: dict[str, Any], validated_on: str | None) -> str:
    """Return the split to measure by default: the validation split of the run.

    For another folder without lists or folders for its splits, it is all photos, unless the run's data were moved.

    Args:
        validated_on: `sha256` of the fingerprint of the run's validation samples.
    """
    split = validation_split(node)
    if not is_another(node, own) or not _by_share(node, split):
        return split
    was_moved = validated_on is not None and fingerprint(build_dataset(node, split))["sha256"] == validated_on
    return split if was_moved else ALL


def subset_notes(cfg: DictConfig, node: dict[str, Any], split: str, samples: int, in_split: int) -> list[str]:
    """Return lines if only part of the data is measured, or if all are by default.

    Args:
        samples: number of samples to measure.
        in_split: number of samples of the split.
    """
    notes = []
    if _by_share(node, split):
        share = f"a share chosen by their names (data.val_share={node['val_share']:g})"
        photos = plural(in_split, "photo")
        notes.append(f"split={split}: {photos} of {node['root']}, {share}; split={ALL} measures all")
    elif split == ALL and not cfg.split:
        notes.append(
            f"{node['root']} has no lists or folders for its splits, so all photos are measured ({in_split});"
            f" split={node['val_split']} measures a share"
        )
    if samples < in_split and "data.limit" not in map(key_of, overrides()):
        notes.append(f"data.limit={samples}: the first {samples} of {plural(in_split, 'sample')}, as in the run")
    return notes


def training_photo_warnings(
    dataset: SegmentationDataset, node: dict[str, Any], split: str, runs_data: Iterable[dict[str, Any]]
) -> list[str]:
    """Return lines that say which networks were trained on photos of the split.

    Args:
        runs_data: the nodes `data` of the networks' runs.
    """
    published = bool(dataset.parts)  # their photos are the same wherever they lie
    measured = str(node["train_split"]) if split in (FOLD, OTHER_FOLDS) else split
    trained_on = {
        own["train_split"]
        for own in runs_data
        if isinstance(own.get("train_split"), str)  # an ensemble may have a checkpoint that holds anything
        if own.get("_target_") == node["_target_"] and (published or not is_another(node, own))
        if split != FOLD or not _hold_out_the_same(node, own)
    }
    return [
        f"split={split}: the network was trained on photos of it (data.train_split={trained}); its scores say nothing"
        " about other photos"
        for trained in sorted(trained_on)
        if ALL in (measured, trained) or _parts(dataset, measured) & _parts(dataset, trained)
    ]


def _parts(dataset: SegmentationDataset, split: str) -> set[str]:
    """Return the parts of a split; a split that shares no photos with others on purpose is its only part."""
    return {same_split(part) for part in dataset.parts.get(split, (split,))}


def _hold_out_the_same(node: dict[str, Any], own: dict[str, Any]) -> bool:
    """Whether two nodes `data` divide the same split into the same folds, and hold out the same of them."""
    return bool(own.get("folds")) and all(node.get(key) == own.get(key) for key in ("train_split", *WITHOUT_FOLDS))


def _by_share(node: dict[str, Any], split: str) -> bool:
    if node["_target_"] != f"{Folder.__module__}.{Folder.__name__}":
        return False
    root = user_path(node["root"], "data.root")
    layout = Layout.of(root, node.get("images", "images"), node.get("masks", "masks"), node.get("mask_suffix"))
    return layout.is_by_share(split)
