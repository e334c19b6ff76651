"""TIFFs as GDAL and others write them, against the arrays that they were made of."""

from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import tifffile
from PIL import Image

from data.images import read_image, stored_size
from data.masks import read_mask
from tests.data.tiff_files import BLACK_IS_ZERO, RGB, write_tiff
from utils.errors import Unreadable, UserError

RNG = np.random.default_rng(0)
COLORS = RNG.integers(0, 256, (6, 9, 3), np.uint8)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("planar", [False, True])
@pytest.mark.parametrize("photometric", [BLACK_IS_ZERO, RGB])
@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_three_bands_are_red_green_and_blue(
    tmp_path: Path, order: Literal["<", ">"], planar: bool, photometric: int, kind: type
) -> None:
    pixels: np.ndarray = COLORS.astype(kind) * (257 if kind is np.uint16 else 1)
    extra = [0, 0] if photometric == BLACK_IS_ZERO else []
    write_tiff(tmp_path / "a.tif", pixels, photometric, extra=extra, planar=planar, order=order)
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), COLORS)
    assert stored_size(tmp_path / "a.tif") == (6, 9)


@pytest.mark.parametrize("photometric", [BLACK_IS_ZERO, RGB])
@pytest.mark.parametrize("alpha", [1, 2])
def test_alpha_is_left_out(tmp_path: Path, photometric: int, alpha: int) -> None:
    pixels = np.dstack([COLORS, np.full((6, 9), 30, np.uint8)])
    extra = [0, 0, alpha] if photometric == BLACK_IS_ZERO else [alpha]
    write_tiff(tmp_path / "a.tif", pixels, photometric, extra=extra)
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), COLORS)
    write_tiff(tmp_path / "grey.tif", pixels[..., 2:], extra=[alpha])
    np.testing.assert_array_equal(read_image(tmp_path / "grey.tif"), COLORS[..., 2:].repeat(3, 2))


@pytest.mark.parametrize("bands", [1, 3])
def test_negative_values_are_black(tmp_path: Path, bands: int) -> None:
    pixels = RNG.integers(-32768, 32768, (6, 9, bands)).astype(np.int16)
    write_tiff(tmp_path / "a.tif", pixels, extra=[0] * (bands - 1))
    expected = np.maximum(pixels, 0) / 257
    assert np.abs(read_image(tmp_path / "a.tif") - expected).max() <= 1
    assert (read_image(tmp_path / "a.tif")[(pixels < 0).all(2)] == 0).all()


@pytest.mark.parametrize(("bits", "factor"), [(2, 85), (4, 17)])
def test_grey_of_few_bits(tmp_path: Path, bits: int, factor: int) -> None:
    values = RNG.integers(0, 2**bits, (6, 8), np.uint8)
    write_tiff(tmp_path / "a.tif", values, bits=bits)
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif")[..., 1], values * factor)
    np.testing.assert_array_equal(read_mask(tmp_path / "a.tif"), values)


@pytest.mark.parametrize(
    ("pixels", "photometric", "words"),
    [
        (np.zeros((4, 4, 2), np.uint8), BLACK_IS_ZERO, "has 2 bands"),
        (np.zeros((4, 4, 4), np.uint16), BLACK_IS_ZERO, "has 4 bands"),
        (np.zeros((4, 4, 13), np.uint16), BLACK_IS_ZERO, "has 13 bands; expected one .grey. or three"),
        (np.zeros((4, 4, 7), np.uint8), RGB, "has 7 bands"),
        (np.zeros((4, 4), np.float32), BLACK_IS_ZERO, r"fractions \(floats of 32 bits\)"),
        (np.zeros((4, 4, 3), np.float64), RGB, r"fractions \(floats of 64 bits\)"),
    ],
)
def test_what_is_no_photo_or_mask_is_named(tmp_path: Path, pixels: np.ndarray, photometric: int, words: str) -> None:
    extra = [0] * (pixels.shape[2] - (3 if photometric == RGB else 1)) if pixels.ndim == 3 else []
    write_tiff(tmp_path / "a.tif", pixels, photometric, extra=extra)
    for read in (read_image, read_mask):
        with pytest.raises(Unreadable, match=words) as error:
            read(tmp_path / "a.tif")
        assert str(tmp_path / "a.tif") in str(error.value)


