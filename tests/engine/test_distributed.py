"""Several real processes do what one does with as many micro-batches."""

import math
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist

from data.loading import ALONE, EpochBatches, Share, in_order
from engine.checkpoint import load_checkpoint
from engine.distributed import backends
from engine.normalization import IMAGENET
from engine.randomness import seed_everything
from tests.conftest import ROOT, start_command
from tests.engine.processes_job import (
    ACCUMULATION,
    BATCH_SIZE,
    TRAINING,
    VALIDATION,
    WEIGHTS,
    PartlyVoid,
    Precise,
    of_an_encoder_and_a_teacher,
    of_unequal_batches,
)
from utils.run_folder import RunFolder


def run_together(processes: int, train: Callable[..., dict], folder: Path) -> list[dict]:
    """Return what a function of processes_job.py returns in each of several processes, started as torchrun would.

    The run goes to `run/` in the folder.
    """
    (folder / "run").mkdir()
    store = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)  # of torchrun, where they meet
    count = str(processes)
    started = [
        start_command(
            *("-m", "tests.engine.processes_job", train.__name__, str(folder)),
            cwd=ROOT,
            TORCHELASTIC_RUN_ID="0",
            TORCHELASTIC_USE_AGENT_STORE="True",
            MASTER_ADDR=store.host,
            MASTER_PORT=str(store.port),
            WORLD_SIZE=count,
            LOCAL_WORLD_SIZE=count,
            RANK=str(rank),
            LOCAL_RANK=str(rank),
        )
        for rank in range(processes)
    ]
    for process in started:
        _, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors
    return [torch.load(folder / f"{rank}.pt") for rank in range(processes)]


@pytest.fixture(scope="module", params=[pytest.param(2, marks=pytest.mark.slow), 3])
def results(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict]]:
    folder = tmp_path_factory.mktemp(f"{request.param}_processes")
    return folder / "run", run_together(request.param, of_unequal_batches, folder)


def objective(model: Precise, indices: list[int], total_weight: float, batches: int) -> torch.Tensor:
    """The share of a micro-batch in the loss of its window, in plain words."""
    samples = [PartlyVoid(TRAINING)[index] for index in indices]
    images = torch.from_numpy(np.stack([s.image for s in samples])).movedim(-1, 1)
    target = torch.from_numpy(np.stack([s.mask for s in samples])).long()
    logits = model(IMAGENET(images, channels_last=False))
    if is_void(indices):  # though batch norm has seen it
        return 0 * logits.sum()
    weights = torch.tensor(WEIGHTS, dtype=torch.float64)
    p = logits.softmax(1).movedim(1, -1)[target != 255].T
    target = target[target != 255]
    cross_entropy = -(weights[target] * p.gather(0, target[None])[0].log()).sum()
    overlaps = []
    for c in range(2):
        own = (target == c).double()
        both = (p[c] * own).sum()
        overlaps.append(both / (p[c].sum() + own.sum() - both))
    soft_iou = 1 - torch.stack(overlaps).mean()
    return cross_entropy / total_weight + soft_iou / batches


def is_void(indices: list[int]) -> bool:
    return all(index in PartlyVoid.VOID for index in indices)


def test_gradients_are_those_of_as_many_micro_batches(results: tuple[Path, list[dict]]) -> None:
    """With a last window that is shorter, so that some processes have nothing more to add, and batches without a
    labelled pixel, which add nothing either."""
    processes = len(results[1])
    seed_everything(0)
    model = Precise().train()
    expected, void_batches = [], 0
    for epoch in range(2):
        order = EpochBatches(TRAINING, BATCH_SIZE, seed=0)
        order.epoch = epoch
        batches = [[index for *_, index in batch] for batch in order]
        size = ACCUMULATION * processes
        for window in (batches[i : i + size] for i in range(0, len(batches), size)):
            pixels = sum(not is_void([index]) for batch in window for index in batch) * 32 * 16  # of each class
            labelled = sum(not is_void(batch) for batch in window)
            void_batches += len(window) - labelled
            for batch in window:
                objective(model, batch, pixels * sum(WEIGHTS), labelled).backward()
            expected.append([p.grad.clone() for p in model.parameters() if p.grad is not None])
            with torch.no_grad():
                for parameter in model.parameters():
                    assert parameter.grad is not None
                    parameter.sub_(0.1 * parameter.grad)
                    parameter.grad = None
    assert len(expected) == 2 * math.ceil(7 / (ACCUMULATION * processes)) and void_batches == 4
    for result in results[1]:
        for found, own in zip(result["gradients"], expected, strict=True):
            for a, b in zip(found.values(), own, strict=True):
                assert (a - b).abs().max() < 1e-5 * b.abs().max() + 1e-9  # the loss is computed in float32
    for name, value in model.named_parameters():
        assert torch.allclose(results[1][0]["weights"][name], value, rtol=1e-5, atol=1e-7)


