"""The scores that the benchmark of Cityscapes reports: Cordts et al. 2016, arXiv 1604.01685, section 3.1, as the script
`evalPixelLevelSemanticLabeling` of `cityscapesscripts` computes them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator

import numpy as np

from data.cityscapes_labels import CLASSES, LABELS, MISC
from data.masks import read_mask
from utils.errors import SizeMismatch, UnknownId
from utils.paths import is_there

AVERAGE_SIZE = {
    "person": 3462.4756337644,
    "rider": 3930.4788056518,
    "car": 12794.0202738185,
    "truck": 27855.1264367816,
    "bus": 35732.1511111111,
    "train": 67583.7075812274,
    "motorcycle": 6298.7200839748,
    "bicycle": 4672.3249222261,
}
"""Pixels of an average instance of each class that has instances; fixed by the benchmark."""

CATEGORIES = {
    name: [i for i, label in enumerate(CLASSES) if label.category == name]
    for name in dict.fromkeys(label.category for label in CLASSES)
}
"""The train ids of each of the 7 categories."""

INSTANCE_CATEGORIES = [
    name for name in CATEGORIES if all(label.has_instances for label in LABELS if label.category == name)
]
"""Those whose labels all have instances: human and vehicle."""

# By label id, the train id of its instances, or None where the benchmark ignores them.
_TRAIN_IDS: dict[int, int | None] = {
    **{label.id: None for label in LABELS if label.ignore_in_eval},
    **{label.id: i for i, label in enumerate(CLASSES) if label.has_instances},
}


class CityscapesScores:
    """Collect what the scores need besides the confusion matrix: the share of each instance that was found.

    The shares are kept one by one and summed without rounding, so that the order of the samples changes nothing.

    Args:
        instances: returns the path of a sample's `*_instanceIds.png` by index. If one is missing, so are all iIoUs.
    """

    def __init__(self, instances: Callable[[int], str]) -> None:
        self._instances = instances
        self._samples = self._missing = 0
        # For each train id, of each instance the share that was taken for its class, or for one of its category.
        self._as_class: list[list[float]] = [[] for _ in CLASSES]
        self._as_category: list[list[float]] = [[] for _ in CLASSES]

    def add(self, index: int, prediction: np.ndarray) -> None:
        """Add one sample.

        Args:
            index: index of the sample.
            prediction: uint8 (H, W) at the size of the mask: train ids 0 to 18, and 19 for misc with 20 classes.

        Raises:
            Unreadable: the instance ids exist but cannot be read.
            SizeMismatch: they are not of the prediction's size.
            UnknownId: they name an instance of a label that has none.
        """
        path = self._instances(index)
        self._samples += 1
        if not is_there(path):
            self._missing += 1
            return
        ids = read_mask(path)
        if ids.shape != prediction.shape:
            raise SizeMismatch(
                f"{path}: the instance ids are {ids.shape[1]}x{ids.shape[0]},"
                f" the prediction is {prediction.shape[1]}x{prediction.shape[0]}"
            )
        for i, counts in _predicted_on_instances(ids, prediction, path):
            size = int(counts.sum())
            self._as_class[i].append(int(counts[i]) / size)
            self._as_category[i].append(int(counts[CATEGORIES[CLASSES[i].category]].sum()) / size)

    def results(self, confusion: np.ndarray, ignored: np.ndarray) -> dict[str, float]:
        """Return the scores; NaN for a class or category that is neither present nor predicted. Means leave them out.

        Args:
            confusion: int64 (C, C) of the samples added, row = truth; C = 19, or 20 with misc.
            ignored: int64 (C,), predictions on ignored pixels, which the benchmark does not count.

        Returns:
            `class_iou`, `category_iou` and `iou/category/<name>`; if every sample had instance ids also `class_iiou`,
            `category_iiou`, `iiou/<class>` of the classes that have instances and `iiou/category/<name>` of theirs.
        """
        # What is misc in truth is ignored, as by the benchmark. Misc as a prediction is a miss wherever a class is.
        counts = confusion[:MISC]
        of_classes = [_iou(counts, [i]) for i in range(MISC)]
        of_categories = {f"iou/category/{name}": _iou(counts, members) for name, members in CATEGORIES.items()}
        results = {"class_iou": _mean(of_classes), "category_iou": _mean(of_categories.values()), **of_categories}
        if self._missing or not self._samples:
            return results
        things = {
            f"iiou/{label.name}": _iiou(counts, [i], self._as_class)
            for i, label in enumerate(CLASSES)
            if label.has_instances
        }
        groups = {
            f"iiou/category/{name}": _iiou(counts, CATEGORIES[name], self._as_category) for name in INSTANCE_CATEGORIES
        }
        means = {"class_iiou": _mean(things.values()), "category_iiou": _mean(groups.values())}
        return {**results, **means, **things, **groups}


def _predicted_on_instances(ids: np.ndarray, prediction: np.ndarray, path: str) -> Iterator[tuple[int, np.ndarray]]:
    """Yield the train id of each instance, and how many of its pixels were predicted as each class, int64 (20,).

    The id of an instance is label id * 1000 + number. Regions without instances, and groups of objects that are not
    told apart, have the label id itself, and count only in the confusion matrix.
    """
    places = np.flatnonzero(ids > 1000)  # few of the pixels
    width = MISC + 1
    cells = ids.ravel()[places].astype(np.int64) * width + prediction.ravel()[places]
    counts = np.bincount(cells, minlength=(int(ids.max()) + 1) * width).reshape(-1, width)
    for instance in np.flatnonzero(counts.any(1)).tolist():
        label = instance // 1000
        if label not in _TRAIN_IDS:
            raise UnknownId(f"{path}: the instance id {instance} belongs to no label that has instances")
        train_id = _TRAIN_IDS[label]
        if train_id is not None:
            yield train_id, counts[instance]


def _iou(counts: np.ndarray, members: list[int]) -> float:
    """Return the IoU of some classes as if they were one. `counts` is int64 (19, C), row = truth."""
    true_positive = counts[members][:, members].sum()
    return _ratio(true_positive, counts[members].sum() + counts[:, members].sum() - true_positive)


def _iiou(counts: np.ndarray, members: list[int], shares: list[list[float]]) -> float:
    """Return the IoU of some classes as if they were one, with each instance weighted by average size / its size.

    So an instance has share * average size true positives, and average size pixels in total. False positives belong
    to no instance and weigh 1.
    """
    false_positive = np.delete(counts, members, 0)[:, members].sum()
    sizes = [AVERAGE_SIZE[CLASSES[i].name] for i in members]
    true_positive = sum(size * math.fsum(shares[i]) for size, i in zip(sizes, members, strict=True))
    present = sum(size * len(shares[i]) for size, i in zip(sizes, members, strict=True))
    return _ratio(true_positive, present + false_positive)


def _ratio(part: float, whole: float) -> float:
    return float(part) / float(whole) if whole else math.nan


def _mean(values: Iterable[float]) -> float:
    """Return the mean of the values that are not NaN; NaN if there are none."""
    defined = [value for value in values if not math.isnan(value)]
    return sum(defined) / len(defined) if defined else math.nan
