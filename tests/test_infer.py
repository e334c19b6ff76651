"""Masks for photos, as a user asks for them."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from engine.predictor import Predictor
from tests.conftest import run_command

RNG = np.random.default_rng(0)


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "a photo (1), it's [fine].jpg"
    Image.fromarray(RNG.integers(0, 256, (50, 70, 3), np.uint8)).save(path)
    return path


def test_one_photo(tmp_path: Path, finished_run: Path, photo: Path) -> None:
    done = run_command("infer.py", f"checkpoint={finished_run}", f"input={photo.name}", "output=m.png", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    predictor = Predictor.from_checkpoint(finished_run)
    expected = predictor.predict(np.asarray(Image.open(photo)))
    mask = Image.open(tmp_path / "m.png")
    assert mask.mode == "P" and mask.size == (70, 50)
    # Pillow and OpenCV decode a JPEG almost alike
    assert (np.asarray(mask) == expected).mean() > 0.97
    palette = np.array(mask.getpalette()).reshape(-1, 3)
    for i, color in enumerate(predictor.labels.colors):
        assert tuple(palette[i]) == color
    overlay = Image.open(tmp_path / "m_overlay.png")
    assert overlay.width == 70 and overlay.height > 50
    shares = {predictor.labels.names[i]: (np.asarray(mask) == i).mean() for i in np.unique(np.asarray(mask))}
    for name, share in shares.items():
        (line,) = [line for line in done.stderr.splitlines() if line.startswith(f"| {name} ")]
        assert line.split("|")[2].strip() == f"{share:.2%}"
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([photo.name, "m.png", "m_overlay.png"])


def test_names_of_what_is_written(tmp_path: Path, finished_run: Path, photo: Path) -> None:
    base = ["infer.py", f"checkpoint={finished_run}", f"input={photo.name}"]
    assert run_command(*base, cwd=tmp_path).returncode == 0
    assert {p.name for p in tmp_path.iterdir()} == {photo.name, f"{photo.stem}_mask.png", f"{photo.stem}_overlay.png"}
    before = (tmp_path / f"{photo.stem}_mask.png").stat().st_mtime_ns
    again = run_command(*base, cwd=tmp_path)
    assert again.returncode == 2 and "overwrite=true" in again.stderr
    assert (tmp_path / f"{photo.stem}_mask.png").stat().st_mtime_ns == before
    assert run_command(*base, "overwrite=true", cwd=tmp_path).returncode == 0
    one = run_command(*base, "format=overlay", "output=new/only.png", cwd=tmp_path)
    assert one.returncode == 0 and [p.name for p in (tmp_path / "new").iterdir()] == ["only.png"]
    assert Image.open(tmp_path / "new" / "only.png").mode == "RGB"


def test_a_folder_with_a_broken_photo(tmp_path: Path, finished_run: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    for i, suffix in enumerate(("jpg", "png", "bmp")):
        Image.fromarray(RNG.integers(0, 256, (40 + i, 50, 3), np.uint8)).save(photos / f"{i}.{suffix}")
    (photos / "broken.jpg").write_bytes(b"nothing")
    (photos / "notes.txt").write_text("not an image")
    done = run_command("infer.py", f"checkpoint={finished_run}", "input=photos", cwd=tmp_path)
    assert done.returncode == 1
    assert "1 of 4 images could not be read" in done.stderr and "broken.jpg" in done.stderr
    written = {p.name: Image.open(p).size for p in (tmp_path / "photos_masks").iterdir()}
    assert {name: size for name, size in written.items() if "overlay" not in name} == {
        f"{i}.png": (50, 40 + i) for i in range(3)
    }
    assert len(written) == 6


def test_a_photo_is_never_overwritten_and_no_two_masks_are_one_file(tmp_path: Path, finished_run: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    for name in ("dog", "dog_overlay"):
        Image.fromarray(RNG.integers(0, 256, (40, 50, 3), np.uint8)).save(photos / f"{name}.png")
    before = {path.name: path.read_bytes() for path in photos.iterdir()}
    for words, fragment in [
        (["output=out"], "dog_overlay.png would be written for two images"),
        (["output=photos", "format=mask", "overwrite=true"], "dog.png: this is an image to be read"),
        (["output=/proc/nowhere", "format=mask"], "nothing can be written there"),
    ]:
        done = run_command("infer.py", f"checkpoint={finished_run}", "input=photos", *words, cwd=tmp_path)
        assert done.returncode == 2 and fragment in done.stderr, done.stderr
    assert {path.name: path.read_bytes() for path in photos.iterdir()} == before


def test_the_checkpoint_alone_is_enough(tmp_path: Path, finished_run: Path, photo: Path) -> None:
    shutil.copy(finished_run / "checkpoints" / "best.pt", tmp_path / "moved.pt")
    done = run_command("infer.py", "checkpoint=moved.pt", f"input={photo.name}", "output=m.png", cwd=tmp_path)
    assert done.returncode == 0, done.stderr


def spoil(checkpoint: Path, how: str) -> None:
    content = torch.load(checkpoint, weights_only=True)
    if how == "truncated":
        checkpoint.write_bytes(checkpoint.read_bytes()[:5000])
        return
    if how == "class count":
        content["labels"] = {key: values[:5] for key, values in content["labels"].items()}
    if how == "model":
        content["model"] = torch.nn.Linear(2, 2).state_dict()
    if how == "target":
        content["config"]["model"]["_target_"] = "models.enet.torch.os.system"
    torch.save(content, checkpoint)


@pytest.mark.parametrize(
    ("how", "fragment"),
    [
        ("truncated", "damaged or truncated"),
        ("class count", "does not fit ENet: fullconv.weight"),
        ("model", "does not fit ENet"),
        ("target", "not a model of this project"),
    ],
)
def test_checkpoints_that_do_not_fit(tmp_path: Path, finished_run: Path, photo: Path, how: str, fragment: str) -> None:
    checkpoint = tmp_path / "c.pt"
    shutil.copy(finished_run / "checkpoints" / "best.pt", checkpoint)
    spoil(checkpoint, how)
    done = run_command("infer.py", "checkpoint=c.pt", f"input={photo.name}", "output=m.png", cwd=tmp_path)
    assert done.returncode == 2 and fragment in done.stderr, done.stderr
    assert len(done.stderr.splitlines()) <= 2
    assert not (tmp_path / "m.png").exists()


@pytest.mark.parametrize("content", [b"", b"GIF89a nothing", None])
def test_photos_that_are_none(tmp_path: Path, finished_run: Path, content: bytes | None) -> None:
    path = tmp_path / "x.jpg"
    if content is None:
        Image.fromarray(RNG.integers(0, 256, (50, 70, 3), np.uint8)).save(path)
        content = path.read_bytes()[:-100]
    path.write_bytes(content)
    done = run_command("infer.py", f"checkpoint={finished_run}", "input=x.jpg", "output=m.png", cwd=tmp_path)
    assert done.returncode == 2 and "x.jpg" in done.stderr
    assert not (tmp_path / "m.png").exists()
