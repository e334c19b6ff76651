"""The first rows of PNGs, and crops that read no more than those."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from data import bands
from data.cityscapes import Cityscapes
from data.cropping import RandomCrop
from data.images import read_image
from data.mixing import augmented_sample
from data.png_rows import first_rows
from data.resized import ResizedSamples
from data.samples import SegmentationDataset
from data.voc import VOC
from tests.data.layouts import make_cityscapes, make_voc, photo
from utils.errors import SizeMismatch, Unreadable

SIZE = (200, 120)
NOISE = np.random.default_rng(0).integers(0, 256, (*SIZE, 3)).astype(np.uint8)


def png(pixels: np.ndarray = NOISE, **options: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", **options)
    return file.getvalue()


@pytest.mark.parametrize("pixels", [NOISE, photo(0, SIZE)])
@pytest.mark.parametrize("rows", [1, 7, 100, 169])
def test_rows_are_those_of_the_picture(pixels: np.ndarray, rows: int) -> None:
    found = first_rows(png(pixels), rows, SIZE)
    assert found is not None and found.dtype == np.uint8
    np.testing.assert_array_equal(found, pixels[:rows])


def test_the_rest_is_not_decoded() -> None:
    """Damage in the last tenth of the file is not seen; at the beginning of the pixels, it is."""
    encoded = bytearray(png())
    encoded[-len(encoded) // 10 : -200] = bytes(len(encoded) // 10 - 200)
    found = first_rows(bytes(encoded), 100, SIZE)
    assert found is not None
    np.testing.assert_array_equal(found, NOISE[:100])
    start = encoded.index(b"IDAT") + 4
    encoded[start : start + 8] = bytes([255] * 8)
    assert first_rows(bytes(encoded), 100, SIZE) is None


def test_other_files_are_left_to_the_whole_reader() -> None:
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    jpeg = io.BytesIO()
    Image.fromarray(NOISE).save(jpeg, "JPEG")
    others = {
        "mostly needed": (png(), 195, SIZE),
        "another size": (png(), 10, (100, 120)),
        "grey": (png(NOISE[..., 0]), 10, SIZE),
        "alpha": (png(np.concatenate([NOISE, NOISE[..., :1]], 2)), 10, SIZE),
        "rotated": (png(exif=exif), 10, SIZE),
        "truncated": (png()[:-100], 10, SIZE),
        "JPEG": (jpeg.getvalue(), 10, SIZE),
        "empty": (b"", 10, SIZE),
    }
    assert {name: first_rows(*arguments) for name, arguments in others.items()} == dict.fromkeys(others)


@pytest.mark.parametrize("limit", [None, 0.3])
@pytest.mark.parametrize("make", [make_cityscapes, make_voc])
def test_crops_are_the_same(tmp_path: Path, make: Any, limit: float | None) -> None:
    """Of PNGs and JPEGs."""
    root = str(make(tmp_path))
    dataset: SegmentationDataset = Cityscapes(root, "train") if make is make_cityscapes else VOC(root, "train")
    samples = ResizedSamples(dataset, None, masks=True)
    crop = RandomCrop(crop_size=(32, 48), max_class_share=limit)
    assert samples.reads_rows
    for index in range(4):
        for seed in range(25):
            whole = crop(dataset[index].image, dataset[index].mask, seed)
            for one, other in zip(crop.crop_of(samples, index, seed), whole, strict=True):
                np.testing.assert_array_equal(one, other)


def test_training_reads_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    samples = ResizedSamples(Cityscapes(str(make_cityscapes(tmp_path)), "train"), None, masks=True)
    crop = RandomCrop(crop_size=(16, 48), scale_range=(1, 1))
    expected = [augmented_sample(samples, crop, 0, epoch, 1) for epoch in range(30)]
    whole: list[str] = []

    def noted(path: str) -> np.ndarray:
        whole.append(path)
        return read_image(path)

    monkeypatch.setattr(bands, "read_image", noted)
    found = [augmented_sample(samples, crop, 0, epoch, 1) for epoch in range(30)]
    assert all(np.array_equal(one.image, other.image) for one, other in zip(found, expected, strict=True))
    assert len(whole) < 15  # crops that end in the last 5 % of the rows need the whole


def test_faults_are_found_as_they_are_without(tmp_path: Path) -> None:
    dataset = Cityscapes(str(make_cityscapes(tmp_path)), "train")
    crop, path = RandomCrop(crop_size=(16, 48), scale_range=(1, 1)), Path(dataset.files(0)[0])
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(Unreadable, match=r"leftImg8bit\.png: the image is truncated"):
        crop.crop_of(dataset, 0, 0)
    Image.fromarray(photo(0, (72, 96))).save(path)
    with pytest.raises(SizeMismatch, match=r"is 96x72 but its mask .* is 96x64"):
        crop.crop_of(dataset, 0, 0)
