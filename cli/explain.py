"""What Hydra and OmegaConf say of a mistake, in words for its maker."""

from __future__ import annotations

import re

import yaml
from hydra.errors import MissingConfigException, OverrideParseException
from omegaconf import DictConfig
from omegaconf.errors import GrammarParseError, InterpolationResolutionError, OmegaConfBaseException

from cli.schema import TYPED_AS
from cli.validation import OPTIMIZER_KEYS, pretrained_keys
from utils.errors import did_you_mean


def explain(error: BaseException) -> str:
    """What is wrong, where, and the way out, for an error from composing a config."""
    cause = error.__cause__ or error
    context: BaseException | None = error
    while context is not None and not isinstance(context, yaml.YAMLError):
        context = context.__cause__ or context.__context__
    if isinstance(context, yaml.YAMLError):
        return _of_yaml(context)
    if isinstance(error, MissingConfigException) and error.options:
        missing = str(error.missing_cfg_file)
        group, _, option = missing.rpartition("/") if missing.startswith("hydra/") else missing.partition("/")
        options = sorted(name for name in error.options if not name.startswith("_"))  # those are only included
        hint = did_you_mean(option, options)
        return f"{group}={option}: there is no such option{hint or ''}\navailable: {', '.join(options)}"
    if isinstance(error, OverrideParseException):
        return f"{error.override}: cannot be read as key=value; quote what is special: 'key=\"a, b\"'"
    if isinstance(cause, InterpolationResolutionError | GrammarParseError):
        place = cause.full_key or "the command line"
        return f"{place}: a ${{...}} in it cannot be resolved: {_unresolved(cause)}; a literal ${{ is written \\${{"
    if isinstance(cause, OmegaConfBaseException) and cause.full_key:
        known = _keys(cause.parent_node)
        wrong = str(cause.key)
        for group, keys in (("model", pretrained_keys()), ("optimizer", OPTIMIZER_KEYS)):
            if known is not None and cause.full_key == f"{group}.{wrong}" and wrong not in keys:
                known += sorted(keys)
        if known is not None and wrong not in known:
            prefix = cause.full_key.rpartition(".")[0]
            close = did_you_mean(wrong, known)
            hint = close.replace("'", f"'{prefix}.", 1) if prefix and close else close
            typed = re.sub(rf"^({'|'.join(TYPED_AS)})(?=\.)", lambda found: TYPED_AS[found[1]], cause.full_key)
            return f"{typed}: unknown key{hint or ('; known here: ' + ', '.join(known) if known else '')}"
        return f"{cause.full_key}: {_first_line(cause)}"
    if "Config group override must be" in str(error):
        return "a group (model=, data=, loss= ...) must be the name of an option, not a number or null"
    if "No trials are completed yet" in str(error):
        return "no trial of the search could be finished, so there is no best one; their train.log say why"
    if "Multiple values for" in str(error):
        group = _first_line(error).removeprefix("Multiple values for ").partition(".")[0]
        return f"{group}: an option of it is chosen already; pass {group}=<option> without a + to choose another one"
    if "Could not delete" in str(error):
        return f"{_first_line(error)} Leave out the word that begins with ~"
    if "Ambiguous value" in str(error):
        return f"{_first_line(error)}: a list is written key=[a,b], and a sweep over values needs --multirun"
    return _first_line(error)


def _keys(node: object) -> list[str] | None:
    """The keys of a config node, without Hydra's."""
    if not isinstance(node, DictConfig):
        return None
    return [TYPED_AS.get(str(key), str(key)) for key in node if key not in ("hydra", "_target_", "_partial_")]


def _of_yaml(error: yaml.YAMLError) -> str:
    """Where a YAML file is broken, and why."""
    mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None)
    if mark is None:
        return "not valid YAML: " + " ".join(str(error).split())
    file = mark.name if not mark.name.startswith("<") else "a config"
    return f"{file}, line {mark.line + 1}: not valid YAML: {problem or getattr(error, 'context', 'damaged')}"


def _unresolved(error: OmegaConfBaseException) -> str:
    """Why an interpolation cannot be resolved."""
    text = _first_line(error)
    if "HydraConfig was not set" in text:
        return "${hydra:...} is known only to a run that has started"
    if isinstance(error, GrammarParseError):
        return "it is not complete"
    found = re.fullmatch(r"\w+ raised while resolving interpolation: (.*)", text)
    return (found[1] if found else text).strip("\"'")


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
