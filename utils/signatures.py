"""The parameters of a `_target_`, read from its source, so that nothing slow has to be imported."""

from __future__ import annotations

import ast
import typing
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails


class Parameter(NamedTuple):
    """A parameter of a constructor or function: its name, its annotation's source, whether it must be given."""

    name: str
    annotation: str | None
    required: bool


class Signature(NamedTuple):
    """Parameters without `self`; `open` says that it takes any other keyword too."""

    parameters: tuple[Parameter, ...]
    open: bool


class UnknownTarget(Exception):
    """A `_target_` that names nothing."""


class _Module(NamedTuple):
    """A module's source: its dotted name, its package for relative imports, its statements."""

    name: str
    package: str
    body: list[ast.stmt]


def signature_of(target: str) -> Signature | None:
    """The signature of a dotted class or function; None where the source does not show it.

    Raises:
        UnknownTarget: no such module, or nothing of that name in it.
    """
    module_name, _, name = target.rpartition(".")
    if not module_name:
        raise UnknownTarget(f"'{target}' is not of the form module.name")
    module = _module(module_name)
    if module is None:
        raise UnknownTarget(f"there is no module '{module_name}'")
    if module.body == [] and not module.package:
        return None  # a compiled module
    found = _find(module, name)
    if found is None:
        raise UnknownTarget(f"there is no '{name}' in '{module_name}'")
    return _signature(*found)


def names_in(module_name: str) -> list[str]:
    """Classes and functions that a module defines, for 'did you mean'."""
    module = _module(module_name)
    return [s.name for s in module.body if isinstance(s, ast.ClassDef | ast.FunctionDef)] if module else []


def wrong_value(annotation: str | None, value: Any) -> str | None:
    """What is wrong with a value for a parameter annotated so; None if nothing is, or none can tell."""
    adapter = _adapter(annotation) if annotation else None
    if adapter is None:
        return None
    try:
        adapter.validate_python(value)
    except ValidationError as error:
        return wishes(error.errors())
    return None


def wishes(errors: Sequence[ErrorDetails]) -> str:
    """What pydantic's errors of one value ask for, in plain words: 'must be auto or an integer'."""
    texts = [_wish(error["type"], error.get("ctx", {}), error["msg"]) for error in errors]
    texts = [text for text in dict.fromkeys(texts) if "_Tensor" not in text]
    if all(text.startswith("must be ") for text in texts):
        texts[1:] = [text.removeprefix("must be ") for text in texts[1:]]
    return " or ".join(texts)


def _wish(kind: str, limits: Mapping[str, Any], message: str) -> str:
    simple = {
        **dict.fromkeys(("int_type", "int_parsing", "int_from_float", "int_parsing_size"), "must be an integer"),
        **dict.fromkeys(("float_type", "float_parsing"), "must be a number"),
        **dict.fromkeys(("bool_type", "bool_parsing"), "must be true or false"),
        **dict.fromkeys(("list_type", "tuple_type", "sequence_type"), "must be a list"),
        **dict.fromkeys(("dict_type", "mapping_type", "model_type"), "must be a table of keys and values"),
        "string_type": "must be a string",
        "none_required": "must be null",
        "finite_number": "must be finite",
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


@cache
def _module(name: str) -> _Module | None:
    """Finds a module's source step by step; `importlib.util.find_spec` would import its parents."""
    path: Any = None
    parts = name.split(".")
    spec = None
    for i in range(len(parts)):
        spec = PathFinder.find_spec(".".join(parts[: i + 1]), path)
        if spec is None:
            return None
        path = spec.submodule_search_locations
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        return _Module(name, "", [])
    package = name if spec.submodule_search_locations else name.rpartition(".")[0]
    return _Module(name, package, ast.parse(Path(spec.origin).read_text(encoding="utf-8")).body)


def _find(module: _Module, name: str, depth: int = 0) -> tuple[_Module, ast.ClassDef | ast.FunctionDef] | None:
    """The definition of a name, through the imports of the module."""
    if depth > 8:
        return None
    for statement in reversed(module.body):
        if isinstance(statement, ast.ClassDef | ast.FunctionDef) and statement.name == name:
            return module, statement
        if isinstance(statement, ast.ImportFrom):
            for alias in statement.names:
                if alias.name != "*" and (alias.asname or alias.name) != name:
                    continue
                source = _module(_absolute(module, statement))
                found = source and _find(source, name if alias.name == "*" else alias.name, depth + 1)
                if found:
                    return found
    return None


def _absolute(module: _Module, statement: ast.ImportFrom) -> str:
    """The module that a `from ... import` names, relative ones resolved."""
    if not statement.level:
        return statement.module or ""
    parents = module.package.split(".")
    base = parents[: len(parents) - statement.level + 1]
    return ".".join([*base, statement.module] if statement.module else base)


def _signature(module: _Module, node: ast.ClassDef | ast.FunctionDef) -> Signature | None:
    """A function's parameters, or those of a class's `__init__`, its own or inherited."""
    if isinstance(node, ast.FunctionDef):
        return _parameters(node)
    for statement in node.body:
        if isinstance(statement, ast.FunctionDef) and statement.name == "__init__":
            return _parameters(statement, skip=1)
    for base in node.bases:
        found = _find(module, base.id) if isinstance(base, ast.Name) else None
        signature = _signature(*found) if found else None
        if signature is not None:
            return signature
    return None


def _parameters(function: ast.FunctionDef, skip: int = 0) -> Signature:
    arguments = function.args
    positional = [*arguments.posonlyargs, *arguments.args]
    required = len(positional) - len(arguments.defaults)
    parameters = [(a, i < required) for i, a in enumerate(positional)][skip:]
    parameters += [(a, d is None) for a, d in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)]
    return Signature(
        tuple(Parameter(a.arg, ast.unparse(a.annotation) if a.annotation else None, r) for a, r in parameters),
        arguments.kwarg is not None,
    )


class _Tensor:
    """Stands for `Tensor` in `float | Tensor`: no value of a config is one."""


class _Names(dict):
    """What annotations may refer to: builtins, numbers and flags taken strictly, and `typing`."""

    def __missing__(self, name: str) -> Any:
        return getattr(typing, name)


_NAMES = _Names(
    int=Annotated[int, Field(strict=True)],
    float=Annotated[float, Field(strict=True, allow_inf_nan=False)],
    bool=Annotated[bool, Field(strict=True)],
    str=Annotated[str, Field(strict=True)],
    list=list,
    tuple=tuple,
    dict=dict,
    set=set,
    object=object,
    Tensor=_Tensor,
)


@cache
def _adapter(annotation: str) -> TypeAdapter | None:
    """A checker of values for an annotation's source text; None where it means nothing by itself."""
    try:
        # The text is code of an installed module that the run is about to import anyway.
        return TypeAdapter(
            eval(annotation, {"__builtins__": {}}, _NAMES), config=ConfigDict(arbitrary_types_allowed=True)
        )
    except Exception:
        return None
