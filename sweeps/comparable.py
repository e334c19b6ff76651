"""Which keys change what the jobs of a sweep are compared by."""

from __future__ import annotations

from collections.abc import Iterable

from comparison.columns import higher_is_better

INCOMPARABLE = {
    *("trainer.monitor", "experiment", "data", "data.root", "data.limit", "data.val_split", "data.val_share"),
    *("data.folds", "data.fold", "data.fold_seed", "data.group_by"),
    *("data.classes", "data.coarse", "data.images", "data.masks", "data.mask_suffix", "data.color_tolerance"),
    "data.val_length",
}
"""Keys that change the metric, or the samples and classes that it is measured on."""


def incomparable_keys(keys: Iterable[str], monitor: str, has_folds: bool) -> list[str]:
    """Return those of the keys in which jobs differ that make their values of a metric incomparable.

    Args:
        has_folds: whether jobs validate on a part of `data.train_split`.
    """
    unlike = INCOMPARABLE | ({"data.train_split"} if has_folds else set())
    by_loss = not higher_is_better(monitor)
    return [key for key in keys if key in unlike or (by_loss and key.partition(".")[0] == "loss")]
