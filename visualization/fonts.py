"""Find fonts for names in any script."""

from __future__ import annotations

import functools
import logging
import textwrap
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findSystemFonts, fontManager
from matplotlib.ft2font import FT2Font
from matplotlib.text import Text

from utils.text import plural

matplotlib.rcParams["text.parse_math"] = False  # names of files and classes may contain $

log = logging.getLogger(__name__)
logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)  # it warns about each font without a normal weight

_lock = threading.Lock()
_warned = False


def drawn_class_names(names: Sequence[str]) -> list[str]:
    """Return class names that figures can show: `class 3` if no font has all characters of a name.

    Warns once per process.
    """
    global _warned
    missing = [name for name in names if font_for(name) is None]
    with _lock:
        if missing and not _warned:
            _warned = True
            log.warning(
                "pictures show numbers instead of %s, such as %s: no installed font has their characters;"
                " install one that has, such as Noto Sans (CJK)",
                *(plural(len(missing), "class name"), missing[0]),
            )
    return [name if font_for(name) else f"class {i}" for i, name in enumerate(names)]


def drawn_text(text: str) -> str:
    """Return a text that figures can show, with `?` for each character that no font has."""
    return text if font_for(text) else "".join(character if font_for(character) else "?" for character in text)


def drawn_title(text: str, inches: float) -> str:
    """Return a text in lines that fit above the axes of a figure of this width, as `drawn_text`."""
    return "\n".join(textwrap.wrap(drawn_text(text), int(8.5 * inches)))


def use_found_fonts(figure: Figure) -> None:
    """Let existing texts, such as the titles of axes, use fonts that were found later."""
    for text in figure.findobj(Text):
        text.set_fontfamily(matplotlib.rcParams["font.family"])


@functools.cache
def font_for(text: str) -> str | None:
    """Return the path of an installed font that has all characters of a text; None if there is none.

    Prefers the font of the figures; otherwise the font found is added to theirs.
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
    """Return the families of the system's fonts, without matplotlib's own, some of which draw only symbols or boxes."""
    own, known = matplotlib.get_data_path(), {font.fname for font in fontManager.ttflist}
    for path in set(findSystemFonts()) - known:  # installed since matplotlib cached its list
        with suppress(Exception):  # not a font, or not readable by FreeType
            fontManager.addfont(path)
    return sorted({font.name for font in fontManager.ttflist if not Path(font.fname).is_relative_to(own)})


def _has_all(path: str, text: str) -> bool:
    try:
        font = FT2Font(path)
        return all(font.get_char_index(ord(character)) for character in text)
    except (OSError, RuntimeError):  # removed, or a bitmap font
        return False
