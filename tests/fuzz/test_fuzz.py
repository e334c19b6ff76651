"""Odd input of every kind, made from valid input at random: the promises hold.

Each input has a seed of its own, which a failure names: `FUZZ=checkpoints-0-7 pytest tests/fuzz` tries it alone.
"""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

import compare
import evaluate
import infer
import train_segmentation
from tests.data.layouts import blocks, make_coco, make_folder, photo
from tests.fuzz.mutation import mutated_bytes, mutated_json, mutated_text, mutated_tree, odd_value
from tests.fuzz.promises import broken_promise
from tools import check_data

SIZE = 3
"""Inputs in a test."""


@pytest.fixture(scope="module")
def valid(tmp_path_factory: pytest.TempPathFactory, finished_run: Path) -> Path:
    """A folder with valid things: a run, weights, photos, labels, data sets."""
    place = tmp_path_factory.mktemp("valid")
    kept = shutil.ignore_patterns("figures", "tensorboard", "evaluation")
    shutil.copytree(finished_run, place / "runs" / "run", ignore=kept)
    shutil.copy(finished_run / "checkpoints" / "best.pt", place / "best.pt")
    checkpoint = torch.load(place / "best.pt")
    torch.save(checkpoint["model"], place / "weights.pth")
    names = checkpoint["labels"]["names"]
    labels = {str(i): {"class": name, "color": [i, 0, 0]} for i, name in enumerate(names)}
    (place / "labels.json").write_text(json.dumps(labels))
    Image.fromarray(photo(0, (32, 40))).save(place / "photo.png")
    Image.fromarray(photo(1, (32, 40))).save(place / "photo.jpg")
    make_folder(place / "folder", count=3)
    (place / "folder" / "train.txt").write_text("photo 0\nphoto 1\n")
    (place / "folder" / "val.txt").write_text("photo 2\n")
    for file in ("folder/masks/photo 0.png", "folder/masks/photo 2.png"):
        Image.fromarray(blocks(0, [0, 1, 7])).save(place / file)
    make_coco(place / "coco")
    return place


def chosen(rng: random.Random, valid: Path, here: Path, *names: str) -> Path:
    """A copy of one of some valid files or folders, in the folder where the command runs."""
    name = rng.choice(names)
    (here / name).parent.mkdir(parents=True, exist_ok=True)
    (shutil.copytree if (valid / name).is_dir() else shutil.copy)(valid / name, here / name)
    return here / name


def spoil(rng: random.Random, file: Path) -> str:
    """Change a file in a way that goes with its kind, or bytes of it."""
    content = file.read_bytes()
    if file.suffix in (".pt", ".pth") and rng.random() < 0.7:
        tree, said = mutated_tree(rng, torch.load(file))
        torch.save(tree, file)
    elif file.suffix == ".json" and rng.random() < 0.7:
        text, said = mutated_json(rng, content.decode())
        file.write_text(text)
    elif file.suffix in (".json", ".csv", ".yaml", ".txt") and rng.random() < 0.8:
        text, said = mutated_text(rng, content.decode())
        file.write_text(text, errors="surrogatepass")
    else:
        spoilt, said = mutated_bytes(rng, content)
        file.write_bytes(spoilt)
    return f"{file.name}: {said}"


Input = tuple[Callable, str, list[str], str, bool]
"""Task, name of its config, words, what was done to the input, and whether exit code 1 may be due."""


def checkpoints(rng: random.Random, valid: Path, here: Path) -> Input:
    """Checkpoints, weights and label files, for infer.py and evaluate.py."""
    source = chosen(rng, valid, here, "photo.png", "photo.jpg")
    if rng.random() < 0.2:
        for name in ("weights.pth", "labels.json"):
            chosen(rng, valid, here, name)
        said = spoil(rng, here / rng.choice(["weights.pth", "labels.json"]))
        words = ["model=enet", "weights=weights.pth", "labels=labels.json", f"input={source.name}", "output=m.png"]
        return infer.infer, "infer", [*words, "image_size=[32,32]", "device=cpu"], said, False
    chosen(rng, valid, here, "best.pt")
    said = spoil(rng, here / "best.pt")
    if rng.random() < 0.1:
        words = ["checkpoint=best.pt", "output=measured", "data.num_workers=0", "data.limit=2", "device=cpu"]
        return evaluate.evaluate, "evaluate", words, said, False
    words = ["checkpoint=best.pt", f"input={source.name}", "output=m.png", "device=cpu"]
    return infer.infer, "infer", words, said, False


def runs(rng: random.Random, valid: Path, here: Path) -> Input:
    """Files of a run folder, for resume= and compare.py."""
    run = chosen(rng, valid, here, "runs/run")
    files = ["summary.json", "metrics.csv", "config.yaml", ".hydra/hydra.yaml"]
    file = run / rng.choice([*files, *files, "checkpoints/last.pt", "checkpoints/last.pt", "checkpoints/best.pt"])
    said = spoil(rng, file)
    if rng.random() < 0.1:
        file.unlink()
        said = f"{file.name}: deleted"
    if rng.random() < 0.4:
        shutil.copytree(valid / "runs" / "run", here / "runs" / "whole")
        return compare.compare, "compare", ["runs=runs", f"format={rng.choice(['table', 'json', 'csv'])}"], said, False
    more = ["trainer.epochs=3"] if rng.random() < 0.06 else []
    return train_segmentation.train, "train", ["resume=runs/run", "data.num_workers=0", *more], said, False


