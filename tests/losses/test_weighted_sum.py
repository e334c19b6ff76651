from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from data.augmentation import Augmentation
from data.labels import IGNORE_INDEX, LabelSet
from data.loading import TrainingBatch, TrainingLoader, ValidationLoader
from data.resized import ResizedSamples
from data.samples import Sample, SegmentationDataset
from engine.normalization import IMAGENET
from engine.run_record import RunRecord
from engine.schedules import constant
from engine.trainer import Trainer
from engine.training_step import Components
from losses import combinations
from losses.cross_entropy import CrossEntropy
from losses.overlap import SoftDice, SoftIoU
from losses.pixel_term import PixelTerm
from losses.term import Term
from losses.weighted_sum import WeightedSum
from utils.loggers import NoLogger
from utils.run_folder import RunFolder

CLASSES = 3
SIZE = (8, 8)


def example() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    target = torch.randint(CLASSES, (2, *SIZE), generator=generator)
    target[:, :2] = IGNORE_INDEX
    return torch.randn(2, CLASSES, *SIZE, generator=generator), target


def test_total_divides_and_weighs() -> None:
    loss = WeightedSum({"a": CrossEntropy(), "b": SoftIoU()}, {"b": 0.5, "a": 3.0})
    total = loss.total(torch.tensor([10.0, 0.6]), torch.tensor([4.0, 2.0]))
    assert loss.names == ("a", "b")
    assert total.item() == pytest.approx(3 * 10 / 4 + 0.5 * 0.6 / 2)


def test_a_term_without_pixels_counts_as_zero() -> None:
    loss = WeightedSum({"a": CrossEntropy(), "b": SoftIoU()}, {"a": 3.0, "b": 0.5})
    assert loss.total(torch.tensor([0.0, 0.6]), torch.tensor([0.0, 1.0])).item() == pytest.approx(0.3)


def test_terms_and_denominators() -> None:
    logits, target = example()
    loss = WeightedSum({"ce": CrossEntropy([1.0, 2.0, 4.0]), "iou": SoftIoU()}, {"ce": 1.0, "iou": 1.0})
    terms = loss.named_terms(logits, target)
    assert list(terms) == ["ce", "iou"]
    weight = sum([1.0, 2.0, 4.0][label] for label in target[:, 2:].flatten().tolist())
    assert [term.denominator.item() for term in terms.values()] == [weight, 1.0]
    assert loss.denominators(target).tolist() == [weight, 1.0]


def test_a_scalar_of_logits_and_auxiliary_logits() -> None:
    logits, target = example()
    other = logits.flip(1)
    loss = combinations.ce_dice({"cross_entropy": 2.0, "soft_dice": 3.0}, auxiliary_weight=0.25)
    own, auxiliary = (
        2 * naive_cross_entropy(x.double(), target) + 3 * naive_overlap(x.double(), target, dice=True)
        for x in (logits, other)
    )
    assert loss(logits, target).item() == pytest.approx(own.item(), rel=1e-5)
    assert loss((logits, other), target).item() == pytest.approx((own + 0.25 * auxiliary).item(), rel=1e-5)


class Surprise(PixelTerm):
    """A term of a user, who has not thought of 16 bits: their sum of more than 65,504 is infinite."""

    def forward(self, logits: Tensor, target: Tensor) -> Term:
        surprise = F.cross_entropy(logits, target, reduction="sum", ignore_index=IGNORE_INDEX)
        return Term(surprise, self.denominator(target))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_terms_get_float32_in_mixed_precision(dtype: torch.dtype) -> None:
    logits, target = torch.zeros(2, CLASSES, 256, 256, dtype=dtype, requires_grad=True), torch.zeros(2, 256, 256).long()
    loss = WeightedSum({"iou": SoftIoU(), "own": Surprise()}, {"iou": 1.0, "own": 1.0})
    totals = loss.totals(logits, target)
    assert totals.dtype == torch.float32
    assert totals[1].item() == pytest.approx(2 * 256 * 256 * math.log(CLASSES), rel=1e-5)
    totals[1].backward()
    assert logits.grad is not None and logits.grad.dtype == dtype