def test_photos_of_32_bits_are_refused(tmp_path: Path) -> None:
    write_tiff(tmp_path / "a.tif", np.zeros((4, 4, 3), np.uint32), RGB)
    with pytest.raises(Unreadable, match="values have 32 bits"):
        read_image(tmp_path / "a.tif")


def test_several_pictures_in_a_file_are_refused(tmp_path: Path) -> None:
    write_tiff(tmp_path / "a.tif", COLORS[..., 0], pictures=3)
    for read in (read_image, read_mask):
        with pytest.raises(Unreadable, match="holds 3 pictures"):
            read(tmp_path / "a.tif")


def test_smaller_versions_of_the_picture_do_no_harm(tmp_path: Path) -> None:
    write_tiff(tmp_path / "a.tif", COLORS[..., 0], pictures=3, more=[(254, 4, [1])])  # all three say so
    np.testing.assert_array_equal(read_mask(tmp_path / "a.tif"), COLORS[..., 0])


def test_a_truncated_tiff_is_refused(tmp_path: Path) -> None:
    """The tags first, as many programs write them: OpenCV would fill up the rest with black."""
    write_tiff(tmp_path / "a.tif", COLORS, RGB)
    content = (tmp_path / "a.tif").read_bytes()
    longer = content.replace((6 * 9 * 3).to_bytes(4, "little"), (6 * 9 * 3 + len(content)).to_bytes(4, "little"))
    assert longer != content
    (tmp_path / "a.tif").write_bytes(longer)
    with pytest.raises(Unreadable, match="truncated"):
        read_image(tmp_path / "a.tif")


def test_masks_of_several_bands_hold_colours(tmp_path: Path) -> None:
    ids = RNG.integers(0, 3, (6, 9))
    palette = np.array([(0, 0, 0), (200, 0, 0), (0, 0, 200)], np.uint8)
    known = {(0, 0, 0): 4, (200, 0, 0): 9, (0, 0, 200): 30}
    write_tiff(tmp_path / "a.tif", palette[ids], extra=[0, 0])
    np.testing.assert_array_equal(read_mask(tmp_path / "a.tif", known), np.array([4, 9, 30])[ids])
    write_tiff(tmp_path / "a.tif", palette[ids].astype(np.uint16) * 257, extra=[0, 0])
    np.testing.assert_array_equal(read_mask(tmp_path / "a.tif", known), np.array([4, 9, 30])[ids])


def test_negative_ids_are_refused(tmp_path: Path) -> None:
    for kind in (np.int8, np.int16):
        write_tiff(tmp_path / "a.tif", np.array([[0, 1], [-1, 5]], kind))
        with pytest.raises(UserError, match="ids from -1 to 5"):
            read_mask(tmp_path / "a.tif")


def test_masks_in_which_0_is_white_are_refused(tmp_path: Path) -> None:
    write_tiff(tmp_path / "a.tif", np.array([[0, 1]], np.uint8), 0)
    with pytest.raises(Unreadable, match="MinIsWhite"):
        read_mask(tmp_path / "a.tif")
    tifffile.imwrite(tmp_path / "a.tif", np.array([[False, True, True]]))  # inverts nothing, and says MinIsWhite
    with pytest.raises(Unreadable, match="MinIsWhite"):
        read_mask(tmp_path / "a.tif")


@pytest.mark.parametrize("compression", [None, "group3", "group4"])
def test_masks_of_one_bit(tmp_path: Path, compression: str | None) -> None:
    ids = RNG.integers(0, 2, (12, 20))
    Image.fromarray(ids > 0).save(tmp_path / "a.tif", compression=compression)
    np.testing.assert_array_equal(read_mask(tmp_path / "a.tif"), ids)


def test_values_of_64_bits_are_refused(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.array([[0, 1]], np.int64))
    for read in (read_image, read_mask):
        with pytest.raises(Unreadable, match="64 bits; save it with 8 or 16 bits, unsigned"):
            read(tmp_path / "a.tif")


@pytest.mark.parametrize("length", range(0, 160, 7))
def test_damaged_tags_are_the_users_to_mend(tmp_path: Path, length: int) -> None:
    write_tiff(tmp_path / "a.tif", COLORS[:2, :2], RGB)
    content = (tmp_path / "a.tif").read_bytes()
    (tmp_path / "a.tif").write_bytes(content[:length])
    for read in (read_image, read_mask):
        with pytest.raises(Unreadable) as error:
            read(tmp_path / "a.tif")
        assert "0x" not in str(error.value)  # no addresses in memory
