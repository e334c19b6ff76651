"""Command-line words, before Hydra parses them."""

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
from cli.validation import OPTIMIZER_KEYS, pretrained_keys
from utils.checked import shown
from utils.errors import UserError
from utils.groups import CONF, options
from utils.paths import is_file, user_path
from utils.trusted import check_targets, literal, read_plain

RUN_CONFIG = "run_config"
"""What conf/resume.yaml calls the config of the run that is resumed."""

COMMON_KEYS = frozenset(
    {*(f"model.{key}" for key in pretrained_keys()), *(f"optimizer.{key}" for key in OPTIMIZER_KEYS)}
)
"""Keys that go with any network or optimizer, so that the YAML files of these groups need not name them."""

PLAIN_MODEL = {"benchmark": "models", "classify": "classifier"}
"""Configs in which `model=` is a plain key, and its name there: by its own Hydra would choose from the group."""

PLUGINS = {
    "hydra/launcher=joblib": "hydra_joblib_launcher",
    "hydra/launcher=submitit_local": "hydra_submitit_launcher",
    "hydra/launcher=submitit_slurm": "hydra_submitit_launcher",
    "hydra/launcher=slurm_gpu": "hydra_submitit_launcher",
    "hydra/sweeper=optuna": "hydra_optuna_sweeper",
}
"""What needs requirements-sweep.txt, and the package of `hydra_plugins` that it is in."""

BETTER_DEFAULTS = {
    "hydra/sweeper=optuna": (
        "hydra.sweeper.sampler.seed=0",  # so that sweep= tries the same values once more
        "hydra.sweeper.max_failure_rate=1",  # a failed trial ends only itself
        "hydra.sweeper.n_jobs=1",  # each trial knows all results before it
    ),
    "hydra/launcher=submitit_local": ("hydra.launcher.timeout_min=10080",),  # not an hour, after which it kills
}
"""What is said for the user where a plugin's own default would surprise; typed words win."""


def words(given: list[str], config_name: str) -> list[str]:
    """The command line as Hydra takes it.

    Raises:
        UserError: `resume` names no run, or something stands beside it that does not go with it.
    """
    if config_name in PLAIN_MODEL:
        given = [re.sub(r"^([+~]*)model(?=[=.]|$)", rf"\1{PLAIN_MODEL[config_name]}", word) for word in given]
    else:
        check_options(given)
    if config_name in ("train", "find_lr"):
        given = [f"++{word}" if word.partition("=")[0] in COMMON_KEYS else word for word in given]
    if config_name in ("evaluate", "export"):
        given = added(given, {"data"})  # as yet unknown: the checkpoint holds it
    elif asks_for_a_sweep(given):
        given = with_better_defaults(added(given, swept_groups(given)))
    words = quote_texts(flags_first(given), sweep=asks_for_a_sweep(given))
    resume = value_of(given, "resume") if config_name == "train" else None
    swept = value_of(given, "sweep") if config_name == "train" else None
    if swept is not None:
        if resume is not None:
            raise UserError(f"sweep={swept}: goes on with a sweep, so resume= has no place beside it")
        return sweep_words(words, user_path(swept, "sweep"))
    if resume is None:
        return words
    if asks_for_a_sweep(words):
        raise UserError(f"resume={resume}: goes on with one run, so --multirun has no place beside it")
    run = user_path(resume, "resume")
    if not is_file(run / "config.yaml"):
        if is_file(run / "0" / "config.yaml"):
            raise UserError(f"resume={resume}: the folder of a sweep; name one of its runs, as in {run / '0'}")
        raise UserError(f"resume={resume}: not a run folder: there is no config.yaml in it")
    config = config_of_run(run, given)
    choices = choices_of_run(run)
    kept = []
    for word in words:
        group, _, choice = word.partition("=")
        if group in choices and "/" not in group:
            if choice != choices[group]:
                raise UserError(
                    f"resume={resume}: the run was started with {group}={choices[group]}, not {word};"
                    " start a new run for another one"
                )
            continue  # the same as in the run's own config
        kept.append(word)
    ConfigStore.instance().store(RUN_CONFIG, literal(config))
    return resume_words(kept, run)


def config_of_run(run: Path, typed: list[str]) -> dict[str, Any]:
    """Read the config.yaml of a run folder, which may come from anywhere.

    Args:
        typed: the words beside `resume=`.

    Raises:
        UserError: it is damaged, or names what is not trusted.
    """
    path = run / "config.yaml"
    config = read_plain(path)
    if not isinstance(config, dict):
        raise UserError(f"{path}: not the config of a run")
    for key in config:
        if key not in Train.model_fields:  # above all `hydra` and `defaults`, which Hydra would obey
            raise UserError(f"{path}: the key '{shown(key)}' has no place in the config of a run")
    check_targets(config, path, typed, beside="resume=")
    return config


