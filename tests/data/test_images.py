import os
import struct
import warnings
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from data.bands import Bands
from data.images import IMAGE_SUFFIXES, read_image, resize_image, stored_size
from data.labels import LabelSet, lookup_table, to_train_ids
from data.masks import read_mask, resize_mask, write_mask
from data.parts import Box
from utils.errors import Unreadable, UserError

RNG = np.random.default_rng(0)
PICTURE = RNG.integers(0, 256, (20, 30, 3), np.uint8)
LABELS = LabelSet(("a", "b", "c"), ((10, 20, 30), (200, 0, 0), (0, 0, 255)))


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif"])
def test_photos_are_rgb(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"straße [1]{suffix}"
    Image.fromarray(PICTURE).save(path)
    np.testing.assert_array_equal(read_image(path), PICTURE)


def test_jpeg_2000_and_netpbm(tmp_path: Path) -> None:
    Image.fromarray(PICTURE).save(tmp_path / "a.jp2", irreversible=False)
    Image.fromarray(PICTURE).save(tmp_path / "a.ppm")
    Image.fromarray(PICTURE[..., 0]).save(tmp_path / "a.pgm")
    np.testing.assert_array_equal(read_image(tmp_path / "a.jp2"), PICTURE)
    np.testing.assert_array_equal(read_image(tmp_path / "a.ppm"), PICTURE)
    np.testing.assert_array_equal(read_image(tmp_path / "a.pgm"), np.repeat(PICTURE[..., :1], 3, 2))


def test_the_first_frame_of_a_gif(tmp_path: Path) -> None:
    palette = RNG.integers(0, 256, (256, 3), np.uint8)
    frames = []
    for seed in range(2):
        frame = Image.fromarray(np.random.default_rng(seed).permutation(256).astype(np.uint8).reshape(16, 16))
        frame.putpalette(palette.tobytes())
        frames.append(frame)
    expected = palette[np.asarray(frames[0])]
    frames[0].save(tmp_path / "animated.gif", save_all=True, append_images=frames[1:])
    np.testing.assert_array_equal(read_image(tmp_path / "animated.gif"), expected)
    frames[0].save(tmp_path / "transparent.gif", transparency=7)
    np.testing.assert_array_equal(read_image(tmp_path / "transparent.gif"), expected)
    assert stored_size(tmp_path / "animated.gif") == (16, 16)


@pytest.mark.parametrize("suffix", [".gif", ".png", ".webp"])
def test_a_mask_of_several_frames_is_refused(tmp_path: Path, suffix: str) -> None:
    frames = [Image.fromarray(np.full((4, 6), value, np.uint8)) for value in (0, 1, 1)]
    frames[2].putpixel((2, 2), 0)
    path = tmp_path / f"a{suffix}"
    frames[0].save(path, save_all=True, append_images=frames[1:], lossless=True)
    with pytest.raises(Unreadable, match=r"3 frames; which of them is the mask\? save that one as PNG"):
        read_mask(path)


@pytest.mark.parametrize("suffix", [".gif", ".jp2", ".ppm"])
def test_halves_of_other_formats_are_refused(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    Image.fromarray(PICTURE).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(Unreadable, match=r"a\.\w+: (the image is damaged or truncated|not an image)"):
        read_image(path)


def test_pipes_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    os.mkfifo(path)
    for read in (read_image, read_mask, stored_size):
        with pytest.raises(Unreadable, match=r"a\.png: .*cannot be read \(it is a named pipe, not a file\)"):
            read(path)


def test_photos_of_other_modes_become_rgb(tmp_path: Path) -> None:
    grey, alpha = PICTURE[..., 0], np.dstack([PICTURE, PICTURE[..., 0]])
    Image.fromarray(grey).save(tmp_path / "grey.png")
    Image.fromarray(alpha).save(tmp_path / "alpha.png")
    np.testing.assert_array_equal(read_image(tmp_path / "grey.png"), np.repeat(grey[..., None], 3, 2))
    np.testing.assert_array_equal(read_image(tmp_path / "alpha.png"), PICTURE)


def test_a_photo_is_turned_as_its_exif_says(tmp_path: Path) -> None:
    picture = Image.fromarray(np.kron(PICTURE[:2, :3], np.ones((16, 16, 1), np.uint8)))
    exif = picture.getexif()
    exif[0x0112] = 6  # the camera was turned: show it rotated clockwise
    picture.save(tmp_path / "a.jpg", exif=exif, quality=100, subsampling=0)
    expected = np.asarray(picture.rotate(-90, expand=True)).astype(int)
    found = read_image(tmp_path / "a.jpg").astype(int)
    assert found.shape == expected.shape
    assert np.abs(found - expected).mean() < 5


@pytest.mark.skipif(".avif" not in IMAGE_SUFFIXES, reason="this Pillow does not read AVIF")
@pytest.mark.parametrize("orientation", [2, 3, 6, 8])
def test_an_avif_is_turned_too(tmp_path: Path, orientation: int) -> None:
    """Also where its channels and values are typed; OpenCV turns JPEGs only."""
    blocks = np.kron(PICTURE[:3, :4], np.ones((10, 10, 1), np.uint8))
    exif = Image.Exif()
    exif[274] = orientation
    path = tmp_path / "a.avif"
    Image.fromarray(blocks).save(path, exif=exif, quality=100, subsampling="4:4:4")
    turn = {2: blocks[:, ::-1], 3: blocks[::-1, ::-1], 6: np.rot90(blocks, -1), 8: np.rot90(blocks)}[orientation]
    for found in (read_image(path), Bands(3, (0, 255)).read(path)):
        assert found.shape == turn.shape and np.abs(found - turn.astype(float)).max() < 10


@pytest.mark.skipif(".heic" in IMAGE_SUFFIXES, reason="pillow-heif is installed")
@pytest.mark.parametrize("brand", [b"heic", b"mif1"])
def test_a_heic_photo_is_named_with_the_package_that_reads_it(tmp_path: Path, brand: bytes) -> None:
    path = tmp_path / "IMG_1.jpg"  # as some programs rename them
    path.write_bytes(b"\0\0\0\x18ftyp" + brand + bytes(200))
    with pytest.raises(Unreadable, match=r"IMG_1\.jpg: a photo in HEIC; pip install pillow-heif to read it, or save"):
        read_image(path)


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_truncated_photos_are_refused(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    Image.fromarray(PICTURE).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    with pytest.raises(UserError, match="truncated"):
        read_image(path)


@pytest.mark.parametrize("seed", range(20))
def test_what_cameras_append_to_a_photo_does_no_harm(tmp_path: Path, seed: int) -> None:
    path = tmp_path / "a.jpg"
    Image.fromarray(PICTURE).save(path)
    whole = read_image(path)
    more = np.random.default_rng(seed).integers(0, 256, 300_000, np.uint8).tobytes()
    path.write_bytes(path.read_bytes() + more)
    np.testing.assert_array_equal(read_image(path), whole)


@pytest.mark.parametrize(
    ("content", "words"), [(b"", "empty"), (b"no picture", "not an image"), (None, "cannot be read")]
)
def test_unreadable_photos_are_named(tmp_path: Path, content: bytes | None, words: str) -> None:
    path = tmp_path / "a.jpg"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=words) as error:
        read_image(path)
    assert str(path) in str(error.value)


def test_a_palette_png_gives_its_indices(tmp_path: Path) -> None:
    ids = RNG.integers(0, 256, (20, 30), np.uint8)
    picture = Image.fromarray(ids)
    picture.putpalette(RNG.integers(0, 256, 768, np.uint8).tobytes())
    picture.save(tmp_path / "a.png")
    assert Image.open(tmp_path / "a.png").mode == "P"
    np.testing.assert_array_equal(read_mask(tmp_path / "a.png"), ids)


def test_sixteen_bit_masks(tmp_path: Path) -> None:
    ids = RNG.integers(0, 256, (20, 30)).astype(np.uint16)
    Image.fromarray(ids).save(tmp_path / "fine.png")
    Image.fromarray(ids + 256).save(tmp_path / "large.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "fine.png"), ids)
    np.testing.assert_array_equal(read_mask(tmp_path / "large.png"), ids + 256)
    Image.fromarray(np.array([[0, 65536]], np.int32)).save(tmp_path / "a.tif")
    with pytest.raises(UserError, match="ids from 0 to 65536; expected 0 to 65535"):
        read_mask(tmp_path / "a.tif")


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_grey_masks_of_few_bits(tmp_path: Path, bits: int) -> None:
    """The ids are what the file holds, not the grey that it stands for."""
    ids = RNG.integers(0, 2**bits, (20, 33), np.uint8)
    write_grey_png(tmp_path / "a.png", ids, bits)
    np.testing.assert_array_equal(read_mask(tmp_path / "a.png"), ids)
    grey = read_image(tmp_path / "a.png")[..., 0]
    np.testing.assert_array_equal(grey, ids.astype(int) * 255 // (2**bits - 1))


def write_grey_png(path: Path, values: np.ndarray, bits: int) -> None:
    """A grey PNG by its specification, of 1, 2 or 4 bits."""
    height, width = values.shape
    each = (values[..., None] >> np.arange(bits)[::-1]) & 1
    rows = np.packbits(each.reshape(height, -1), axis=1)
    header = struct.pack(">IIBBBBB", width, height, bits, 0, 0, 0, 0)
    content = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    parts = ((b"IHDR", header), (b"IDAT", content), (b"IEND", b""))
    chunks = (struct.pack(">I", len(p)) + k + p + struct.pack(">I", zlib.crc32(k + p)) for k, p in parts)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunks))


@pytest.mark.parametrize("channels", [3, 4])
def test_grey_values_in_all_channels_are_ids(tmp_path: Path, channels: int) -> None:
    ids = RNG.choice([0, 1, 7, 255], (20, 30)).astype(np.uint8)
    picture = np.dstack([ids, ids, ids, PICTURE[..., 0]])[..., :channels]
    Image.fromarray(picture).save(tmp_path / "a.png")
    for colors in (None, {(0, 0, 0): 0, (200, 0, 0): 1, (0, 0, 200): 7}):
        np.testing.assert_array_equal(read_mask(tmp_path / "a.png", colors), ids)
    # Where all of them are colours of the data set, they are taken for that.
    np.testing.assert_array_equal(
        read_mask(tmp_path / "a.png", {(0, 0, 0): 5, (1, 1, 1): 4, (7, 7, 7): 3, (255, 255, 255): 2}),
        np.select([ids == 0, ids == 1, ids == 7], [5, 4, 3], 2),
    )


def test_colours_of_16_bits(tmp_path: Path) -> None:
    ids = RNG.integers(0, 2, (20, 30))
    colors = np.array([(0, 0, 0), (200, 0, 7)], np.uint16)
    for name, pixels in (("small", colors[ids]), ("full", colors[ids] * 257)):
        cv2.imwrite(str(tmp_path / f"{name}.png"), np.ascontiguousarray(pixels[..., ::-1]))
        np.testing.assert_array_equal(read_mask(tmp_path / f"{name}.png", {(0, 0, 0): 3, (200, 0, 7): 1}), 3 - 2 * ids)
    cv2.imwrite(str(tmp_path / "between.png"), np.full((2, 2, 3), 1000, np.uint16))
    with pytest.raises(UserError, match=r"between\.png.*not of 8 bits"):
        read_mask(tmp_path / "between.png")


def write_palette(path: Path, indices: np.ndarray, colors: list[tuple[int, int, int]]) -> None:
    picture = Image.fromarray(indices)
    picture.putpalette([part for color in colors for part in color])
    picture.save(path)


def test_a_palette_that_was_numbered_anew_is_decoded_by_its_colours(tmp_path: Path) -> None:
    known = {(0, 0, 0): 0, (200, 0, 0): 1, (0, 200, 0): 2, (255, 255, 255): 255}
    indices = RNG.integers(0, 3, (20, 30), np.uint8)
    write_palette(tmp_path / "a.png", indices, [(0, 200, 0), (255, 255, 255), (0, 0, 0)])
    np.testing.assert_array_equal(read_mask(tmp_path / "a.png", known), np.array([2, 255, 0])[indices])
    # An index beyond the palette has no colour.
    beyond = indices.copy()
    beyond[3, 4] = 20
    write_palette(tmp_path / "a.png", beyond, [(0, 200, 0), (255, 255, 255), *[(0, 0, 0)] * 15])
    with pytest.raises(UserError, match=r"a\.png: .*the index 20, which has no colour in its palette"):
        read_mask(tmp_path / "a.png", known)
    # Where a colour belongs to no class, neither reading is certain.
    write_palette(tmp_path / "a.png", indices, [(0, 200, 0), (9, 9, 9), (0, 0, 0)])
    with pytest.raises(UserError, match=r"index 0 of its palette has the colour of id 2, but index 1 .*\(9, 9, 9\)"):
        read_mask(tmp_path / "a.png", known)
    # What does not occur does not matter, nor do colours of no class, nor a ramp of grey.
    write_palette(tmp_path / "a.png", indices % 2, [(0, 0, 0), (200, 0, 0), (0, 0, 0)])
    np.testing.assert_array_equal(read_mask(tmp_path / "a.png", known), indices % 2)
    write_palette(tmp_path / "a.png", indices, [(1, 2, 3), (4, 5, 6), (7, 8, 9)])
    np.testing.assert_array_equal(read_mask(tmp_path / "a.png", known), indices)
    write_palette(tmp_path / "a.gif", indices, [(i, i, i) for i in range(256)])
    np.testing.assert_array_equal(read_mask(tmp_path / "a.gif", {(0, 0, 0): 2, (1, 1, 1): 1}), indices)


def test_a_grey_mask_that_became_a_palette_keeps_its_ids(tmp_path: Path) -> None:
    known = {(128, 64, 128): 0, (70, 70, 70): 1, (0, 0, 142): 5}
    ids = RNG.choice(np.array([0, 1, 5, 255], np.uint8), (20, 30))
    Image.fromarray(ids).quantize(4).save(tmp_path / "a.png")
    indices = np.asarray(Image.open(tmp_path / "a.png"))
    assert Image.open(tmp_path / "a.png").mode == "P" and (indices != ids).any()
    np.testing.assert_array_equal(read_mask(tmp_path / "a.png", known), ids)
    write_palette(tmp_path / "a.png", np.array([[0, 1, 2]], np.uint8), [(0, 0, 0), (2, 2, 2), (1, 1, 1)])
    found = read_mask(tmp_path / "a.png", {(0, 0, 0): 0, (9, 0, 0): 1, (0, 9, 0): 2})
    np.testing.assert_array_equal(found, [[0, 2, 1]])
    # Greys that are not ids only show the indices.
    write_palette(tmp_path / "a.png", ids % 2, [(0, 0, 0), (128, 128, 128)])
    np.testing.assert_array_equal(read_mask(tmp_path / "a.png", known), ids % 2)


def test_a_palette_of_nearly_the_colours(tmp_path: Path) -> None:
    known = {(0, 0, 0): 0, (128, 0, 0): 1, (0, 128, 0): 2}
    indices = RNG.integers(0, 3, (20, 30), np.uint8)
    write_palette(tmp_path / "a.png", indices, [(127, 0, 0), (1, 126, 0), (1, 0, 0)])
    np.testing.assert_array_equal(read_mask(tmp_path / "a.png", known, tolerance=5), np.array([1, 2, 0])[indices])
    np.testing.assert_array_equal(read_mask(tmp_path / "a.png", known), indices)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a.png", {"format": "JPEG"}),
        ("a.webp", {}),
        ("b.webp", {"exif": b"Exif\0\0", "quality": 100}),
        ("a.tif", {"compression": "jpeg"}),
    ],
)
def test_masks_compressed_with_loss_are_refused_whatever_their_names(tmp_path: Path, name: str, options: dict) -> None:
    ids = RNG.integers(0, 5, (24, 24), np.uint8)
    Image.fromarray(ids).save(tmp_path / name, **options)
    with pytest.raises(UserError, match=rf"{name}: .*compression changes class ids; save the masks as PNG"):
        read_mask(tmp_path / name, {(0, 0, 0): 0})
    Image.fromarray(np.dstack([ids] * 3)).save(tmp_path / "lossless.webp", lossless=True)
    np.testing.assert_array_equal(read_mask(tmp_path / "lossless.webp"), ids)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".png", ".webp"])
