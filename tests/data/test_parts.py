"""Parts of photos and masks, and crops that decode little more than those."""

import io
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from data import pairs
from data.cityscapes import Cityscapes
from data.cropping import RandomCrop
from data.folder import Folder
from data.images import decode_image, resize_image
from data.masks import read_mask
from data.parts import Box, decode_part
from data.resized import ResizedSamples
from data.samples import SegmentationDataset
from data.voc import VOC
from tests.data.layouts import blocks, make_cityscapes, make_voc, photo, write
from utils.errors import SizeMismatch, Unreadable

SIZE = (200, 120)
NOISE = np.random.default_rng(0).integers(0, 256, (*SIZE, 3)).astype(np.uint8)
ALL = (10_000, 10_000)
"""A size to resize to that no part has, so that it keeps its resolution."""


def encoded(format: str, pixels: np.ndarray = NOISE, **options: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format, **options)
    return file.getvalue()


@pytest.mark.parametrize("pixels", [NOISE, photo(0, SIZE)])
@pytest.mark.parametrize("box", [Box(0, 0, 1, 120), Box(3, 7, 4, 1), Box(99, 60, 66, 60)])
def test_part_of_a_png(pixels: np.ndarray, box: Box) -> None:
    top, left, height, width = box
    found = decode_part(encoded("PNG", pixels), SIZE, box, ALL)
    assert found is not None and found.dtype == np.uint8
    np.testing.assert_array_equal(found, pixels[top : top + height, left : left + width])