@pytest.mark.parametrize("weights", [{}, {"ce": 1.0}, {"ce": 1.0, "iou": 1.0, "dice": 1.0}, {"ce": 1.0, "dice": 1.0}])
def test_weights_must_name_the_terms(weights: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="weights must name exactly ce, iou; got "):
        WeightedSum({"ce": CrossEntropy(), "iou": SoftIoU()}, weights)


@pytest.mark.parametrize(
    ("loss", "kinds", "weights"),
    [
        (combinations.cross_entropy(), [CrossEntropy], [1]),
        (combinations.soft_iou("all"), [SoftIoU], [1]),
        (combinations.soft_dice("all"), [SoftDice], [1]),
        (combinations.ce_iou({"soft_iou": 3, "cross_entropy": 2}, classes="all"), [CrossEntropy, SoftIoU], [2, 3]),
        (combinations.ce_dice({"cross_entropy": 2, "soft_dice": 3}, classes="all"), [CrossEntropy, SoftDice], [2, 3]),
    ],
)
def test_combinations(loss: WeightedSum, kinds: list[type], weights: list[float]) -> None:
    assert [type(term) for term in loss.terms] == kinds
    assert loss.weights.tolist() == weights
    assert all(term.classes == "all" for term in loss.terms if not isinstance(term, CrossEntropy))
    logits, target = example()
    logits.requires_grad_()
    terms, value = loss.named_terms(logits, target), loss(logits, target)
    value.backward()
    expected = sum(w * (t.total / t.denominator).item() for w, t in zip(weights, terms.values(), strict=True))
    assert value.item() == pytest.approx(expected)
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


@pytest.mark.parametrize("combination", [combinations.cross_entropy, combinations.ce_iou, combinations.ce_dice])
def test_class_weights_reach_the_cross_entropy(combination: Callable[..., WeightedSum]) -> None:
    second = {combinations.ce_iou: "soft_iou", combinations.ce_dice: "soft_dice"}.get(combination)
    weights = {"weights": {"cross_entropy": 1.0, second: 1.0}} if second else {}
    logits, target = example()
    term = combination(class_weights=[1.0, 0.0, 4.0], **weights).named_terms(logits, target)["cross_entropy"]
    assert term.denominator == ((target == 0).sum() + 4 * (target == 2).sum()).float()


# Accumulation: what the trainer hands to the optimiser, against autograd in float64.


class UnevenScenes(SegmentationDataset):
    """Noise with random masks; the later the sample, the more of it is ignored, the last one wholly."""

    labels = LabelSet(("a", "b", "c"), ((0, 0, 0), (1, 1, 1), (2, 2, 2)))

    def __len__(self) -> int:
        return 5

    def __getitem__(self, index: int) -> Sample:
        rng = np.random.default_rng(index)
        mask = rng.integers(0, CLASSES, SIZE).astype(np.uint8)
        mask[rng.random(SIZE) < index / 4] = IGNORE_INDEX
        return Sample(rng.integers(0, 256, (*SIZE, 3)).astype(np.uint8), mask, f"sample {index}")

    def name(self, index: int) -> str:
        return f"sample {index}"

    def size(self, index: int) -> tuple[int, int]:
        return SIZE


