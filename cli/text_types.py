"""Types of texts in configs: names of folders, free texts, regular expressions."""

from __future__ import annotations

import re
import unicodedata
from typing import Annotated

from pydantic import AfterValidator

from utils.value_types import Text


def _folder_name(name: str) -> str:
    if not 1 <= len(name) <= 100 or len(name.encode()) > 200 or set(name) & set("/\\"):
        raise ValueError("must be 1 to 100 characters (200 bytes) without / and \\, since a folder is named after it")
    if name.startswith(".") or "${" in name or any(unicodedata.category(character) == "Cc" for character in name):
        raise ValueError("must not begin with a dot or hold ${ or control characters, since a folder is named after it")
    return name


def _utf_8(text: str) -> str:
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise ValueError("must be valid UTF-8")
    return text


def _regular_expression(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"not a regular expression ({error})") from error
    return text


FreeText = Annotated[Text, AfterValidator(_utf_8)]
FolderName = Annotated[FreeText, AfterValidator(_folder_name)]
RegularExpression = Annotated[Text, AfterValidator(_regular_expression)]