def test_masks_are_turned_as_photos_are(tmp_path: Path, suffix: str, orientation: int) -> None:
    ids = RNG.integers(0, 5, (20, 30), np.uint8)
    picture = Image.fromarray(np.dstack([ids] * 3))
    picture.getexif()[274] = orientation
    picture.save(tmp_path / f"a{suffix}", exif=picture.getexif(), lossless=True)
    expected = np.asarray(ImageOps.exif_transpose(picture))[..., 0]
    np.testing.assert_array_equal(read_mask(tmp_path / f"a{suffix}"), expected)
    assert stored_size(tmp_path / f"a{suffix}", turned=True) == expected.shape
    assert stored_size(tmp_path / f"a{suffix}") == (20, 30)
    np.testing.assert_array_equal(read_mask(tmp_path / f"a{suffix}", box=Box(2, 3, 8, 9)), expected[2:10, 3:12])


def test_masks_are_turned_by_a_tag_behind_their_pixels(tmp_path: Path) -> None:
    ids = RNG.integers(0, 5, (20, 30), np.uint8)
    exif = Image.Exif()
    exif[274] = 6
    Image.fromarray(ids).save(tmp_path / "a.png", exif=exif)
    encoded = (tmp_path / "a.png").read_bytes()
    start = encoded.index(b"eXIf") - 4
    end = start + 12 + int.from_bytes(encoded[start : start + 4], "big")
    pixels, last = encoded[end:-12], encoded[-12:]
    (tmp_path / "a.png").write_bytes(encoded[:start] + pixels + encoded[start:end] + last)
    np.testing.assert_array_equal(read_mask(tmp_path / "a.png"), np.rot90(ids, -1))
    assert stored_size(tmp_path / "a.png", turned=True) == (30, 20)