def data(rng: random.Random, valid: Path, here: Path) -> Input:
    """Images, masks, labels, lists and COCO's JSON, for check_data and infer.py."""
    kind = rng.choice(["folder", "folder", "coco", "coco", "photo"])
    if kind == "photo":
        chosen(rng, valid, here, "best.pt")
        source = chosen(rng, valid, here, "photo.png", "photo.jpg")
        said = spoil(rng, source)
        words = ["checkpoint=best.pt", f"input={source.name}", "output=m.png", "device=cpu"]
        return infer.infer, "infer", words, said, False
    root = chosen(rng, valid, here, kind)
    files = ["labels.json", "train.txt", "images/photo 0.jpg", "masks/photo 0.png"]
    said = spoil(rng, root / ("annotations/instances_val2017.json" if kind == "coco" else rng.choice(files)))
    if rng.random() < 0.1:
        odd = root / "images" / str(odd_value(rng))[:80].replace("/", "_").replace("\0", "0")
        odd = odd.with_name(odd.name.encode("utf-8", "replace").decode() + ".jpg")
        odd.parent.mkdir(exist_ok=True)
        odd.write_bytes(b"x")
        said += f", and {odd.name!r}"
    split = "val" if kind == "coco" else rng.choice(["train", "val"])
    words = [f"data={kind}", f"data.root={root.name}", f"splits=[{split}]", "pictures=0"]
    return check_data.check, "check_data", words, said, True


WORDS = {
    "infer": [
        "input output format tta window overlap samples ids skip_existing overwrite device image_size checkpoint"
    ],
    "evaluate": [
        "checkpoint split tta window overlap device output data.limit data.batch_size data.num_workers data.root",
    ],
    "compare": ["runs sort group_by baseline format report"],
    "check_data": ["data data.root splits pictures data.limit data.batch_size data.cache data.num_workers output"],
    "train": [
        "seed name notes model data loss optimizer scheduler augmentation logger experiment resume sweep",
        "data.root data.image_size data.batch_size data.num_workers data.cache data.train_split data.limit",
        "trainer.epochs trainer.device trainer.amp trainer.accumulation_steps trainer.grad_clip trainer.ema_decay",
        "trainer.monitor trainer.early_stopping optimizer.lr loss.weights loss.class_weights scheduler.warmup_epochs",
        "model.dropout model.weights",
    ],
}
"""Keys of each command."""
VALUES = (
    "1",
    "2",
    "0.5",
    "cpu",
    "true",
    "flip",
    "[32,32]",
    "mask",
    "folder",
    "runs",
    "photo.png",
    "a,b",
    "[a,b]",
    "???",
)


def options(rng: random.Random, valid: Path, here: Path) -> Input:
    """Words of the command line; nothing that trains."""
    name = rng.choice(list(WORDS))
    usual = {
        "infer": {"checkpoint": "best.pt", "input": "photo.png", "output": "m.png", "device": "cpu"},
        "evaluate": {"checkpoint": "best.pt", "data.limit": "2", "data.num_workers": "0", "device": "cpu"},
        "compare": {"runs": "runs"},
        "check_data": {"data": "folder", "data.root": "folder", "pictures": "0"},
        "train": {"data": "folder", "data.root": "nowhere"},
    }[name]
    for file in ("best.pt", "photo.png", "folder", "runs"):
        chosen(rng, valid, here, file)
    words = dict(usual)
    for _ in range(rng.choice([1, 1, 2])):
        key = rng.choice(" ".join(WORDS[name]).split())
        if rng.random() < 0.1:
            key = rng.choice([key[:-1], f"+{key}", f"~{key}", f"++{key}.x", key.upper(), f"{key}@x", ""])
        value = rng.choice(VALUES) if rng.random() < 0.5 else str(odd_value(rng)).replace("\0", "")
        words[key] = value.encode("utf-8", "surrogatepass").decode("utf-8", "replace")[:5000]
    if name == "train":
        words["data.root"] = words["data.root"] if words["data.root"] in ODD_ROOTS else "nowhere"
    task: Any = {
        "infer": infer.infer,
        "evaluate": evaluate.evaluate,
        "compare": compare.compare,
        "check_data": check_data.check,
        "train": train_segmentation.train,
    }[name]
    return task, name, [f"{key}={value}" for key, value in words.items()], " ".join(words), name == "check_data"


ODD_ROOTS = ("", " ", "x", "\x1b[31mred", "~nobody", "/dev/null")


def tried(make: Callable[[random.Random, Path, Path], Input], seed: str, valid: Path, here: Path) -> str | None:
    """The promise that an input breaks, with its seed and what it was; None if all hold."""
    here.mkdir()
    task, name, words, said, may_find = make(random.Random(seed), valid, here)
    broken = broken_promise(task, name, words, here, may_find=may_find)
    shutil.rmtree(here)
    return None if broken is None else f"{seed}: {name} {words!r:.300} ({said!r:.200})\n    {broken}"


@pytest.mark.parametrize("block", [0, *(pytest.param(i, marks=pytest.mark.slow) for i in range(1, 160))])
@pytest.mark.parametrize("make", [checkpoints, runs, data, options], ids=lambda make: make.__name__)
def test_promises(make: Callable, block: int, valid: Path, tmp_path: Path) -> None:
    numbers = range(block * SIZE, (block + 1) * SIZE)
    seeds = [f"{make.__name__}-{number // 6}-{number % 6}" for number in numbers]
    wanted = os.environ.get("FUZZ")
    found = [tried(make, seed, valid, tmp_path / "here") for seed in seeds if wanted in (None, seed)]
    broken = [one for one in found if one is not None]
    assert not broken, f"{len(broken)} of {len(seeds)} inputs:\n" + "\n".join(broken)
