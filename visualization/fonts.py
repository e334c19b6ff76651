"""Fonts that have the characters of names from anywhere."""

from __future__ import annotations

import functools
import logging
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findSystemFonts, fontManager
from matplotlib.ft2font import FT2Font
from matplotlib.text import Text

matplotlib.rcParams["text.parse_math"] = False  # names of files and classes may have a $

log = logging.getLogger(__name__)
logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)  # a line for each font without a normal weight

_lock = threading.Lock()
_warned = False


def drawn_class_names(names: Sequence[str]) -> list[str]:
    """The names of classes as figures can show them: `class 3` where no font has all characters of a name.

    The first time that this happens, one warning says so.
    """
    global _warned
    missing = [name for name in names if font_for(name) is None]
    with _lock:
        if missing and not _warned:
            _warned = True
            log.warning(
                "pictures show numbers in place of %d class names, such as %s: no installed font has their characters;"
                " Noto Sans (CJK) would, for one",
                *(len(missing), missing[0]),
            )
    return [name if font_for(name) else f"class {i}" for i, name in enumerate(names)]


def drawn_text(text: str) -> str:
    """A text as figures can show it: `?` for each character that no font has."""
    return text if font_for(text) else "".join(character if font_for(character) else "?" for character in text)


def use_found_fonts(figure: Figure) -> None:
    """Let texts use the fonts that were found after they were made, as the empty title of axes is."""
    for text in figure.findobj(Text):
        text.set_fontfamily(matplotlib.rcParams["font.family"])


@functools.cache
def font_for(text: str) -> str | None:
    """The path of an installed font that has all characters of a text; None if there is none.

    It is the font of the figures, if that has them; else the figures of this process also use what was found.
    """
    families = matplotlib.rcParams["font.family"]
    for family in (*families, *_installed()):
        path = str(fontManager.findfont(FontProperties(family=[family])))
        if _has_all(path, text):
            with _lock:
                if family not in matplotlib.rcParams["font.family"]:
                    matplotlib.rcParams["font.family"] = [*matplotlib.rcParams["font.family"], family]
            return path
    return None


@functools.cache
def _installed() -> list[str]:
    """The families of the system's fonts, without the symbols and the empty boxes that matplotlib brings."""
    own, known = matplotlib.get_data_path(), {font.fname for font in fontManager.ttflist}
    for path in set(findSystemFonts()) - known:  # installed since matplotlib made its list, which it keeps on disk
        with suppress(Exception):  # what is no font, or one that FreeType does not read
            fontManager.addfont(path)
    return sorted({font.name for font in fontManager.ttflist if not Path(font.fname).is_relative_to(own)})


def _has_all(path: str, text: str) -> bool:
    try:
        font = FT2Font(path)
        return all(font.get_char_index(ord(character)) for character in text)
    except (OSError, RuntimeError):  # a font that is gone, or of bitmaps only
        return False