def test_masks_of_any_size_are_read_without_a_word(tmp_path: Path) -> None:
    """Pillow warns from 89 million pixels on, and refuses twice as many."""
    Image.new("1", (20_000, 10_000)).save(tmp_path / "a.png")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_mask(tmp_path / "a.png").shape == (10_000, 20_000)


def test_masks_that_are_none(tmp_path: Path) -> None:
    Image.fromarray(PICTURE).save(tmp_path / "color.png")
    (tmp_path / "text.png").write_text("hello")
    with pytest.raises(UserError, match="3 channels"):
        read_mask(tmp_path / "color.png")
    with pytest.raises(UserError, match="cannot be read"):
        read_mask(tmp_path / "text.png")
    with pytest.raises(UserError, match="No such file"):
        read_mask(tmp_path / "nothing.png")


def test_masks_of_one_bit_or_with_alpha(tmp_path: Path) -> None:
    ids = RNG.integers(0, 2, (20, 30)).astype(np.uint8)
    Image.fromarray(ids.astype(bool)).save(tmp_path / "bit.png")
    assert Image.open(tmp_path / "bit.png").mode == "1"
    np.testing.assert_array_equal(read_mask(tmp_path / "bit.png"), ids)
    Image.fromarray(np.dstack([ids, PICTURE[..., 0]])).save(tmp_path / "alpha.png")
    assert Image.open(tmp_path / "alpha.png").mode == "LA"
    np.testing.assert_array_equal(read_mask(tmp_path / "alpha.png"), ids)
    palette = Image.fromarray(ids)
    palette.putpalette([9, 9, 9, 200, 0, 0])
    palette.save(tmp_path / "palette.png", transparency=0)
    assert "transparency" in Image.open(tmp_path / "palette.png").info
    np.testing.assert_array_equal(read_mask(tmp_path / "palette.png"), ids)


