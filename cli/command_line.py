"""Turn the words of the command line into those that Hydra parses."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from cli.quoting import quote, quote_texts
from cli.schema import Train
from cli.sweep_words import key_of, merged_words, recorded_words, values_of
from cli.validation import GROUPS, OPTIMIZER_KEYS, pretrained_keys
from utils.checked import shown
from utils.errors import UserError
from utils.groups import CONF, options
from utils.paths import is_file, user_path
from utils.trusted import check_targets, literal, read_plain

RUN_CONFIG = "run_config"
"""Name in conf/resume.yaml of the config of the run that is resumed."""

COMMON_KEYS = {*(f"model.{key}" for key in pretrained_keys()), *(f"optimizer.{key}" for key in OPTIMIZER_KEYS)}
"""Keys of any network or optimizer, which their YAML files do not repeat."""

PLAIN_MODEL = {"benchmark": "models", "classify": "classifier"}
"""Config -> the key that `model=` sets. Hydra would take it for the choice of an option of the group."""

PLUGINS = {
    "hydra/launcher=joblib": "hydra_joblib_launcher",
    "hydra/launcher=submitit_local": "hydra_submitit_launcher",
    "hydra/launcher=submitit_slurm": "hydra_submitit_launcher",
    "hydra/launcher=slurm_gpu": "hydra_submitit_launcher",
    "hydra/sweeper=optuna": "hydra_optuna_sweeper",
}
"""Override -> the package of `hydra_plugins` that it needs, from requirements-sweep.txt."""

PLUGIN_DEFAULTS = {
    "hydra/sweeper=optuna": (
        "hydra.sweeper.sampler.seed=0",  # so that sweep= tries the same values again
        "hydra.sweeper.max_failure_rate=1",  # a failed trial does not end the search
        "hydra.sweeper.n_jobs=1",  # each trial knows the results of all before it
    ),
    "hydra/launcher=submitit_local": ("hydra.launcher.timeout_min=10080",),  # a week; by default it kills after an hour
}
"""Override -> settings in place of a plugin's own defaults, unless the user sets them."""


def hydra_words(given: list[str], config_name: str) -> list[str]:
    """Return the command line as Hydra takes it.

    Raises:
        UserError: a word names no option of its group, `resume` or `sweep` names no run or sweep, a plugin is not
            installed, or words exclude each other.
    """
    if config_name in PLAIN_MODEL:
        given = [re.sub(r"^([+~]*)model(?=[=.]|$)", rf"\1{PLAIN_MODEL[config_name]}", word) for word in given]
    else:
        check_options(given)
    if config_name in ("train", "find_lr"):
        given = [f"++{word}" if word.partition("=")[0] in COMMON_KEYS else word for word in given]
    if config_name in ("evaluate", "export"):
        given = with_new_keys(given, {"data"})  # the checkpoint has them
    elif is_sweep(given):
        given = with_plugin_defaults(with_new_keys(given, swept_groups(given)))
    words = quote_texts(flags_first(given), sweep=is_sweep(given))
    if config_name != "train":
        return words
    resumed, swept = value_of(given, "resume"), value_of(given, "sweep")
    if resumed is not None and is_sweep(words):
        key = "--multirun" if swept is None else f"sweep={swept}"
        raise UserError(f"resume={resumed}: resumes one run and cannot be combined with {key}")
    if swept is not None:
        return _sweep_words(words, user_path(swept, "sweep"))
    return words if resumed is None else _resume_words(words, resumed)


def _resume_words(words: list[str], resumed: str) -> list[str]:
    """Return the words that compose the config of a run and stay in its folder."""
    run = user_path(resumed, "resume")
    if not is_file(run / "config.yaml"):
        if is_file(run / "0" / "config.yaml"):
            raise UserError(f"resume={resumed}: the folder of a sweep; pass one of its runs, such as {run / '0'}")
        raise UserError(f"resume={resumed}: not a run folder: there is no config.yaml in it")
    config, choices = config_of_run(run, words), choices_of_run(run)
    kept = []
    for word in words:
        group, _, choice = word.partition("=")
        if group not in choices or "/" in group:
            kept.append(word)
        elif choice != choices[group]:
            raise UserError(f"resume={resumed}: the run has {group}={choices[group]}, not {word}; start a new run")
    ConfigStore.instance().store(RUN_CONFIG, literal(config))
    return ["--config-name", "resume", *kept, f"hydra.run.dir={quote(str(run))}"]


def config_of_run(run: Path, typed: list[str]) -> dict[str, Any]:
    """Read the config.yaml of a run folder, which may come from anywhere.

    Args:
        typed: the words of the command line.

    Raises:
        UserError: it is damaged, or names a `_target_` that is not trusted.
    """
    path = run / "config.yaml"
    config = read_plain(path)
    if not isinstance(config, dict):
        raise UserError(f"{path}: not the config of a run")
    for key in config:
        if key not in Train.model_fields:  # such as `hydra` and `defaults`, which Hydra would follow
            raise UserError(f"{path}: '{shown(key)}' is not a key of a run's config")
    check_targets(config, path, typed, beside="resume=")
    return config


