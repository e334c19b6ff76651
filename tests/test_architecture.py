"""Imports go one way: what docs/architecture.md draws."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tests.conftest import ROOT

MAY_IMPORT = {
    "utils": set(),
    "data": {"utils"},
    "models": {"utils"},
    "losses": {"data", "utils"},
    "engine": {"losses", "models", "data", "utils"},
    "export": {"engine", "data", "utils"},
    "visualization": {"data", "utils"},
    "inference": {"export", "engine", "visualization", "data", "utils"},
    "evaluation": {"inference", "engine", "visualization", "data", "utils"},
    "comparison": {"utils"},
    "config": {"engine", "data", "utils"},
    "sweeps": {"config", "comparison", "utils"},
    "runs": {
        *("sweeps", "comparison", "config", "evaluation", "inference", "visualization", "export"),
        *("engine", "losses", "models", "data", "utils"),
    },
    "cli": {"runs", "sweeps", "config", "engine", "utils"},
}
"""Folder -> the folders that its modules may import, themselves aside. Entry points, tools and benchmarks may import
all of them, and nothing imports those."""


def imported(path: Path) -> set[str]:
    """The project's top-level folders and scripts that a module imports, inside functions too."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.partition(".")[0])
        elif isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
    own = {entry.stem for entry in ROOT.iterdir() if entry.suffix == ".py" or (entry / "__init__.py").exists()}
    return names & (own | {"tools", "benchmarks", "tests"})


def test_the_folders_have_an_order() -> None:
    folders = list(MAY_IMPORT)
    for position, folder in enumerate(folders):
        assert MAY_IMPORT[folder] <= set(folders[:position]), folder


@pytest.mark.parametrize("folder", list(MAY_IMPORT))
def test_a_folder_imports_only_what_lies_below_it(folder: str) -> None:
    for path in sorted(Path(ROOT, folder).rglob("*.py")):
        above = imported(path) - MAY_IMPORT[folder] - {folder}
        assert not above, f"{path.relative_to(ROOT)} imports {', '.join(sorted(above))}"


def test_the_overview_of_data_names_each_module() -> None:
    overview = ast.get_docstring(ast.parse((ROOT / "data" / "__init__.py").read_text(encoding="utf-8"))) or ""
    modules = {path.stem for path in (ROOT / "data").glob("*.py")} - {"__init__"}
    assert not modules - set(re.findall(r"\w+", overview))
    named = set(re.findall(r"^    (\w+(?:, \w+)*)(?:  |$)", overview, re.MULTILINE))
    assert {word for line in named for word in line.split(", ")} <= modules


def test_no_entry_point_is_imported() -> None:
    entries = {path.stem for path in ROOT.glob("*.py")}
    for folder in (*MAY_IMPORT, "tools", "benchmarks"):
        for path in sorted(Path(ROOT, folder).rglob("*.py")):
            assert not imported(path) & entries, path.relative_to(ROOT)
