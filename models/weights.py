"""Weights that were trained before, into a network or its encoder."""

from __future__ import annotations

import logging
import pickle
from typing import Any

import torch
from torch import Tensor, nn

from models.weight_files import download_state_dict, misfits, read_state_dict, read_weights
from utils.errors import UserError, did_you_mean

log = logging.getLogger(__name__)


def load_encoder_weights(encoder: nn.Module, weights: str, url: str) -> None:
    """Loads a classifier's weights into the encoder that is a part of it, with the same names.

    Args:
        weights: `imagenet`, for those at `url`, or the path of a state dict.

    Raises:
        UserError: they cannot be had, or are of another encoder.
    """
    state = download_state_dict(url) if weights == "imagenet" else read_state_dict(weights)
    own = encoder.state_dict()
    head = ("_conv_head.", "_bn1.", "_fc.")  # of the classifier; the encoder may do without
    state = {key: value for key, value in state.items() if key in own or not key.startswith(head)}
    wrong = misfits(own, state)
    if wrong:
        raise UserError(f"encoder_weights={weights}: weights of another encoder: {wrong[0]}")
    encoder.load_state_dict(state, strict=False)


def load_timm_encoder(name: str, output_stride: int, weights: str | None) -> nn.Module:
    """The encoder of that name in `timm`, as `models.encoders.TimmEncoder` describes it.

    Raises:
        ValueError: timm has no such encoder, or it cannot have that output stride.
        UserError: the weights cannot be had, or do not fit.
    """
    import timm  # slow to import, and for few networks only

    if not timm.is_model(name):
        raise ValueError(f"there is no encoder '{name}'{did_you_mean(name, timm.list_models())}")
    source: dict[str, Any] = {}
    if weights is not None and weights != "imagenet":
        # Read and compared here: timm takes files of other networks without a word.
        state = read_state_dict(weights)
        with torch.device("meta"):
            whole: Any = timm.create_model(name)
        names = whole.pretrained_cfg.get("classifier") or ()
        classifier = tuple(f"{n}." for n in ((names,) if isinstance(names, str) else names))
        wrong = misfits(
            *({k: v for k, v in d.items() if not k.startswith(classifier)} for d in (whole.state_dict(), state))
        )
        if wrong:
            raise UserError(f"encoder_weights={weights}: weights of another encoder than timm's {name}: {wrong[0]}")
        source = {"pretrained_cfg_overlay": {"state_dict": state}}
    try:
        return timm.create_model(
            name, features_only=True, pretrained=weights is not None, output_stride=output_stride, **source
        )
    except (NotImplementedError, AssertionError, TypeError) as error:
        raise ValueError(
            f"timm's {name} cannot have output stride {output_stride}; xception65, resnet50 and others can"
        ) from error
    except (OSError, RuntimeError, pickle.UnpicklingError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"encoder_weights={weights}: timm cannot load weights for {name} ({reason});"
            " download them elsewhere and say model.encoder_weights=<path>"
        ) from error


def load_model_weights(model: nn.Module, weights: str | None, num_classes: int, reset_classifier: bool = False) -> None:
    """Loads weights into a network; a classifier of other classes stays as it was initialised, if allowed.

    The network's `input_mean` and `input_std` become those of a checkpoint.

    Args:
        weights: path of a state dict, a checkpoint or a run folder; None leaves the network as it is.
        num_classes: of the network.
        reset_classifier: leave out tensors that differ from the network's in nothing but the number of classes.

    Raises:
        UserError: the weights cannot be read or do not fit.
    """
    if weights is None:
        return
    (state, mean, std), own = read_weights(weights), model.state_dict()
    classifier = [key for key in state if key in own and _other_classes(own[key], state[key], num_classes)]
    kept = {key: value for key, value in state.items() if not (reset_classifier and key in classifier)}
    wrong = misfits({key: value for key, value in own.items() if not (reset_classifier and key in classifier)}, kept)
    if wrong:
        hint = ""
        if not reset_classifier and not misfits(
            {key: value for key, value in own.items() if key not in classifier},
            {key: value for key, value in state.items() if key not in classifier},
        ):
            hint = "; model.reset_classifier=true keeps all but the classifier"
        raise UserError(f"model.weights={weights}: weights of another network: {wrong[0]}{hint}")
    model.load_state_dict(kept, strict=False)
    if mean is not None:
        model.input_mean, model.input_std = mean, std  # type: ignore[assignment]
    log.info("weights of %s%s", weights, f", without {', '.join(classifier)}" if len(kept) < len(state) else "")


def _other_classes(own: Tensor, other: Tensor, num_classes: int) -> bool:
    """Whether two tensors differ in one dimension only, which is the number of classes here."""
    if own.ndim != other.ndim:
        return False
    different = [(a, b) for a, b in zip(own.shape, other.shape, strict=True) if a != b]
    return len(different) == 1 and different[0][0] == num_classes
