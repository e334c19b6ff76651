"""How long training waits for a checkpoint of 20 million parameters with AdamW's state.

python -m benchmarks.checkpoint_writing
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import nn

from benchmarks.timing import interleaved, milliseconds, seconds
from engine.checkpoint import save_checkpoint
from engine.checkpoint_writer import CheckpointWriter
from utils.memory import keep_freed_memory
from utils.tables import table
from utils.text import plural

CHANNELS, LAYERS, ROUNDS = 256, 34, 9


def state() -> dict[str, Any]:
    """Return weights and the optimiser's two averages of each, about 240 MB."""
    model = nn.Sequential(*(nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1) for _ in range(LAYERS)))
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    model(torch.randn(1, CHANNELS, 4, 4)).sum().backward()
    optimizer.step()
    return {"model": model.state_dict(), "optimizer": optimizer.state_dict()}


def main() -> None:
    keep_freed_memory()  # as the Trainer does
    checkpoint = state()
    with tempfile.TemporaryDirectory() as folder, CheckpointWriter() as writer:
        path = Path(folder, "last.pt")

        def in_the_background() -> None:
            writer.save(path, checkpoint)

        reservation = seconds(lambda: writer.reserve(path, checkpoint))
        writer.wait()
        waits = []
        for _ in range(ROUNDS):
            waits.append(seconds(in_the_background))
            writer.wait()
        whole = interleaved({"": lambda: save_checkpoint(path, checkpoint)}, ROUNDS)[""]
        size = path.stat().st_size
    blocked = sorted(waits)[ROUNDS // 2]
    parameters = sum(value.numel() for value in checkpoint["model"].values())
    rows = [
        [f"{parameters / 1e6:.1f} M parameters, {size / 1e6:.0f} MB", "time that training waits"],
        ["synchronous", milliseconds(whole)],
        ["CheckpointWriter's reservation, once", milliseconds(reservation)],
        ["CheckpointWriter", f"{milliseconds(blocked)} (at most {milliseconds(max(waits))})"],
        ["CheckpointWriter / synchronous", f"{blocked / whole:.3f}"],
    ]
    print(table(rows, f"a checkpoint, {plural(torch.get_num_threads(), 'thread')}"))


if __name__ == "__main__":
    main()