@pytest.mark.parametrize("options", [{}, {"subsampling": 0}, {"subsampling": 1}, {"restart_marker_rows": 1}])
@pytest.mark.parametrize("end", [1, 15, 16, 17, 31, 32, 100, 149])
def test_part_of_a_jpeg(options: dict[str, Any], end: int) -> None:
    """At blocks' edges, too, where colours of two rows of blocks are blended."""
    jpeg = encoded("JPEG", quality=90, **options)
    found = decode_part(jpeg, SIZE, Box(end // 3, 5, end - end // 3, 100), ALL)
    assert found is not None
    np.testing.assert_array_equal(found, np.asarray(Image.open(io.BytesIO(jpeg)))[end // 3 : end, 5:105])


def smooth(size: tuple[int, int]) -> np.ndarray:
    """A photo without detail that a reduction by 8 would lose."""
    coarse = np.random.default_rng(1).integers(40, 216, (6, 9, 3)).astype(np.uint8)
    return cv2.resize(coarse, (size[1], size[0]), interpolation=cv2.INTER_CUBIC)


@pytest.mark.parametrize(("used", "factor"), [((48, 67), 1), ((47, 66), 2), ((23, 33), 4), ((11, 16), 8)])
def test_a_jpeg_is_reduced_as_far_as_allowed(used: tuple[int, int], factor: int) -> None:
    size, box = (425, 606), Box(160, 303, 191, 267)
    jpeg = encoded("JPEG", smooth(size), quality=95)
    found = decode_part(jpeg, size, box, used)
    assert found is not None and min(found.shape[0] - 2 * used[0], found.shape[1] - 2 * used[1]) >= 0
    assert found.shape[0] == pytest.approx(191 / factor, abs=1)
    assert found.shape[1] == pytest.approx(267 / factor, abs=1)
    whole = np.asarray(Image.open(io.BytesIO(jpeg)))[160:351, 303:570]
    expected = cv2.resize(whole, used[::-1], interpolation=cv2.INTER_AREA)
    difference = cv2.resize(found, used[::-1], interpolation=cv2.INTER_AREA).astype(int) - expected
    assert np.abs(difference).mean() < 2 and abs(difference.mean()) < 0.3


def test_the_rest_is_not_decoded() -> None:
    """Damage near the end of the file is not seen; at the beginning of the pixels, it is."""
    damaged = bytearray(encoded("PNG"))
    damaged[damaged.rindex(b"IDAT") + 100 : -100] = bytes(len(damaged) - damaged.rindex(b"IDAT") - 200)
    found = decode_part(bytes(damaged), SIZE, Box(0, 0, 100, 120), ALL)
    assert found is not None
    np.testing.assert_array_equal(found, NOISE[:100])
    start = damaged.index(b"IDAT") + 4
    damaged[start : start + 8] = bytes([255] * 8)
    assert decode_part(bytes(damaged), SIZE, Box(0, 0, 100, 120), ALL) is None


def test_other_files_are_left_to_the_whole_reader() -> None:
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    others = {
        "mostly needed": (encoded("PNG"), 195, SIZE),
        "another size": (encoded("PNG"), 10, (100, 120)),
        "grey": (encoded("PNG", NOISE[..., 0]), 10, SIZE),
        "alpha": (encoded("PNG", np.concatenate([NOISE, NOISE[..., :1]], 2)), 10, SIZE),
        "rotated": (encoded("PNG", exif=exif), 10, SIZE),
        "truncated": (encoded("PNG")[:-100], 10, SIZE),
        "JPEG, mostly needed": (encoded("JPEG"), 195, SIZE),
        "JPEG of another size": (encoded("JPEG"), 10, (100, 120)),
        "progressive JPEG": (encoded("JPEG", progressive=True), 10, SIZE),
        "rotated JPEG": (encoded("JPEG", exif=exif), 10, SIZE),
        "beginning of a JPEG": (encoded("JPEG")[:100], 10, SIZE),
        "BMP": (encoded("BMP"), 10, SIZE),
        "empty": (b"", 10, SIZE),
    }
    for name, (content, rows, size) in others.items():
        assert decode_part(content, size, Box(0, 0, rows, 120), ALL) is None, name
    exif[0x0112] = 1
    upright = encoded("JPEG", exif=exif)
    assert decode_part(upright, SIZE, Box(0, 0, 10, 120), ALL) is not None


MASK = blocks(0, [0, 1, 2, 3], SIZE)
KINDS: dict[str, np.ndarray] = {
    "grey.png": MASK.astype(np.uint8) * 80,
    "ids of 16 bits.png": MASK.astype(np.uint16) * 300,
    "colours.png": np.repeat(MASK[..., None].astype(np.uint8) * 80, 3, 2),
    "grey.bmp": MASK.astype(np.uint8) * 80,
}


@pytest.mark.parametrize("name", KINDS)
def test_part_of_a_mask(tmp_path: Path, name: str) -> None:
    Image.fromarray(KINDS[name]).save(tmp_path / name)
    ids = KINDS[name] if KINDS[name].ndim == 2 else KINDS[name][..., 0]
    np.testing.assert_array_equal(read_mask(tmp_path / name, box=Box(20, 30, 50, 60)), ids[20:70, 30:90])


def test_large_photos_are_decoded_smaller(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The mask stays as it is, and the photo nearly so."""
    mask = blocks(3, [0, 1], (704, 528))
    write(tmp_path / "masks" / "a.png", mask)
    (tmp_path / "images").mkdir()
    Image.fromarray(smooth((704, 528))).save(tmp_path / "images" / "a.jpg", quality=95)
    (tmp_path / "labels.json").write_text(
        '{"0": {"class": "a", "color": [0, 0, 0]}, "1": {"class": "b", "color": [9, 9, 9]}}'
    )
    dataset = Folder(str(tmp_path), "all")
    for fit, size in (("stretch", (80, 64)), ("pad", (80, 64)), ("pad", (32, 64))):
        found = ResizedSamples(dataset, size, masks=True, fit=fit)[0]  # type: ignore[arg-type]
        monkeypatch.setattr(dataset, "reads_parts", False)
        expected = ResizedSamples(dataset, size, masks=True, fit=fit)[0]  # type: ignore[arg-type]
        monkeypatch.undo()
        np.testing.assert_array_equal(found.mask, expected.mask)
        difference = np.abs(found.image.astype(int) - expected.image)
        assert 0 < difference.mean() < 1.5
    validated = ResizedSamples(dataset, (80, 64), masks=False)[0]
    assert (validated.mask == mask).all()
    np.testing.assert_array_equal(validated.image, resize_image(dataset[0].image, (80, 64)))  # as inference sees it


def test_crops_scaled_down_are_decoded_smaller(tmp_path: Path) -> None:
    folder = make_voc(tmp_path) / "VOCdevkit" / "VOC2012"
    Image.fromarray(smooth((424, 640))).save(folder / "JPEGImages" / "2007_000000.jpg", quality=95)
    Image.fromarray(blocks(0, [1, 2], (424, 640))).save(folder / "SegmentationClass" / "2007_000000.png")
    dataset = VOC(str(tmp_path), "train")
    crop = RandomCrop(crop_size=(48, 40), scale_range=(0.1, 0.25))
    differences = []
    for seed in range(40):
        image, mask, _ = crop.sample(dataset, 0, seed)
        expected, expected_mask = crop(dataset[0].image, dataset[0].mask, seed)
        np.testing.assert_array_equal(mask, expected_mask)
        differences.append(np.abs(image.astype(int) - expected).mean())
    assert 0 < np.mean(differences) < 2.5 and np.max(differences) < 8


@pytest.mark.parametrize("limit", [None, 0.3])
@pytest.mark.parametrize("make", [make_cityscapes, make_voc])
def test_crops_are_the_same(tmp_path: Path, make: Any, limit: float | None) -> None:
    """Of PNGs and JPEGs."""
    root = str(make(tmp_path))
    dataset: SegmentationDataset = Cityscapes(root, "train") if make is make_cityscapes else VOC(root, "train")
    samples = ResizedSamples(dataset, None, masks=True)
    crop = RandomCrop(crop_size=(32, 48), max_class_share=limit)
    assert samples.reads_parts
    for index in range(4):
        for seed in range(25):
            whole = crop(dataset[index].image, dataset[index].mask, seed)
            for one, other in zip(crop.sample(samples, index, seed)[:2], whole, strict=True):
                np.testing.assert_array_equal(one, other)


def test_training_reads_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    samples = ResizedSamples(Cityscapes(str(make_cityscapes(tmp_path)), "train"), None, masks=True)
    crop = RandomCrop(crop_size=(16, 48), scale_range=(1, 1))
    expected = [crop.sample(samples, 1, seed) for seed in range(30)]
    whole: list[str] = []

    def noted(encoded: bytes, path: str) -> np.ndarray:
        whole.append(path)
        return decode_image(encoded, path)

    monkeypatch.setattr(pairs, "decode_image", noted)
    found = [crop.sample(samples, 1, seed) for seed in range(30)]
    assert all(np.array_equal(one.image, other.image) for one, other in zip(found, expected, strict=True))
    assert len(whole) < 15  # crops that end in the last 5 % of the rows need the whole


def test_faults_are_found_as_they_are_without(tmp_path: Path) -> None:
    dataset = Cityscapes(str(make_cityscapes(tmp_path)), "train")
    crop, path = RandomCrop(crop_size=(16, 48), scale_range=(1, 1)), Path(dataset.files(0)[0])
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(Unreadable, match=r"leftImg8bit\.png: the image is truncated"):
        crop.sample(dataset, 0, 0)
    Image.fromarray(photo(0, (72, 96))).save(path)
    with pytest.raises(SizeMismatch, match=r"is 96x72 but its mask .* is 96x64"):
        crop.sample(dataset, 0, 0)
