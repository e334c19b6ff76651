"""Pretrained weights and frozen encoders: what happens to a new network after its constructor."""

from __future__ import annotations

import inspect
import logging

from torch import Tensor, nn

from models.encoders import Encoder
from models.weight_files import misfits, read_weights, with_input_channels
from utils.errors import UserError
from utils.text import plural

log = logging.getLogger(__name__)


def load_pretrained(
    model: nn.Module,
    *,
    weights: str | None = None,
    reset_classifier: bool = False,
    partial_weights: bool = False,
    encoder_weights: str | None = None,
    freeze_encoder: bool = False,
) -> tuple[str, ...] | None:
    """Load pretrained weights into a new network, and freeze its encoder.

    The keyword arguments are the keys of `model` in a config that any network has: `model.weights` and so on.

    Args:
        model: the network. Its attribute `encoder`, if it has one, is a `models.encoders.Encoder`; by its attribute
            `num_classes` its classifier is recognised.
        weights: path of a state dict, a checkpoint or a run folder for the whole network. The network's `input_mean`
            and `input_std` become those of a checkpoint.
        reset_classifier: keep the initial values of tensors whose shape in `weights` differs only in the number of
            classes.
        partial_weights: load those tensors of `weights` that fit by name and shape, and log the layers that keep their
            initial values.
        encoder_weights: `imagenet`, or the path of a state dict of the encoder.
        freeze_encoder: train only the rest of the network.

    Returns:
        The names of the classes whose classifier was loaded; None if it was not, or if the file does not name them.

    Raises:
        UserError: the weights cannot be read or do not fit, or the network has no encoder.
    """
    classes = None
    if encoder_weights is not None:
        encoder_of(model, f"model.encoder_weights={encoder_weights}").load_weights(encoder_weights)
    if partial_weights and reset_classifier:
        raise UserError("model.partial_weights=true keeps what does not fit: leave out model.reset_classifier=true")
    if weights is not None:
        if partial_weights:
            load_fitting_weights(model, weights)
        else:
            classes = load_model_weights(model, weights, reset_classifier)
    if freeze_encoder:
        encoder_of(model, "model.freeze_encoder=true").freeze()
        if encoder_weights is None and weights is None:
            log.warning(
                "model.freeze_encoder=true without weights: the features of an untrained encoder carry almost no"
                " information; pass model.encoder_weights=imagenet"
            )
    return classes


OPTIONS = tuple(inspect.getfullargspec(load_pretrained).kwonlyargs)
"""Keys of `model` that are not the constructor's."""


def encoder_of(model: nn.Module, option: str) -> Encoder:
    """Return the encoder of a network.

    Args:
        option: the option that needs it, for the message.

    Raises:
        UserError: the network has none.
    """
    encoder = getattr(model, "encoder", None)
    if not isinstance(encoder, Encoder):
        raise UserError(f"{option}: {type(model).__name__} has no encoder; leave the option out")
    return encoder


def load_model_weights(model: nn.Module, weights: str, reset_classifier: bool = False) -> tuple[str, ...] | None:
    """Load weights of a whole network; arguments, result and errors as for `load_pretrained`."""
    (state, mean, std, classes), own = read_weights(weights), model.state_dict()
    state = with_input_channels(state, own)
    num_classes = getattr(model, "num_classes", None)
    classifier = [key for key in state if key in own and _other_classes(own[key], state[key], num_classes)]
    own_rest, rest = ({key: d[key] for key in d if key not in classifier} for d in (own, state))
    needed, loaded = (own_rest, rest) if reset_classifier else (own, state)
    wrong = misfits(needed, loaded)
    if wrong:
        what = "weights of another network"
        hint = "; pass the model= that they were trained with, or model.partial_weights=true to load what fits"
        if not reset_classifier and not misfits(own_rest, rest):
            what = "weights for other classes"
            hint = "; model.reset_classifier=true loads all except the classifier"
        raise UserError(f"model.weights={weights}: {what}: {wrong[0]}{hint}")
    model.load_state_dict(loaded, strict=False)
    _set_statistics(model, mean, std)
    log.info("loaded %s%s", weights, f", except {', '.join(classifier)}" if len(loaded) < len(state) else "")
    return None if classifier else classes


def load_fitting_weights(model: nn.Module, weights: str) -> None:
    """Load the tensors that fit a network by name, shape and kind of number, and log the layers that keep their values.

    Raises:
        UserError: the file cannot be read, or none of its tensors fits.
    """
    (state, mean, std, _), own = read_weights(weights), model.state_dict()
    state = with_input_channels(state, own)
    fitting = {key: state[key] for key in own if key in state and not misfits({key: own[key]}, {key: state[key]})}
    if not fitting:
        raise UserError(
            f"model.weights={weights}: none of its {plural(len(state), 'tensor')} fits {type(model).__name__}"
        )
    model.load_state_dict(fitting, strict=False)
    _set_statistics(model, mean, std)
    kept = [key for key in own if key not in fitting and not key.endswith("num_batches_tracked")]
    unused = [key for key in state if key not in fitting]
    log.info("loaded %d of %s from %s", len(fitting), plural(len(own), "tensor"), weights)
    log.info("layers that keep their initial values: %s", _layers(kept))
    log.info("layers of the file that were not used: %s", _layers(unused))


def _set_statistics(model: nn.Module, mean: tuple[float, ...] | None, std: tuple[float, ...] | None) -> None:
    """Set `input_mean` and `input_std` to those of a checkpoint, if it is for images of as many channels."""
    if mean is not None and len(mean) == getattr(model, "in_channels", 3):
        model.input_mean, model.input_std = mean, std  # type: ignore[assignment]


def _layers(keys: list[str]) -> str:
    """Return the layers that tensors belong to, each once."""
    return ", ".join(dict.fromkeys(key.rpartition(".")[0] or key for key in keys)) or "none"


def _other_classes(own: Tensor, other: Tensor, num_classes: int | None) -> bool:
    """Whether two tensors differ in one dimension only, and it is the number of classes in `own`."""
    if own.ndim != other.ndim:
        return False
    different = [(a, b) for a, b in zip(own.shape, other.shape, strict=True) if a != b]
    return len(different) == 1 and different[0][0] == num_classes
