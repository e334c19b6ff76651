"""Command-line words, before Hydra parses them."""

from __future__ import annotations

from pathlib import Path

PATH_KEYS = frozenset(
    {"input", "output", "checkpoint", "resume", "data.root", "model.weights", "model.encoder_weights"}
)
"""Keys whose values are taken as they stand, whatever Hydra's grammar says of brackets, commas or quotes."""


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


def value_of(words: list[str], key: str) -> str | None:
    """The value that the words give a path key; the last one counts, null is None."""
    values = [word.partition("=")[2] for word in words if word.startswith(f"{key}=")]
    return None if not values or values[-1] == "null" else values[-1]


def resume_words(words: list[str], run: Path) -> list[str]:
    """The words that compose the run's own config in place of the defaults, and stay in its folder."""
    return ["--config-dir", str(run), "--config-name", "resume", *words, f"hydra.run.dir={quote(str(run))}"]
