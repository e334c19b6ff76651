import hashlib
import subprocess
import sys

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import jaccard_score

from data.synthetic import Synthetic
from engine.metrics import scores
from engine.normalization import IMAGENET
from models.enet import ENet
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


def test_as_many_scenes_are_kept_as_there_is_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("data.synthetic.KEPT", 2 * 4 * 32 * 40)
    dataset = Synthetic(size=(32, 40), split="train", train_length=4)
    first, again = ([dataset[i] for i in range(4)] for _ in range(2))
    assert [a is b for a, b in zip(first, again, strict=True)] == [True, True, False, False]
    for a, b in zip(first, again, strict=True):
        assert np.array_equal(a.image, b.image) and np.array_equal(a.mask, b.mask) and a.name == b.name


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


def test_an_untrained_network_knows_nothing() -> None:
    validation = Synthetic(size=SIZE, split="val", val_length=20)
    samples = [validation[i] for i in range(20)]
    images = torch.from_numpy(np.stack([s.image for s in samples])).movedim(-1, 1)
    truth = np.stack([s.mask for s in samples]).ravel()
    for seed in range(3):
        torch.manual_seed(seed)
        model = ENet(len(validation.labels)).eval()
        with torch.inference_mode():
            predicted = model(IMAGENET(images, channels_last=True)).argmax(1).numpy().ravel()
        assert jaccard_score(truth, predicted, average="macro") < 0.10


def test_what_does_not_exist() -> None:
    with pytest.raises(UserError, match="did you mean 'train'"):
        Synthetic(size=SIZE, split="trian", train_length=5)
    with pytest.raises(IndexError):
        Synthetic(size=SIZE, split="train", train_length=5)[5]