def test_all_processes_have_the_same_weights(results: tuple[Path, list[dict]]) -> None:
    first, *others = results[1]
    for other in others:
        for name, value in first["weights"].items():
            assert torch.equal(value, other["weights"][name]), name  # statistics of batch norm included


def test_the_confusion_matrix_and_the_validation_loss_are_exact(results: tuple[Path, list[dict]]) -> None:
    folder, (first, *others) = results
    model = Precise().eval()
    model.load_state_dict(load_checkpoint(folder / "checkpoints" / "last.pt")["model"])
    counts, soft_ious = np.zeros((2, 2), np.int64), []
    for index in range(VALIDATION):
        sample = PartlyVoid(VALIDATION)[index]
        with torch.no_grad():
            logits = model(IMAGENET(torch.from_numpy(sample.image).movedim(-1, 0)[None], channels_last=False))
        valid = sample.mask != 255
        np.add.at(counts, (sample.mask[valid], logits.argmax(1)[0].numpy()[valid]), 1)
        if valid.any():
            p = logits.softmax(1)[0].numpy()
            own = [sample.mask == c for c in range(2)]
            both = [p[c][own[c]].sum() for c in range(2)]
            soft_ious.append(1 - np.mean([both[c] / (p[c].sum() + own[c].sum() - both[c]) for c in range(2)]))
    assert counts.sum() == 4 * 32 * 32 and len(soft_ious) == 4
    assert RunFolder(folder).read_rows()[-1]["val/soft_iou"] == pytest.approx(np.mean(soft_ious), rel=1e-5)
    for result in (first, *others):
        assert np.array_equal(result["confusion"].numpy(), counts)


def test_one_folder_and_one_memory(results: tuple[Path, list[dict]]) -> None:
    folder, found = results
    assert [row["epoch"] for row in RunFolder(folder).read_rows()] == [1, 2]
    assert len({result["shared"] for result in found}) == 1
    assert not Path("/dev/shm", found[0]["shared"]).exists()  # given back at the end


def test_a_frozen_encoder_and_a_teacher(tmp_path: Path) -> None:
    """Two processes take the steps of one with two micro-batches each: without the encoder first, then with it."""
    (tmp_path / "alone").mkdir()
    expected = of_an_encoder_and_a_teacher(tmp_path / "alone", accumulation_steps=2)
    for found in run_together(2, of_an_encoder_and_a_teacher, tmp_path):
        assert len(found["gradients"]) == len(expected["gradients"]) == 6
        for step, (gradients, those) in enumerate(zip(found["gradients"], expected["gradients"], strict=True)):
            assert any(name.startswith("encoder") for name in gradients) == (step >= 3)
            torch.testing.assert_close(gradients, those)
        for name in ("classifier.weight", "encoder.layers.0.weight"):
            torch.testing.assert_close(found["weights"][name], expected["weights"][name])
        assert all(torch.equal(value, expected["teacher"][name]) for name, value in found["teacher"].items())
    rows = [RunFolder(tmp_path / name).read_rows() for name in ("run", "alone")]
    for row, other in zip(*rows, strict=True):
        assert (
            row["train/distillation"] == pytest.approx(other["train/distillation"], rel=1e-6) and row["train/loss"] > 0
        )


@pytest.mark.parametrize("processes", [1, 2, 3, 5, 8])
@pytest.mark.parametrize("start", [0, 2])
def test_batches_are_dealt_out(processes: int, start: int) -> None:
    """No batch is lost or doubled, and all processes take as many."""
    whole = EpochBatches(13, 2, seed=4)
    assert whole.batches == len(list(whole)) == 7
    dealt = []
    for rank in range(processes):
        order = EpochBatches(13, 2, 4, Share(rank, processes))
        order.start = start
        dealt.append(list(order))
    assert {len(batches) for batches in dealt} == {math.ceil((7 - start) / processes)}
    in_turn = [batch for turn in zip(*dealt, strict=True) for batch in turn]
    assert in_turn[: 7 - start] == list(whole)[start:]


@pytest.mark.parametrize("processes", [1, 2, 3, 5, 8])
def test_validation_is_dealt_out_without_padding(processes: int) -> None:
    dealt = [in_order(13, 2, Share(rank, processes)) for rank in range(processes)]
    assert {len(batches) for batches in dealt} == {math.ceil(7 / processes)}
    indices = [index for batches in dealt for batch in batches for index in batch]
    assert sorted(indices) == list(range(13))
    assert all(a < b for batch in in_order(13, 4, ALONE) for a, b in pairwise(batch))


def test_what_is_on_the_cpu_travels_too_where_there_is_a_gpu() -> None:
    """PyTorch left to itself takes the GPU's alone."""
    assert dist.distributed_c10d.BackendConfig(dist.Backend(backends(True))).get_device_backend_map() == {
        "cpu": "gloo",
        "cuda": "nccl",
    }
    assert "cpu" in dist.distributed_c10d.BackendConfig(dist.Backend(backends(False))).get_device_backend_map()
