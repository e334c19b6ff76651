"""Translate the command line into the words that Hydra parses."""

from __future__ import annotations

import glob
import re
from importlib.util import find_spec
from pathlib import Path

from cli.earlier_run import like_words, resume_words
from cli.explain import own_files
from cli.flags import check_flags, check_plain_words, has_flag
from config.overrides import key_of, parsed
from config.quoting import LISTS, as_typed, is_list, items_of, quote, quote_texts
from config.validation import GROUPS, OPTIMIZER_KEYS, pretrained_keys
from sweeps.resuming import merged_words, recorded_words
from utils.config_groups import CONF, options
from utils.errors import UserError
from utils.find_run import find_run, find_runs
from utils.paths import user_path
from utils.text import list_of

COMMON_KEYS = {*(f"model.{key}" for key in pretrained_keys()), *(f"optimizer.{key}" for key in OPTIMIZER_KEYS)}
"""Keys of any network or optimizer, which their YAML files do not repeat."""

RUN_KEYS = frozenset(
    {"resume", "sweep", "like", "checkpoint", "run", "runs", "baseline", "distill.teacher", "model.weights"}
)
"""Keys that name a run: its folder, its name, or the beginning of its name."""

LIST_KEYS = LISTS | {"columns", "group_by", "tta"}
"""Keys that take one value or a list."""

SIZE_KEYS = frozenset({"data.image_size", "data.crop_size", "image_size", "window"})
"""Keys of a height and a width; a single number stands for a square."""

PLAIN_MODEL = {"benchmark": "models", "classify": "classifier"}
"""Config -> the key that `model=` sets. Hydra would read `model=` as the choice of a group's option."""

PLUGINS = {
    "hydra/launcher=joblib": "hydra_plugins.hydra_joblib_launcher",
    "hydra/launcher=submitit_local": "hydra_plugins.hydra_submitit_launcher",
    "hydra/launcher=submitit_slurm": "hydra_plugins.hydra_submitit_launcher",
    "hydra/launcher=slurm_gpu": "hydra_plugins.hydra_submitit_launcher",
    "hydra/sweeper=optuna": "optuna",
}
"""Override -> the package that it needs, from requirements-sweep.txt."""


def hydra_words(given: list[str], config_name: str) -> list[str]:
    """Return the words that Hydra parses for a command line.

    Raises:
        UserError: an option, run, sweep or flag does not exist, a plugin is not installed, a word has no key, or words
            exclude each other.
    """
    check_flags(given, config_name)
    check_plain_words(given, config_name)
    given = [_with_square(_with_run_found(word), sweep=is_sweep(given)) for word in given]
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
    if is_sweep(given):
        check_repetitions(words)
    if config_name != "train":
        return words
    resumed, swept, like = (value_of(given, key) for key in ("resume", "sweep", "like"))
    if like is not None and (resumed is not None or swept is not None):
        key = f"resume={resumed}" if resumed is not None else f"sweep={swept}"
        raise UserError(f"like={like}: starts a new run and cannot be combined with {key}")
    if resumed is not None and is_sweep(words):
        key = "--multirun" if swept is None else f"sweep={swept}"
        raise UserError(f"resume={resumed}: resumes one run and cannot be combined with {key}")
    if swept is not None:
        words = _sweep_words(words, user_path(swept, "sweep"))
        like = value_of([as_typed(word) for word in words], "like")
    if like is not None:
        return like_words(words, like)
    return words if resumed is None else resume_words(words, resumed)


def _with_square(word: str, *, sweep: bool) -> str:
    """Expand a single number to a square: `data.image_size=256` to `data.image_size=[256,256]`.

    Only a sweep takes several numbers, `64,96` or `choice(64,96)`.
    """
    key, _, value = word.partition("=")
    several = r" *\d+ *(, *\d+ *)*"
    sides = rf"{several}|choice\({several}\)" if sweep else r"\d+"
    if key.lstrip("+") not in SIZE_KEYS or not re.fullmatch(sides, value):
        return word
    squares = re.sub(r"\d+", r"[\g<0>,\g<0>]", value)
    return f"{key}={squares}"


def _with_run_found(word: str) -> str:
    """Replace the names of runs in a word by their paths."""
    key, _, value = word.partition("=")
    name = key.lstrip("+")
    if name not in RUN_KEYS or value in ("", "null"):
        return word
    listed = is_list(name, value)
    paths = [path for item in (items_of(value) if listed else [value]) for path in _paths_of(item, name)]
    return f"{key}={list_of(paths) if listed or len(paths) > 1 else paths[0]}"


