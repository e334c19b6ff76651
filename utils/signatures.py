"""Read the parameters of a `_target_` from its source, without importing it."""

from __future__ import annotations

import ast
from functools import cache
from importlib.machinery import PathFinder
from importlib.util import resolve_name
from pathlib import Path
from typing import Any, NamedTuple


class Parameter(NamedTuple):
    """A parameter of a class or function: source text of the annotation, and whether it is required."""

    annotation: str | None
    required: bool


class Signature(NamedTuple):
    """Parameters by name, without `self`; `open` means that there is a `**kwargs`."""

    parameters: dict[str, Parameter]
    open: bool


class UnknownTarget(Exception):
    """A `_target_` that does not exist."""


class _Module(NamedTuple):
    """The source of a module: dotted name, package for relative imports, statements."""

    name: str
    package: str
    body: list[ast.stmt]


def signature_of(target: str) -> Signature | None:
    """Return the signature of a dotted class or function; None if the source does not show it.

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
    """Return the classes and functions that a module defines."""
    module = _module(module_name)
    return [s.name for s in module.body if isinstance(s, ast.ClassDef | ast.FunctionDef)] if module else []


@cache
def _module(name: str) -> _Module | None:
    """Find the source of a module part by part: `importlib.util.find_spec` would import its parents."""
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
    """Find the definition of a name, through the imports of the module."""
    if depth > 8:
        return None
    for statement in reversed(module.body):
        if isinstance(statement, ast.ClassDef | ast.FunctionDef) and statement.name == name:
            return module, statement
        if isinstance(statement, ast.ImportFrom):
            for alias in statement.names:
                if alias.name != "*" and (alias.asname or alias.name) != name:
                    continue
                source = _module(resolve_name("." * statement.level + (statement.module or ""), module.package))
                found = source and _find(source, name if alias.name == "*" else alias.name, depth + 1)
                if found:
                    return found
    return None


def _signature(module: _Module, node: ast.ClassDef | ast.FunctionDef) -> Signature | None:
    """Return the parameters of a function, or of the `__init__` of a class or its bases."""
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
        {a.arg: Parameter(ast.unparse(a.annotation) if a.annotation else None, r) for a, r in parameters},
        arguments.kwarg is not None,
    )
