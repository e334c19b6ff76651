"""Explain mistakes that Hydra and OmegaConf find while they compose a config."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path
from typing import cast

import yaml
from hydra._internal.utils import get_args_parser
from hydra.errors import MissingConfigException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import GrammarParseError, InterpolationResolutionError, OmegaConfBaseException

from config.validation import GROUPS, OPTIMIZER_KEYS, SUPPLIED, Config, key_hint, key_typed_for, pretrained_keys
from utils.config_groups import CONF, options
from utils.errors import did_you_mean
from utils.signatures import UnknownTarget, signature_of


def explain(error: BaseException) -> str:
    """Return what is wrong, where, and how to fix it."""
    cause = error.__cause__ or error
    context: BaseException | None = error
    while context is not None and not isinstance(context, yaml.YAMLError):
        context = context.__cause__ or context.__context__
    if isinstance(context, yaml.YAMLError):
        return _invalid_yaml(context)
    if isinstance(error, UnicodeDecodeError):
        return f"{_undecodable()}: not a text in UTF-8 ({error.reason}); save it as UTF-8"
    if isinstance(error, RecursionError):
        return "nested too deeply; does a config include itself in its defaults list?"
    if isinstance(error, MissingConfigException) and error.options:
        missing = str(error.missing_cfg_file)
        group, _, option = missing.rpartition("/") if missing.startswith("hydra/") else missing.partition("/")
        there = sorted(name for name in error.options if not name.startswith("_"))  # those are only included
        hint = own_files(option) if group == "data" and "/" in option else did_you_mean(option, there)
        return f"{group}={option}: there is no such option{hint}\navailable: {', '.join(there)}"
    if isinstance(error, OverrideParseException):
        return f"{error.override}: cannot be read as key=value; quote special characters: 'key=\"a, b\"'"
    if isinstance(cause, InterpolationResolutionError | GrammarParseError):
        place = cause.full_key or "the command line"
        return f"{place}: cannot resolve ${{...}}: {_unresolved(cause)}; for a literal ${{, pass \\${{"
    if isinstance(cause, OmegaConfBaseException) and cause.full_key:
        return _wrong_key(cause)
    text = _first_line(error)
    if "Config group override must be" in str(error):
        return "a group (model=, data=, loss= ...) takes the name of an option, not a number or null"
    if "Multiple values for" in text:
        group = text.removeprefix("Multiple values for ").partition(".")[0]
        return f"{group}: an option is chosen already; pass {group}=<option> without a + to choose another one"
    unknown = re.match(r"Could not override '([\w/]+)'", text)
    if unknown is not None:
        return f"{unknown[1]}: this command has no such options; leave it out"
    if "Could not delete" in text:
        return f"{text} Leave out the word that begins with ~"
    if "Ambiguous value" in text:
        word = key_typed_for(text.partition("'")[2].rstrip("'"))
        key, _, values = word.partition("=")
        a_list = f"{key}=[{values}]"
        return f"{word}: pass one value, or a list, {a_list}, if it takes one; a sweep over values needs --multirun"
    return text


def _wrong_key(error: OmegaConfBaseException) -> str:
    """Explain a key that its node does not have, or that has another type."""
    key, name = key_typed_for(str(error.full_key)), str(error.key)
    prefix = key.rpartition(".")[0]
    if prefix != "data" and name in SUPPLIED.get(prefix, ()):
        return f"{key}: the program sets it; leave it out"
    known = _keys(error.parent_node)
    if error.key is None and "Cannot merge" in str(error):
        if known is None:
            return f"{key}: must be a list, as in {key}=[a,b]"
        return f"{key}: must not be a list; set its keys: {', '.join(f'{key}.{name}=<value>' for name in known)}"
    shared = {"model": pretrained_keys(), "optimizer": OPTIMIZER_KEYS}.get(prefix, ())
    if known is None or name in {*known, *shared}:
        return f"{key}: {_first_line(error)}"
    target = str(error.parent_node.get("_target_", ""))
    with suppress(UnknownTarget):
        signature = signature_of(target)
        if signature is not None and name in signature.parameters:
            return f"{key}: not in the config, but {target.rpartition('.')[2]} takes it; pass +{key}=<value>"
    having = _options_with(prefix, name) if prefix in GROUPS else []
    if having:
        return f"{key}: unknown key; only {prefix}={_listed(having)} {'has' if len(having) == 1 else 'have'} it"
    known = [f"{prefix}.{other}" if prefix else other for other in [*known, *sorted(shared)]]
    listed = f"; known keys: {', '.join(known)}" if known else ""
    whole = error.parent_node._get_root()
    config = OmegaConf.to_container(OmegaConf.masked_copy(whole, [name for name in whole if name != "hydra"]))
    return f"{key}: unknown key{key_hint(key, known, cast(Config, config)) or listed}"


def own_files(value: object) -> str:
    """Return the end of a message about the option of `data`, for a value that may be a folder."""
    return f"; your own files are data=folder data.root={value}" if isinstance(value, str) else ""


def _options_with(group: str, key: str) -> list[str]:
    """Return the options of a group whose files set a key."""
    line = re.compile(rf"^{re.escape(key)}:", re.MULTILINE)
    return [option for option in options(group) if line.search((CONF / group / f"{option}.yaml").read_text())]


def _listed(names: list[str]) -> str:
    """Return names with commas and an `and` between them."""
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def _keys(node: object) -> list[str] | None:
    """Return the keys of a config node except Hydra's."""
    if not isinstance(node, DictConfig):
        return None
    return [key_typed_for(str(key)) for key in node if key not in ("hydra", "_target_", "_partial_")]


def _invalid_yaml(error: yaml.YAMLError) -> str:
    """Return where a YAML file is invalid, and why."""
    mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None)
    if mark is None:
        return "not valid YAML: " + " ".join(str(error).split())
    file = mark.name if not mark.name.startswith("<") else "a config"
    return f"{file}, line {mark.line + 1}: not valid YAML: {problem or getattr(error, 'context', 'damaged')}"


def _undecodable() -> str:
    """Return the first config in the folder of --config-dir that is not in UTF-8."""
    folder = get_args_parser().parse_known_args()[0].config_dir
    for path in sorted(Path(folder).rglob("*.yaml")) if folder else ():
        try:
            path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            return str(path)
        except OSError:
            continue
    return "a config"


def _unresolved(error: OmegaConfBaseException) -> str:
    """Return why an interpolation cannot be resolved."""
    text = _first_line(error)
    if "HydraConfig was not set" in text:
        return "${hydra:...} is known only after a run has started"
    if isinstance(error, GrammarParseError):
        return "it is incomplete"
    found = re.fullmatch(r"\w+ raised while resolving interpolation: (.*)", text)
    return (found[1] if found else text).strip("\"'")


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
