"""Export networks to files that run without this program: ONNX, `torch.export`, TorchScript."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.fx.experimental._config
from torch import Tensor, nn

from engine.normalization import Normalization
from export.facts import Facts
from export.onnx_model import OnnxModel
from utils.value_types import ExportFormat

EXAMPLE = (2, 97, 131)
"""Batch size, height and width to trace dynamic graphs with; exporters treat none of them as a special case."""


class WithPreprocessing(nn.Module):
    """A network that takes the bytes of photos and also returns class ids."""

    def __init__(self, model: nn.Module, normalization: Normalization) -> None:
        super().__init__()
        self.model = model
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", 255 * torch.tensor(normalization.mean).view(1, -1, 1, 1))
        self.register_buffer("std", 255 * torch.tensor(normalization.std).view(1, -1, 1, 1))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return class ids uint8 (N, H, W) and logits (N, C, H, W) of images uint8 (N, H, W, channels)."""
        # Without an explicit layout, exporters treat batches of one as a special case.
        floats = images.permute(0, 3, 1, 2).to(torch.float32, memory_format=torch.contiguous_format)
        logits = self.model((floats - self.mean) / self.std)
        return logits.argmax(1).to(torch.uint8), logits


@torch.no_grad()
def as_bytes(kind: ExportFormat, model: nn.Module, facts: Facts) -> bytes:
    """Export a network that is on the CPU, in eval mode; return the content of the file, with the facts in it.

    Raises:
        Errors of torch.export and the ONNX exporter, if they cannot trace the network.
    """
    graph = WithPreprocessing(model, facts.normalization).eval() if facts.preprocessing else model
    batch, height, width = EXAMPLE if facts.dynamic else (1, *facts.image_size)
    channels = len(facts.normalization.mean)
    shape = (batch, height, width, channels) if facts.preprocessing else (batch, channels, height, width)
    images = torch.zeros(shape, dtype=torch.uint8 if facts.preprocessing else torch.float32)
    free = torch.export.Dim.DYNAMIC
    axes = {0: free, 1: free, 2: free} if facts.preprocessing else {0: free, 2: free, 3: free}
    dynamic_shapes = (axes,) if facts.dynamic else None
    texts = facts.to_texts()
    file = io.BytesIO()
    if kind == "onnx":
        outputs = ["ids", "logits"] if facts.preprocessing else ["logits"]
        return with_texts(to_onnx(graph, images, outputs, dynamic_shapes), texts)
    with quiet(), _any_size(facts.dynamic):
        if kind == "torch_export":
            exported = torch.export.export(graph, (images,), dynamic_shapes=dynamic_shapes, strict=False)
            torch.export.save(exported, file, extra_files={"facts.json": json.dumps(texts)})
        else:
            torch.jit.save(torch.jit.trace(graph, images), file, _extra_files={"facts.json": json.dumps(texts)})
    return file.getvalue()


@torch.no_grad()
def to_onnx(
    model: nn.Module, images: Tensor, outputs: Sequence[str], dynamic_shapes: tuple[dict[int, Any]] | None = None
) -> Any:
    """Export a network to an onnx.ModelProto with the input `images`, of exactly this shape unless `dynamic_shapes`
    frees some axes."""
    with quiet(), _any_size(dynamic_shapes is not None):
        program = torch.onnx.export(
            model,
            (images,),
            dynamo=True,
            verbose=False,
            input_names=["images"],
            output_names=list(outputs),
            dynamic_shapes=dynamic_shapes,
        )
    assert program is not None
    return program.model_proto


def load(kind: ExportFormat, path: Path, facts: Facts) -> Callable[[Tensor], Tensor]:
    """Load an exported file as a function from images (N, channels, H, W), from 0 to 255, to logits."""
    if kind == "onnx":
        network = OnnxModel(path)
        return lambda images: network(network.normalization(images))
    with path.open("rb") as file, quiet():
        program = torch.jit.load(file) if kind == "torchscript" else torch.export.load(file).module()

    @torch.inference_mode()
    def run(images: Tensor) -> Tensor:
        given = images.permute(0, 2, 3, 1).contiguous() if facts.preprocessing else facts.normalization(images)
        found = [program(part) for part in ([given] if facts.dynamic else given.split(1))]
        return torch.cat([logits[1] if facts.preprocessing else logits for logits in found])

    return run


def with_texts(proto: Any, texts: dict[str, str]) -> bytes:
    """Serialise an ONNX model with these texts as its metadata. That of the exporter is removed, since it holds paths
    of this machine."""
    for node in (*proto.graph.node, *(node for function in proto.functions for node in function.node)):
        del node.metadata_props[:]
        node.ClearField("doc_string")
    for value in (*proto.graph.input, *proto.graph.output, *proto.graph.value_info, *proto.graph.initializer):
        del value.metadata_props[:]
    del proto.graph.metadata_props[:]
    del proto.metadata_props[:]
    for key, value in texts.items():
        proto.metadata_props.add(key=key, value=value)
    return proto.SerializeToString()


def _any_size(dynamic: bool) -> contextlib.AbstractContextManager[Any]:
    """Keep the exporter from specialising on sizes of the example that happen to be equal or odd."""
    return torch.fx.experimental._config.patch(backed_size_oblivious=dynamic)  # type: ignore[attr-defined]


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silence exporters and quantisers, which warn about their own internals."""
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(logging.NOTSET)
