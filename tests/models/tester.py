"""The tests that every architecture passes; a model's own test file inherits them and states a few facts."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from sklearn.metrics import jaccard_score
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from data.labels import IGNORE_INDEX
from data.synthetic import LABELS, Synthetic
from engine.normalization import IMAGENET
from tests.conftest import ROOT

SIZES = [(512, 512), (360, 480), (97, 131), (64, 64), (32, 32)]


def build(name: str, num_classes: int = 19, **options: Any) -> nn.Module:
    """The model of `conf/model/<name>.yaml`, with the same weights each time."""
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        cfg = compose("train", [f"model={name}"])
    torch.manual_seed(0)
    return instantiate(cfg.model, num_classes=num_classes, _convert_="all", **options)


def noise(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def main_logits(output: Tensor | tuple[Tensor, ...]) -> Tensor:
    """In training mode a model may return auxiliary logits after the main ones."""
    return output[0] if isinstance(output, tuple) else output


def macs(model: nn.Module, size: tuple[int, int]) -> float:
    """Multiply-adds of a forward pass for one picture."""
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        model.eval()(noise(1, 3, *size))
    return counter.get_total_flops() / 2


class ModelTester:
    """
    Attributes:
        name: of the YAML in `conf/model/`.
        parameters: least and most of them at `num_classes` classes.
        num_classes: that `parameters` and `macs` are for.
        macs: published multiply-adds of a forward pass by size (height, width).
        without_dropout: options that switch dropout and the like off, for memorising pictures.
        memorising_steps: of Adam, until the network knows four pictures by heart.
    """

    name: str
    parameters: tuple[int, int]
    num_classes = 19
    macs: dict[tuple[int, int], float] = {}
    without_dropout: dict[str, Any] = {}
    memorising_steps = 200

    def build(self) -> nn.Module:
        return build(self.name, self.num_classes)

    @pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
    def test_logits_have_the_size_of_the_images(self, size: tuple[int, int]) -> None:
        model = self.build()
        for training in (False, True):
            with torch.no_grad():
                logits = main_logits(model.train(training)(noise(1, 3, *size)))
            assert logits.shape == (1, self.num_classes, *size)
            assert logits.dtype == torch.float32
            assert logits.isfinite().all()

    def test_eval_gives_a_tensor_and_each_picture_its_own_result(self) -> None:
        """In eval mode a picture's logits do not depend on the pictures beside it."""
        model, images = self.build().eval(), noise(3, 3, 64, 96)
        with torch.inference_mode():
            together, alone = model(images), torch.cat([model(image) for image in images.split(1)])
        assert isinstance(together, Tensor)
        torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-4 * together.abs().max().item())

    @pytest.mark.parametrize("batch", [1, 2])
    def test_every_parameter_gets_a_gradient(self, batch: int) -> None:
        """Also with a batch of one, and a size that leaves deep maps a few pixels."""
        model = self.build().train()
        output = model(noise(batch, 3, 64, 64))
        outputs = output if isinstance(output, tuple) else (output,)
        torch.stack([(logits * noise(*logits.shape)).sum() for logits in outputs]).sum().backward()
        for name, parameter in model.named_parameters():
            if parameter.requires_grad:
                assert parameter.grad is not None, name
                assert parameter.grad.isfinite().all(), name
                assert (parameter.grad != 0).any(), name

    def test_smallest_batch_trains(self) -> None:
        """One picture of 32x32: batch norm over a single value would raise."""
        model = self.build().train()
        main_logits(model(noise(1, 3, 32, 32))).sum().backward()
        assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)

    def test_number_of_parameters(self) -> None:
        least, most = self.parameters
        assert least <= sum(p.numel() for p in self.build().parameters()) <= most

    def test_multiply_adds(self) -> None:
        for size, expected in self.macs.items():
            assert macs(self.build(), size) == pytest.approx(expected, rel=0.15)

    def test_bf16_autocast(self) -> None:
        model, images = self.build().eval(), noise(1, 3, 64, 64)
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
            logits = model(images)
        assert logits.shape == (1, self.num_classes, 64, 64)
        assert logits.isfinite().all()

    def test_channels_last_gives_the_same(self) -> None:
        model, images = self.build().eval(), noise(2, 3, 97, 131)
        with torch.inference_mode():
            expected = model(images)
            layout = torch.channels_last
            found = model.to(memory_format=layout)(images.contiguous(memory_format=layout))
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-4 * expected.abs().max().item())

    def test_state_dict_round_trip(self) -> None:
        """Through a file, into a model that began with other weights and statistics."""
        model, images = self.build(), noise(2, 3, 64, 64)
        model.train()(images)  # moves the running statistics
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
        model, images = self.build().eval(), noise(1, 3, 64, 96)
        with torch.no_grad():
            expected = model(images)
            traced = torch.jit.trace(model, images)
            torch.testing.assert_close(traced(images), expected, rtol=1e-4, atol=1e-5)

    def test_memorises_four_pictures(self) -> None:
        """A network that is wired up wrongly does not get there. Rare classes weigh more, so that it is quick."""
        scenes = Synthetic(size=(64, 64), split="train", train_length=4)
        samples = [scenes[i] for i in range(len(scenes))]
        target = torch.from_numpy(np.stack([s.mask for s in samples])).long()
        images = IMAGENET(torch.from_numpy(np.stack([s.image for s in samples])).movedim(-1, 1), channels_last=True)
        valid = target != IGNORE_INDEX
        weights = valid.sum() / target[valid].bincount(minlength=len(LABELS)).clamp(min=1)

        model = build(self.name, len(LABELS), **self.without_dropout).train().to(memory_format=torch.channels_last)
        optimizer = torch.optim.Adam(model.parameters())
        scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.01, total_steps=self.memorising_steps)
        for _ in range(self.memorising_steps):
            optimizer.zero_grad()
            F.cross_entropy(main_logits(model(images)), target, weights, ignore_index=IGNORE_INDEX).backward()
            optimizer.step()
            scheduler.step()
        with torch.inference_mode():
            prediction = model.eval()(images).argmax(1)
        assert jaccard_score(target[valid], prediction[valid], average="macro") > 0.9
