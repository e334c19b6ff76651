"""Photos of any number of channels, of 8 or 16 bits or floats."""

from __future__ import annotations

import re
import struct
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import albumentations as A
import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageOps

from data.augmentation import Augmentation, left_out
from data.bands import Bands, bands_of, checked_bands, saturated
from data.cropping import RandomCrop
from data.fitting import padded_and_resized
from data.images import read_image, resize_image
from data.statistics import channel_statistics
from tests.data.tiff_files import write_tiff
from utils.errors import Unreadable, UserError


def values(channels: int, dtype: str, size: tuple[int, int] = (40, 48)) -> np.ndarray:
    rng = np.random.default_rng(channels)
    if dtype.startswith("float"):
        return rng.normal(0.3, 0.5, (*size, channels)).astype(dtype)
    return rng.integers(0, np.iinfo(dtype).max, (*size, channels), dtype, endpoint=True)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("planar", [False, True])
@pytest.mark.parametrize(
    ("channels", "dtype"), [(1, "uint16"), (2, "int16"), (4, "uint16"), (5, "float32"), (13, "uint16")]
)
def test_values_are_scaled_from_their_range(
    tmp_path: Path, channels: int, dtype: str, planar: bool, order: Literal["<", ">"]
) -> None:
    stored, path = values(channels, dtype), tmp_path / "a.tif"
    write_tiff(path, stored, planar=planar and channels > 1, order=order, extra=[0] * (channels - 1))
    low, high = (-0.5, 1.5) if dtype == "float32" else (100.0, 20000.0)
    found = Bands(channels, (low, high)).read(path)
    expected = np.clip((stored.astype(np.float64) - low) / (high - low), 0, 1) * 255
    assert found.dtype == np.float32 and found.shape == (40, 48, channels)
    np.testing.assert_allclose(found, expected, atol=1e-3)


def test_bytes_stay_bytes_with_alpha_as_a_channel(tmp_path: Path) -> None:
    stored = values(4, "uint8")
    write_tiff(tmp_path / "a.tif", stored, photometric=2, extra=[2])
    assert (Bands(4).read(tmp_path / "a.tif") == stored).all()


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif"])
def test_photos_are_turned_by_their_orientation(tmp_path: Path, suffix: str, orientation: int) -> None:
    picture = Image.fromarray(cv2.resize(values(3, "uint8", (4, 6)), (48, 40)))
    picture.getexif()[274] = orientation
    picture.save(tmp_path / f"a{suffix}", exif=picture.getexif(), quality=100)
    found = Bands(3, (0.0, 255.0)).read(tmp_path / f"a{suffix}")
    expected = np.asarray(ImageOps.exif_transpose(picture))
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, atol=0 if suffix != ".jpg" else 30)
    np.testing.assert_allclose(found, read_image(tmp_path / f"a{suffix}"), atol=0 if suffix != ".jpg" else 2)


def test_values_that_are_no_numbers_become_the_lowest(tmp_path: Path) -> None:
    stored = np.array([[[np.nan, 0.5, np.inf, -np.inf]]], np.float32)
    write_tiff(tmp_path / "a.tif", stored, extra=[0] * 3)
    assert Bands(4, (0.0, 1.0)).read(tmp_path / "a.tif")[0, 0].tolist() == [0, 127.5, 255, 0]


def test_a_compression_that_needs_a_package_is_named(tmp_path: Path) -> None:
    if find_spec("imagecodecs") is not None:
        pytest.skip("imagecodecs is installed")
    cv2.imwrite(str(tmp_path / "a.tif"), values(4, "uint16"), [cv2.IMWRITE_TIFF_COMPRESSION, 5])
    with pytest.raises(Unreadable, match=r"a\.tif: the compression LZW needs a package: pip install imagecodecs"):
        Bands(4, (0.0, 1.0)).read(tmp_path / "a.tif")
    write_tiff(tmp_path / "b.tif", values(4, "float32"), extra=[0], more=[(317, 3, [3])])
    with pytest.raises(Unreadable, match=r"b\.tif: the predictor FLOATINGPOINT needs a package"):
        Bands(4, (0.0, 1.0)).read(tmp_path / "b.tif")


@pytest.mark.parametrize(
    ("channels", "dtype"), [(1, "uint8"), (1, "uint16"), (3, "uint16"), (4, "uint8"), (4, "uint16")]
)
def test_pngs_of_several_channels_have_red_first(tmp_path: Path, channels: int, dtype: str) -> None:
    stored, path = values(channels, dtype), tmp_path / "a.png"
    blue_first = stored[..., [2, 1, 0, 3][:channels]] if channels > 2 else stored
    cv2.imwrite(str(path), blue_first)
    if dtype == "uint8":
        assert (Bands(channels).read(path) == stored).all()
    else:
        np.testing.assert_allclose(Bands(channels, (0, 65535)).read(path), stored / 257, atol=1e-3)


