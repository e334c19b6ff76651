"""What only a GPU shows: mixed precision, compilation, memory, processes that talk by nccl."""

from pathlib import Path

import pytest
import torch

from data.accumulation import Window
from engine.checkpoint import load_checkpoint
from engine.options import TrainerOptions
from engine.schedules import constant
from engine.training_step import Components, TrainingStep
from losses.combinations import ce_iou
from tests.conftest import TINY, run_command, runs_in
from tests.engine.small import Net
from tests.engine.test_waiting import batch
from tests.in_process import succeeded
from utils.run_folder import RunFolder

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device"),
]
SCRIPT = "train_segmentation.py"
WORDS = (*TINY, "trainer.device=cuda", "trainer.epochs=2")


def train(folder: Path, *words: str) -> Path:
    folder.mkdir(exist_ok=True)
    succeeded(run_command(SCRIPT, *WORDS, *words, cwd=folder, fresh=True))
    return runs_in(folder)[-1]


def model_of(run: Path) -> dict[str, torch.Tensor]:
    return load_checkpoint(run / "checkpoints" / "last.pt")["model"]


@pytest.mark.parametrize("amp", ["off", "fp16", "bf16"])
def test_every_precision_trains(tmp_path: Path, amp: str) -> None:
    run = train(tmp_path, f"trainer.amp={amp}")
    rows = RunFolder(run).read_rows()
    assert rows[1]["train/loss"] < rows[0]["train/loss"]
    scaler = load_checkpoint(run / "checkpoints" / "last.pt")["training"]["scaler"]
    assert bool(scaler) == (amp == "fp16")


def test_a_compiled_network_trains_alike(tmp_path: Path) -> None:
    """Without dropout, whose random numbers a compiled network draws in another order. Convolutions in TF32 round to
    10 bits, in the order of each one's algorithm."""
    words = ("model.dropout=0", "model.encoder_dropout=0", "trainer.amp=off")
    plain, compiled = (train(tmp_path / name, *words, f"trainer.compile={name}") for name in ("false", "true"))
    assert "falls back" not in (compiled / "train.log").read_text()
    one, other = (RunFolder(run).read_rows()[0]["train/loss"] for run in (plain, compiled))
    assert one == pytest.approx(other, rel=1e-2)


def test_deterministic_runs_are_equal(tmp_path: Path) -> None:
    one, other = (model_of(train(tmp_path / name, "trainer.deterministic=true")) for name in ("one", "other"))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_resume_restores_the_random_numbers_of_the_gpu(tmp_path: Path) -> None:
    whole = model_of(train(tmp_path / "whole", "trainer.epochs=3", "trainer.deterministic=true", "scheduler=constant"))
    run = train(tmp_path / "part", "trainer.deterministic=true", "scheduler=constant")
    succeeded(run_command(SCRIPT, f"resume={run}", "trainer.epochs=3", cwd=tmp_path, fresh=True))
    assert all(torch.equal(value, whole[name]) for name, value in model_of(run).items())


def test_one_process_of_torchrun(tmp_path: Path) -> None:
    launcher = Path(torch.distributed.__file__).parent / "run.py"
    script = str(Path(__file__).parent.parent / SCRIPT)
    words = ("--standalone", "--nproc_per_node=1", script, *WORDS, "trainer.sync_batchnorm=true")
    succeeded(run_command(str(launcher), *words, cwd=tmp_path, fresh=True))
    assert RunFolder(runs_in(tmp_path)[0]).read_summary()["status"] == "finished"


def test_a_step_does_not_wait_for_the_gpu() -> None:
    model = Net().cuda().train()
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    loss = ce_iou({"cross_entropy": 1.0, "soft_iou": 1.0}).cuda()
    step = TrainingStep(
        Components(model, loss, optimizer, constant(optimizer, 10, 5)),
        TrainerOptions(epochs=1, amp="bf16", grad_clip=1.0, ema=True, ema_decay=0.9),
        torch.device("cuda"),
    )
    batches = [
        batch(seed)._replace(images=batch(seed).images.pin_memory(), masks=batch(seed).masks.pin_memory())
        for seed in range(2)
    ]
    step(Window(batches, 2), 1)
    torch.cuda.set_sync_debug_mode("error")
    try:
        for number in range(2, 6):
            step(Window(batches, 2), number)
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_memory_that_is_used_up(tmp_path: Path) -> None:
    """All but a gigabyte of the GPU's memory is taken while the run goes on."""
    free, _ = torch.cuda.mem_get_info()
    taken = torch.empty(max(free - 2**30, 0), dtype=torch.uint8, device="cuda")
    words = ("data.image_size=[512,512]", "data.batch_size=64", "data.limit=64")
    done = run_command(SCRIPT, *WORDS, *words, cwd=tmp_path, fresh=True)
    del taken
    assert done.returncode == 2 and "out of memory on cuda" in done.stderr, done.stderr
    assert "data.batch_size=32 trainer.accumulation_steps=2" in done.stderr
