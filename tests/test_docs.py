"""What the documentation names is there."""

import re

import pytest

from tests.conftest import ROOT


@pytest.mark.parametrize(
    "page", ["README.md", "docs/reliability.md", "docs/data.md", "docs/export.md", "benchmarks/README.md"]
)
def test_files_and_tests_that_are_named_exist(page: str) -> None:
    text = (ROOT / page).read_text()
    file = None
    for path, name in re.findall(r"`((?:tests|docs|conf|benchmarks)/[\w/]+\.(?:py|md|yaml|png))?(?:::(\w+))?`", text):
        file = ROOT / path if path else file
        if path and "mine" not in path:  # a reader's own
            assert (ROOT / path).is_file(), f"{page}: {path}"
        if name:
            assert file is not None and f"def {name}(" in file.read_text(), f"{page}: {path}::{name}"
    for name in re.findall(r"`(test_\w+)`", text):
        assert any(f"def {name}(" in test.read_text() for test in ROOT.glob("tests/**/test_*.py")), f"{page}: {name}"
    for link in re.findall(r"\]\((?!http)([^)#]+)\)", text):
        assert (ROOT / page).parent.joinpath(link).exists(), f"{page}: {link}"


@pytest.mark.parametrize("page", ["README.md", "docs/data.md", "docs/export.md", "benchmarks/README.md"])
def test_commands_that_are_named_exist(page: str) -> None:
    text = (ROOT / page).read_text()
    for module in re.findall(r"python -m ((?:tools|benchmarks)\.\w+)", text):
        assert (ROOT / f"{module.replace('.', '/')}.py").is_file(), f"{page}: {module}"
    for script in re.findall(r"python (\w+\.py)", text):
        assert (ROOT / script).is_file(), f"{page}: {script}"