def test_masks_of_fractions_are_refused(tmp_path: Path) -> None:
    Image.fromarray(np.full((4, 4), 1.7, np.float32)).save(tmp_path / "a.tif")
    with pytest.raises(UserError, match="fractions"):
        read_mask(tmp_path / "a.tif")


def test_masks_of_colours(tmp_path: Path) -> None:
    ids = RNG.choice([4, 9, 200], (20, 30)).astype(np.uint8)
    colors = {(10, 20, 30): 4, (10, 20, 31): 9, (255, 0, 1): 200}
    picture = np.zeros((20, 30, 3), np.uint8)
    for color, index in colors.items():
        picture[ids == index] = color
    Image.fromarray(picture).save(tmp_path / "rgb.png")
    Image.fromarray(np.dstack([picture, PICTURE[..., 0]])).save(tmp_path / "rgba.png")
    for name in ("rgb.png", "rgba.png"):
        np.testing.assert_array_equal(read_mask(tmp_path / name, colors), ids)
    del colors[(10, 20, 31)]
    with pytest.raises(UserError, match=rf"colour \(10, 20, 31\), which .* no class, in {(ids == 9).sum()} pixels"):
        read_mask(tmp_path / "rgb.png", colors)


def test_cmyk_photos_become_rgb(tmp_path: Path) -> None:
    smooth = np.kron(PICTURE[:2, :3], np.ones((16, 16, 1), np.uint8))
    Image.fromarray(smooth).convert("CMYK").save(tmp_path / "a.jpg", quality=100, subsampling=0)
    assert Image.open(tmp_path / "a.jpg").mode == "CMYK"
    assert np.abs(read_image(tmp_path / "a.jpg").astype(int) - smooth).mean() < 5