def test_ordinary_photos_are_read_as_before(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), values(4, "uint16"))
    assert (Bands().read(tmp_path / "a.png") == read_image(tmp_path / "a.png")).all()


def test_mistakes_in_files(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "rgb.png"), values(3, "uint8"))
    with pytest.raises(Unreadable, match=r"has 3 channels, expected 4; pass photos of 4 channels, or train with"):
        Bands(4).read(tmp_path / "rgb.png")
    cv2.imwrite(str(tmp_path / "deep.png"), values(4, "uint16"))
    with pytest.raises(
        Unreadable, match=r"its values are uint16, not bytes; train with data\.value_range=\[low,high\]"
    ):
        Bands(4).read(tmp_path / "deep.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "deep.png").read_bytes()[:-200])
    with pytest.raises(Unreadable, match="truncated"):
        Bands(4, (0, 65535)).read(tmp_path / "cut.png")
    write_tiff(tmp_path / "five.tif", values(5, "uint16"), extra=[0] * 4)
    with pytest.raises(Unreadable, match=r"5 bands.*or train on it .*data\.channels=5 data\.value_range=\[low,high\]"):
        read_image(tmp_path / "five.tif")


@pytest.mark.parametrize(("pages", "dtype"), [(2, "uint8"), (3, "uint16"), (5, "float32")])
def test_pages_are_bands(tmp_path: Path, pages: int, dtype: str) -> None:
    stored, path = values(pages, dtype), tmp_path / "a.tif"
    tifffile.imwrite(path, np.moveaxis(stored, -1, 0), photometric="minisblack")
    assert len(tifffile.TiffFile(path).pages) == pages
    bands = Bands(pages) if dtype == "uint8" else Bands(pages, (0.0, 1000.0))
    expected = stored if dtype == "uint8" else stored.clip(0, 1000) * 0.255
    np.testing.assert_allclose(bands.read(path), expected, rtol=1e-5)
    with pytest.raises(Unreadable, match=rf"a\.tif: has {pages} channels, expected 7"):
        Bands(7).read(path)
    key = f"data.channels={pages}" + ("" if dtype == "uint8" else " data.value_range=[low,high]")
    with pytest.raises(Unreadable, match=rf"{pages} pictures .* or train on its pages as bands with {re.escape(key)}$"):
        read_image(path)


def test_pages_that_are_no_bands_are_refused(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "sizes.tif") as file:
        file.write(values(1, "uint8")[..., 0])
        file.write(values(1, "uint8", (20, 24))[..., 0])
    tifffile.imwrite(tmp_path / "rgb.tif", np.stack([values(3, "uint8")] * 2), photometric="rgb")
    for name in ("sizes.tif", "rgb.tif"):
        with pytest.raises(Unreadable, match=rf"{name}: its 2 pages .* save the page you need"):
            Bands(2).read(tmp_path / name)
    with pytest.raises(Unreadable, match=r"2 pictures \(pages\); save the one you need as a separate file$"):
        read_image(tmp_path / "rgb.tif")


def test_smaller_versions_are_left_out(tmp_path: Path) -> None:
    stored = values(4, "uint16")
    with tifffile.TiffWriter(tmp_path / "pyramid.tif") as file:
        for step in (1, 2):
            part = np.ascontiguousarray(stored[::step, ::step])
            file.write(part, photometric="minisblack", planarconfig="contig", subfiletype=step - 1)
    np.testing.assert_allclose(Bands(4, (0, 65535)).read(tmp_path / "pyramid.tif"), stored / 257, rtol=1e-5)


def test_a_damaged_tiff_is_an_error(tmp_path: Path) -> None:
    write_tiff(tmp_path / "a.tif", values(4, "uint16"), extra=[0])
    content = bytearray((tmp_path / "a.tif").read_bytes())
    place = struct.unpack_from("<I", content, 4)[0] + 2 + 3 * 12 + 8  # of the fourth entry, the compression
    content[place : place + 2] = b"\xff\x7f"
    (tmp_path / "a.tif").write_bytes(content)
    with pytest.raises(Unreadable, match=r"damaged|needs a package"):
        Bands(4, (0, 1)).read(tmp_path / "a.tif")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, None, None), r"data\.channels=0: must be 1 to 512"),
        ((True, None, None), r"data\.channels=true"),
        ((4, [5, 5], None), r"data\.value_range=\[5, 5\]: must be the smallest and the largest"),
        ((4, [0, float("inf")], None), r"data\.value_range"),
        ((4, "ab", None), r"data\.value_range"),
        ((4, None, [4, 3, 5]), r"data\.preview_bands=\[4, 3, 5\]: must be three numbers from 1 to data\.channels=4"),
        ((4, None, [0, 1, 2]), r"data\.preview_bands"),
    ],
)
def test_mistakes_in_keys(arguments: tuple, message: str) -> None:
    with pytest.raises(UserError, match=message):
        checked_bands(*arguments)


