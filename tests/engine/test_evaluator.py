import gc
import math
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf
from sklearn.metrics import confusion_matrix
from torch import Tensor, nn
from torch.nn import functional as F

from data.loading import ValidationBatch
from engine.evaluator import Evaluation, evaluate
from engine.normalization import Normalization
from inference.predictor import Predictor
from losses.combinations import ce_iou
from losses.weighted_sum import WeightedSum
from tests.conftest import ROOT

CLASSES = 3
LOSS = ce_iou({"cross_entropy": 1.0, "soft_iou": 2.0})


class Net(nn.Module):
    """A convolution with dropout before it, which must be off in an evaluation."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.Sequential(nn.Dropout(0.5), nn.Conv2d(3, CLASSES, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


def samples(count: int) -> list[tuple[Tensor, Tensor]]:
    """Images of 16x20 with masks of sizes of their own."""
    generator = torch.Generator().manual_seed(1)
    found = []
    for i in range(count):
        mask = torch.randint(0, CLASSES, (20 + i, 31), generator=generator, dtype=torch.uint8)
        mask[:3] = 255
        found.append((torch.randint(0, 256, (3, 16, 20), generator=generator, dtype=torch.uint8), mask))
    return found


def batched(data: list[tuple[Tensor, Tensor]], size: int) -> Iterator[ValidationBatch]:
    for i in range(0, len(data), size):
        part = data[i : i + size]
        yield ValidationBatch(torch.stack([x for x, _ in part]), [m for _, m in part], ["" for _ in part])


def evaluated(model: nn.Module, loss: WeightedSum, batches: Iterable[ValidationBatch], **options: Any) -> Evaluation:
    cpu = torch.device("cpu")
    return evaluate(model, loss, batches, num_classes=CLASSES, device=cpu, normalization=Normalization(), **options)


def test_agrees_with_a_plain_computation() -> None:
    model, data = Net().train(), samples(5)
    data[2][1].fill_(255)  # a sample without a labelled pixel has no loss
    found = evaluated(model, LOSS, batched(data, 2))
    assert model.training  # left as it was
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    conv, truth, predicted, pixel_losses, ious = model.layers[1], [], [], [], []
    for image, mask in data:
        x = (image.permute(1, 2, 0) / 255 - mean) / std
        logits = F.interpolate(conv(x.permute(2, 0, 1)[None]), size=mask.shape, mode="bilinear").detach()[0].double()
        valid = mask != 255
        truth.append(mask[valid].numpy())
        predicted.append(logits.argmax(0)[valid].numpy())
        if not valid.any():
            continue
        p = logits.softmax(0)
        pixel_losses += [-p[int(c), y, x].log().item() for (y, x), c in np.ndenumerate(mask.numpy()) if c != 255]
        scores = []
        for c in range(CLASSES):
            t = (mask == c) & valid
            scores.append((p[c][t].sum() / (p[c][valid].sum() + t.sum() - p[c][t].sum())).item())
        ious.append(1 - np.mean(scores))
    expected = confusion_matrix(np.concatenate(truth), np.concatenate(predicted), labels=range(CLASSES))
    np.testing.assert_array_equal(found.confusion.numpy(), expected)
    assert found.losses["cross_entropy"] == pytest.approx(np.mean(pixel_losses), rel=1e-5)
    assert found.losses["soft_iou"] == pytest.approx(np.mean(ious), rel=1e-5)
    assert found.losses["loss"] == pytest.approx(np.mean(pixel_losses) + 2 * np.mean(ious), rel=1e-5)


@pytest.mark.parametrize("option", sorted(path.stem for path in (ROOT / "conf" / "loss").iterdir()))
def test_void_samples_change_no_loss(option: str) -> None:
    """Of any loss that can be configured; where all samples are void, there is none."""
    node = OmegaConf.load(ROOT / "conf" / "loss" / f"{option}.yaml")
    loss = instantiate(node, **({"class_weights": [1.0, 2.0, 3.0]} if "class_weights" in node else {}))
    model, data = Net(), samples(3)
    void = [(image, torch.full_like(mask, 255)) for image, mask in samples(2)]

    def losses(*pairs: tuple[Tensor, Tensor]) -> dict[str, float]:
        return evaluated(model, loss, batched(list(pairs), 2)).losses

    expected = losses(*data)
    assert losses(void[0], *data, void[1]) == pytest.approx(expected, rel=1e-6) and expected["loss"] != 0
    assert all(math.isnan(value) for value in losses(*void).values())


def test_batch_size_changes_nothing() -> None:
    model, data = Net().eval(), samples(7)
    results = [evaluated(model, LOSS, batched(data, n)) for n in (1, 3, 7)]
    for other in results[1:]:
        assert torch.equal(other.confusion, results[0].confusion)
        assert other.losses == pytest.approx(results[0].losses, rel=1e-6)


def test_memory_does_not_grow_with_the_number_of_images() -> None:
    steps: list[int] = []
    alive: list[int] = []

    def after_batch(images: int) -> None:
        steps.append(images)
        if len(steps) in (3, 30):
            gc.collect()
            alive.append(sum(t.numel() for t in gc.get_objects() if type(t) is Tensor))

    def endless() -> Iterator[ValidationBatch]:
        for _ in range(30):
            yield from batched([(torch.zeros(3, 16, 20, dtype=torch.uint8), torch.zeros(16, 20, dtype=torch.uint8))], 1)

    evaluated(Net(), LOSS, endless(), after_batch=after_batch)
    assert len(steps) == 30 and alive[0] == alive[1]


def test_the_predictor_agrees_with_the_evaluator() -> None:
    from data.labels import LabelSet

    labels = LabelSet(("a", "b", "c"), ((0, 0, 0),) * 3)
    model = Net().eval()
    image = np.random.default_rng(0).integers(0, 256, (16, 20, 3), np.uint8)
    mask = Predictor(model, labels, (16, 20), Normalization()).predict(image)
    assert mask.shape == (16, 20) and mask.dtype == np.uint8
    batch = ValidationBatch(torch.from_numpy(image.transpose(2, 0, 1)[None].copy()), [torch.from_numpy(mask)], ["a"])
    found = evaluated(model, LOSS, [batch])
    assert found.confusion.diagonal().sum() == 16 * 20
    large = Predictor(model, labels, (32, 40), Normalization()).predict(image)
    assert large.shape == (16, 20)  # whatever the network works at
