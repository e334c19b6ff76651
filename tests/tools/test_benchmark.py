from __future__ import annotations

import subprocess
import sys

import pytest

from tests.conftest import ROOT


def benchmark(*words: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "tools.benchmark", *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)


def test_a_table_of_the_models_asked_for() -> None:
    """ENet has 0.35 to 0.37 M parameters and 2.02 G multiply-adds."""
    done = benchmark("model=[enet,fast_scnn]")
    assert done.returncode == 0, done.stderr
    rows = {line.split("|")[1].strip(): line.split("|")[2:4] for line in done.stdout.splitlines() if "G |" in line}
    assert list(rows) == ["enet", "fast_scnn"]
    assert 350_000 <= int(rows["enet"][0].replace(",", "")) <= 370_000
    assert float(rows["enet"][1].split()[0]) == pytest.approx(2.02, rel=0.03)


def test_the_table_of_the_readme_is_true() -> None:
    done = benchmark("format=markdown")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() in (ROOT / "README.md").read_text()
    assert len(done.stdout.splitlines()) == 2 + len(list((ROOT / "conf" / "model").glob("*.yaml")))


@pytest.mark.parametrize(
    ("word", "fragments"),
    [
        ("model=enett", ["model=enett", "did you mean 'enet'"]),
        ("modle=enet", ["modle", "unknown key"]),
        ("image_size=[16,16]", ["image_size.0=16", "greater than or equal to 32"]),
        ("num_classes=0", ["num_classes=0", "greater than or equal to 1"]),
        ("format=csv", ["format=csv", "'table' or 'markdown'"]),
    ],
)
def test_mistakes(word: str, fragments: list[str]) -> None:
    done = benchmark(word)
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) <= 2
    assert all(fragment in done.stderr for fragment in fragments), done.stderr
