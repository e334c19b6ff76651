"""Networks of timm that return feature maps."""

from __future__ import annotations

import pickle
from typing import Any

import torch
from torch import nn

from models.weight_files import misfits, read_state_dict
from utils.errors import UserError, did_you_mean


def create_timm_network(name: str, output_stride: int, weights: str | None = None, in_channels: int = 3) -> nn.Module:
    """Create a network of timm that returns feature maps; arguments and errors as for `models.encoders.TimmEncoder`.

    Args:
        weights: as in `models.encoders.Encoder.load_weights`; None for random ones.
    """
    import timm  # slow to import, and few networks need it

    if not timm.is_model(name):
        raise ValueError(f"there is no encoder '{name}'{did_you_mean(name, timm.list_models())}")
    source: dict[str, Any] = {}
    if weights is not None and weights != "imagenet":
        # Compared here, because timm loads files of other networks without an error.
        state = read_state_dict(weights)
        with torch.device("meta"):
            whole: Any = timm.create_model(name)
        names = whole.pretrained_cfg.get("classifier") or ()
        classifier = tuple(f"{n}." for n in ((names,) if isinstance(names, str) else names))
        wrong = misfits(
            *({k: v for k, v in d.items() if not k.startswith(classifier)} for d in (whole.state_dict(), state))
        )
        if wrong:
            raise UserError(
                f"model.encoder_weights={weights}: weights of another encoder than timm's {name}: {wrong[0]}"
            )
        source = {"pretrained_cfg_overlay": {"state_dict": state}}
    try:
        return timm.create_model(
            name,
            features_only=True,
            pretrained=weights is not None,
            output_stride=output_stride,
            in_chans=in_channels,
            **source,
        )
    except (NotImplementedError, AssertionError, TypeError) as error:
        raise ValueError(
            f"timm's {name} cannot have output stride {output_stride}; xception65, resnet50 and others can"
        ) from error
    except (OSError, RuntimeError, pickle.UnpicklingError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"model.encoder_weights={weights}: timm cannot load weights for {name} ({reason});"
            " download them elsewhere and pass model.encoder_weights=<path>"
        ) from error
