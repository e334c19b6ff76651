"""Division of a split into folds for cross-validation."""

from __future__ import annotations

import re
from pathlib import PurePath

import numpy as np

from data.samples import SegmentationDataset, View
from data.statistics import class_counts
from utils.errors import UserError
from utils.text import plural

FOLD, OTHER_FOLDS = "fold", "other_folds"
"""The splits of a cross-validation: the part that validates, and the rest, which trains."""
SHOWN = 5  # groups in a message


def fold_of(
    dataset: SegmentationDataset, split: str, folds: int, fold: int, group_by: str | None = None, seed: int = 0
) -> View:
    """Return one side of a cross-validation.

    The division depends on the samples, `folds`, `group_by` and `seed`, not on the seed of a training.

    Args:
        dataset: all samples that are divided.
        split: `fold`, the samples of fold number `fold`, or `other_folds`, all others.
        group_by: as for `groups_of`. If None, the folds are stratified by the classes in the masks.

    Raises:
        UserError: a fold would be empty, or as for `groups_of`.
    """
    if len(dataset) < folds:
        raise UserError(
            f"data.folds={folds}: the split has only {plural(len(dataset), 'sample')}; pass a smaller data.folds"
        )
    if group_by is None:
        numbers = stratified(class_counts(dataset) > 0, folds, seed)
    else:
        groups = groups_of(dataset, group_by)
        found = sorted(set(groups))
        if len(found) < folds:
            some = ", ".join(found[:SHOWN]) + (" ..." if len(found) > SHOWN else "")
            way_out = f"data.folds={len(found)}" if len(found) > 1 else "another pattern"
            raise UserError(
                f"data.group_by={group_by}: {plural(len(found), 'group')} ({some}) cannot fill"
                f" {folds} folds; pass {way_out}"
            )
        numbers = by_group(groups, folds)
    chosen = np.flatnonzero((numbers == fold) == (split == FOLD)).tolist()
    view = View(dataset, chosen)
    everything = sorted({part for parts in dataset.parts.values() for part in parts} | set(dataset.splits))
    view.parts = {**view.parts, FOLD: (FOLD, *everything), OTHER_FOLDS: (OTHER_FOLDS, *everything)}
    return view


def groups_of(dataset: SegmentationDataset, pattern: str) -> list[str]:
    """Return the group of each sample: the text that a regular expression finds in its name.

    The name is the file's, without folder and suffix, or the whole path below the root if the pattern has a `/`. With
    parentheses in the pattern, the group is the text in the first pair.

    Raises:
        UserError: the pattern finds nothing in a name.
    """
    compiled, groups = re.compile(pattern), []
    for index in range(len(dataset)):
        name = dataset.name(index)
        found = compiled.search(name if "/" in pattern else PurePath(name).stem)
        text = found and found[min(1, compiled.groups)]
        if not text:
            raise UserError(f"data.group_by={pattern}: finds nothing in the name {name}; pass another pattern")
        groups.append(text)
    return groups


def by_group(groups: list[str], folds: int) -> np.ndarray:
    """Return the fold of each sample, int (N,); each group, the largest first, goes to the fold with fewest samples."""
    names, group, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    filled, fold = np.zeros(folds, np.int64), np.zeros(len(names), np.int64)
    for number in np.argsort(-sizes, kind="stable"):
        fold[number] = filled.argmin()
        filled[fold[number]] += sizes[number]
    return fold[group]


def stratified(presence: np.ndarray, folds: int, seed: int) -> np.ndarray:
    """Return the fold of each sample, so that each class occurs in nearly as many samples of every fold.

    Iterative stratification: Sechidis et al. 2011, "On the Stratification of Multi-Label Data", algorithm 1. The
    samples of the rarest class are distributed first.

    Args:
        presence: bool (N, C), whether a class occurs in a sample.

    Returns:
        int64 (N,).
    """
    rng = np.random.default_rng(seed)
    fold = np.full(len(presence), -1, np.int64)
    wanted = np.full(folds, len(presence) / folds)
    wanted_of_class = np.repeat(presence.sum(0)[:, None] / folds, folds, axis=1)
    order = rng.permutation(len(presence))
    while (left := order[fold[order] < 0]).size:
        counts = presence[left].sum(0)
        rarest = int(np.where(counts > 0, counts, len(presence) + 1).argmin()) if counts.any() else None
        for sample in left if rarest is None else left[presence[left, rarest]]:
            wishes = wanted if rarest is None else wanted_of_class[rarest]
            best = np.flatnonzero(wishes == wishes.max())
            best = best[wanted[best] == wanted[best].max()]
            fold[sample] = chosen = rng.choice(best)
            wanted[chosen] -= 1
            wanted_of_class[presence[sample], chosen] -= 1
    return fold
