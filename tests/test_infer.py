"""Masks for photos, as a user asks for them."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from data.images import read_image
from infer import infer
from inference.predictor import Predictor
from tests.conftest import run_command
from tests.in_process import assert_refused, run_here, succeeded
from tests.printed import rows_of_table

RNG = np.random.default_rng(0)


def run(*words: str, cwd: Path) -> subprocess.CompletedProcess:
    return run_here(infer, "infer", *words, cwd=cwd)


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
    assert overlay.width >= 70 and overlay.height > 50
    shares = {predictor.labels.names[i]: (np.asarray(mask) == i).mean() for i in np.unique(np.asarray(mask))}
    assert sorted(rows_of_table(done.stderr)[1:]) == sorted([name, f"{share:.2%}"] for name, share in shares.items())
    whole, network = map(float, re.findall(r"([0-9.]+) ms", done.stderr))
    assert 0 < network <= whole
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([photo.name, "m.png", "m_overlay.png"])


def test_without_a_checkpoint_the_best_network_of_weights_is_used(tmp_path: Path, photo: Path) -> None:
    done = run(f"input={photo}", "output=default.png", "format=mask", cwd=tmp_path)
    assert done.returncode == 0 and "no checkpoint given: using deeplabv3plus_camvid" in done.stderr, done.stderr
    named = run(f"input={photo}", "checkpoint=deeplabv3plus_camvid", "output=named.png", "format=mask", cwd=tmp_path)
    assert named.returncode == 0 and "no checkpoint given" not in named.stderr
    masks = [np.array(Image.open(tmp_path / name)) for name in ("default.png", "named.png")]
    assert np.array_equal(masks[0], masks[1]) and masks[0].max() < 11


def test_names_of_what_is_written(tmp_path: Path, finished_run: Path, photo: Path) -> None:
    base = [f"checkpoint={finished_run}", f"input={photo.name}"]
    assert run(*base, cwd=tmp_path).returncode == 0
    assert {p.name for p in tmp_path.iterdir()} == {photo.name, f"{photo.stem}_mask.png", f"{photo.stem}_overlay.png"}
    before = (tmp_path / f"{photo.stem}_mask.png").stat().st_mtime_ns
    assert_refused(run(*base, cwd=tmp_path), "overwrite=true")
    assert (tmp_path / f"{photo.stem}_mask.png").stat().st_mtime_ns == before
    assert run(*base, "overwrite=true", cwd=tmp_path).returncode == 0
    one = run(*base, "format=overlay", "output=new/only.png", cwd=tmp_path)
    assert one.returncode == 0 and [p.name for p in (tmp_path / "new").iterdir()] == ["only.png"]
    assert Image.open(tmp_path / "new" / "only.png").mode == "RGB"


def test_a_folder_with_a_broken_photo(tmp_path: Path, finished_run: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    for i, suffix in enumerate(("jpg", "png", "bmp")):
        Image.fromarray(RNG.integers(0, 256, (40 + i, 50, 3), np.uint8)).save(photos / f"{i}.{suffix}")
    (photos / "broken.jpg").write_bytes(b"nothing")
    (photos / "notes.txt").write_text("not an image")
    done = run(f"checkpoint={finished_run}", "input=photos", cwd=tmp_path)
    assert done.returncode == 1
    assert "1 of 4 images could not be read" in done.stderr and "broken.jpg" in done.stderr
    assert "img/s" not in done.stderr  # no progress bar without a terminal
    written = {p.name: Image.open(p).size for p in (tmp_path / "photos_masks").iterdir()}
    assert {name: size for name, size in written.items() if "overlay" not in name} == {
        f"{i}.png": (50, 40 + i) for i in range(3)
    }
    assert len(written) == 6


def test_a_photo_is_never_overwritten_and_no_two_masks_are_one_file(tmp_path: Path, finished_run: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    for name in ("dog.png", "dog.bmp"):
        Image.fromarray(RNG.integers(0, 256, (40, 50, 3), np.uint8)).save(photos / name)
    before = {path.name: path.read_bytes() for path in photos.iterdir()}
    for words, fragment in [
        (["input=photos", "output=out"], "dog.png would be written for two images"),
        (["input=photos", "output=photos", "format=mask", "overwrite=true"], "in the photos' own folder"),
        (["input=photos/dog.png", "output=/proc/nowhere/x.png", "format=mask"], "nothing can be written there"),
    ]:
        assert_refused(run(f"checkpoint={finished_run}", *words, cwd=tmp_path), fragment)
    assert {path.name: path.read_bytes() for path in photos.iterdir()} == before


def test_the_checkpoint_alone_is_enough(tmp_path: Path, finished_run: Path, photo: Path) -> None:
    shutil.copy(finished_run / "checkpoints" / "best.pt", tmp_path / "moved.pt")
    succeeded(run("checkpoint=moved.pt", f"input={photo.name}", "output=m.png", cwd=tmp_path))


def spoil(checkpoint: Path, how: str) -> None:
    content = torch.load(checkpoint, weights_only=True)
    if how == "truncated":
        checkpoint.write_bytes(checkpoint.read_bytes()[:5000])
        return
    if how == "class count":
        content["labels"] = {key: values[:5] for key, values in content["labels"].items()}
        content["confusion"] = content["confusion"][:5, :5].clone()
    if how == "model":
        content["model"] = torch.nn.Linear(2, 2).state_dict()
    if how == "target":
        content["config"]["model"]["_target_"] = "models.enet.torch.os.system"
    if how == "newer":
        content["version"] += 1
    torch.save(content, checkpoint)


def test_names_of_a_foreign_checkpoint_do_nothing_to_a_terminal(
    tmp_path: Path, finished_run: Path, photo: Path
) -> None:
    checkpoint = torch.load(finished_run / "checkpoints" / "best.pt", weights_only=True)
    labels = checkpoint["labels"]
    labels["names"] = [f"\x1b[2J{name}\n\x9b2J\u202e" for name in labels["names"]]
    torch.save(checkpoint, tmp_path / "foreign.pt")
    done = run("checkpoint=foreign.pt", f"input={photo.name}", "output=m.png", cwd=tmp_path)
    assert done.returncode == 0 and not {"\x1b", "\x9b", "\u202e"} & set(done.stderr + done.stdout)
    predicted = np.unique(np.asarray(Image.open(tmp_path / "m.png")))
    for name in np.array(Predictor.from_checkpoint(finished_run).labels.names)[predicted]:
        assert rf"| \x1b[2J{name}\n\x9b2J\u202e " in done.stderr


@pytest.mark.parametrize(
    ("how", "fragment"),
    [
        ("truncated", "damaged or truncated"),
        ("class count", "does not fit ENet: fullconv.weight"),
        ("model", "does not fit ENet"),
        ("target", "not a model of this project"),
        ("newer", "newer version"),
    ],
)
def test_checkpoints_that_do_not_fit(tmp_path: Path, finished_run: Path, photo: Path, how: str, fragment: str) -> None:
    checkpoint = tmp_path / "c.pt"
    shutil.copy(finished_run / "checkpoints" / "best.pt", checkpoint)
    spoil(checkpoint, how)
    assert_refused(run("checkpoint=c.pt", f"input={photo.name}", "output=m.png", cwd=tmp_path), fragment)
    assert not (tmp_path / "m.png").exists()


@pytest.mark.parametrize("content", [b"", b"GIF89a nothing", None])
def test_photos_that_are_none(tmp_path: Path, finished_run: Path, content: bytes | None) -> None:
    path = tmp_path / "x.jpg"
    if content is None:
        Image.fromarray(RNG.integers(0, 256, (50, 70, 3), np.uint8)).save(path)
        content = path.read_bytes()[:-100]
    path.write_bytes(content)
    done = run(f"checkpoint={finished_run}", "input=x.jpg", "output=m.png", cwd=tmp_path)
    assert done.returncode == 2 and "x.jpg" in done.stderr
    (tmp_path / "folder").mkdir()
    path.rename(tmp_path / "folder" / "x.jpg")
    done = run(f"checkpoint={finished_run}", "input=folder", cwd=tmp_path)
    assert done.returncode == 1 and "1 of 1 image could not be read" in done.stderr
    assert not (tmp_path / "m.png").exists()


def test_every_format_beside_the_other(tmp_path: Path, finished_run: Path, photo: Path) -> None:
    words = ["format=[color,side_by_side,probabilities,mask]", "output=x.png"]
    succeeded(run(f"checkpoint={finished_run}", f"input={photo.name}", *words, cwd=tmp_path))
    predictor = Predictor.from_checkpoint(finished_run)
    mask = np.asarray(Image.open(tmp_path / "x.png"))
    assert np.array_equal(np.asarray(Image.open(tmp_path / "x_color.png")), predictor.labels.palette()[mask])
    stored = np.load(tmp_path / "x_probabilities.npz")
    assert stored["probabilities"].shape == (len(predictor.labels), 50, 70)
    np.testing.assert_allclose(stored["probabilities"].astype(np.float32).sum(0), 1, atol=0.01)
    assert Image.open(tmp_path / "x_side_by_side.png").width == 140


def test_views_and_windows_reach_the_predictor(tmp_path: Path, finished_run: Path, photo: Path) -> None:
    settings: dict[str, Any] = {"tta": ["flip"], "window": (32, 48), "overlap": 0.5}
    expected = Predictor.from_checkpoint(finished_run, **settings).predict(read_image(photo))
    words = ["tta=flip", "window=[32,48]", "overlap=0.5", "format=mask", "output=x.png"]
    succeeded(run(f"checkpoint={finished_run}", f"input={photo.name}", *words, cwd=tmp_path))
    assert np.array_equal(np.asarray(Image.open(tmp_path / "x.png")), expected)
    plain = Predictor.from_checkpoint(finished_run).predict(read_image(photo))
    assert not np.array_equal(expected, plain)


def test_samples_leave_an_uncertainty(tmp_path: Path, finished_run: Path, photo: Path) -> None:
    words = ["samples=3", "format=mask", "output=x.png"]
    succeeded(run(f"checkpoint={finished_run}", f"input={photo.name}", *words, cwd=tmp_path))
    grey = np.asarray(Image.open(tmp_path / "x_uncertainty.png"))
    assert grey.shape == (50, 70) and grey.max() > 0


def test_a_folder_goes_on_where_it_was_stopped(tmp_path: Path, finished_run: Path) -> None:
    for i in range(3):
        path = tmp_path / "photos" / f"{i % 2}" / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(RNG.integers(0, 256, (40, 50, 3), np.uint8)).save(path)
    words = [f"checkpoint={finished_run}", "input=photos", "format=mask"]
    assert run(*words, cwd=tmp_path).returncode == 0
    masks = sorted((tmp_path / "photos_masks").rglob("*.png"))
    assert [str(path.relative_to(tmp_path / "photos_masks")) for path in masks] == ["0/0.png", "0/2.png", "1/1.png"]
    masks[1].unlink()
    before = {path: path.stat().st_mtime_ns for path in masks if path.exists()}
    assert_refused(run(*words, cwd=tmp_path), "(and 1 more)", "skip_existing=true")
    done = run(*words, "skip_existing=true", cwd=tmp_path)
    assert done.returncode == 0 and "outputs exist already for 2 of 3 images" in done.stderr
    assert masks[1].exists() and before == {path: path.stat().st_mtime_ns for path in before}
    assert run(*words, "skip_existing=true", cwd=tmp_path).returncode == 0  # nothing left to do


def test_going_on_leaves_a_corrected_mask_as_it_is(tmp_path: Path, finished_run: Path, photo: Path) -> None:
    words = [f"checkpoint={finished_run}", f"input={photo.name}", "output=m.png"]
    (tmp_path / "m.png").write_bytes(b"corrected")
    done = succeeded(run(*words, "skip_existing=true", cwd=tmp_path))
    assert (tmp_path / "m.png").read_bytes() == b"corrected"
    assert (tmp_path / "m_overlay.png").exists()
    assert "wrote m_overlay.png" in done.stderr and "wrote m.png" not in done.stderr


def test_a_folder_whose_name_is_a_number(tmp_path: Path, finished_run: Path, photo: Path) -> None:
    (tmp_path / "2012").mkdir()
    photo.rename(tmp_path / "2012" / "a.jpg")
    succeeded(run(f"checkpoint={finished_run}", "input=2012", "format=mask", cwd=tmp_path))
    assert Image.open(tmp_path / "2012_masks" / "a.png").size == (70, 50)


def test_a_pattern_is_gone_on_with(tmp_path: Path, finished_run: Path, photo: Path) -> None:
    (tmp_path / "g").mkdir()
    Image.open(photo).save(tmp_path / "g" / "a.png")
    words = [f"checkpoint={finished_run}", "input=g/*.png"]
    assert run(*words, cwd=tmp_path).returncode == 0
    again = run(*words, "skip_existing=true", cwd=tmp_path)
    assert again.returncode == 0 and "outputs exist already for 1 of 1 image\n" in again.stderr, again.stderr
    assert sorted(path.name for path in (tmp_path / "g").iterdir()) == ["a.png", "a_mask.png", "a_overlay.png"]


def test_a_plain_state_dict(tmp_path: Path, finished_run: Path, photo: Path) -> None:
    checkpoint = torch.load(finished_run / "checkpoints" / "best.pt", weights_only=True)
    torch.save(checkpoint["model"], tmp_path / "w (1).pth")
    names, colors = checkpoint["labels"]["names"], checkpoint["labels"]["colors"]
    labels = {i: {"class": name, "color": color} for i, (name, color) in enumerate(zip(names, colors, strict=True))}
    (tmp_path / "labels.json").write_text(json.dumps(labels))
    words = ["model=enet", "weights=w (1).pth", "labels=labels.json", "image_size=[32,32]", "format=mask"]
    succeeded(run(*words, f"input={photo.name}", "output=x.png", cwd=tmp_path))
    expected = Predictor.from_checkpoint(finished_run).predict(read_image(photo))
    assert np.array_equal(np.asarray(Image.open(tmp_path / "x.png")), expected)
    torch.save(checkpoint | {"labels": {**checkpoint["labels"], "names": names[::-1]}}, tmp_path / "w (1).pth")
    renamed = succeeded(run(*words, f"input={photo.name}", "output=z.png", cwd=tmp_path))
    warning = (
        "labels=labels.json: its classes are not those that weights=w (1).pth was trained for; they differ in their"
    )
    assert f"{warning} order" in renamed.stderr
    other = run(*["model=fast_scnn", *words[1:]], f"input={photo.name}", "output=y.png", cwd=tmp_path)
    assert other.returncode == 2 and "does not fit FastSCNN" in other.stderr


def test_the_ids_that_a_benchmark_wants(tmp_path: Path, finished_run: Path, photo: Path) -> None:
    checkpoint = torch.load(finished_run / "checkpoints" / "best.pt", weights_only=True)
    ids = [200 + i for i in range(len(checkpoint["labels"]["names"]))]
    checkpoint["labels"]["ids"] = ids
    torch.save(checkpoint, tmp_path / "c.pt")
    for word, output in (("train", "t.png"), ("label", "l.png")):
        done = run(
            "checkpoint=c.pt", f"input={photo.name}", f"ids={word}", "format=mask", f"output={output}", cwd=tmp_path
        )
        assert done.returncode == 0, done.stderr
    train, label = (np.asarray(Image.open(tmp_path / name)) for name in ("t.png", "l.png"))
    assert np.array_equal(label, train + 200)


def test_what_the_test_servers_want(tmp_path: Path, finished_run: Path) -> None:
    """The layouts that docs/inference.md shows the commands for."""
    checkpoint = torch.load(finished_run / "checkpoints" / "best.pt", weights_only=True)
    checkpoint["labels"]["ids"] = [7 + i for i in range(len(checkpoint["labels"]["names"]))]
    torch.save(checkpoint, tmp_path / "c.pt")
    stems = {"bonn": "bonn_000000_000019_leftImg8bit", "ulm": "ulm_000001_000019_leftImg8bit"}
    for city, stem in stems.items():
        (tmp_path / "leftImg8bit/test" / city).mkdir(parents=True)
        picture = Image.fromarray(RNG.integers(0, 256, (40, 60, 3), np.uint8))
        picture.save(tmp_path / "leftImg8bit/test" / city / f"{stem}.png")
    words = ["checkpoint=c.pt", "input=leftImg8bit/test", "output=results", "format=mask", "ids=label"]
    assert run(*words, cwd=tmp_path).returncode == 0
    found = {path.relative_to(tmp_path / "results").as_posix() for path in (tmp_path / "results").rglob("*.png")}
    assert found == {f"{city}/{stem}.png" for city, stem in stems.items()}
    assert all(np.asarray(Image.open(tmp_path / "results" / name)).min() >= 7 for name in found)

    (tmp_path / "JPEGImages").mkdir()
    for name in ("2008_000006", "2008_000011", "2007_000032"):
        picture.save(tmp_path / "JPEGImages" / f"{name}.jpg")
    (tmp_path / "photos.txt").write_text("JPEGImages/2008_000006.jpg\nJPEGImages/2008_000011.jpg\n")
    place = "results/VOC2012/Segmentation/comp6_test_cls"
    succeeded(run("checkpoint=c.pt", "input=photos.txt", f"output={place}", "format=mask", cwd=tmp_path))
    assert sorted(path.name for path in (tmp_path / place).iterdir()) == ["2008_000006.png", "2008_000011.png"]


def pictures() -> dict[str, Image.Image]:
    """Photos of every kind; all but the last four show the same."""
    image = np.zeros((40, 60, 3), np.uint8)
    image[:, 30:] = 200
    grey = image[..., 0]
    rgb = Image.fromarray(image)
    turned = Image.fromarray(np.rot90(image).copy())  # EXIF says: turn it back
    return {
        "rgb.png": rgb,
        "grey.png": Image.fromarray(grey),
        "16bit.png": Image.fromarray(grey.astype(np.uint16) * 257),
        "alpha.png": rgb.convert("RGBA"),
        "palette.png": rgb.quantize(4),
        "turned.jpg": turned,
        "cmyk.jpg": rgb.convert("CMYK"),
        "pixel.png": Image.fromarray(image[:1, :1]),
        "line.png": Image.fromarray(np.tile(image[:1], (1, 167, 1))[:, :10_000]),
        "column.png": Image.fromarray(np.tile(image[:1, :1], (10_000, 1, 1))),
    }


@pytest.mark.parametrize("window", ["null", pytest.param("[32,32]", marks=pytest.mark.slow)])
def test_photos_of_every_kind(tmp_path: Path, finished_run: Path, window: str) -> None:
    (tmp_path / "photos").mkdir()
    for name, picture in pictures().items():
        orientation = Image.Exif()
        orientation[0x0112] = 6  # a quarter turn to the right
        settings: dict[str, Any] = {"exif": orientation, "quality": 100} if name == "turned.jpg" else {}
        picture.save(tmp_path / "photos" / name, **settings)
    words = [f"checkpoint={finished_run}", "input=photos", "format=[mask,overlay]", f"window={window}"]
    succeeded(run(*words, cwd=tmp_path))
    masks = {name: np.asarray(Image.open(tmp_path / "photos_masks" / f"{Path(name).stem}.png")) for name in pictures()}
    for name in ("grey.png", "16bit.png", "alpha.png", "palette.png"):
        assert np.array_equal(masks[name], masks["rgb.png"]), name
    for name in ("turned.jpg", "cmyk.jpg"):  # lossy
        assert masks[name].shape == (40, 60) and (masks[name] == masks["rgb.png"]).mean() > 0.9, name
    assert [masks[n].shape for n in ("pixel.png", "line.png", "column.png")] == [(1, 1), (1, 10_000), (10_000, 1)]


@pytest.mark.parametrize(
    ("words", "fragment"),
    [
        (["input=nothing.jpg"], "there is no such file or folder"),
        (["input=nothing.mp4"], "there is no such file or folder"),
        (["input=empty"], "there are no images"),
        (["input=broken.mp4"], "not a video that can be read"),
        (["input=broken.mp4", "format=probabilities"], "only for photos"),
        (["input=broken.mp4", "skip_existing=true"], "overwrite=true replaces"),
        (["input=\N{SUPERSCRIPT TWO}"], "there is no such file or folder"),
        (["input=99", "format=overlay"], "there is no such camera"),
        (["input=a.png", "format=masks"], "format=masks"),
        (["input=a.png", "window=[16,16]"], "window"),
        (["input=a.png", "overlap=1", "window=[64,64]"], "overlap"),
        (["input="], "input is missing"),
        (["input=a.png", "overwrite=true", "skip_existing=true"], "pass only one"),
        (["input=a.png", "overlap=0.5"], "overlap= has no effect without windows"),
        (["input=a.png", "window=[64,64]", "image_size=[64,64]"], "pass only one"),
        (["input=a.png", "tta=rotate"], "tta=rotate"),
        (["input=a.png", "output=a.png", "overwrite=true"], "this is an input image"),
        (["input=a.png", "output=/proc/x.png"], "nothing can be written there"),
        (["input=a.png", "weights=x.pth"], "leave out"),
        (["input=a.png", "checkpoint=null", "weights=x.pth"], "model and labels missing"),
        (["input=a.png", "checkpoint=nothing"], "checkpoint=nothing: there is no such run or file"),
    ],
)
def test_mistakes(tmp_path: Path, finished_run: Path, words: list[str], fragment: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken.mp4").write_bytes(b"nothing")
    Image.fromarray(RNG.integers(0, 256, (40, 50, 3), np.uint8)).save(tmp_path / "a.png")
    before = sorted(path.name for path in tmp_path.iterdir())
    checkpoint = [] if any(word.startswith("checkpoint=") for word in words) else [f"checkpoint={finished_run}"]
    assert_refused(run(*checkpoint, *words, cwd=tmp_path), fragment)
    assert sorted(path.name for path in tmp_path.iterdir()) == before
