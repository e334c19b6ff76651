"""--help explains the keys with the comments of conf/."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from cli.help import explained
from tests.conftest import ROOT
from tests.in_process import run_here, succeeded


def comment(file: str, key: str) -> str:
    """Return the comment behind a key, read by hand."""
    (line,) = [line for line in (ROOT / "conf" / file).read_text().splitlines() if line.startswith(f"{key}:")]
    return line.partition(" # ")[2].strip()


@pytest.mark.parametrize(
    ("config", "words", "file", "key", "line"),
    [
        ("train", ["--help"], "trainer/default.yaml", "epochs", "  epochs: 24"),
        ("train", ["--help"], "train.yaml", "seed", "seed: 0"),
        ("train", ["-h"], "data/_loader.yaml", "num_workers", "  num_workers: auto"),
        ("train", ["--help", "logger=wandb"], "logger/wandb.yaml", "project", "  project: segmentation"),
        ("infer", ["--help"], "infer.yaml", "overlap", "overlap: 0.25"),
        ("find_lr", ["--help"], "find_lr.yaml", "repeats", "repeats: 3"),
    ],
)
def test_a_key_has_its_comment(tmp_path: Path, config: str, words: list[str], file: str, key: str, line: str) -> None:
    done = succeeded(run_here(lambda cfg: None, config, *words, cwd=tmp_path))
    expected = comment(file, key)
    assert expected
    assert re.search(rf"^{re.escape(line)} +# {re.escape(expected)}$", done.stdout, re.M), done.stdout
    assert list(tmp_path.iterdir()) == []


def test_the_config_itself_is_unchanged(tmp_path: Path) -> None:
    done = run_here(lambda cfg: None, "train", "--cfg", "job", cwd=tmp_path)
    assert done.returncode == 0 and "#" not in done.stdout


def test_options_that_are_only_included_are_not_listed(tmp_path: Path) -> None:
    printed = run_here(lambda _: None, "train", "--help", cwd=tmp_path).stdout
    assert "\ndata: camvid, cityscapes," in printed and "\nexperiment: camvid_" in printed
    assert "_loader" not in printed


def test_an_option_that_includes_one_of_a_plugin() -> None:
    words = ["--help", "hydra/launcher=slurm_gpu"]
    assert explained("no key", "train", words) == "no key"