def choices_of_run(run: Path) -> dict[str, Any]:
    """Return the option of each group that a run was started with; {} if Hydra's record of it is gone.

    Raises:
        UserError: the record is damaged.
    """
    path = run / ".hydra" / "hydra.yaml"
    if not path.is_file():
        return {}
    node = read_plain(path)
    for key in ("hydra", "runtime", "choices"):
        node = node.get(key) if isinstance(node, dict) else None
    if not isinstance(node, dict):
        raise UserError(
            f"{path}: not Hydra's record of a run (no hydra.runtime.choices); delete the file to resume the run"
        )
    return node


def is_sweep(words: list[str]) -> bool:
    """Whether these words start or resume a sweep."""
    flags = {"-m", *("--multirun"[:length] for length in range(4, 11))}  # argparse accepts abbreviations
    return bool(flags & set(words)) or any(key_of(word) == "sweep" for word in words)


def with_plugin_defaults(words: list[str]) -> list[str]:
    """Add our defaults for the plugins that the words choose.

    Raises:
        UserError: a plugin is not installed.
    """
    check_plugins(words)
    typed = {key_of(word) for word in words}
    if "hydra/sweeper/sampler=grid" in words:  # tries all values and takes no seed
        typed.add("hydra.sweeper.sampler.seed")
    defaults = [default for word in words for default in PLUGIN_DEFAULTS.get(word, ())]
    if "hydra/sweeper=optuna" in words:  # minimises by default
        monitor = next((word.partition("=")[2] for word in words if key_of(word) == "trainer.monitor"), "val/miou")
        highest = monitor.startswith(("val/iou/", "val/miou", "val/dice", "val/pixel_accuracy"))
        defaults.append(f"hydra.sweeper.direction={'maximize' if highest else 'minimize'}")
    return [*words, *(word for word in defaults if key_of(word) not in typed)]


def check_plugins(words: list[str]) -> None:
    """Check that the launcher and sweeper that the words choose are installed.

    Raises:
        UserError: one is not.
    """
    for word in words:
        package = PLUGINS.get(word)
        if package and not (find_spec("hydra_plugins") and find_spec(f"hydra_plugins.{package}")):
            raise UserError(f"{word}: its package is not installed; pip install -r requirements-sweep.txt")


def _sweep_words(words: list[str], folder: Path) -> list[str]:
    """Return the words that compose the jobs of a sweep again, in its own folder."""
    flags = [word for word in words if word.startswith("-") and not is_sweep([word])]
    typed = [word for word in words if not word.startswith("-") and key_of(word) != "sweep"]
    merged = merged_words(recorded_words(folder), typed, folder)
    check_plugins(merged)
    path = quote(str(folder))
    return ["--multirun", *flags, *merged, f"sweep={path}", f"hydra.sweep.dir={path}"]


def check_options(words: list[str]) -> None:
    """Check that words such as `model=enet` name an option of a group.

    Raises:
        UserError: a word names a list, a number, or a file outside conf/, or removes the group.
    """
    for word in words:
        group = key_of(word)
        if not group.isidentifier() or group == "hydra" or not (CONF / group).is_dir():
            continue
        if word.startswith("~") and group != "experiment":
            raise UserError(f"{word}: the group is required; {group}=<option> chooses another option of it")
        try:
            values = list(values_of(OverridesParser.create().parse_override(word)))
        except (HydraException, TypeError):
            continue  # reported by Hydra
        for value in values:
            inside = isinstance(value, str) and not {"..", ""} & set(value.replace("\\", "/").split("/")[:-1])
            if value is not None and not inside:
                raise UserError(f"{word}: pass {group}=<option>\navailable: {', '.join(options(group))}")


def flags_first(words: list[str]) -> list[str]:
    """Move flags before overrides: argparse does not accept them in between."""
    return sorted(words, key=lambda word: "=" in word and not word.startswith("-"))


def with_new_keys(words: list[str], groups: set[str]) -> list[str]:
    """Let the words set keys of these groups that the composed config does not have. They are checked later."""
    return [f"++{word}" if word.partition(".")[0] in groups else word for word in words]


def swept_groups(words: list[str]) -> set[str]:
    """Return the groups of which a sweep tries several options: all of them if it tries several experiments.

    Hydra first composes a sweep without them, and would refuse keys that only these options have.
    """
    pairs = [word.partition("=") for word in words if not word.startswith("-")]
    swept = {key for key, _, value in pairs if ("," in value or "(" in value) and "." not in key}
    return set(GROUPS) if "experiment" in swept else swept


def value_of(words: list[str], key: str) -> str | None:
    """Return the last value that the words give to a path key; None for null."""
    values = [word.partition("=")[2] for word in words if word.lstrip("+").startswith(f"{key}=")]
    return None if not values or values[-1] == "null" else values[-1]
