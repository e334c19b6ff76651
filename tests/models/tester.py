"""Tests that every architecture passes; the test file of a model inherits them and states a few facts."""

from __future__ import annotations

import copy
import functools
import io
import math
import shutil
import warnings
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from omegaconf import DictConfig
from sklearn.metrics import jaccard_score
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from data.synthetic import LABELS, Synthetic
from engine.normalization import IMAGENET
from models.encoders import EfficientNetEncoder, Encoder
from models.weights import load_pretrained
from tests.conftest import ROOT

AnyEncoder = TypeVar("AnyEncoder", bound=Encoder)
AnyModule = TypeVar("AnyModule", bound=nn.Module)

SIZES = [(256, 256), (180, 240)]
SMALL_SIZES = [(97, 131), (33, 45), (32, 32)]


def build(name: str, num_classes: int = 19, **options: Any) -> Any:
    """Build the model of `conf/model/<name>.yaml`, with the same weights each time."""
    torch.manual_seed(0)
    return instantiate(node_of(name), num_classes=num_classes, _convert_="all", **options)


@functools.cache
def node_of(name: str) -> DictConfig:
    """Compose the config of a model."""
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        return compose(f"model/{name}").model


def loaded(encoder: AnyEncoder, weights: str) -> AnyEncoder:
    """Load weights into the encoder and return it."""
    encoder.load_weights(weights)
    return encoder


