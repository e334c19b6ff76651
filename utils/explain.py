"""What Hydra and OmegaConf say of a mistake, in words for its maker."""

from __future__ import annotations

import yaml
from hydra.errors import MissingConfigException, OverrideParseException
from omegaconf import DictConfig
from omegaconf.errors import InterpolationKeyError, OmegaConfBaseException

from utils.errors import did_you_mean


def explain(error: BaseException) -> str:
    """What is wrong, where, and the way out, for an error from composing a config."""
    cause = error.__cause__ or error
    context: BaseException | None = error
    while context is not None and not isinstance(context, yaml.YAMLError):
        context = context.__cause__ or context.__context__
    if isinstance(context, yaml.YAMLError):
        return "not valid YAML: " + " ".join(str(context).split())
    if isinstance(error, MissingConfigException) and error.options:
        group, _, option = str(error.missing_cfg_file).rpartition("/")
        options = sorted(error.options)
        hint = did_you_mean(option, options)
        return f"{group}={option}: there is no such option{hint or ''}\navailable: {', '.join(options)}"
    if isinstance(error, OverrideParseException):
        return f"{error.override}: cannot be read as key=value; quote what is special: 'key=\"a, b\"'"
    if isinstance(cause, InterpolationKeyError):
        return f"{cause.full_key}: {_first_line(cause)}"
    if isinstance(cause, OmegaConfBaseException) and cause.full_key:
        known = _keys(cause.parent_node)
        wrong = str(cause.key)
        if known is not None and wrong not in known:
            prefix = cause.full_key.rpartition(".")[0]
            close = did_you_mean(wrong, known)
            hint = close.replace("'", f"'{prefix}.", 1) if prefix and close else close
            return f"{cause.full_key}: unknown key{hint or '; known here: ' + ', '.join(known)}"
        return f"{cause.full_key}: {_first_line(cause)}"
    if "Config group override must be" in str(error):
        return "a group (model=, data=, loss= ...) must be the name of an option, not a number or null"
    if "Ambiguous value" in str(error):
        return f"{_first_line(error)}: a list is written key=[a,b], and a sweep over values needs --multirun"
    return _first_line(error)


def _keys(node: object) -> list[str] | None:
    """The keys of a config node, without Hydra's."""
    if not isinstance(node, DictConfig):
        return None
    return [str(key) for key in node if key not in ("hydra", "_target_", "_partial_")]


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