def test_raw_ids_become_train_ids() -> None:
    raw = RNG.choice([7, 130, 33], (20, 30)).astype(np.uint8)
    mask = to_train_ids(raw, lookup_table({7: 0, 130: 1}, ignored=(33,)), "mask.png")
    expected = [[{7: 0, 130: 1, 33: 255}[int(v)] for v in row] for row in raw]
    assert mask.dtype == np.uint8 and mask.tolist() == expected
    with pytest.raises(UserError, match=r"mask\.png: .* outside the label set: 33, 130"):
        to_train_ids(raw, lookup_table({7: 0}), "mask.png")


def test_resizing() -> None:
    mask = RNG.integers(0, 3, (10, 14), np.uint8)
    assert set(np.unique(resize_mask(mask * 100, (25, 33)))) <= {0, 100, 200}
    np.testing.assert_array_equal(resize_mask(mask.repeat(3, 0).repeat(3, 1), (10, 14)), mask)
    halved = resize_image(PICTURE, (10, 15)).astype(float)
    blocks = PICTURE.reshape(10, 2, 15, 2, 3).mean((1, 3))
    assert np.abs(halved - blocks).max() <= 0.5
    assert resize_image(PICTURE, (40, 60)).shape == (40, 60, 3)


def test_written_masks_hold_ids_and_colours(tmp_path: Path) -> None:
    mask = RNG.choice([0, 1, 2, 255], (20, 30)).astype(np.uint8)
    write_mask(tmp_path / "m.png", mask, LABELS)
    picture = Image.open(tmp_path / "m.png")
    assert picture.mode == "P"
    np.testing.assert_array_equal(np.asarray(picture), mask)
    colors = np.asarray(picture.convert("RGB"))
    for index, color in [(0, (10, 20, 30)), (1, (200, 0, 0)), (2, (0, 0, 255)), (255, (255, 255, 255))]:
        assert (colors[mask == index] == color).all()


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif", ".jpg", ".webp", ".gif"])
def test_the_stored_size_is_height_and_width(tmp_path: Path, suffix: str) -> None:
    Image.fromarray(PICTURE).save(tmp_path / f"a{suffix}")
    assert stored_size(tmp_path / f"a{suffix}") == (20, 30)
    (tmp_path / f"a{suffix}").rename(tmp_path / "other.png")
    assert stored_size(tmp_path / "other.png") == (20, 30)


