"""Texts from elsewhere, made safe to print."""

from __future__ import annotations

import re

# What a terminal acts on rather than shows, and what cannot be encoded.
CONTROL = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def cleaned(text: str) -> str:
    r"""A text that can be printed: what is not to be shown is spelled, `\x1b`; line feeds stay."""
    return CONTROL.sub(lambda match: repr(match[0])[1:-1], text)


def one_line(text: str) -> str:
    r"""As `cleaned`, with line feeds spelled `\n` too."""
    return cleaned(text).replace("\n", r"\n")
