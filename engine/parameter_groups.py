"""Which parameters the optimiser decays."""

from __future__ import annotations

from typing import Any

from torch import nn


def without_decay_of_norms(model: nn.Module) -> list[dict[str, Any]]:
    """The trained parameters in two groups for an optimiser: weights of convolutions and linear layers, and, without
    weight decay, everything of one dimension: biases, and scales of norms (He et al. 2019, "Bag of Tricks for Image
    Classification", arXiv 1812.01187, section 3.1)."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups: list[dict[str, Any]] = [
        {"params": [parameter for parameter in trained if parameter.ndim > 1]},
        {"params": [parameter for parameter in trained if parameter.ndim <= 1], "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]
