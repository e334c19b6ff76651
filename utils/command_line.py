"""Command-line words, before Hydra parses them."""

from __future__ import annotations

from pathlib import Path

import yaml

from utils.errors import UserError
from utils.trusted import check_trusted

PATH_KEYS = frozenset(
    {
        *("input", "output", "checkpoint", "resume", "runs", "baseline", "report"),
        *("data.root", "data.labels", "model.weights", "model.encoder_weights"),
    }
)
"""Keys whose values are taken as they stand, whatever Hydra's grammar says of brackets, commas or quotes."""


def words(given: list[str], config_name: str) -> list[str]:
    """The command line as Hydra takes it.

    Raises:
        UserError: `resume` names no run, or something stands beside it that does not go with it.
    """
    if config_name == "evaluate":
        given = added(given, {"data"})  # as yet unknown: the checkpoint holds it
    elif {"--multirun", "-m"} & set(given):
        given = added(given, swept_groups(given))
    words = quote_paths(flags_first(given))
    resume = value_of(given, "resume") if config_name == "train" else None
    if resume is None:
        return words
    if {"--multirun", "-m"} & set(words):
        raise UserError(f"resume={resume}: goes on with one run, so --multirun has no place beside it")
    run = Path(resume).expanduser()
    if not (run / "config.yaml").is_file():
        if (run / "0" / "config.yaml").is_file():
            raise UserError(f"resume={resume}: the folder of a sweep; name one of its runs, as in {run / '0'}")
        raise UserError(f"resume={resume}: not a run folder: there is no config.yaml in it")
    check_trusted(run, given)
    hydra_record = run / ".hydra" / "hydra.yaml"
    choices = {}
    if hydra_record.is_file():
        choices = yaml.safe_load(hydra_record.read_text())["hydra"]["runtime"]["choices"]
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
    return resume_words(kept, run)


def quote_paths(words: list[str]) -> list[str]:
    """Quotes the values of path keys; `null` stays null."""
    quoted = []
    for word in words:
        key, equals, value = word.partition("=")
        if equals and key.lstrip("+") in PATH_KEYS and value != "null":
            word = f"{key}={quote(value)}"
        quoted.append(word)
    return quoted


def quote(value: str) -> str:
    """`value` as a quoted string of Hydra's grammar, without interpolation."""
    # In quotes, a backslash is special before a quote only (and so at the end); '${' would interpolate.
    escaped = value.replace("\\'", "\\\\'").replace("'", "\\'").replace("${", "\\${")
    return f"'{escaped}\\'" if escaped.endswith("\\") else f"'{escaped}'"


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
    values = [word.partition("=")[2] for word in words if word.startswith(f"{key}=")]
    return None if not values or values[-1] == "null" else values[-1]


def resume_words(words: list[str], run: Path) -> list[str]:
    """The words that compose the run's own config in place of the defaults, and stay in its folder."""
    return ["--config-dir", str(run), "--config-name", "resume", *words, f"hydra.run.dir={quote(str(run))}"]
