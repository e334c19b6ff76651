"""The words that compose the config of an earlier run: to resume it, or to start a new run like it."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore

from config.quoting import as_typed, quote
from config.schema import Train
from sweeps.checkpoints import best_of_sweep
from utils.config_groups import CONF
from utils.errors import UserError
from utils.find_run import NEVER_STARTED, SWEEP_RECORD, is_sweep, never_started
from utils.paths import is_file, is_there, user_path
from utils.run_folder import RunFolder
from utils.safe_reading import read_yaml
from utils.text import one_line, shown
from utils.trusted import check_targets, literal

RUN_CONFIG = "run_config"
"""Name in conf/resume.yaml of the config of the run that is resumed or repeated."""


def resume_words(words: list[str], resumed: str) -> list[str]:
    """Return the words that compose the config of a run and stay in its folder."""
    run = _run_folder(resumed, "resume")
    config, choices = config_of_run(run, words, "resume"), choices_of_run(run)
    kept = []
    for word in words:
        group, _, choice = word.partition("=")
        if group not in choices or "/" in group:
            kept.append(word)
        elif choice != choices[group]:
            raise UserError(f"resume={resumed}: the run has {group}={choices[group]}, not {word}; start a new run")
    ConfigStore.instance().store(RUN_CONFIG, literal(config))
    return ["--config-name", "resume", *kept, f"hydra.run.dir={quote(str(run))}"]


def like_words(words: list[str], like: str) -> list[str]:
    """Return the words that start a new run with the config and number of threads of another one.

    Options of groups, such as `optimizer=sgd`, replace the run's whole node.
    """
    run = _run_folder(best_of_sweep(like, "like"), "like")
    config, choices = config_of_run(run, words, "like"), choices_of_run(run)
    config |= {"resume": None, "sweep": None, "like": None}
    trainer: Any = config.get("trainer")  # may be anything; damage is reported later
    threads = RunFolder(run).usable_threads()
    if threads is not None and isinstance(trainer, dict) and trainer.get("threads", "auto") == "auto":
        trainer["threads"] = threads
    sizes = _sizes(config)
    replaced = []
    for word in words:
        group, equals, _ = word.lstrip("+").partition("=")
        if group == "experiment":
            raise UserError(f"{word}: a recipe replaces most of a config; leave out like={like}")
        if equals and group.isidentifier() and (CONF / group).is_dir():
            replaced.append(group)
            config.pop(group, None)
    kept = [f"+{word}" if word.partition("=")[0] in replaced else word for word in words]
    options = {group: option for group, option in choices.items() if "/" not in group}
    node = literal(config | {"hydra": {"runtime": {"choices": options}}})
    node |= {group: _interpolated(node[group], "", sizes) for group in ("data", "augmentation") if group in node}
    ConfigStore.instance().store(RUN_CONFIG, node)
    return ["--config-name", "resume", *kept]


def _sizes(config: dict[str, Any]) -> dict[str, tuple[Any, str]]:
    """Return, for each key that conf/ derives from the image size, its value in a config and its interpolation."""
    data: Any = config.get("data")
    size = data.get("image_size") if isinstance(data, dict) else None
    if not isinstance(size, list) or len(size) != 2:
        return {}
    whole = size, "${data.image_size}"
    sides = {"height": (size[0], "${data.image_size[0]}"), "width": (size[1], "${data.image_size[1]}")}
    return {"size": whole, "crop_size": whole, **sides}


def _interpolated(value: Any, key: str, sizes: dict[str, tuple[Any, str]]) -> Any:
    """Replace sizes that equal the image size by interpolations, so that they follow it."""
    if key in sizes and value == sizes[key][0]:
        return sizes[key][1]
    if isinstance(value, dict):
        return {name: _interpolated(item, name, sizes) for name, item in value.items()}
    return [_interpolated(item, key, sizes) for item in value] if isinstance(value, list) else value


def _run_folder(given: str, key: str) -> Path:
    """Return the folder of a run that the user names.

    Raises:
        UserError: it is not a run folder.
    """
    run = user_path(given, key)
    if not is_file(run / "config.yaml"):
        if is_sweep(run):
            raise UserError(
                f"{key}={given}: the folder of a sweep; pass one of its runs, such as {run / '0'}, or resume all of it"
                f" with --multirun {shlex.quote(f'sweep={given}')}"
            )
        if never_started(run):
            raise UserError(f"{key}={given}: {NEVER_STARTED}; start it again{_command_of(run)}")
        if is_file(run):
            folders = [folder for folder in (run.parent, run.parent.parent) if is_file(folder / "config.yaml")]
            way_out = f"pass {folders[0]}" if folders else f"model.weights={given} starts a training from weights"
            raise UserError(f"{key}={given}: a file, not a run folder; {way_out}")
        raise UserError(f"{key}={given}: not a run folder: there is no config.yaml in it")
    return run


def _command_of(run: Path) -> str:
    """Return the command of a run from Hydra's record, as another line; '' if there is no record."""
    try:
        words = read_yaml(run / ".hydra" / "overrides.yaml")
    except UserError:
        return ""
    if not isinstance(words, list) or is_there(run.parent / SWEEP_RECORD):  # a job needs the words of its sweep
        return ""
    typed = [as_typed(str(word).removeprefix("++")) for word in words]
    return f":\n{one_line(shlex.join(['python', 'train_segmentation.py', *typed]))}"


def config_of_run(run: Path, typed: list[str], key: str) -> dict[str, Any]:
    """Read the config.yaml of a run folder, which may come from anywhere.

    Args:
        typed: the words of the command line.
        key: the key that names the folder, for messages.

    Raises:
        UserError: it is damaged, or names a `_target_` that is not trusted.
    """
    path = run / "config.yaml"
    config = read_yaml(path)
    if not isinstance(config, dict):
        raise UserError(f"{path}: not the config of a run")
    for name in config:
        if name not in Train.model_fields:  # such as `hydra` and `defaults`, which Hydra would follow
            raise UserError(f"{path}: '{shown(name)}' is not a key of a run's config")
    check_targets(config, path, typed, beside=f"{key}=")
    return config


def choices_of_run(run: Path) -> dict[str, Any]:
    """Return the option of each group that a run was started with.

    A shared run has no record by Hydra; its options are then those in summary.json, or {} if that is gone too.

    Raises:
        UserError: the record is damaged.
    """
    path = run / ".hydra" / "hydra.yaml"
    if not path.is_file():
        options = RunFolder(run).read_summary().get("options") or {}
        return {group: option for group, option in options.items() if option is not None}
    node = read_yaml(path)
    for key in ("hydra", "runtime", "choices"):
        node = node.get(key) if isinstance(node, dict) else None
    if not isinstance(node, dict):
        raise UserError(
            f"{path}: not Hydra's record of a run (no hydra.runtime.choices); delete the file to resume the run"
        )
    return node
