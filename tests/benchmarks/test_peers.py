"""The comparison with peers, without their clones."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from benchmarks import peers
from tests.printed import rows_of_table

CLONE = """
from torch import nn

def ENet(classes):
    return nn.Sequential(nn.Conv2d(3, 2000, 1), nn.Conv2d(2000, classes, 1))
"""

MODULES = """
from torch import nn

def conv1x1(*channels):
    return nn.Conv2d(*channels, 1)
"""

WITH_RELATIVE_IMPORT = """
from .modules import conv1x1

def ENet(num_class):
    return conv1x1(3, num_class)
"""


def rows(printed: str) -> dict[tuple[str, str], list[str]]:
    """(work, threads) -> the other cells."""
    return {(name, threads): others for name, threads, *others in rows_of_table(printed)[1:]}


@pytest.mark.parametrize("unet", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_rows_without_a_clone_are_skipped(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, unet: bool
) -> None:
    """The U-Nets have 30 million parameters; smaller ones stand for them."""
    if not unet:
        small = peers.Pair(*(torch.nn.Conv2d(3, peers.CLASSES, 1) for _ in range(2)))
        monkeypatch.setattr(peers, "unet", lambda: small)
    threads = torch.get_num_threads()
    peers.main(["--smoke", "--fast-scnn", str(tmp_path)])
    printed = capsys.readouterr().out
    assert (
        "ENet / PyTorch-ENet, step, 2x64x64: skipped: no clone given;"
        " git clone https://github.com/davidtvs/PyTorch-ENet and pass --enet=<path>\n"
    ) in printed
    assert f"inference, 2x64x64: skipped: there is no {tmp_path / 'models/fast_scnn.py'}; git clone" in printed
    found = rows(printed)
    names = ["U-Net / SMP, step, 2x64x64", "DeepLabV3+ B0 / SMP, step, 2x64x64", "CE + soft-IoU / SMP, 1x19x64x64"]
    assert list(found) == [(name, str(count)) for name in names for count in dict.fromkeys((1, threads))]
    for gmacs, *times, ratio in found.values():
        assert len(times) == 4 and all(float(time.removesuffix(" ms")) >= 0 for time in times)
        assert float(ratio) > 0 and gmacs.count("/") in (0, 1)
    assert torch.get_num_threads() == threads


def test_a_clone_is_compared(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """The networks of both are called in both layouts; the ratio is that of the faster ones."""
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "enet.py").write_text(CLONE)
    seconds = {"theirs": (0.25, 0.5), "ours": (0.4, 0.2)}
    times = {f"{who}, {key}": s for who, both in seconds.items() for key, s in zip(peers.LAYOUTS, both, strict=True)}

    def absent() -> peers.Pair:
        raise peers.Skipped("not wanted here")

    def interleaved(calls: dict, rounds: int, **options: object) -> dict[str, float]:
        assert list(calls) == list(times)
        for call in calls.values():
            call()
        return times

    monkeypatch.setattr(peers, "interleaved", interleaved)
    monkeypatch.setattr(peers, "unet", absent)
    monkeypatch.setattr(peers, "deeplabv3plus", absent)
    peers.main(["--smoke", "--only", "Net / ", "--threads", "1", "--enet", str(tmp_path)])
    printed = capsys.readouterr().out
    assert "U-Net / SMP, step, 2x64x64: skipped: not wanted here" in printed
    assert "CE + soft-IoU" not in printed
    for kind in ("step", "inference"):
        gmacs, *cells = rows(printed)[f"ENet / PyTorch-ENet, {kind}, 2x64x64", "1"]
        assert cells == ["250.0 ms", "500.0 ms", "400.0 ms", "200.0 ms", "0.80"]
        assert gmacs.startswith("0.18 / ")  # 64 * 64 * (3 * 2000 + 2000 * 19)


def test_a_second_enet_is_compared(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Its files import each other, and their package has the name of ours."""
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "__init__.py").write_text("raise ImportError('needs what is not installed')")
    (tmp_path / "models" / "modules.py").write_text(MODULES)
    (tmp_path / "models" / "enet.py").write_text(WITH_RELATIVE_IMPORT)
    monkeypatch.setattr(peers, "interleaved", lambda calls, rounds, **options: dict.fromkeys(calls, 1.0))
    peers.main(["--smoke", "--only", "ENet / zh320", "--threads", "1", "--enet-zh320", str(tmp_path)])
    found = rows(capsys.readouterr().out)
    assert list(found) == [(f"ENet / zh320, {kind}, 2x64x64", "1") for kind in ("step", "inference")]
    assert all(gmacs.startswith("0.00 / ") for gmacs, *_ in found.values())  # 64 * 64 * 3 * 19
