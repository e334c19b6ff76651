"""Links, names and commands of the documentation."""

from __future__ import annotations

import ast
import importlib
import re
import shlex
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from omegaconf import DictConfig
from PIL import Image

from config.current_run import output_folder
from config.nodes import plain
from engine.metrics import scores
from tests.conftest import ROOT
from tests.in_process import run_here
from utils.bundled_weights import bundled_names
from utils.run_folder import RunFolder

PAGES = ["README.md", "CONTRIBUTING.md", "benchmarks/README.md", "experiments/README.md"]
PAGES += sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs").glob("*.md"))
FOLDERS = "|".join(path.name for path in sorted(ROOT.iterdir()) if path.is_dir() and (path / "__init__.py").exists())
CONFIGS = {"train_segmentation.py": "train", "evaluate.py": "evaluate", "infer.py": "infer", "compare.py": "compare"}
PLACEHOLDERS = {"<run>": "run", "<sweep>": "sweep", "<path>": "data", "<file>": "file.pth", "<run or file>": "run"}
"""What stands in for the words in angle brackets; another one is a mistake of the page."""
FENCED = re.compile(r"^ *```(\w*)\n(.*?)^ *```$", re.M | re.S)


def blocks(page: str) -> Iterator[tuple[str, str]]:
    """Return language and text of the fenced blocks of a page."""
    for match in FENCED.finditer((ROOT / page).read_text()):
        yield match[1], match[2]


def commands(page: str) -> Iterator[str]:
    """Return the command lines of a page, in blocks and in the text, without placeholders and comments."""
    lines = [
        line for language, block in blocks(page) if not language for line in block.replace("\\\n", " ").split("\n")
    ]
    lines += re.findall(r"`([^`\n]+)`", FENCED.sub("", (ROOT / page).read_text()))
    for line in lines:
        for placeholder, value in PLACEHOLDERS.items():
            line = line.replace(placeholder, value)
        if re.match(r"(python|torchrun|make|pip) ", line):
            yield " ".join(line.partition(" # ")[0].split())


def program(command: str) -> tuple[str, str, list[str]]:
    """Launcher, program and arguments of a command line: ('python', 'infer.py', ['input=dog.jpg'])."""
    launcher, *words = shlex.split(command)
    if launcher == "torchrun":
        words = [word for word in words if not word.startswith("--")]
    if words[0] == "-m":
        words = words[1:]
    return launcher, words[0], words[1:]


def one_job(words: list[str]) -> list[str]:
    """Return the arguments of the first job of a grid; composing every job would take too long."""
    if "--multirun" not in words or any(word.startswith("sweep=") for word in words):
        return words
    single = [word for word in words if word != "--multirun" and not re.search(r"\w\(|hydra[./]", word)]
    return [word if "[" in word else re.sub(r",.*", "", word) for word in single]


COMMANDS = [(page, command) for page in PAGES for command in dict.fromkeys(commands(page))]
COMPOSED = {c for _, c in COMMANDS if re.search(r"\w+\.py|-m tools\.", c) and "..." not in c and "=mine" not in c}


@pytest.mark.parametrize("page", PAGES)
def test_links_resolve(page: str) -> None:
    for link in re.findall(r"\]\((?!https?:)([^)]+)\)", (ROOT / page).read_text()):
        path, _, anchor = link.partition("#")
        target = (ROOT / page).parent / path if path else ROOT / page
        assert target.exists(), link
        if anchor:
            headings = re.findall(r"^#+ (.+)$", target.read_text(), re.M)
            assert anchor in [re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings], link


@pytest.mark.parametrize("page", PAGES)
def test_files_and_tests_exist(page: str) -> None:
    text = (ROOT / page).read_text()
    file = None
    for path, name in re.findall(rf"`((?:{FOLDERS}|conf|docs|tests)/[\w/]+\.(?:py|md|yaml|png))?(?:::(\w+))?`", text):
        file = ROOT / path if path else file
        if path and "mine" not in path:  # a reader's own
            assert (ROOT / path).is_file(), path
        if name:
            assert file is not None and f"def {name}(" in file.read_text(), f"{path}::{name}"
    for name in re.findall(r"`(test_\w+)`", text):
        assert any(f"def {name}(" in test.read_text() for test in ROOT.glob("tests/**/test_*.py")), name


def test_the_readme_is_short_and_names_every_page() -> None:
    text = (ROOT / "README.md").read_text()
    assert len(text.splitlines()) <= 150
    for page in PAGES[1:]:
        assert page == "experiments/README.md" or f"]({page})" in text, page


