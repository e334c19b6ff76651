"""Latency of networks by backend: eager PyTorch, torch.compile and ONNX Runtime, 1 image of 512x512, float32, CPU.

python -m benchmarks.backends
"""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from benchmarks.timing import interleaved, milliseconds
from data.synthetic import Synthetic
from engine.normalization import IMAGENET
from export.exported import as_bytes
from export.facts import Facts
from export.onnx_model import OnnxModel
from models.efficientdet_seg import EfficientDetSeg
from models.enet import ENet
from models.espnet import ESPNet
from utils.memory import keep_freed_memory
from utils.tables import table
from utils.text import plural

SIZE, ROUNDS = (512, 512), 9
LABELS = Synthetic.labels
Forward = Callable[[Tensor], Tensor]
NETWORKS = {
    "ENet": lambda: ENet(len(LABELS)),
    "ESPNet S0": lambda: ESPNet(len(LABELS)),
    "EfficientDet-D0-seg": lambda: EfficientDetSeg(len(LABELS), compound=0),
}


def scene(index: int) -> Tensor:
    """Return a generated scene, normalised float32 (1, 3, *SIZE)."""
    image = Synthetic(SIZE, "val")[index].image
    return IMAGENET(torch.from_numpy(image).permute(2, 0, 1)[None]).contiguous()


def settled(model: nn.Module) -> nn.Module:
    """Return the network in eval mode, with the batch-norm statistics of a few scenes.

    With the initial statistics, activations fade to denormal numbers, which are slow to compute with.
    """
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 0.3
    model.train()
    with torch.no_grad():
        for index in range(8):
            model(scene(index))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    return model.eval()


def in_onnx(model: nn.Module) -> OnnxModel:
    """Return the network as tools.export writes it."""
    facts = Facts(LABELS, IMAGENET, SIZE, True, False, "", type(model).__name__, "", "{}")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.onnx")
        path.write_bytes(as_bytes("onnx", model, facts))
        return OnnxModel(path)


def by_backend(eager: nn.Module) -> dict[str, Forward]:
    """Return the same network for each backend; `torch.compile` compiles it in the first call."""
    return {"eager": eager, "compiled": torch.compile(eager), "onnx": in_onnx(eager)}


@torch.inference_mode()
def row_of(name: str, rivals: dict[str, Forward], images: Tensor) -> list[str]:
    """Return the row of a network."""
    calls = {key: functools.partial(model, images) for key, model in rivals.items()}
    times = interleaved(calls, ROUNDS)
    masks = {key: call().argmax(1) for key, call in calls.items()}
    ratios = [f"{times['eager'] / times[key]:.2f}" for key in ("compiled", "onnx")]
    equal = min((masks[key] == masks["eager"]).float().mean().item() for key in ("compiled", "onnx"))
    return [name, *(milliseconds(time) for time in times.values()), *ratios, f"{equal:.3%}"]


def main() -> None:
    torch.manual_seed(0)
    head = ["", "eager", "compiled", "ONNX Runtime", "eager / compiled", "eager / ONNX Runtime", "equal pixels"]
    networks = {name: by_backend(settled(build())) for name, build in NETWORKS.items()}
    images = scene(20)
    title = f"1 x {SIZE[0]}x{SIZE[1]}, {plural(torch.get_num_threads(), 'thread')}, default memory allocation"
    print(table([head, *(row_of(*network, images) for network in networks.items())], title))
    keep_freed_memory()
    title = "with keep_freed_memory, as in infer.py and the Trainer"
    print(table([head, *(row_of(*network, images) for network in networks.items())], title))


if __name__ == "__main__":
    main()
