"""Time and peak memory of a training step of EfficientDet-D4 with and without `model.checkpointing`.

python -m benchmarks.checkpointing
"""

from __future__ import annotations

import torch

from benchmarks.timing import in_new_process, seconds
from models.efficientdet_seg import EfficientDetSeg
from utils.memory import memory
from utils.tables import table
from utils.text import plural

SHAPE, CLASSES = (2, 3, 512, 512), 21


def step(checkpointing: bool) -> tuple[float, int]:
    """Return the seconds and extra peak bytes of a forward and backward pass. Call in a new process."""
    model = EfficientDetSeg(CLASSES, checkpointing=checkpointing).train()
    images, target = torch.randn(SHAPE), torch.randint(CLASSES, (SHAPE[0], *SHAPE[2:]))
    before = memory("VmRSS")
    elapsed = seconds(lambda: torch.nn.functional.cross_entropy(model(images), target).backward())
    return elapsed, memory("VmHWM") - before


def main() -> None:
    found = [in_new_process(step, checkpointing) for checkpointing in (False, True)]
    (time, peak), (other_time, other_peak) = found
    rows = [["model.checkpointing", "time of a step", "extra peak memory"]]
    rows += [[f, f"{t:.1f} s", f"{p / 2**20:.0f} MiB"] for f, (t, p) in zip(("false", "true"), found, strict=True)]
    rows += [["true / false", f"{other_time / time:.2f}", f"{other_peak / peak:.2f}"]]
    print(table(rows, f"EfficientDet-D4, {SHAPE}, {plural(torch.get_num_threads(), 'thread')}"))


if __name__ == "__main__":
    main()