def _paths_of(given: str, key: str) -> list[str]:
    """Return the path of the run that a key names; for `runs`, of all runs with this name, or a pattern unchanged."""
    if key != "runs":
        return [find_run(given, key)]
    try:
        return find_runs(given, key)
    except UserError:
        if glob.has_magic(given):
            return [given]
        raise


def repeated_keys(words: list[str]) -> list[str]:
    """Return a message for each key that is set to several values, of which Hydra takes the last."""
    typed: dict[str, list[str]] = {}
    for word in words:
        if "=" in word and not word.startswith(("-", "~")):
            typed.setdefault(key_of(word), []).append(word)
    messages = []
    for key, same in typed.items():
        if len(set(same)) > 1:
            values = ",".join(word.partition("=")[2] for word in same)
            hint = f"; for several pass {key}=[{values}]" if key in LIST_KEYS and "[" not in values else ""
            messages.append(f"{key} is set {len(same)} times, and the last counts: {same[-1]}{hint}")
    return messages


def is_sweep(words: list[str]) -> bool:
    """Whether these words start or resume a sweep."""
    return has_flag(words, "multirun") or any(key_of(word) == "sweep" for word in words)


def with_plugin_defaults(words: list[str]) -> list[str]:
    """Check the plugins, and raise the time limit of local submitit jobs from an hour to a week."""
    check_plugins(words)
    is_limited = "hydra/launcher=submitit_local" in words and "hydra.launcher.timeout_min" not in map(key_of, words)
    return [*words, "hydra.launcher.timeout_min=10080"] if is_limited else words


def check_plugins(words: list[str]) -> None:
    """Check that the launcher and sweeper that the words choose are installed.

    Raises:
        UserError: one is missing, or the Optuna sweeper of Hydra is installed as well.
    """
    for word in words:
        package = PLUGINS.get(word)
        if package and not _is_installed(package):
            raise UserError(f"{word}: its package is not installed; pip install -r requirements-sweep.txt")
        if package == "optuna" and _is_installed("hydra_plugins.hydra_optuna_sweeper"):
            raise UserError(f"{word}: pip uninstall hydra-optuna-sweeper, whose options have the same name")


def _is_installed(package: str) -> bool:
    try:
        return find_spec(package) is not None
    except ImportError:  # the package that holds it is missing
        return False


def _sweep_words(words: list[str], folder: Path) -> list[str]:
    """Return the words that resume a sweep in its folder."""
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
        found = parsed(word)
        for value in found.values if found else ():  # Hydra reports the others
            inside = isinstance(value, str) and not {"..", ""} & set(value.replace("\\", "/").split("/")[:-1])
            if value is not None and not inside:
                hint = own_files(value) if group == "data" else ""
                raise UserError(f"{word}: pass {group}=<option>{hint}\navailable: {', '.join(options(group))}")


def check_repetitions(words: list[str]) -> None:
    """Check that no word of a sweep has a value twice.

    Raises:
        UserError: one does; names the value.
    """
    for word in words:
        found = parsed(word)
        values = [(isinstance(value, bool), value) for value in found.values] if found else []  # 1 is equal to true
        twice = [place for place, value in enumerate(values) if value in values[place + 1 :]]
        if found and twice:
            value = list(found.override.sweep_string_iterator())[twice[0]]
            raise UserError(f"{as_typed(word)}: {value} occurs twice, and would be trained twice; leave one out")


def flags_first(words: list[str]) -> list[str]:
    """Move flags before overrides: argparse does not accept them in between."""
    return sorted(words, key=lambda word: "=" in word and not word.startswith("-"))


def with_new_keys(words: list[str], groups: set[str]) -> list[str]:
    """Let the words set keys of these groups that the composed config does not have. They are checked later."""
    return [f"++{word}" if word.partition(".")[0] in groups else word for word in words]


def swept_groups(words: list[str]) -> set[str]:
    """Return the groups of which a sweep tries several options; all groups if it tries several experiments.

    Hydra first composes a sweep without them, and would refuse keys that only these options have.
    """
    pairs = [word.partition("=") for word in words if not word.startswith("-")]
    swept = {key for key, _, value in pairs if ("," in value or "(" in value) and "." not in key}
    return set(GROUPS) if "experiment" in swept else swept


def value_of(words: list[str], key: str) -> str | None:
    """Return the last value that the words give to a path key; None for null."""
    values = [word.partition("=")[2] for word in words if word.lstrip("+").startswith(f"{key}=")]
    return None if not values or values[-1] == "null" else values[-1]