def test_bands_of_a_run() -> None:
    config = {"data": {"value_range": [0, 10000], "preview_bands": [4, 3, 2], "channels": 6}}
    assert bands_of(config, 6) == Bands(6, (0.0, 10000.0), (4, 3, 2))
    assert bands_of({"data": None}, 3).is_rgb
    with pytest.raises(UserError):
        bands_of({"data": {"value_range": {}}}, 4)


def test_pictures_show_the_chosen_bands() -> None:
    image = values(5, "uint8")
    assert (Bands(5).picture(image) == image[..., :3]).all()
    assert (Bands(5, preview=(5, 1, 1)).picture(image) == image[..., [4, 0, 0]]).all()
    assert (Bands(1).picture(image[..., :1]) == image[..., [0, 0, 0]]).all()
    assert (Bands(2).picture(image[..., :2]) == image[..., [0, 1, 1]]).all()
    dark = np.linspace(10, 30, 101, dtype=np.float32).reshape(1, 101, 1).repeat(4, 2)
    found = Bands(4, (0, 1)).picture(dark)
    assert found.dtype == np.uint8 and found.shape == (1, 101, 3)
    assert found[0, 2].tolist() == [0] * 3 and found[0, 98].min() >= 254 and 126 <= found[0, 50, 0] <= 128


@pytest.mark.parametrize("channels", [1, 4, 5])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_resizing_and_padding_treat_each_channel_alike(channels: int, dtype: type) -> None:
    image: np.ndarray = values(channels, "uint8").astype(dtype)
    for size in ((20, 24), (80, 96), (31, 37)):
        found = resize_image(image, size)
        assert found.dtype == dtype and found.shape == (*size, channels)
        for channel in range(channels):
            single = resize_image(image[..., [channel]], size)[..., 0]
            assert np.abs(found[..., channel] - single.astype(float)).max() <= (1 if dtype is np.uint8 else 1e-3)
    padded = padded_and_resized(image, (48, 48))
    assert padded.shape == (48, 48, channels) and (padded[:40] == image).all() and not padded[40:].any()


class TestAugmentation:
    """Position is changed in every channel alike; colours only of RGB."""

    @pytest.mark.parametrize("channels", [1, 4, 5, 13])
    @pytest.mark.parametrize("dtype", [np.uint8, np.float32])
    def test_positions(self, channels: int, dtype: type) -> None:
        """Each channel moves as the same picture would in RGB; what is uncovered becomes 0."""
        geometry = [
            A.RandomScale(scale_limit=(-0.25, 0.5), mask_interpolation=6, p=1),
            A.RandomCrop(height=32, width=32, pad_if_needed=True, fill=[124, 116, 104], fill_mask=255),
            A.HorizontalFlip(p=0.5),
        ]
        augmentation = Augmentation([*geometry, A.ColorJitter(p=1)])
        single = Augmentation(
            [*geometry[:1], A.RandomCrop(32, 32, pad_if_needed=True, fill=0, fill_mask=255), geometry[2]]
        )
        image: np.ndarray = values(channels, "uint8").astype(dtype)
        mask = values(1, "uint8")[..., 0] % 5
        for seed in range(6):
            found, found_mask = augmentation(image, mask, seed)
            assert found.shape == (32, 32, channels) and found.dtype == dtype
            for channel in (0, channels - 1):
                alone = np.ascontiguousarray(image[..., [channel] * 3].astype(np.uint8))
                expected, expected_mask = single(alone, mask, seed)
                assert (found_mask == expected_mask).all()
                assert np.abs(found[..., channel] - expected[..., 0].astype(float)).max() <= 1

    def test_what_is_left_out_is_named(self) -> None:
        augmentation = Augmentation([A.OneOf([A.ColorJitter(), A.GaussianBlur()]), A.HorizontalFlip()])
        assert left_out(augmentation, Bands(4)) == ["ColorJitter", "GaussianBlur"]
        assert left_out(augmentation, Bands(3, (0, 9))) == []

    def test_colours_of_rgb_floats_change_as_those_of_bytes(self) -> None:
        augmentation = Augmentation([A.RandomBrightnessContrast(p=1)])
        image, mask = values(3, "uint8") // 4 + 64, np.zeros((40, 48), np.uint8)
        for seed in range(4):
            expected, found = (augmentation(image.astype(kind), mask, seed)[0] for kind in (np.uint8, np.float32))
            assert np.abs(found - expected.astype(float)).max() <= 1.01
            assert np.abs(expected.astype(float) - image).max() > 3

    @pytest.mark.parametrize("channels", [1, 5])
    def test_crops(self, channels: int) -> None:
        """Of the same place as in RGB, padded with 0."""
        image, mask = values(channels, "uint8").astype(np.float32), np.zeros((40, 48), np.uint8)
        crop = RandomCrop(crop_size=(64, 64), scale_range=(1.0, 1.0), fill=(9, 9, 9))
        found, found_mask = crop(image, mask, 3)
        rows, columns = np.flatnonzero((found_mask == 0).any(1)), np.flatnonzero((found_mask == 0).any(0))
        inside = found[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        assert (inside == image).all() and np.isclose(found.sum(dtype=float), image.sum(dtype=float))


def test_statistics_of_channels() -> None:
    class Images:
        bands = Bands(3, (0, 1))

        def __len__(self) -> int:
            return 3

        def __getitem__(self, index: int) -> object:
            image = values(4, "uint8", (8 + index, 8)).astype(np.float32)
            image[..., 2] = 51
            return type("Sample", (), {"image": image})

    mean, std = channel_statistics(Images())  # type: ignore[arg-type]
    pixels = np.concatenate([values(4, "uint8", (8 + i, 8)).reshape(-1, 4) for i in range(3)]) / 255
    pixels[:, 2] = 0.2
    np.testing.assert_allclose(mean, pixels.mean(0), atol=1e-6)
    np.testing.assert_allclose(std, [*pixels.std(0)[:2], 1, pixels.std(0)[3]], atol=1e-6)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".jp2"])