def pretrained(model: AnyModule, **options: Any) -> AnyModule:
    """Apply `load_pretrained` to the network and return it."""
    load_pretrained(model, **options)
    return model


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def outputs(found: Tensor | tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Return the logits as a tuple: in training mode auxiliary ones may follow the main ones."""
    return found if isinstance(found, tuple) else (found,)


def without_chance(model: nn.Module) -> nn.Module:
    """Switch off dropout and stochastic depth."""
    for module in model.modules():
        if isinstance(module, nn.Dropout | nn.Dropout2d):
            module.p = 0.0
        if isinstance(module, EfficientNetEncoder):
            module.drop_rates = [0.0] * len(module.drop_rates)
    return model


def settled(model: Any, passes: int = 3) -> Any:
    """Put a network in eval mode after passes in training mode: without them its logits hardly differ."""
    norms = [(m, m.momentum) for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    for norm, _ in norms:
        norm.momentum = 0.1
    model.train()
    with torch.no_grad():
        for seed in range(passes):
            model(noise(2, 3, 96, 96, seed=seed))
    for norm, momentum in norms:
        norm.momentum = momentum
    return model.eval()


@functools.lru_cache(maxsize=1)  # the tests of a class follow each other
def _settled(tester: type[ModelTester]) -> Any:
    return settled(tester().build())


SLOW = frozenset(
    {
        "test_compiled_gives_the_same",
        "test_one_graph_holds_the_whole_network",
        "test_onnx_gives_the_same",
        "test_memorises_four_pictures",
        "test_traced_gives_the_same",
    }
)
"""Long tests, which run for one model per family."""

SLOW_FOR_VARIANTS = SLOW | {
    "test_logits_have_the_size_of_the_images",
    "test_logits_are_numbers_of_that_size",
    "test_training_starts_from_nearly_equal_probabilities",
    "test_eval_gives_a_tensor_and_each_picture_its_own_result",
    "test_every_parameter_gets_a_gradient",
    "test_smallest_batch_trains",
    "test_bf16_autocast",
    "test_channels_last_gives_the_same",
    "test_state_dict_round_trip",
    "test_images_that_do_not_fit",
    "test_too_few_classes",
}
"""Tests that add nothing for a network that differs from another only in sizes."""


class ModelTester:
    """
    Attributes:
        name: of the YAML in `conf/model/`.
        parameters: least and most of them at `num_classes` classes, where a figure is published.
        num_classes: that `parameters` and `macs` are for.
        macs: published multiply-adds of a forward pass by size (height, width).
        memorising_scale: factor by which the four pictures to memorise are enlarged, from 64x64, or to 256x256 if that
            is smaller; networks whose logits are coarser than the image cannot follow single pixels.
        memorising_steps: maximum number of optimizer steps.
        slow: names of the tests that only `make test-all` runs for this model.
    """

    name: str
    parameters: tuple[int, int] | None = None
    num_classes = 19
    macs: dict[tuple[int, int], float] = {}
    memorising_scale = 1
    memorising_steps = 200
    slow = SLOW

    def build(self) -> Any:
        return build(self.name, self.num_classes)

    def settled(self) -> Any:
        """Return a network in eval mode after passes in training mode."""
        return copy.deepcopy(_settled(type(self)))  # type: ignore[arg-type] # classes are hashable

    def test_training_starts_from_nearly_equal_probabilities(self) -> None:
        model, target = self.build().train(), torch.randint(self.num_classes, (2, 64, 96))
        with torch.no_grad():
            (logits, *_) = outputs(model(noise(2, 3, 64, 96)))
        assert F.cross_entropy(logits, target) < math.log(self.num_classes) + 0.6

    def test_logits_have_the_size_of_the_images(self) -> None:
        """On a device without numbers, so that large images cost nothing."""
        with torch.device("meta"):
            model = self.build()
        for size in SIZES:
            for training in (False, True):
                for logits in outputs(model.train(training)(torch.empty(1, 3, *size, device="meta"))):
                    assert logits.shape == (1, self.num_classes, *size)
                    assert logits.dtype == torch.float32

    def test_logits_are_numbers_of_that_size(self) -> None:
        model = self.build()
        for size in SMALL_SIZES:
            for training in (False, True):
                with torch.no_grad():
                    found = outputs(model.train(training)(noise(1, 3, *size)))
                assert all(x.shape == (1, self.num_classes, *size) and x.isfinite().all() for x in found)

    def test_eval_gives_a_tensor_and_each_picture_its_own_result(self) -> None:
        """In eval mode a picture's logits do not depend on the pictures beside it."""
        model, images = self.settled(), noise(3, 3, 64, 96)
        with torch.inference_mode():
            together, alone = model(images), torch.cat([model(image) for image in images.split(1)])
        assert isinstance(together, Tensor)
        torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-4 * together.abs().max().item())

    @pytest.mark.parametrize("batch", [1, 2])
    def test_every_parameter_gets_a_gradient(self, batch: int) -> None:
        """Also with a batch of one, and a size that leaves deep maps a few pixels."""
        model = without_chance(self.build()).train()
        found = outputs(model(noise(batch, 3, 64, 64)))
        torch.stack([(logits * noise(*logits.shape)).sum() for logits in found]).sum().backward()
        for name, parameter in model.named_parameters():
            if parameter.requires_grad:
                assert parameter.grad is not None, name
                assert parameter.grad.isfinite().all(), name
                assert (parameter.grad != 0).any(), name

    def test_smallest_batch_trains(self) -> None:
        """One picture of 32x32: batch norm over a single value would raise."""
        model = self.build().train()
        outputs(model(noise(1, 3, 32, 32)))[0].sum().backward()
        assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)

    def test_number_of_parameters(self) -> None:
        if self.parameters is None:
            pytest.skip("no published figure")
        least, most = self.parameters
        with torch.device("meta"):
            assert least <= sum(p.numel() for p in self.build().parameters()) <= most

    def test_multiply_adds(self) -> None:
        if not self.macs:
            pytest.skip("no published figure")
        with torch.device("meta"):
            model = self.build().eval()
        for size, expected in self.macs.items():
            with FlopCounterMode(display=False) as counter, torch.no_grad():
                model(torch.empty(1, 3, *size, device="meta"))
            assert counter.get_total_flops() / 2 == pytest.approx(expected, rel=0.05)

    def test_bf16_autocast(self) -> None:
        model, images = self.settled(), noise(1, 3, 64, 64)
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
            logits = model(images)
        assert logits.shape == (1, self.num_classes, 64, 64)
        assert logits.isfinite().all()

    def test_channels_last_gives_the_same(self) -> None:
        model, images = self.settled(), noise(2, 3, 97, 131)
        with torch.inference_mode():
            expected = model(images)
            layout = torch.channels_last
            found = model.to(memory_format=layout)(images.contiguous(memory_format=layout))
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-4 * expected.abs().max().item())

    def test_state_dict_round_trip(self) -> None:
        """Through a file, into a model that began with other weights and statistics."""
        model, images = self.settled(), noise(2, 3, 64, 64)
        file = io.BytesIO()
        torch.save(model.state_dict(), file)
        file.seek(0)
        other = self.build()
        for tensor in other.state_dict().values():
            tensor.fill_(1)
        other.load_state_dict(torch.load(file, weights_only=True))
        with torch.inference_mode():
            assert torch.equal(other.eval()(images), model.eval()(images))

    @pytest.mark.filterwarnings("ignore:.*torch.jit.trace.* is deprecated", "ignore::torch.jit.TracerWarning")
    def test_traced_gives_the_same(self) -> None:
        model, images = self.settled(), noise(1, 3, 64, 96)
        with torch.no_grad():
            expected = model(images)
            traced = torch.jit.trace(model, images)
            torch.testing.assert_close(traced(images), expected, rtol=1e-4, atol=1e-5)

    @pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler on a CPU")
    def test_compiled_gives_the_same(self) -> None:
        model, images = self.settled(), noise(2, 3, 64, 96)
        with torch.no_grad():
            expected = model(images)
            torch._dynamo.reset()
            found = torch.compile(model)(images)
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-4 * expected.abs().max().item())

    def test_one_graph_holds_the_whole_network(self) -> None:
        """What compilers begin with: no piece of Python is left between the operations."""
        model, images = self.settled(), noise(1, 3, 64, 96)
        with torch.no_grad():
            expected = model(images)
            torch._dynamo.reset()
            found = torch.compile(model, fullgraph=True, backend="aot_eager")(images)
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-4 * expected.abs().max().item())

    def test_onnx_gives_the_same(self, tmp_path: Path) -> None:
        """In ONNX Runtime, after 30 passes in training mode."""
        import onnxruntime

        model, images = settled(self.build(), passes=30), noise(1, 3, 97, 131)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = torch.onnx.export(model, (images,), dynamo=True, verbose=False)
        assert program is not None
        program.save(tmp_path / "model.onnx")
        session = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
        (found,) = session.run(None, {session.get_inputs()[0].name: images.numpy()})
        with torch.inference_mode():
            expected = model(images).numpy()
        assert np.abs(found - expected).max() < 1e-4 * expected.std()
        assert (found.argmax(1) == expected.argmax(1)).mean() > 0.9999

    def test_memorises_four_pictures(self) -> None:
        """A network that is wired up wrongly does not get there. Rare classes weigh more, so that it is quick."""
        side = min(64, 256 // self.memorising_scale)
        scenes = Synthetic(size=(side, side), split="train", train_length=4)
        samples = [scenes[i] for i in range(len(scenes))]
        scale, steps = self.memorising_scale, self.memorising_steps
        target = torch.from_numpy(np.stack([s.mask for s in samples])).long()
        target = target.repeat_interleave(scale, 1).repeat_interleave(scale, 2)
        images = IMAGENET(torch.from_numpy(np.stack([s.image for s in samples])).movedim(-1, 1), channels_last=True)
        images = F.interpolate(images, scale_factor=scale)
        weights = target.numel() / target.flatten().bincount(minlength=len(LABELS)).clamp(min=1)

        model = without_chance(build(self.name, len(LABELS))).train().to(memory_format=torch.channels_last)
        optimizer = torch.optim.Adam(model.parameters())
        scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.005, total_steps=steps)
        miou = 0.0
        for step in range(1, steps + 1):
            optimizer.zero_grad()
            logits = outputs(model(images))[0]  # batch norms as in training: running statistics take longer to settle
            if step % 5 == 0 or step == steps:  # measuring takes as long as half a step
                miou = jaccard_score(target.flatten(), logits.argmax(1).flatten(), average="macro")
            if miou > 0.9:
                break
            F.cross_entropy(logits, target, weights).backward()
            optimizer.step()
            scheduler.step()
        assert miou > 0.9

    def test_images_that_do_not_fit(self) -> None:
        with torch.device("meta"):
            model = self.build()
        for shape, message in (
            ((1, 1, 64, 64), r"1 channel: expected 3 \(RGB\)"),
            ((1, 4, 64, 64), r"4 channels: expected 3 \(RGB\)"),
            ((3, 64, 64), r"expected \(N, 3, H, W\)"),
            ((1, 3, 31, 64), "31x64: must be at least 32x32"),
            ((1, 3, 64, 16), "64x16: must be at least 32x32"),
        ):
            with pytest.raises(ValueError, match=message):
                model(torch.empty(shape, device="meta"))

    def test_too_few_classes(self) -> None:
        for num_classes in (0, -1):
            with torch.device("meta"), pytest.raises(Exception, match=f"num_classes={num_classes}"):
                build(self.name, num_classes)
