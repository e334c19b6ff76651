import torch
from torch import nn

from engine.parameter_groups import without_decay_of_norms
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
