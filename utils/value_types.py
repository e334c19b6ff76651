"""Types of config values, checked by pydantic, and the messages of its errors.

They are strict: "3" is not a number, and 1 is not a flag.
"""

from __future__ import annotations

import re
import typing
import unicodedata
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from utils.text import is_utf_8

# Upper limits are far above useful values. They catch typing mistakes.
Positive = Annotated[int, Field(strict=True, ge=1, le=1_000_000)]
NonNegative = Annotated[int, Field(strict=True, ge=0, le=1_000_000)]
BatchSize = Annotated[int, Field(strict=True, ge=1, le=65_536)]
Threads = Annotated[int, Field(strict=True, ge=1, le=1024)]
Workers = Annotated[int, Field(strict=True, ge=0, le=256)]
Seed = Annotated[int, Field(strict=True, ge=0, lt=2**32)]
Rate = Annotated[float, Field(strict=True, gt=0, le=1e15, allow_inf_nan=False)]
Overlap = Annotated[float, Field(strict=True, ge=0, le=0.95, allow_inf_nan=False)]
Fraction = Annotated[float, Field(strict=True, ge=0, le=1, allow_inf_nan=False)]
Deviation = Annotated[float, Field(strict=True, gt=0, le=1, allow_inf_nan=False)]
Share = Annotated[float, Field(strict=True, ge=0, lt=1, allow_inf_nan=False)]
Text = Annotated[str, Field(strict=True)]
Flag = Annotated[bool, Field(strict=True)]
Device = Literal["auto", "cpu", "cuda", "mps"]
Precision = Literal["auto", "off", "fp16", "bf16"]
View = Literal["flip", "multiscale"]
Backend = Literal["eager", "compile", "onnx"]
PictureFormat = Literal["mask", "color", "overlay", "side_by_side", "probabilities"]
ExportFormat = Literal["onnx", "torch_export", "torchscript"]
BenchmarkColumn = Literal["ms", "images_per_second", "memory", "parameters", "macs", "miou"]
TableFormat = Literal["table", "csv", "json", "markdown", "latex"]

SMALLEST_SIDE = 32
"""Minimum height and width of an image in pixels: halved five times, it is one pixel."""
LARGEST_SIDE = 16_384
Size = Annotated[
    list[Annotated[int, Field(strict=True, ge=SMALLEST_SIDE, le=LARGEST_SIDE)]], Field(min_length=2, max_length=2)
]
"""Height and width."""


def folder_name(name: str) -> str:
    """Return a name if a folder may have it.

    Raises:
        ValueError: it may not.
    """
    if not 1 <= len(name) <= 100 or len(name.encode()) > 200 or set(name) & set("/\\"):
        raise ValueError("must be 1 to 100 characters (200 bytes) without / and \\, since a folder is named after it")
    if name != name.strip():
        raise ValueError("must not begin or end with a space, since a folder is named after it")
    if name.startswith(".") or "${" in name or any(unicodedata.category(character) == "Cc" for character in name):
        raise ValueError("must not begin with a dot or hold ${ or control characters, since a folder is named after it")
    return name


def _utf_8(text: str) -> str:
    if not is_utf_8(text):
        raise ValueError("must be valid UTF-8")
    return text


def _regular_expression(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"not a regular expression ({error})") from error
    return text


FreeText = Annotated[Text, AfterValidator(_utf_8)]
FolderName = Annotated[FreeText, AfterValidator(folder_name)]
RegularExpression = Annotated[Text, AfterValidator(_regular_expression)]


def wrong_value(annotation: str | None, value: Any) -> str | None:
    """Return what is wrong with a value for a parameter with this annotation; None if nothing is, or if unknown."""
    adapter = _adapter(annotation) if annotation else None
    if adapter is None:
        return None
    try:
        adapter.validate_python(value)
    except ValidationError as error:
        return requirement(error.errors())
    return None


