"""What a user's network, loss, optimizer and scheduler return is looked at before training."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.lr_scheduler import LambdaLR

from engine import schedules
from engine.size import multiply_adds
from engine.trial import try_loss, try_model, try_optimizer, try_scheduler
from losses.combinations import cross_entropy
from losses.term import LossTerm, Term
from losses.weighted_sum import WeightedSum
from tests.conftest import ROOT, TINY, runs_in
from tests.in_process import assert_refused, run_here
from train_segmentation import train
from utils.config_groups import options
from utils.errors import UserError

SIZE = (32, 40)


class Network(nn.Module):
    """A layer, and what is made of its logits (N, 3, H, W)."""

    def __init__(self, change: Any = lambda logits, training: logits) -> None:
        super().__init__()
        self.conv, self.norm, self.change = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3), change

    def forward(self, images: Tensor) -> Any:
        return self.change(self.norm(self.conv(images)), self.training)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x, t: {"out": x}, r"Network returns a dict in training mode; expected logits, .* \(N, 3, H, W\)"),
        (lambda x, t: [x, x], "returns a list in training mode"),
        (lambda x, t: None, "returns nothing in training mode"),
        (lambda x, t: (x, {"aux": x}), "returns a dict in training mode"),
        (lambda x, t: (x, x), "returns a tuple in eval mode; expected logits, a tensor"),
        (lambda x, t: x if t else {"out": x}, "returns a dict in eval mode"),
        (lambda x, t: x[:, :2], r"float32 \(2, 2, 32, 40\) for images .*: return one channel per class"),
        (lambda x, t: x[:, :, ::4, ::4], r"\(2, 3, 8, 10\) for images .*: resize them .*F.interpolate"),
        (lambda x, t: (x, x[:, :, ::2]), r"\(2, 3, 16, 40\) .* in training mode"),
        (lambda x, t: x.argmax(1), r"int64 \(2, 32, 40\)"),
        (lambda x, t: x.reshape(7, -1), r"Network fails on images \(2, 3, 32, 40\): RuntimeError: shape"),
    ],
)
def test_networks_that_are_refused(change: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        try_model(Network(change), 3, SIZE)


def test_what_is_no_network() -> None:
    with pytest.raises(UserError, match=r"model: a function was built; expected a torch.nn.Module"):
        try_model(lambda images: images, 3, SIZE)


@pytest.mark.parametrize(
    "change",
    [
        lambda x, t: x,
        lambda x, t: (x, x * 2) if t else x,
        lambda x, t: x * (1 + x.detach().numpy().max() * 0),  # which the meta device cannot
        lambda x, t: x if x.sum().item() < 1e9 else None,
    ],
)
def test_networks_that_are_accepted_stay_as_they_are(change: Any) -> None:
    model = Network(change)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    random = torch.get_rng_state()
    try_model(model, 3, SIZE)
    assert model.training and torch.equal(random, torch.get_rng_state())
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert multiply_adds(model, SIZE) == 3 * 3 * 32 * 40


class Mine(LossTerm):
    """A term of one's own: what `term` makes of the cross-entropies and which pixels are valid."""

    def __init__(self, term: Any, denominator: Any = None) -> None:
        super().__init__()
        self.term, self.own = term, denominator

    def denominator(self, target: Tensor) -> Tensor:
        return (target != 255).sum().float() if self.own is None else self.own(target)

    def forward(self, logits: Tensor, target: Tensor) -> Any:
        return self.term(logits, target)


def ce(logits: Tensor, target: Tensor) -> Tensor:
    return F.cross_entropy(logits, target, ignore_index=255, reduction="sum")


def valid(target: Tensor) -> Tensor:
    return (target != 255).sum().float()


