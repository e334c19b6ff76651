"""Explain flags such as `--epochs 3`, which other programs take where this one takes `trainer.epochs=3`."""

from __future__ import annotations

import re
from typing import cast

from hydra import compose, initialize_config_dir
from hydra._internal.utils import get_args_parser
from omegaconf import OmegaConf

from config.validation import GROUPS, Config, key_hint, key_typed_for
from utils.errors import UserError
from utils.groups import CONF

SHORT = {"b": "batch_size", "d": "device", "e": "epochs", "j": "num_workers", "o": "output"}
"""Letter of other programs -> the key that it stands for."""


def check_flags(words: list[str], config_name: str) -> None:
    """Check that the flags among the words are those of Hydra.

    Raises:
        UserError: one is not; names the key to set instead.
    """
    known = list(get_args_parser()._option_string_actions)
    for place, word in enumerate(words):
        flag, equals, value = word.partition("=")
        is_long = flag.startswith("--")
        if not flag.startswith("-") or flag in known or (is_long and any(other.startswith(flag) for other in known)):
            continue
        following = words[place + 1] if place + 1 < len(words) else ""
        if not equals and following and "=" not in following and not following.startswith("-"):
            word, value = f"{word} {following}", following
        keys = _keys_for(flag.lstrip("-").replace("-", "_"), config_name)
        if not keys:
            raise UserError(f"{word}: there is no such flag; keys are set as key=value, and --help lists them")
        typed = [key if "=" in key else f"{key}={value or '<value>'}" for key in keys]
        raise UserError(f"{word}: keys are set without dashes; pass {' or '.join(typed)}")


def _keys_for(name: str, config_name: str) -> list[str]:
    """Return the keys of a config that a name, possibly without its group, stands for."""
    name = SHORT.get(name, name)
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = cast(Config, OmegaConf.to_container(compose(config_name)))
    top = [key_typed_for(str(key)) for key in config]
    group, _, rest = name.partition("_")
    if name in top:
        return [name]
    return [f"{group}.{rest}"] if rest and group in GROUPS else re.findall(r"'(.+?)'", key_hint(name, top, config))