def requirement(errors: Sequence[ErrorDetails]) -> str:
    """Return what pydantic's errors for one value require: "must be 'auto' or an integer"."""
    texts = [_requirement(error["type"], error.get("ctx", {}), error["msg"]) for error in errors]
    texts = [text for text in dict.fromkeys(texts) if "_Tensor" not in text]
    if all(text.startswith("must be ") for text in texts):
        texts[1:] = [text.removeprefix("must be ") for text in texts[1:]]
    return " or ".join(texts)


def remedy(name: str, value: Any, needed: str, typed: bool) -> str:
    """Return what to do about a wrong value, as the end of a message; nothing if `needed` says it.

    Args:
        name: key of the value.
        needed: what `requirement` returned.
        typed: whether the value is from the command line, where only true and false are truth values.
    """
    if isinstance(value, bool) and not typed and ("'" in needed or "a string" in needed):
        return " (YAML reads a bare off, no, on or yes as a truth value: quote it)"
    if isinstance(value, list) and "a string" in needed and "a list" not in needed:
        return ", not a list"
    if isinstance(value, int | float) and "a string" in needed:  # a truth value, too, is an int
        kind = "this word" if isinstance(value, bool) else "a text of digits"
        return f"; for {kind}, pass '{name}=\"{str(value).lower()}\"'"
    if str(value).startswith("cuda:"):
        return f"; to choose a GPU, set the environment variable CUDA_VISIBLE_DEVICES={str(value)[5:]}"
    return ""


def _requirement(kind: str, limits: Mapping[str, Any], message: str) -> str:
    simple = {
        **dict.fromkeys(("int_type", "int_parsing", "int_from_float", "int_parsing_size"), "must be an integer"),
        **dict.fromkeys(("float_type", "float_parsing"), "must be a number"),
        **dict.fromkeys(("bool_type", "bool_parsing"), "must be true or false"),
        **dict.fromkeys(("list_type", "tuple_type", "sequence_type", "sequence_str"), "must be a list"),
        **dict.fromkeys(("dict_type", "mapping_type", "model_type"), "must be a table of keys and values"),
        "string_type": "must be a string",
        "none_required": "must be null",
        "finite_number": "must be finite",
        "missing": "has too few values",
    }
    limit = {
        "greater_than": "must be greater than {gt}",
        "greater_than_equal": "must be at least {ge}",
        "less_than": "must be less than {lt}",
        "less_than_equal": "must be at most {le}",
        "literal_error": "must be {expected}",
        "too_short": "must have at least {min_length} values",
        "too_long": "must have at most {max_length} values",
    }
    if kind == "is_instance_of" and limits.get("class") == "Sequence":
        return "must be a list"
    if kind in limit:
        whole = {key: f"{value:,.15g}" if isinstance(value, int | float) else value for key, value in limits.items()}
        return limit[kind].format_map(whole).replace("at least 1 values", "at least 1 value")
    return simple.get(kind, message.removeprefix("Input ").removeprefix("Value error, "))


class _Tensor:
    """Stands for `Tensor` in annotations such as `float | Tensor`. No value of a config is one."""


class _Names(dict):
    """The names in annotations: builtins, with strict numbers, flags and strings, and those of `typing`."""

    def __missing__(self, name: str) -> Any:
        return getattr(typing, name)


_NAMES = _Names(
    int=Annotated[int, Field(strict=True)],
    float=Annotated[float, Field(strict=True, allow_inf_nan=False)],
    bool=Flag,
    str=Text,
    list=list,
    tuple=tuple,
    dict=dict,
    set=set,
    object=object,
    Tensor=_Tensor,
)


@cache
def _adapter(annotation: str) -> TypeAdapter | None:
    """Return a validator for the source text of an annotation; None if it refers to other names."""
    try:
        # The text comes from a module that the run imports anyway.
        return TypeAdapter(
            eval(annotation, {"__builtins__": {}}, _NAMES), config=ConfigDict(arbitrary_types_allowed=True)
        )
    except Exception:
        return None
