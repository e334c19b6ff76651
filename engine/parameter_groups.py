"""Parameter groups of the optimiser."""

from __future__ import annotations

from typing import Any

from torch import nn


def without_decay_of_norms(model: nn.Module) -> list[dict[str, Any]]:
    """Split the trained parameters into two groups for an optimiser.

    Weights of convolutions and linear layers are decayed; biases and the parameters of norms, which have one dimension,
    are not (He et al. 2019, "Bag of Tricks for Image Classification", arXiv 1812.01187, section 3.1).
    """
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups: list[dict[str, Any]] = [
        {"params": [parameter for parameter in trained if parameter.ndim > 1]},
        {"params": [parameter for parameter in trained if parameter.ndim <= 1], "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


def with_encoder_lr(parameters: list[Any], encoder: nn.Module, lr: float) -> list[dict[str, Any]]:
    """Move the parameters of an encoder into separate groups, after the others, with another learning rate.

    Args:
        parameters: parameters, or groups of them; the options of a group also apply to the parameters moved out of it.
    """
    groups = parameters if isinstance(parameters[0], dict) else [{"params": parameters}]
    own = {id(parameter) for parameter in encoder.parameters()}
    rest = [{**group, "params": [p for p in group["params"] if id(p) not in own]} for group in groups]
    moved = [{**group, "params": [p for p in group["params"] if id(p) in own], "lr": lr} for group in groups]
    return [group for group in (*rest, *moved) if group["params"]]
