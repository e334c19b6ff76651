"""Explain words such as `--epochs 3` and `street.jpg`, which should be `trainer.epochs=3` and `input=street.jpg`."""

from __future__ import annotations

import re
import shlex
from argparse import Action
from collections.abc import Iterable
from functools import cache
from typing import cast

from hydra import compose, initialize_config_dir
from hydra._internal.utils import get_args_parser
from omegaconf import OmegaConf

from config.validation import GROUPS, Config, key_hint, key_typed_for
from utils.config_groups import CONF
from utils.errors import UserError
from utils.paths import is_file, user_path

SHORT = {"b": "batch_size", "d": "device", "e": "epochs", "j": "num_workers", "o": "output"}
"""Short flags of other programs -> the key that each stands for."""

MAIN = {
    "infer": "input",
    "classify": "input",
    "scan_labels": "root",
    "share": "run",
    "compare": "runs",
    "evaluate": "checkpoint",
    "export": "checkpoint",
    "release": "checkpoint",
    "benchmark": "model",
    "check_data": "data",
}
"""Config -> the key whose value a word without `=` most likely is."""


def check_flags(words: list[str], config_name: str) -> None:
    """Check that the flags among the words are Hydra's.

    Raises:
        UserError: one is not; names the key to set instead.
    """
    for place, word in enumerate(words):
        flag, equals, value = word.partition("=")
        if not flag.startswith("-") or _flag_of_hydra(word) is not None:
            continue
        following = words[place + 1] if place + 1 < len(words) else ""
        if not equals and _is_plain(following):
            word, value = f"{word} {following}", following
        keys = _keys_for(flag.lstrip("-").replace("-", "_"), config_name)
        letters = _flags().get(flag[:2])
        if not keys and letters is not None and letters.nargs == 0 and not flag.startswith("--"):
            raise UserError(f"{word}: there is no such flag; write each by itself: {flag[:2]} -{word[2:]}")
        if not keys:
            raise UserError(f"{word}: there is no such flag; keys are set as key=value, and --help lists them")
        raise UserError(f"{word}: keys are set without dashes; pass {_assigned(keys, value)}")


def check_plain_words(words: list[str], config_name: str) -> None:
    """Check that no word lacks its key.

    Raises:
        UserError: one does; names the key that it most likely belongs to.
    """
    for place, word in enumerate(words):
        before = words[place - 1] if place else ""
        if not _is_plain(word) or _takes_next_word(before):
            continue
        following = words[place + 1] if place + 1 < len(words) else ""
        found = [] if is_file(user_path(word, "the command line")) else _keys_for(word, config_name)
        keys = [key for key in found if key == word or key.endswith(f".{word}")]
        main = MAIN.get(config_name)
        hint = ""
        if keys:
            value = following if _is_plain(following) else ""
            word, hint = f"{word} {value}".strip(), f"; pass {_assigned(keys, value)}"
        elif main and not any(other.startswith(f"{main}=") for other in words):
            hint = f"; pass {_assigned([main], word)}"
        elif "=" in before and not before.startswith("-"):
            hint = f"; quote a value with spaces: {shlex.quote(f'{before} {word}')}"
        raise UserError(f"{word}: expected key=value{hint}")


def _is_plain(word: str) -> bool:
    """Whether a word is neither a flag nor an override."""
    return word != "" and "=" not in word and word[0] not in "-~+"


def has_flag(words: Iterable[str], name: str) -> bool:
    """Whether one of the words is this flag of Hydra, such as `multirun`, in full or abbreviated."""
    flags = (_flag_of_hydra(word) for word in words if word.startswith("-") and word != "--")
    return any(flag is not None and flag.dest == name for flag in flags)


@cache
def _flags() -> dict[str, Action]:
    """Return Hydra's flags by their spellings."""
    return get_args_parser()._option_string_actions


def _flag_of_hydra(word: str) -> Action | None:
    """Return the Hydra flag that a word names: in full, abbreviated, or joined with its value as in `-cjob`."""
    flags, name = _flags(), word.partition("=")[0]
    if name in flags:
        return flags[name]
    if name.startswith("--"):
        return next((action for flag, action in flags.items() if flag.startswith(name)), None)
    action = flags.get(word[:2])
    is_joined = action is not None and action.nargs != 0 and word[2:].partition(".")[0] in (action.choices or GROUPS)
    return action if is_joined else None


def _takes_next_word(word: str) -> bool:
    """Whether a word is a flag whose value follows as the next word."""
    flag = _flag_of_hydra(word) if word.startswith("-") and "=" not in word else None
    return flag is not None and flag.nargs != 0 and (word.startswith("--") or word in flag.option_strings)


def _assigned(keys: list[str], value: str) -> str:
    """Return the words that set each of some keys to a value, as typed in a shell."""
    typed = [key if "=" in key else shlex.quote(f"{key}={value}") if value else f"{key}=<value>" for key in keys]
    return " or ".join(typed)


def _keys_for(name: str, config_name: str) -> list[str]:
    """Return the keys of a config that a name, possibly without its group, stands for."""
    name = SHORT.get(name, name)
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = cast(Config, OmegaConf.to_container(compose(config_name)))
    top = [key_typed_for(str(key)) for key in config]
    group, _, rest = name.partition("_")
    if name in top or ("." in name and name.partition(".")[0] in (*top, *GROUPS, "hydra")):
        return [name]
    return [f"{group}.{rest}"] if rest and group in GROUPS else re.findall(r"'(.+?)'", key_hint(name, top, config))
