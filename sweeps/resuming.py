"""Resume a sweep: with the words that it was started with, unless these could run code."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from config.checks import MAY_CHANGE
from config.overrides import key_of, parsed
from config.quoting import as_typed
from config.schema import Train
from utils.config_groups import CONF
from utils.errors import UserError
from utils.find_run import SWEEP_RECORD
from utils.paths import is_file
from utils.safe_reading import read_yaml
from utils.text import one_line
from utils.trusted import is_trusted, targets

OF_ONE_JOB = {"trainer.epochs", "trainer.early_stopping"}
"""Keys that say how long a run is trained; they may change when one job of a sweep is continued by itself."""
SWEEP_MAY_CHANGE = MAY_CHANGE - {"resume", *OF_ONE_JOB}
"""Keys whose values may change when a sweep is resumed. So may all of Hydra's own."""

HARMLESS = re.compile(
    r"hydra/(launcher|sweeper)"
    r"|hydra\.sweeper\.(n_trials|n_jobs|direction|study_name|max_batch_size|sampler|seed|pruner)"
    r"|hydra\.sweeper\.(warmup_epochs|startup_trials|reduction_factor)"
    r"|hydra\.launcher\.(n_jobs|timeout_min|cpus_per_task|gpus_per_node|mem_gb|partition|account|array_parallelism)"
)
"""Keys of Hydra that only choose an installed plugin or set a quantity."""

INTERPOLATION = re.compile(r"(?<!\\)(\\\\)*\$\\*\{")
"""What OmegaConf would resolve in a string: only an odd number of backslashes escapes `${`. Backslashes between `$` and
`{` are ignored, since Hydra parses the words of a job a second time."""


def recorded_words(folder: Path) -> list[str]:
    """Read the words that a sweep was started with.

    Raises:
        UserError: it is not the folder of a sweep.
    """
    record = folder / SWEEP_RECORD
    if is_file(folder / "config.yaml"):
        raise UserError(f"sweep={folder}: a run, not a sweep; pass resume={folder}")
    if not is_file(record):
        raise UserError(f"sweep={folder}: not the folder of a sweep: there is no {SWEEP_RECORD} in it")
    try:
        overrides = read_yaml(record)["hydra"]["overrides"]
        words = [str(word) for word in [*overrides["task"], *overrides["hydra"]]]
    except (UserError, KeyError, TypeError) as error:
        raise UserError(f"{record}: damaged, so the words that started the sweep are lost") from error
    return [word for word in words if key_of(word) not in ("sweep", "hydra.sweep.dir", "hydra.mode")]


def merged_words(recorded: list[str], typed: list[str], folder: Path) -> list[str]:
    """Return the words of a resumed sweep: those it was started with, changed by those typed now.

    Raises:
        UserError: a key that may not change is typed, or a recorded word could run code.
    """
    known = {word.lstrip("+") for word in recorded}
    new = [word for word in typed if word.lstrip("+") not in known]
    for word in new:
        key = key_of(word)
        if not key.startswith("hydra") and key not in SWEEP_MAY_CHANGE:
            before = [other.lstrip("+") for other in recorded if key_of(other) == key]
            was = f"with {before[0]}, not {word.lstrip('+')}" if before else f"without {word.lstrip('+')}"
            raise UserError(f"sweep={folder}: it was started {was}; start a new sweep for that")
    replaced = {key_of(word) for word in new}
    if "hydra/launcher" in replaced:  # which may not have the options of the one before
        replaced |= {key_of(word) for word in recorded if key_of(word).startswith("hydra.launcher.")}
    kept = [word for word in recorded if key_of(word) not in replaced]
    for word in kept:
        if not _is_harmless(word) and word.lstrip("+") not in [other.lstrip("+") for other in typed]:
            raise UserError(
                f"{folder / SWEEP_RECORD} holds {one_line(as_typed(word))}, which is not a plain value of a known key"
                " and might run code; if you trust it, pass it beside sweep="
            )
    return [*kept, *new]


def _is_harmless(word: str) -> bool:
    """Whether a recorded word, which may come from anywhere, sets known keys to plain values.

    The word is parsed, and its values are judged as OmegaConf gets them: strings must be literal, and a `_target_` must
    be on the allow-list of `utils.trusted`.
    """
    found = parsed(word)
    if found is None:
        return False
    override, values = found
    key, first = override.key_or_group, override.key_or_group.partition(".")[0]
    texts = [text for value in values for text in _texts(value)]
    if override.is_delete() or override.package is not None or any(INTERPOLATION.search(text) for text in texts):
        return False
    if not all(is_trusted(target) for value in values for _, target in targets({key.rpartition(".")[2]: value})):
        return False
    if key.startswith("hydra"):
        return HARMLESS.fullmatch(key) is not None and not any("/" in text.partition("://")[0] for text in texts)
    if key == first and (CONF / key).is_dir():  # an option of the group, not a file elsewhere
        names = all(value is None or isinstance(value, str) for value in values)
        return names and not any(mark in text for text in texts for mark in ("/", "\\", ".."))
    return (CONF / first).is_dir() or first in Train.model_fields


def _texts(value: Any) -> Iterator[str]:
    """Yield the strings in a plain value, including keys."""
    if isinstance(value, str):
        yield value
    for item in [*value, *value.values()] if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _texts(item)
