import pytest
import torch
from torch import nn

from engine import schedules
from engine.parameter_groups import with_encoder_lr, without_decay_of_norms
from engine.trainer import Trainer


def network() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.PReLU(4), nn.Conv2d(4, 2, 1, bias=False))


def test_biases_and_norms_are_apart() -> None:
    model = network()
    decayed, rest = without_decay_of_norms(model)
    assert [p.shape for p in decayed["params"]] == [(4, 3, 3, 3), (2, 4, 1, 1)]
    assert rest["weight_decay"] == 0 and len(rest["params"]) == 4
    model[0].requires_grad_(False)
    assert sum(len(group["params"]) for group in without_decay_of_norms(model)) == 4


def test_only_what_is_decayed_shrinks() -> None:
    model = network()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(1.0)
    for decay_norms in (False, True):
        trainer = Trainer(epochs=1, device="cpu", decay_norms=decay_norms)
        optimizer = torch.optim.SGD(trainer.parameters_of(model), lr=0.5, weight_decay=0.5)
        for parameter in model.parameters():
            parameter.grad = torch.zeros_like(parameter)
        before = {name: p.clone() for name, p in model.named_parameters()}
        optimizer.step()
        for name, parameter in model.named_parameters():
            shrunk = 0.75 if decay_norms or name in ("0.weight", "3.weight") else 1.0
            torch.testing.assert_close(parameter, before[name] * shrunk)


class Pair(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.rest = network(), network()


@pytest.mark.parametrize("decay_norms", [True, False])
@pytest.mark.parametrize("name", ["poly", "cosine", "one_cycle", "exponential", "constant"])
def test_the_encoder_learns_at_a_tenth_of_the_rate_throughout(name: str, decay_norms: bool) -> None:
    """With SGD and equal gradients, each step moves the encoder a tenth as far, and decays it a tenth as much."""
    model, lr = Pair(), 0.5
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(1.0)
    parameters = Trainer(epochs=1, device="cpu", decay_norms=decay_norms).parameters_of(model)
    optimizer = torch.optim.SGD(with_encoder_lr(parameters, model.encoder, lr * 0.1), lr=lr, weight_decay=0.1)
    assert sum(len(group["params"]) for group in optimizer.param_groups) == len(list(model.parameters()))
    schedule = getattr(schedules, name)(optimizer, 8, 4)
    reference = getattr(schedules, name)(torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=lr), 8, 4)
    for _ in range(8):
        rate = reference.get_last_lr()[0]
        assert optimizer.param_groups[0]["lr"] == rate
        before = {key: p.clone() for key, p in model.named_parameters()}
        for parameter in model.parameters():
            parameter.grad = torch.ones_like(parameter)
        optimizer.step()
        for key, parameter in model.named_parameters():
            decay = 0.1 if decay_norms or parameter.ndim > 1 else 0.0
            step = rate * (0.1 if key.startswith("encoder") else 1.0) * (1 + decay * before[key])
            torch.testing.assert_close(parameter, before[key] - step)
        schedule.step()
        reference.optimizer.step()
        reference.step()


def test_a_frozen_encoder_has_no_group() -> None:
    model = Pair()
    model.encoder.requires_grad_(False)
    trained = [p for p in model.parameters() if p.requires_grad]
    (group,) = with_encoder_lr(trained, model.encoder, 0.1)
    assert group["params"] == trained and "lr" not in group
