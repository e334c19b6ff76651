"""Training with a teacher: gradients against autograd, and what is kept and reported."""

from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from data.accumulation import Window
from data.loading import TrainingBatch
from engine.checkpoint import load_checkpoint
from engine.distillation import Distillation
from engine.normalization import IMAGENET
from engine.options import TrainerOptions
from engine.schedules import constant
from engine.training_step import Components, TrainingStep
from losses.combinations import cross_entropy
from losses.distillation import LogitDistillation
from tests.engine.small import Net, at_step, fit, interrupted, same_run
from tests.losses.test_weighted_sum import CLASSES, SIZE, Float64Net
from utils.interruption import Interrupted
from utils.run_folder import RunFolder


def teacher_of(network: type[nn.Module]) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(7)
        return network()


@pytest.mark.parametrize("sizes", [(4,), (2, 2), (1, 3)])
def test_the_gradient_of_a_window(sizes: tuple[int, ...]) -> None:
    """Micro-batches give what one large batch gives in float64, with the teacher's probabilities written out."""
    model, teacher = Float64Net(), teacher_of(Float64Net)
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (4, 3, *SIZE), generator=generator).byte()
    masks = torch.randint(CLASSES, (4, *SIZE), generator=generator).byte()
    masks[0] = 255
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    distillation = Distillation(teacher, LogitDistillation(2.0), weight=0.7)
    components = Components(model, cross_entropy(), optimizer, constant(optimizer, 5, 5), distillation)
    step = TrainingStep(components, TrainerOptions(epochs=1, channels_last=False), torch.device("cpu"))
    found: list[torch.Tensor] = []

    def note(*_: object) -> None:
        found.extend(p.grad.clone() for p in model.parameters() if p.grad is not None)

    optimizer.register_step_pre_hook(note)
    names = [f"sample {i}" for i in range(4)]
    parts = zip(images.split(sizes), masks.split(sizes), strict=True)
    batches = [TrainingBatch(image, mask, names[: len(image)]) for image, mask in parts]
    step(Window(batches, counted=len(batches), batches_done=len(batches), images_done=4), 1)

    normalised = IMAGENET(images, channels_last=False)
    logits, wanted = model(normalised), (teacher(normalised) / 2).softmax(1).detach()
    own = F.cross_entropy(logits, masks.long(), ignore_index=255)
    divergence = (wanted * (wanted.log() - (logits / 2).log_softmax(1))).sum(1).mean() * 4
    expected = torch.autograd.grad(own + 0.7 * divergence, list(model.parameters()))
    torch.testing.assert_close(found, list(expected), rtol=1e-4, atol=1e-8)
    losses = step.running.read()
    assert losses["loss"] == losses["cross_entropy"] == pytest.approx(own.item(), rel=1e-5)
    assert losses["distillation"] == pytest.approx(divergence.item(), rel=1e-5)


def test_the_teacher_does_not_change_and_is_not_kept(tmp_path: Path) -> None:
    teacher = teacher_of(Net)
    before = {name: tensor.clone() for name, tensor in teacher.state_dict().items()}
    fit(tmp_path, distillation=Distillation(teacher, LogitDistillation(), 1.0))
    assert all(torch.equal(tensor, before[name]) for name, tensor in teacher.state_dict().items())
    assert not teacher.training and not any(p.requires_grad for p in teacher.parameters())
    assert load_checkpoint(tmp_path / "checkpoints" / "last.pt")["model"].keys() == before.keys()
    rows = RunFolder(tmp_path).read_rows()
    assert all(row["train/distillation"] > 0 for row in rows) and "val/distillation" not in rows[0]


def test_a_run_that_is_resumed_has_the_same_bits(tmp_path: Path) -> None:
    def distillation() -> Distillation:
        return Distillation(teacher_of(Net), LogitDistillation(), 1.0)

    fit(tmp_path / "whole", distillation=distillation())
    with pytest.raises(Interrupted):  # within the second epoch
        fit(tmp_path / "stopped", network=at_step(8, interrupted), distillation=distillation())
    fit(tmp_path / "stopped", resume=True, distillation=distillation())
    assert same_run(tmp_path / "whole", tmp_path / "stopped")
