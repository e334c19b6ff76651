"""The changes of the code that a run keeps."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from utils import environment


def git(folder: Path, *words: str) -> str:
    settings = ("-c", "user.name=a", "-c", "user.email=a@b")
    return subprocess.run(["git", *settings, *words], cwd=folder, check=True, capture_output=True, text=True).stdout


def test_the_diff_restores_the_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code, copy = tmp_path / "code", tmp_path / "copy"
    code.mkdir()
    git(code, "init", "-q")
    (code / ".gitignore").write_text("*.pt\n")
    (code / "kept.py").write_text("a = 1\nb = 2\n")
    (code / "gone.py").write_text("c = 3\n")
    git(code, "add", "-A")
    git(code, "commit", "-qm", "first")
    git(tmp_path, "clone", "-q", str(code), str(copy))
    (code / "kept.py").write_text("a = 1\r\nb = 22\n")
    (code / "gone.py").unlink()
    (code / "new.py").write_text("größe = 4\n")
    (code / "picture.bin").write_bytes(bytes(range(256)))
    (code / "weights.pt").write_text("ignored")
    (code / "large.py").write_text("x" * 1_000_001)

    monkeypatch.setattr(environment, "REPOSITORY", code)
    (tmp_path / "code.diff").write_bytes(environment.code_diff())
    git(copy, "apply", str(tmp_path / "code.diff"))
    found = {path.name: path.read_bytes() for path in copy.iterdir() if path.is_file()}
    expected = {path.name: path.read_bytes() for path in code.iterdir() if path.is_file()}
    assert found == {name: text for name, text in expected.items() if name not in ("weights.pt", "large.py")}


def test_without_git_there_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "REPOSITORY", tmp_path)
    assert environment.code_diff() == b""
