import hashlib
import subprocess
import sys

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from data.synthetic import Synthetic
from engine.metrics import scores
from utils.errors import UserError

SIZE = (96, 128)


def digest(size: tuple[int, int], split: str, indices: range) -> str:
    dataset = Synthetic(size=size, split=split, train_length=100, val_length=100)
    found = hashlib.sha256()
    for i in indices:
        sample = dataset[i]
        found.update(sample.image.tobytes() + sample.mask.tobytes())
    return found.hexdigest()


@pytest.mark.parametrize("size", [(32, 32), (33, 47), (96, 128), (128, 96), (180, 240)])
def test_samples_are_what_they_should_be(size: tuple[int, int]) -> None:
    dataset = Synthetic(size=size, split="train", train_length=5)
    assert len(dataset) == 5 and len(list(dataset)) == 5  # type: ignore[call-overload]
    for i in range(5):
        sample = dataset[i]
        assert sample.image.shape == (*size, 3) and sample.image.dtype == np.uint8
        assert sample.mask.shape == size and sample.mask.dtype == np.uint8
        assert sample.mask.max() < len(dataset.labels)
        assert sample.image.std() > 10


def test_a_scene_is_a_function_of_split_index_and_size_alone() -> None:
    np.random.seed(0)
    first = digest(SIZE, "train", range(5))
    np.random.seed(1)
    assert digest(SIZE, "train", range(5)) == first
    code = "from tests.data.test_synthetic import *; print(digest(SIZE, 'train', range(5)))"
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert other.stdout.strip() == first


def test_no_scene_occurs_twice() -> None:
    seen = {digest((32, 32), split, range(i, i + 1)) for split in ("train", "val") for i in range(100)}
    assert len(seen) == 200


def test_every_class_is_there_to_be_learnt() -> None:
    dataset = Synthetic(size=SIZE, split="train", train_length=60)
    counts = np.stack([np.bincount(dataset[i].mask.ravel(), minlength=9) for i in range(60)]).sum(0)
    assert (counts / counts.sum() > 0.01).all()


def test_colour_alone_does_not_tell_the_classes() -> None:
    """A logistic regression on RGB, fitted on training scenes, stays below 0.40 mIoU on validation scenes."""
    train = Synthetic(size=SIZE, split="train", train_length=60)
    samples = [train[i] for i in range(60)]
    colors = np.concatenate([s.image.reshape(-1, 3)[::37] for s in samples]) / 255
    classes = np.concatenate([s.mask.reshape(-1)[::37] for s in samples])
    validation = Synthetic(size=SIZE, split="val", val_length=30)
    for weight in (None, "balanced"):
        classifier = LogisticRegression(max_iter=300, class_weight=weight).fit(colors, classes)
        confusion = np.zeros((9, 9), np.int64)
        for i in range(30):
            sample = validation[i]
            predicted = classifier.predict(sample.image.reshape(-1, 3) / 255)
            np.add.at(confusion, (sample.mask.ravel(), predicted), 1)
        assert scores(torch.from_numpy(confusion)).miou < 0.40


def test_what_does_not_exist() -> None:
    with pytest.raises(UserError, match="did you mean 'train'"):
        Synthetic(size=SIZE, split="trian", train_length=5)
    with pytest.raises(IndexError):
        Synthetic(size=SIZE, split="train", train_length=5)[5]
