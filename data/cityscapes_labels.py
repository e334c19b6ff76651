"""The label ids of Cityscapes: Cordts et al. 2016, "The Cityscapes Dataset for Semantic Urban Scene Understanding",
arXiv 1604.01685, and the scripts published with it."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np

from data.labels import IGNORE_INDEX, Color, LabelSet, lookup_table


class Label(NamedTuple):
    """A label of the annotation.

    Attributes:
        id: in `*_labelIds.png`.
        category: what it counts as in the scores of categories.
        instances: whether `*_instanceIds.png` distinguishes its objects.
        evaluated: whether it is one of the 19 classes, which are numbered in the order of their ids.
    """

    name: str
    id: int
    category: str
    instances: bool
    evaluated: bool
    color: Color


# In the order of the ids, since of two labels with one colour (car and licence plate, for one) the first is meant.
LABELS = (
    Label("unlabeled", 0, "void", False, False, (0, 0, 0)),
    Label("ego vehicle", 1, "void", False, False, (0, 0, 0)),
    Label("rectification border", 2, "void", False, False, (0, 0, 0)),
    Label("out of roi", 3, "void", False, False, (0, 0, 0)),
    Label("static", 4, "void", False, False, (0, 0, 0)),
    Label("dynamic", 5, "void", False, False, (111, 74, 0)),
    Label("ground", 6, "void", False, False, (81, 0, 81)),
    Label("road", 7, "flat", False, True, (128, 64, 128)),
    Label("sidewalk", 8, "flat", False, True, (244, 35, 232)),
    Label("parking", 9, "flat", False, False, (250, 170, 160)),
    Label("rail track", 10, "flat", False, False, (230, 150, 140)),
    Label("building", 11, "construction", False, True, (70, 70, 70)),
    Label("wall", 12, "construction", False, True, (102, 102, 156)),
    Label("fence", 13, "construction", False, True, (190, 153, 153)),
    Label("guard rail", 14, "construction", False, False, (180, 165, 180)),
    Label("bridge", 15, "construction", False, False, (150, 100, 100)),
    Label("tunnel", 16, "construction", False, False, (150, 120, 90)),
    Label("pole", 17, "object", False, True, (153, 153, 153)),
    Label("polegroup", 18, "object", False, False, (153, 153, 153)),
    Label("traffic light", 19, "object", False, True, (250, 170, 30)),
    Label("traffic sign", 20, "object", False, True, (220, 220, 0)),
    Label("vegetation", 21, "nature", False, True, (107, 142, 35)),
    Label("terrain", 22, "nature", False, True, (152, 251, 152)),
    Label("sky", 23, "sky", False, True, (70, 130, 180)),
    Label("person", 24, "human", True, True, (220, 20, 60)),
    Label("rider", 25, "human", True, True, (255, 0, 0)),
    Label("car", 26, "vehicle", True, True, (0, 0, 142)),
    Label("truck", 27, "vehicle", True, True, (0, 0, 70)),
    Label("bus", 28, "vehicle", True, True, (0, 60, 100)),
    Label("caravan", 29, "vehicle", True, False, (0, 0, 90)),
    Label("trailer", 30, "vehicle", True, False, (0, 0, 110)),
    Label("train", 31, "vehicle", True, True, (0, 80, 100)),
    Label("motorcycle", 32, "vehicle", True, True, (0, 0, 230)),
    Label("bicycle", 33, "vehicle", True, True, (119, 11, 32)),
)

CLASSES = tuple(label for label in LABELS if label.evaluated)
"""The 19 classes, in the order of their train ids."""

MISC = len(CLASSES)
"""The train id of everything else, where there are 20 classes."""


def label_set(classes: Literal[19, 20]) -> LabelSet:
    """The 19 classes, or those and `misc`."""
    names, colors = tuple(label.name for label in CLASSES), tuple(label.color for label in CLASSES)
    ids = tuple(label.id for label in CLASSES)
    if classes == 19:
        return LabelSet(names, colors, ids)
    return LabelSet((*names, "misc"), (*colors, (0, 0, 0)), (*ids, 0))


def train_ids(classes: Literal[19, 20]) -> np.ndarray:
    """The table from label ids to train ids."""
    known = {label.id: i for i, label in enumerate(CLASSES)}
    rest = tuple(label.id for label in LABELS if not label.evaluated)
    if classes == 19:
        return lookup_table(known, ignored=(*rest, IGNORE_INDEX))
    return lookup_table(known | dict.fromkeys(rest, MISC), ignored=(IGNORE_INDEX,))
