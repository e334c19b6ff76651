"""Random mutations of bytes, texts, JSON, tensors and command-line words."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Iterator
from typing import Any

import torch

ODD: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 255, 256, 2**31, 2**63, 10**30, -0.5, 1e-320, float("inf"), float("nan")),
    *(
        "",
        " ",
        "x",
        "0",
        "-1",
        "nan",
        "1e999",
        "null",
        "\0",
        "\x1b[31mred",
        "\ud800",
        "\u0663",
        "é",
        "e\u0301",
        "\u202e",
    ),
    *(
        "a" * 5000,
        "a\nb",
        "../../x",
        "/dev/null",
        "${oc.env:HOME}",
        "${nothing}",
        "os.system",
        "~nobody",
        "[",
        "{}",
        "'",
    ),
    *([], {}, [[]], {"": None}, [0, 1, 2], [None], {"_target_": "os.system"}, ["x"] * 300),
)
"""Values that may stand in place of any other."""


def odd_value(rng: random.Random) -> Any:
    """Return one of `ODD`, sometimes deeply nested."""
    value = copy.deepcopy(rng.choice(ODD))
    if rng.random() < 0.05:
        for _ in range(rng.choice([3, 60, 400])):
            value = [value]
    return value


def mutated_bytes(rng: random.Random, content: bytes) -> tuple[bytes, str]:
    """Flip, cut, zero, repeat or insert a few bytes; return the result and a description of the change."""
    way = rng.choice(["flip", "flip", "flip many", "cut", "zero", "repeat", "insert", "empty"])
    place, length = rng.randrange(len(content) or 1), rng.choice([1, 4, 100, 5000])
    data = bytearray(content)
    if way.startswith("flip"):
        for _ in range(1 if way == "flip" else 50):
            if data:
                data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    elif way == "cut":
        del data[place:]
    elif way == "zero":
        data[place : place + length] = bytes(min(length, len(data) - place))
    elif way == "repeat":
        data[place:place] = data[place : place + length]
    elif way == "insert":
        data[place:place] = rng.randbytes(length)
    else:
        data.clear()
    return bytes(data), f"{way} at {place} of {len(content)}"


def mutated_text(rng: random.Random, content: str) -> tuple[str, str]:
    """Change a line or word of a text; return the result and a description of the change."""
    lines = content.splitlines(keepends=True) or [""]
    place = rng.randrange(len(lines))
    odd = str(odd_value(rng))
    way = rng.choice(["note", "drop a line", "double a line", "word", "separator", "byte order mark", "whole", "swap"])
    if way == "note":
        lines.append(f"{odd}\n")
    elif way == "drop a line":
        del lines[place]
    elif way == "double a line":
        lines.insert(place, lines[place])
    elif way == "word":
        words = lines[place].replace(",", " , ").replace(":", " : ").split(" ")
        words[rng.randrange(len(words))] = odd
        lines[place] = " ".join(words).replace(" , ", ",").replace(" : ", ":")
    elif way == "separator":
        old, new = rng.choice([(",", ";"), (",", "\t"), (":", "="), ('"', "'"), ("\n", "\r")])
        lines = [line.replace(old, new) for line in lines]
    elif way == "byte order mark":
        lines.insert(0, "\ufeff")
    elif way == "whole":
        lines = [odd]
    else:
        other = rng.randrange(len(lines))
        lines[place], lines[other] = lines[other], lines[place]
    return "".join(lines), f"{way} in line {place + 1}: {odd!r:.60}"


def mutated_json(rng: random.Random, content: str) -> tuple[str, str]:
    """Replace, drop, rename or add a value of JSON; return the result and a description of the change."""
    value, said = mutated_tree(rng, json.loads(content))
    return json.dumps(value), said


def mutated_tree(rng: random.Random, tree: Any) -> tuple[Any, str]:
    """Replace, drop, rename or add a node of nested dictionaries, lists and tuples."""
    tree = copy.deepcopy(tree)
    places = list(_places(tree))
    if not places or rng.random() < 0.03:
        return odd_value(rng), "everything replaced"
    container, key = rng.choice(places)
    way = rng.choice(["replace", "replace", "replace", "drop", "rename", "add"])
    odd = _odd_tensor(rng, container[key]) if isinstance(container[key], torch.Tensor) else odd_value(rng)
    if way == "drop":
        del container[key]
    elif way == "rename" and isinstance(container, dict):
        container[str(odd)[:200]] = container.pop(key)
    elif way == "add" and isinstance(container, list):
        container.insert(key, odd)
    elif way == "add":
        container[rng.choice(["x", "", "ignore", "_target_", "\x1b[31m"])] = odd
    else:
        container[key] = odd
    return tree, f"{way} {key!r:.40}: {str(odd)!r:.60}"


def _places(tree: Any) -> Iterator[tuple[Any, Any]]:
    """Return every container and key of a tree, without tuples."""
    stack = [tree]
    while stack:
        node = stack.pop()
        keys = list(node) if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else []
        for key in keys:
            yield node, key
            stack.append(node[key])


def _odd_tensor(rng: random.Random, tensor: torch.Tensor) -> Any:
    """Return another tensor in place of one, or a value of another type."""
    spoilt = tensor.clone().reshape(-1)
    if spoilt.is_floating_point() and len(spoilt):
        spoilt[rng.randrange(len(spoilt))] = rng.choice([float("nan"), float("inf"), -float("inf")])
    choices = [
        spoilt.reshape(tensor.shape),
        tensor[:0] if tensor.dim() else tensor[None],
        tensor.reshape(-1),
        tensor.to(torch.int64),
        tensor.to(torch.float64),
        tensor.to(torch.bool),
        torch.zeros(()),
        torch.zeros(1).expand(10**6, 10**6),
        torch.eye(3).to_sparse(),
        odd_value(rng),
    ]
    return rng.choice(choices)
