"""The table of networks by memory layout and precision."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from benchmarks import networks
from benchmarks.calls import random_batch
from tests.printed import rows_of_table


def test_a_row() -> None:
    """Ratios are to the first column; 4 images in 0.2 s are 20 per second."""
    times = {"contiguous": 0.4, "channels_last": 0.2, "channels_last, bf16": 0.5}
    row = networks.row_of("enet", 1_234_000_000, times, images=4)
    assert row == ["enet", "1.23", "400 ms", "200 ms (0.50)", "500 ms (1.25)", "20.0"]


class Watched(nn.Conv2d):
    """A network of 1x1 convolutions that notes how it is called."""

    def __init__(self, seen: list[tuple[bool, bool, torch.dtype]]) -> None:
        super().__init__(3, networks.CLASSES, 1)
        self.seen = seen

    def forward(self, images: Tensor) -> Tensor:
        logits = super().forward(images)
        is_channels_last = images.is_contiguous(memory_format=torch.channels_last)
        self.seen.append((self.training, is_channels_last, logits.dtype))
        return logits


@pytest.mark.parametrize(
    ("work", "expected"),
    [
        ("inference", {"contiguous": (False, False, torch.float32), "channels_last": (False, True, torch.float32)}),
        (
            "training",
            {
                "contiguous": (True, False, torch.float32),
                "channels_last": (True, True, torch.float32),
                "channels_last, bf16": (True, True, torch.bfloat16),
            },
        ),
    ],
)
def test_layouts_and_precisions(work: str, expected: dict[str, tuple[bool, bool, torch.dtype]]) -> None:
    seen: list[tuple[bool, bool, torch.dtype]] = []
    calls = (networks.training_calls if work == "training" else networks.inference_calls)(
        lambda: Watched(seen), *random_batch((2, 4, 4), networks.CLASSES)
    )
    found = {}
    for name, call in calls.items():
        call()
        (found[name],) = seen
        seen.clear()
    assert found == expected


@pytest.mark.parametrize(("work", "columns"), [("inference", 5), ("training", 6)])
def test_the_script(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], work: str, columns: int
) -> None:
    threads = torch.get_num_threads()
    for name in ("unet", "enet"):
        monkeypatch.setitem(networks.NETWORKS, name, lambda: nn.Conv2d(3, networks.CLASSES, 1))
    try:
        networks.main(["unet", "enet", "--work", work, "--size", "8", "8", "--rounds", "1"])
    finally:
        torch.set_num_threads(threads)
    printed = capsys.readouterr().out
    head, *rows = rows_of_table(printed)
    assert head[0] == work and len(head) == columns
    assert [(row[0], row[1], len(row)) for row in rows] == [("unet", "0.00", columns), ("enet", "0.00", columns)]


def test_a_network_that_does_not_exist(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        networks.main(["enett"])
    assert "enett: none of enet, fast_scnn" in capsys.readouterr().err
