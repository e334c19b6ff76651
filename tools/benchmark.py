"""How large networks are.

python -m tools.benchmark model=[enet,espnet_s0] image_size=[512,512]
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import yaml
from omegaconf import DictConfig

from utils.config import build
from utils.groups import option, options
from utils.launch import launch


class Row(NamedTuple):
    """What is known of a network; MACs are multiply-adds of one forward pass for one image."""

    name: str
    parameters: int
    macs: float
    source: str
    published: str


def measure(file: Path, num_classes: int, image_size: tuple[int, int]) -> Row:
    """Builds the network of a file of `conf/model/`, without memory for its weights, and counts."""
    import torch

    from engine.size import multiply_adds

    text = file.read_text()
    remarks = [line.removeprefix("#").strip() for line in text.splitlines() if line.startswith("#")]
    published = [line.removeprefix("Published: ") for line in remarks if line.startswith("Published: ")]
    node = yaml.safe_load(text)
    if "freeze_encoder" in node:
        node["freeze_encoder"] = False  # whether it is trained changes no size
    with torch.device("meta"):
        model = build(node, f"model {file.stem}", num_classes=num_classes).eval()
    parameters = sum(p.numel() for p in model.parameters())
    return Row(file.stem, parameters, multiply_adds(model, image_size), "".join(remarks[:1]), "; ".join(published))


def as_markdown(rows: list[Row], image_size: tuple[int, int]) -> str:
    """A table for a page, with sources and published results."""
    lines = [
        f"| `model=` | parameters | MACs at {image_size[0]}x{image_size[1]} | source | published |",
        "|---|--:|--:|---|---|",
    ]
    lines += [
        f"| `{row.name}` | {row.parameters / 1e6:.2f} M | {row.macs / 1e9:.2f} G | {row.source} | {row.published} |"
        for row in rows
    ]
    return "\n".join(lines)


def benchmark(cfg: DictConfig) -> None:
    """Prints a row for each network."""
    wanted = cfg.models or options("model")
    names = [wanted] if isinstance(wanted, str) else list(wanted)
    files = [option("model", name) for name in names]

    from utils.tables import table  # with torch, slow to import, so only here

    size = (cfg.image_size[0], cfg.image_size[1])
    rows = [measure(file, cfg.num_classes, size) for file in files]
    if cfg.format == "markdown":
        print(as_markdown(rows, size))
    else:
        cells = [[row.name, f"{row.parameters:,}", f"{row.macs / 1e9:.2f} G"] for row in rows]
        print(table([["model", "parameters", f"MACs at {size[0]}x{size[1]}"], *cells]))


if __name__ == "__main__":
    launch(benchmark, "benchmark")