def choices_of_run(run: Path) -> dict[str, Any]:
    """The option of each group that a run was started with; {} if Hydra's record of it is gone.

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
        raise UserError(f"{path}: not Hydra's record of a run (no hydra.runtime.choices); delete the file to go on")
    return node


def asks_for_a_sweep(words: list[str]) -> bool:
    """Whether these words start a sweep, or go on with one."""
    # argparse takes --multi for --multirun, too.
    flags = {"-m", *("--multirun"[:length] for length in range(4, 11))}
    return bool(flags & set(words)) or any(key_of(word) == "sweep" for word in words)


def with_better_defaults(words: list[str]) -> list[str]:
    """The words, and what is better than the defaults of the plugins that they choose.

    Raises:
        UserError: a plugin is not installed.
    """
    check_plugins(words)
    typed = {key_of(word) for word in words}
    if "hydra/sweeper/sampler=grid" in words:  # tries all values, and takes no seed
        typed.add("hydra.sweeper.sampler.seed")
    better = [default for word in words for default in BETTER_DEFAULTS.get(word, ())]
    if "hydra/sweeper=optuna" in words:  # which would take the least of anything
        monitor = next((word.partition("=")[2] for word in words if key_of(word) == "trainer.monitor"), "val/miou")
        highest = monitor.startswith(("val/iou/", "val/miou", "val/dice", "val/pixel_accuracy"))
        better.append(f"hydra.sweeper.direction={'maximize' if highest else 'minimize'}")
    return [*words, *(word for word in better if key_of(word) not in typed)]


def check_plugins(words: list[str]) -> None:
    """
    Raises:
        UserError: a launcher or sweeper that these words choose is not installed.
    """
    for word in words:
        package = PLUGINS.get(word)
        if package and not (find_spec("hydra_plugins") and find_spec(f"hydra_plugins.{package}")):
            raise UserError(f"{word}: its package is not installed; pip install -r requirements-sweep.txt")


def sweep_words(words: list[str], folder: Path) -> list[str]:
    """The words that compose the jobs of a sweep once more, in its own folder."""
    flags = [word for word in words if word.startswith("-") and not asks_for_a_sweep([word])]
    typed = [word for word in words if not word.startswith("-") and key_of(word) != "sweep"]
    said = merged_words(recorded_words(folder), typed, folder)
    check_plugins(said)
    return [
        "--multirun",
        *flags,
        *said,
        f"sweep={quote(str(folder))}",
        f"hydra.sweep.dir={quote(str(folder))}",
    ]


def check_options(words: list[str]) -> None:
    """Check that the words of groups, as `model=enet`, name an option.

    Raises:
        UserError: a word names a list, a number, or a file outside conf/, or leaves the group out.
    """
    for word in words:
        group = key_of(word)
        if not group.isidentifier() or group == "hydra" or not (CONF / group).is_dir():
            continue
        if word.startswith("~") and group != "experiment":
            raise UserError(f"{word}: the group is needed; {group}=<option> chooses another option of it")
        try:
            values = list(values_of(OverridesParser.create().parse_override(word)))
        except (HydraException, TypeError):
            continue  # Hydra says what is wrong
        for value in values:
            inside = isinstance(value, str) and not {"..", ""} & set(value.replace("\\", "/").split("/")[:-1])
            if value is not None and not inside:
                available = f"available: {', '.join(options(group))}"
                raise UserError(f"{word}: name an option of the group, as {group}=<option>\n{available}")


def flags_first(words: list[str]) -> list[str]:
    """Flags before overrides: argparse wants the overrides in one piece."""
    return sorted(words, key=lambda word: "=" in word and not word.startswith("-"))


def added(words: list[str], groups: set[str]) -> list[str]:
    """Words that set a key of these groups may set one that the config does not have; it is checked later."""
    return [f"++{word}" if word.partition(".")[0] in groups else word for word in words]


def swept_groups(words: list[str]) -> set[str]:
    """The groups of which a sweep tries several options, all of them if it tries several experiments.

    Hydra composes a sweep without them first, and would refuse a key that only the options have.
    """
    pairs = [word.partition("=") for word in words if not word.startswith("-")]
    swept = {key for key, _, value in pairs if ("," in value or "(" in value) and "." not in key}
    return {"model", "data", "augmentation", "loss", "optimizer", "scheduler"} if "experiment" in swept else swept


def value_of(words: list[str], key: str) -> str | None:
    """The value that the words give a path key; the last one counts, null is None."""
    values = [word.partition("=")[2] for word in words if word.lstrip("+").startswith(f"{key}=")]
    return None if not values or values[-1] == "null" else values[-1]


def resume_words(words: list[str], run: Path) -> list[str]:
    """The words that compose the run's own config in place of the defaults, and stay in its folder."""
    return ["--config-name", "resume", *words, f"hydra.run.dir={quote(str(run))}"]