@pytest.mark.parametrize("bits", [8, 10, 12, 14])
def test_photos_that_use_few_of_16_bits_are_warned_of(tmp_path: Path, bits: int, suffix: str) -> None:
    picture = cv2.GaussianBlur(values(3, "uint8"), (0, 0), 3).astype(float)
    stored = np.round((picture - picture.min()) / np.ptp(picture) * (2**bits - 1)).astype(np.uint16)
    cv2.imwrite(str(tmp_path / f"a{suffix}"), stored, [cv2.IMWRITE_TIFF_COMPRESSION, 1])
    warning = Bands().range_warning(float(read_image(tmp_path / f"a{suffix}").max()), 0)
    ways = f"multiply their values by {2 ** (16 - bits)}, or train with data.value_range=[0,{2**bits - 1}]"
    assert warning and warning.endswith(f"use only {bits} of them, {ways}")
    right, wide = Bands(3, (0, 2**bits - 1)), Bands(3, (0, 65535))
    assert right.range_warning(float(right.read(tmp_path / f"a{suffix}").max()), 0) is None
    too_wide = wide.range_warning(float(wide.read(tmp_path / f"a{suffix}").max()), 0)
    assert too_wide and too_wide.endswith("is data.value_range=[0,65535] their range?")


def test_photos_beyond_their_range_are_warned_of() -> None:
    image = np.full((4, 5, 3), 255, np.float32)
    image[:2] = 7
    assert saturated(image) == 0.5
    assert Bands(3, (0, 1)).range_warning(255, saturated(image)) is None
    assert "at the upper end of data.value_range=[0,1]" in (Bands(3, (0, 1)).range_warning(255, 0.51) or "")
    assert Bands(3).range_warning(255, 0.9) is None  # a scanned page


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_tiffs_in_which_0_is_white(tmp_path: Path, kind: type) -> None:
    stored = values(1, np.dtype(kind).name)[..., 0]
    tifffile.imwrite(tmp_path / "a.tif", stored, photometric="miniswhite")
    top = np.iinfo(kind).max
    found = Bands(1, (0, float(top))).read(tmp_path / "a.tif")[..., 0]
    np.testing.assert_allclose(found, (top - stored.astype(float)) * 255 / top, atol=1e-3)
    np.testing.assert_allclose(found, read_image(tmp_path / "a.tif")[..., 0], atol=1)


def test_indices_of_a_palette_are_no_values(tmp_path: Path) -> None:
    Image.fromarray(values(3, "uint8")).quantize(8).save(tmp_path / "a.tif")
    with pytest.raises(Unreadable, match="indices of a palette; save it as RGB or grey"):
        Bands(1).read(tmp_path / "a.tif")
