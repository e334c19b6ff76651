"""The label ids of Cityscapes: Cordts et al. 2016, "The Cityscapes Dataset for Semantic Urban Scene Understanding",
arXiv 1604.01685, and the scripts published with it."""

from __future__ import annotations

from typing import Literal

import numpy as np
from torchvision.datasets import Cityscapes

from data.labels import IGNORE_INDEX, LabelSet, lookup_table

# Without the last, which no mask holds: the id of "license plate" is -1.
LABELS = Cityscapes.classes[:-1]
"""The labels of the annotation, in the order of their ids: name, id, category, color ..."""

CLASSES = tuple(label for label in LABELS if not label.ignore_in_eval)
"""The 19 classes, in the order of their train ids."""

MISC = len(CLASSES)
"""The train id of everything else, where there are 20 classes."""


def label_set(classes: Literal[19, 20]) -> LabelSet:
    """Return the 19 classes, or those and `misc`."""
    names, colors = tuple(label.name for label in CLASSES), tuple(label.color for label in CLASSES)
    ids = tuple(label.id for label in CLASSES)
    if classes == 19:
        return LabelSet(names, colors, ids)
    return LabelSet((*names, "misc"), (*colors, (0, 0, 0)), (*ids, 0))


def train_ids(classes: Literal[19, 20]) -> np.ndarray:
    """Return the table from label ids to train ids, as `lookup_table`."""
    known = {label.id: i for i, label in enumerate(CLASSES)}
    rest = tuple(label.id for label in LABELS if label.ignore_in_eval)
    if classes == 19:
        return lookup_table(known, ignored=(*rest, IGNORE_INDEX))
    return lookup_table(known | dict.fromkeys(rest, MISC), ignored=(IGNORE_INDEX,))