@pytest.mark.parametrize("content", [b"", b"nothing", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"BM"])
def test_what_has_no_size_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.png").write_bytes(content)
    with pytest.raises(UserError, match=r"x\.png: cannot be read"):
        stored_size(tmp_path / "x.png")


@pytest.mark.parametrize("height", [5_000, 10_000])
def test_the_size_of_a_huge_picture(tmp_path: Path, height: int) -> None:
    """Pillow warns from 89 million pixels on, and refuses twice as many."""
    Image.new("1", (20_000, height)).save(tmp_path / "a.png")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert stored_size(tmp_path / "a.png") == (height, 20_000)


@pytest.mark.parametrize("mode", ["CMYK", "LAB", "YCbCr"])
def test_masks_of_other_colour_spaces_are_refused(tmp_path: Path, mode: str) -> None:
    """White and grey ones too, whose channels are equal once they are converted to RGB."""
    Image.new(mode, (4, 4)).save(tmp_path / "a.tif")
    with pytest.raises(Unreadable, match=rf"a\.tif.*neither ids nor red, green and blue, but {mode}"):
        read_mask(tmp_path / "a.tif", {(0, 0, 0): 0})


def test_colors_in_the_order_blue_green_red_are_named(tmp_path: Path) -> None:
    colors = {(70, 130, 180): 0, (107, 142, 35): 1, (0, 0, 0): 2}
    picture = np.array(list(colors), np.uint8)[[[0, 1, 2], [2, 0, 0]]]
    cv2.imwrite(str(tmp_path / "a.png"), picture)  # takes red for blue
    with pytest.raises(UserError, match=r"colour \(180, 130, 70\), .* save it as red, green, blue$"):
        read_mask(tmp_path / "a.png", colors, 0)
    cv2.imwrite(str(tmp_path / "a.png"), picture + np.uint8(1))
    with pytest.raises(UserError, match=r"data\.color_tolerance=84 maps"):  # from (181, 131, 71) to 1
        read_mask(tmp_path / "a.png", colors, 0)