@pytest.mark.parametrize("page", PAGES)
def test_python_and_yaml_are_valid(page: str) -> None:
    for language, block in blocks(page):
        if language == "yaml":
            yaml.safe_load(block)
        for node in ast.walk(ast.parse(textwrap.dedent(block))) if language == "python" else ():
            if isinstance(node, ast.ImportFrom):
                module = importlib.import_module(str(node.module))
                assert all(hasattr(module, alias.name) for alias in node.names), ast.unparse(node)


@pytest.mark.slow  # for the export
def test_the_page_for_python_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path.copy())
    Image.new("RGB", (96, 64)).save("street.jpg")
    names: dict[str, Any] = {}
    for block in [block for language, block in blocks("docs/python.md") if language == "python"]:
        exec(block, names)
    assert names["mask"].shape == (64, 96)
    with torch.no_grad():
        expected = names["model"](names["normalize"](names["images"]))
    torch.testing.assert_close(torch.from_numpy(names["logits"]), expected, atol=1e-3, rtol=1e-3)
    found, truth = expected.argmax(1).numpy(), names["masks"].numpy()
    ious = [((found == c) & (truth == c)).sum() / ((found == c) | (truth == c)).sum() for c in range(2)]
    assert scores(names["confusion"]).iou.tolist() == pytest.approx(ious)


def test_programs_exist() -> None:
    assert len(COMPOSED) > 50
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.M)
    for page, command in COMMANDS:
        launcher, name, words = program(command)
        if launcher == "make":
            assert name in targets, f"{page}: {command}"
        elif launcher == "pip":
            assert all((ROOT / word).is_file() for word in words if word.endswith(".txt")), f"{page}: {command}"
        else:
            path = name if name.endswith(".py") else f"{name.replace('.', '/')}.py"
            assert (ROOT / path).is_file(), f"{page}: {command}"
            if not name.startswith("benchmarks."):
                importlib.import_module(name.removesuffix(".py"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the commands refer to: `experiments/run`, `experiments/sweep` and networks."""
    folder = tmp_path_factory.mktemp("docs")
    for words, name in (["name=run", "data=folder", "data.root=data"], "run"), (["--multirun", "seed=0"], "sweep"):
        run_here(keep_config, "train", *words, cwd=folder)
        (made,) = folder.glob(f"experiments/*_{name}")
        made.rename(folder / "experiments" / name)
    (folder / "experiments" / "run" / "checkpoints").mkdir()
    for file in ("experiments/run/checkpoints/last.pt", "<name>", "<name>.pt", "model.onnx"):
        (folder / file).touch()
    return folder


def keep_config(cfg: DictConfig) -> None:
    """Record the composed and checked config instead of running the command."""
    composed.append(cfg)
    if "trainer" in cfg and "scheduler" in cfg:
        RunFolder(output_folder()).write_config(plain(cfg))


composed: list[DictConfig] = []


@pytest.mark.parametrize("command", sorted(COMPOSED))
def test_configs_are_valid(folder: Path, command: str) -> None:
    """A misspelt key or option, a wrong type, or a combination that is refused."""
    _, name, words = program(command)
    composed.clear()
    done = run_here(keep_config, CONFIGS.get(name) or name.rpartition(".")[2], *one_job(words), cwd=folder)
    assert "error: " not in done.stderr and "Traceback" not in done.stderr, done.stderr
    assert composed or {"--help", "--cfg"} & set(words)


@pytest.mark.parametrize("name", bundled_names())
def test_the_card_of_a_network_says_how_to_train_it_on_other_classes(folder: Path, name: str) -> None:
    lines = [line for _, block in blocks(f"weights/{name}.md") for line in block.splitlines()]
    (command,) = (line.replace("<path>", "data") for line in lines if "train_segmentation.py" in line)
    composed.clear()
    done = run_here(keep_config, "train", *program(command)[2], cwd=folder)
    assert done.returncode == 0, done.stderr
    (cfg,) = composed
    # A folder has no split `trainval`, and ImageNet's weights, which need a package, would be overwritten.
    assert (cfg.data.train_split, cfg.data.val_split) == ("train", "val")
    assert cfg.model.weights == name and cfg.model.get("encoder_weights") is None


def test_git_ignores_what_the_commands_write() -> None:
    written = ["street_mask.png", "street_mask_overlay.png", "photos_masks/0.png", "masks/0.png", "report.html"]
    written += ["study.db", "drive_overlay.mp4", "model.onnx", "outputs/find_lr.png", "experiments/latest", "mine.zip"]
    words = ["git", "check-ignore", "--no-index", *written]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode != 128, done.stderr  # not a checkout
    assert done.stdout.split() == written
    for word in ("output=street_mask.png", "report=report.html", "output=model.onnx"):  # so that the list stays true
        assert any(word in command for _, command in COMMANDS)