@pytest.mark.parametrize(
    ("term", "message"),
    [
        (Mine(ce), r"loss: mine: a Tensor is returned; expected losses.term.Term"),
        (Mine(lambda x, y: (ce(x, y), valid(y))), "a tuple is returned"),
        (Mine(lambda x, y: Term(cast(Any, ce(x, y).item()), valid(y))), "total is .*; expected a finite scalar tensor"),
        (Mine(lambda x, y: Term(x.new_full((), float("nan")), valid(y))), "total is nan"),
        (Mine(lambda x, y: Term(F.cross_entropy(x, y, reduction="none"), valid(y))), "fails on a batch: .*255"),
        (Mine(lambda x, y: Term(ce(x, y).detach(), valid(y))), "no finite gradient"),
        (Mine(lambda x, y: Term(ce(x, y), -valid(y))), "the denominator is -"),
        (Mine(lambda x, y: Term(ce(x, y), valid(y) / 2)), r"denominator\(target\) is 1536.0, and forward's is 768.0"),
        (Mine(lambda x, y: Term(ce(x, y) + x.square().mean(), valid(y))), r"ignored pixels \(255\) have a gradient"),
        (
            Mine(lambda x, y: Term(ce(x, y) / valid(y).clamp(min=1), x.new_ones(())), lambda y: torch.ones(())),
            "without a labelled pixel .* is 0 / 1; expected 0 / 0",
        ),
        (
            Mine(lambda x, y: Term(F.cross_entropy(x, y, ignore_index=255), valid(y))),
            "without a labelled .*total is nan",
        ),
    ],
)
def test_losses_that_are_refused(term: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        try_loss(WeightedSum({"mine": term}, {"mine": 1.0}), 3)


def test_a_loss_of_torch_is_refused_by_name() -> None:
    with pytest.raises(UserError, match=r"a CrossEntropyLoss was built; expected a losses.weighted_sum.WeightedSum"):
        try_loss(nn.CrossEntropyLoss(), 3)
    try_loss(WeightedSum({"mine": Mine(lambda x, y: Term(ce(x, y), valid(y)))}, {"mine": 1.0}), 3)
    try_loss(cross_entropy(), 1)


@pytest.mark.parametrize("name", options("loss"))
def test_every_loss_of_the_program_is_accepted(name: str) -> None:
    node = OmegaConf.load(ROOT / "conf" / "loss" / f"{name}.yaml")
    more = {"class_weights": [1.0, 2.0, 3.0]} if "class_weights" in node else {}
    try_loss(instantiate(node, **more, _convert_="all"), 3)


def adam(parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
    return torch.optim.Adam(parameters, lr=0.1)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: None, "optimizer: a NoneType was built"),
        (lambda p: torch.optim.LBFGS(p), "a step of LBFGS fails: TypeError: .*closure"),
        (lambda p: torch.optim.SparseAdam(p), "a step of SparseAdam fails: .*dense gradients"),
        (lambda p: torch.optim.SGD(p, lr=float("inf")), "SGD makes weights NaN or infinite"),
    ],
)
def test_optimizers_that_are_refused(make: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        try_optimizer(make)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda o: torch.optim.lr_scheduler.ReduceLROnPlateau(o), "a ReduceLROnPlateau was built; .*LambdaLR"),
        (lambda o: None, "a NoneType was built"),
        (lambda o: LambdaLR(o, lambda step: 1 - step / 5), "the learning rate of step 7 is -0.0"),
        (lambda o: LambdaLR(o, lambda step: float("nan") if step == 3 else 1.0), "of step 4 is nan"),
        (lambda o: LambdaLR(o, lambda step: 1 / (2 - step)), "scheduler: step 2 fails: ZeroDivisionError"),
    ],
)
def test_schedules_that_are_refused(make: Any, message: str) -> None:
    optimizer = adam([nn.Parameter(torch.ones(2))])
    with pytest.raises(UserError, match=message):
        try_scheduler(make(optimizer), optimizer, 10)


@pytest.mark.parametrize("name", ["poly", "cosine", "exponential", "one_cycle", "constant"])
def test_every_schedule_of_the_program_is_accepted(name: str) -> None:
    for steps in (1, 2, 7, 1500):
        optimizer = try_optimizer(adam)
        try_scheduler(getattr(schedules, name)(optimizer, steps, steps), optimizer, steps)


LBFGS = ("optimizer._target_=torch.optim.LBFGS", *(f"~optimizer.{key}" for key in ("fused", "betas", "weight_decay")))
GREY = "augmentation.transforms=[{_target_: albumentations.ToGray, num_output_channels: 1, p: 1}]"
LRASPP = ("model._target_=torchvision.models.segmentation.lraspp_mobilenet_v3_large", "+model.weights_backbone=null")
NO_OPTIONS = ("~model.dropout", "~model.encoder_dropout")
TORCH_LOSS = (
    "loss._target_=torch.nn.CrossEntropyLoss",
    *(f"~loss.{key}" for key in ("weights", "class_weights", "classes", "auxiliary_weight")),
)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((GREY,), "uint8 (32, 32)"),
        (LBFGS, "closure"),
        ((*LRASPP, *NO_OPTIONS), "returns a OrderedDict in"),
        (TORCH_LOSS, "a CrossEntropyLoss was built; expected a losses.weighted_sum.WeightedSum of LossTerms"),
    ],
)
def test_training_leaves_no_folder_behind(words: tuple[str, ...], message: str, tmp_path: Path) -> None:
    done = run_here(train, "train", "augmentation=none", *TINY, *words, cwd=tmp_path)
    assert_refused(done, message)
    assert not runs_in(tmp_path)
