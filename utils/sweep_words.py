"""What a sweep was started with, and what of it is said again when it goes on."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from utils.checks import MAY_CHANGE
from utils.errors import UserError
from utils.groups import CONF
from utils.paths import is_file
from utils.schema import Train

RECORD = "multirun.yaml"
"""The file that says what a sweep was started with; Hydra's basic sweeper writes it, too."""

MAY_BE_TYPED_ANEW = MAY_CHANGE - {"resume", "trainer.epochs"}
"""Keys that may be typed beside `sweep=` with another value than the sweep's; so may all of Hydra's own."""

HARMLESS = re.compile(
    r"hydra/(launcher|sweeper|sweeper/sampler)"
    r"|hydra\.sweeper\.(n_trials|n_jobs|direction|study_name|storage|max_failure_rate|max_batch_size|sampler\.\w+)"
    r"|hydra\.launcher\.(n_jobs|timeout_min|cpus_per_task|gpus_per_node|mem_gb|partition|account|array_parallelism)"
)
"""Of Hydra's own keys, those that choose among what is installed and say how much, no more."""


def recorded_words(folder: Path) -> list[str]:
    """The words that a sweep was started with, as Hydra took them.

    Raises:
        UserError: it is not the folder of a sweep.
    """
    record = folder / RECORD
    if is_file(folder / "config.yaml"):
        raise UserError(f"sweep={folder}: a run, not a sweep; say resume={folder}")
    if not is_file(record):
        raise UserError(f"sweep={folder}: not the folder of a sweep: there is no {RECORD} in it")
    try:
        said = yaml.safe_load(record.read_text(encoding="utf-8"))["hydra"]["overrides"]
        words = [str(word) for word in [*said["task"], *said["hydra"]]]
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError) as error:
        raise UserError(f"{record}: damaged, so it cannot be told what the sweep was started with") from error
    return [word for word in words if key_of(word) not in ("sweep", "hydra.sweep.dir", "hydra.mode")]


def merged_words(recorded: list[str], typed: list[str], folder: Path) -> list[str]:
    """The words of a sweep that goes on: those it was started with, and what is typed now of Hydra's own.

    Raises:
        UserError: something else is to be swept, or what was recorded could run any code.
    """
    known = {word.lstrip("+") for word in recorded}
    fresh = [word for word in typed if word.lstrip("+") not in known]
    for word in fresh:
        key = key_of(word)
        if not key.startswith("hydra") and key not in MAY_BE_TYPED_ANEW:
            said = [other.lstrip("+") for other in recorded if key_of(other) == key]
            was = f"with {said[0]}, not {word.lstrip('+')}" if said else f"without {word.lstrip('+')}"
            raise UserError(f"sweep={folder}: it was started {was}; start a new sweep for that")
    replaced = {key_of(word) for word in fresh}
    if "hydra/launcher" in replaced:  # the options of the one before are not its
        replaced |= {key_of(word) for word in recorded if key_of(word).startswith("hydra.launcher.")}
    kept = [word for word in recorded if key_of(word) not in replaced]
    for word in kept:
        if not _is_harmless(word) and word.lstrip("+") not in [other.lstrip("+") for other in typed]:
            raise UserError(
                f"{folder / RECORD} says {word}, which can run any code; if you trust it, say it beside sweep="
            )
    if any(key_of(word) == "hydra.sweeper.storage" and not word.endswith("=null") for word in [*kept, *fresh]):
        raise UserError(
            f"sweep={folder}: its study is kept in hydra.sweeper.storage; start the same command without sweep=,"
            " and the study goes on in a new folder"
        )
    return [*kept, *fresh]


def key_of(word: str) -> str:
    """`trainer.epochs` of `++trainer.epochs=3`."""
    return word.partition("=")[0].lstrip("+~")


def _is_harmless(word: str) -> bool:
    """Whether a word of a sweep, which may come from anywhere, can have nothing run but what conf/ names."""
    key, (_, equals, value) = key_of(word), word.partition("=")
    if not equals or "_target_" in word or "${" in word:
        return False
    if key.startswith("hydra"):
        return HARMLESS.fullmatch(key) is not None and "/" not in value.partition("://")[0]
    first = key.partition(".")[0]
    is_group = (CONF / first).is_dir()
    if is_group and first == key:  # an option of the group, not a file from elsewhere
        return "/" not in value and "\\" not in value and ".." not in value
    return is_group or first in Train.model_fields