class Float64Net(nn.Module):
    """Two convolutions in float64, without batch norm: pictures do not influence each other."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.Tanh(), nn.Conv2d(4, CLASSES, 1)).double()

    def forward(self, images: Tensor) -> Tensor:
        return self.layers(images.double())


def trained_gradients(
    model: nn.Module, loss: WeightedSum, accumulation_steps: int, batch_size: int, folder: Path
) -> tuple[list[list[Tensor]], list[list[TrainingBatch]]]:
    """The gradient of each optimiser step of an epoch of a real `Trainer.fit`, and the batches of each."""
    scenes = UnevenScenes()
    train = TrainingLoader(scenes, Augmentation(), image_size=SIZE, batch_size=batch_size, seed=1, num_workers=0)
    validation = ValidationLoader(ResizedSamples(scenes, SIZE, masks=False, limit=1), batch_size=1, num_workers=0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    steps: list[list[Tensor]] = []

    def note(*_: object) -> None:
        steps.append([p.grad.clone() for p in model.parameters() if p.grad is not None])

    optimizer.register_step_pre_hook(note)
    trainer = Trainer(epochs=1, device="cpu", accumulation_steps=accumulation_steps)
    record = RunRecord(RunFolder(folder), NoLogger(), trainer.metric_columns(loss, scenes.labels), description={})
    trainer.fit(Components(model, loss, optimizer, constant(optimizer, 5, 5)), train, validation, record)
    train.order.epoch, train.order.start = 0, 0
    batches = list(train)
    windows = [batches[i : i + accumulation_steps] for i in range(0, len(batches), accumulation_steps)]
    assert len(steps) == len(windows)
    return steps, windows


def naive_cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """Mean over the valid pixels in float64; 0 where there is none."""
    valid = target != IGNORE_INDEX
    chosen = logits.log_softmax(1).movedim(1, -1)[valid].gather(1, target[valid].unsqueeze(1))
    return -chosen.sum() / max(int(valid.sum()), 1)


def naive_overlap(logits: Tensor, target: Tensor, dice: bool) -> Tensor:
    """Mean over the classes present in float64."""
    valid = target != IGNORE_INDEX
    p, truth = logits.softmax(1).movedim(1, -1)[valid], F.one_hot(target[valid], CLASSES).double()
    intersection, both = (p * truth).sum(0), (p + truth).sum(0)
    score = 2 * intersection / both if dice else intersection / (both - intersection)
    return 1 - score[truth.any(0)].mean()


def naive_lovasz(logits: Tensor, target: Tensor) -> Tensor:
    """For each class present, each error times what its pixel adds to 1 - IoU, from the largest error on."""
    valid = target != IGNORE_INDEX
    p, labels = logits.softmax(1).movedim(1, -1)[valid], target[valid].tolist()
    values = []
    for c in sorted(set(labels)):
        errors = [1 - p[i, c] if label == c else p[i, c] for i, label in enumerate(labels)]
        own = {i for i, label in enumerate(labels) if label == c}
        wrong: set[int] = set()
        value, before = p.new_zeros(()), 0.0
        for i in sorted(range(len(labels)), key=lambda i: -errors[i].item()):
            wrong.add(i)
            after = len(wrong) / len(own | wrong)
            value, before = value + errors[i] * (after - before), after
        values.append(value)
    return torch.stack(values).mean()


def naive_ohem(logits: Tensor, target: Tensor) -> Tensor:
    """Mean over the pixels below 0.7, or over the hardest sixteenth if that is more."""
    valid = target != IGNORE_INDEX
    p = logits.softmax(1).movedim(1, -1)[valid].gather(1, target[valid].unsqueeze(1)).flatten().sort().values
    return -p[: max(int((p < 0.7).sum()), -(-len(p) // 16))].log().mean()


RATIO_TERMS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "soft_iou": lambda logits, target: naive_overlap(logits, target, dice=False),
    "soft_dice": lambda logits, target: naive_overlap(logits, target, dice=True),
    "lovasz": naive_lovasz,
    "ohem": naive_ohem,
}
"""Terms that do not add up over micro-batches, in float64."""


def gradient(model: nn.Module, value: Tensor) -> list[Tensor]:
    return list(torch.autograd.grad(value, list(model.parameters())))


ACCUMULATION = pytest.mark.parametrize(
    ("accumulation_steps", "batch_size"), [(1, 2), (2, 1), (3, 1), (2, 2), (9, 1)], ids=lambda value: str(value)
)


@ACCUMULATION
def test_accumulated_cross_entropy_is_that_of_one_large_batch(
    accumulation_steps: int, batch_size: int, tmp_path: Path
) -> None:
    """Also where micro-batches differ in ignored pixels and in size, and where the last window is shorter."""
    torch.manual_seed(0)
    model = Float64Net()
    steps, windows = trained_gradients(model, combinations.cross_entropy(), accumulation_steps, batch_size, tmp_path)
    for found, window in zip(steps, windows, strict=True):
        images, masks = torch.cat([b.images for b in window]), torch.cat([b.masks for b in window]).long()
        expected = gradient(model, naive_cross_entropy(model(IMAGENET(images)), masks))
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-7)


def mean_of_labelled(term: str, found: list[tuple[Tensor, Tensor]]) -> Tensor:
    """The mean of a term over the (logits, target) that hold a labelled pixel."""
    return torch.stack([RATIO_TERMS[term](z, t) for z, t in found if (t != IGNORE_INDEX).any()]).mean()


@pytest.mark.parametrize("term", RATIO_TERMS)
@ACCUMULATION
def test_accumulated_ratio_terms_are_the_mean_of_the_labelled_micro_batches(
    accumulation_steps: int, batch_size: int, term: str, tmp_path: Path
) -> None:
    """One sample in five is void; it counts for nothing, in the gradient and in what is reported."""
    torch.manual_seed(0)
    model, loss = Float64Net(), getattr(combinations, term)()
    steps, windows = trained_gradients(model, loss, accumulation_steps, batch_size, tmp_path)
    everything = []
    for found, window in zip(steps, windows, strict=True):
        pairs = [(model(IMAGENET(batch.images)), batch.masks.long()) for batch in window]
        everything += pairs
        void = all((target == IGNORE_INDEX).all() for _, target in pairs)
        expected = [torch.zeros_like(g) for g in found] if void else gradient(model, mean_of_labelled(term, pairs))
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-7)
    (row,) = RunFolder(tmp_path).read_rows()
    assert (
        row[f"train/{term}"] == row["train/loss"] == pytest.approx(mean_of_labelled(term, everything).item(), rel=1e-5)
    )


def test_a_negative_auxiliary_weight_is_refused() -> None:
    with pytest.raises(ValueError, match=r"auxiliary_weight=-1\.0: the weight must be from 0"):
        combinations.cross_entropy(auxiliary_weight=-1.0)


class TwoHeads(Float64Net):
    """A network with auxiliary logits in training."""

    def __init__(self) -> None:
        super().__init__()
        self.second = nn.Conv2d(3, CLASSES, 1).double()

    def forward(self, images: Tensor) -> Tensor | tuple[Tensor, Tensor]:  # type: ignore[override]
        main = super().forward(images)
        return (main, self.second(images.double())) if self.training else main


def test_auxiliary_logits_are_trained_with_their_weight_and_not_reported(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = TwoHeads()
    steps, windows = trained_gradients(model, combinations.cross_entropy(auxiliary_weight=0.25), 2, 2, tmp_path)
    values = []
    for found, window in zip(steps, windows, strict=True):
        images, masks = torch.cat([b.images for b in window]), torch.cat([b.masks for b in window]).long()
        main, auxiliary = model.train()(IMAGENET(images))
        expected = naive_cross_entropy(main, masks) + 0.25 * naive_cross_entropy(auxiliary, masks)
        torch.testing.assert_close(found, gradient(model, expected), rtol=1e-4, atol=1e-7)
        values.append((naive_cross_entropy(main, masks) * (masks != IGNORE_INDEX).sum(), (masks != IGNORE_INDEX).sum()))
    (row,) = RunFolder(tmp_path).read_rows()
    totals, denominators = (torch.stack(x).sum() for x in zip(*values, strict=True))
    assert row["train/cross_entropy"] == pytest.approx((totals / denominators).item(), rel=1e-5)


@pytest.mark.parametrize("term", RATIO_TERMS)
def test_auxiliary_logits_of_void_micro_batches_count_for_nothing(term: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = TwoHeads()
    steps, windows = trained_gradients(model, getattr(combinations, term)(auxiliary_weight=0.25), 9, 1, tmp_path)
    ((found, window),) = zip(steps, windows, strict=True)
    outputs = [(model.train()(IMAGENET(batch.images)), batch.masks.long()) for batch in window]
    main, auxiliary = ([(logits[i], target) for logits, target in outputs] for i in (0, 1))
    expected = mean_of_labelled(term, main) + 0.25 * mean_of_labelled(term, auxiliary)
    torch.testing.assert_close(found, gradient(model, expected), rtol=1e-4, atol=1e-7)
