"""What Hydra knows of the current run."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import OmegaConf

from config.quoting import as_typed

CHOSEN = ("model", "data", "augmentation", "loss", "optimizer", "scheduler", "distill", "experiment")
"""Groups whose options are recorded in summary.json."""


def chosen(group: str) -> str | None:
    """Return the chosen option of a group."""
    return HydraConfig.get().runtime.choices.get(group)


def options_chosen() -> dict[str, str | None]:
    """Return the chosen option of each group that summary.json records."""
    return {group: chosen(group) for group in CHOSEN}


def typed_words(settings: Any) -> list[str]:
    """Return the words of the command line, or of a job of a sweep, from Hydra's node."""
    # Unresolved: OmegaConf would take a word such as `name=${seed}` for an interpolation.
    return cast(list[str], OmegaConf.to_container(settings.overrides.task, resolve=False))


def overrides() -> list[str]:
    """Return the overrides of this run, or of this job of a sweep, as typed."""
    return [as_typed(word.removeprefix("++")) for word in typed_words(HydraConfig.get())]


def in_sweep() -> bool:
    """Whether this run is a job of a sweep."""
    return bool(HydraConfig.get().mode == RunMode.MULTIRUN)


def output_folder() -> Path:
    """Return the folder of this run, relative to the working directory if it is below it."""
    folder, here = Path(HydraConfig.get().runtime.output_dir), Path.cwd()
    return folder.relative_to(here) if folder.is_relative_to(here) else folder
