import math
from typing import Any

import cv2
import numpy as np
import pytest
from pycocotools import mask as rle

from data.coco_outlines import NothingToPaint, area, checked_outline, paint, unpacked_counts
from tests.data.layouts import run_lengths

HEIGHT, WIDTH = 64, 80
SQUARE = [10, 10, 40, 10, 40, 30, 10, 30]


def test_right_outlines_are_left_as_they_are() -> None:
    polygons = [SQUARE, [-3.5, 20, 90.25, 20, 50, 70]]  # pycocotools clips what lies beside the photo
    outline = checked_outline(polygons, HEIGHT, WIDTH)
    assert outline == polygons
    expected = rle.decode(rle.merge(rle.frPyObjects(polygons, HEIGHT, WIDTH)))
    np.testing.assert_array_equal(paint([(1, outline)], HEIGHT, WIDTH), expected)


@pytest.mark.parametrize("kind", ["list", "floats", "text"])
def test_right_run_lengths_are_painted(kind: str) -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        mask = (rng.random((HEIGHT, WIDTH)) < rng.random()).astype(np.uint8)
        counts: Any = run_lengths(mask)
        if kind == "floats":
            counts = [float(count) for count in counts]
        elif kind == "text":
            packed = rle.encode(np.asfortranarray(mask))["counts"].decode()
            assert unpacked_counts(packed) == counts
            counts = packed
        outline = checked_outline({"size": [HEIGHT, WIDTH], "counts": counts}, HEIGHT, WIDTH)
        np.testing.assert_array_equal(paint([(7, outline)], HEIGHT, WIDTH), mask * 7)
        assert area(outline) == mask.sum()


def test_areas() -> None:
    assert area([[0.0, 0, 4, 0, 4, 3]]) == 6  # half of 4 x 3
    assert area([[0.0, 0, 0, 3, 4, 3], [10.0, 10, 12, 10, 12, 12, 10, 12]]) == 6 + 4


@pytest.mark.parametrize(
    ("segmentation", "reason"),
    [
        (None, "without an outline"),
        ([], "without an outline"),
        ({}, "without an outline"),
        ([[]], "without an outline"),
        ([[10, 10, 40, 30]], "fewer than 3 points"),
        ([[10, 10], []], "fewer than 3 points"),
        ([10, 10, 40, 30], "fewer than 3 points"),
        ([[10, 10], [40, 30]], "fewer than 3 points"),
        ([[[10, 10], [40, 30]]], "fewer than 3 points"),
        ([[0.1, 0.1, 0.8, 0.1, 0.8, 1]], "with coordinates from 0 to 1, which must be pixels"),
        ([[[0.1, 0], [0.8, 0], [0.5, 0.5]]], "coordinates from 0 to 1"),
    ],
)
def test_what_has_no_area_is_nothing_to_paint(segmentation: Any, reason: str) -> None:
    with pytest.raises(NothingToPaint, match=reason):
        checked_outline(segmentation, HEIGHT, WIDTH)


def test_parts_without_an_area_are_dropped_and_a_flat_list_is_one_polygon() -> None:
    # Four numbers would be a box to pycocotools.
    assert checked_outline([[10, 10, 40, 30], SQUARE, []], HEIGHT, WIDTH) == [SQUARE]
    assert checked_outline(SQUARE, HEIGHT, WIDTH) == [SQUARE]


def test_polygons_of_pairs() -> None:
    pairs = [SQUARE[i : i + 2] for i in range(0, 8, 2)]
    for segmentation in (pairs, [pairs], [*pairs, []]):
        assert checked_outline(segmentation, HEIGHT, WIDTH) == [SQUARE]
    triangle = [[1, 2], [3, 4], [5, 9]]
    assert checked_outline([pairs, triangle, triangle[:2]], HEIGHT, WIDTH) == [SQUARE, [1, 2, 3, 4, 5, 9]]
    assert checked_outline([pairs, SQUARE], HEIGHT, WIDTH) == [SQUARE, SQUARE]


def text_of(*counts: int) -> dict[str, Any]:
    """Run lengths as pycocotools compresses them, whatever they add up to."""
    packed = rle.frPyObjects({"size": [HEIGHT, WIDTH], "counts": list(counts)}, HEIGHT, WIDTH)
    return {"size": [HEIGHT, WIDTH], "counts": packed["counts"].decode()}


def counts_of(*counts: Any) -> dict[str, Any]:
    return {"size": [HEIGHT, WIDTH], "counts": list(counts)}


ALL = HEIGHT * WIDTH


@pytest.mark.parametrize(
    ("segmentation", "message"),
    [
        ([[10, 10, 40, math.nan, 40, 30]], "the coordinate nan"),
        ([[10, 10, 40, 10, 40, math.inf]], "the coordinate inf"),
        ([[-math.inf, 10, 40, 10, 40, 30]], "the coordinate -inf"),
        ([[10, 10, 40, 10**400, 40, 30]], "the coordinate 1000000"),
        ([[10, 10, 40, 10, 40, 30, 10]], "7 numbers"),
        ([[math.nan, 1, 2, 3]], "the coordinate nan"),
        ([["10", 10, 40, 10, 40, 30]], "not a list of numbers"),
        ([[True, 10, 40, 10, 40, 30]], "not a list of numbers"),
        ([[[10, 10, 1], [40, 10, 1], [40, 30, 1]]], "not a list of numbers"),
        ([[10, 10], [40, "x"], [40, 30]], "not a list of numbers"),
        ([SQUARE, 5], "not a list of numbers"),
        ([None], "not a list of numbers"),
        ("polygon", "expected polygons or run lengths"),
        (5, "expected polygons or run lengths"),
        (counts_of(100, 50), "add up to 150 pixels, the photo has 5120"),
        (counts_of(), "add up to 0 pixels"),
        (counts_of(100, 50, ALL), "add up to 5270 pixels"),
        (counts_of(100, -50, ALL - 50), "the negative count -50"),
        (counts_of(2**32, ALL), "add up to"),
        (counts_of(100.5, ALL - 100.5), "whole numbers"),
        (counts_of(math.nan), "whole numbers"),
        (counts_of(math.inf), "whole numbers"),
        (counts_of("100", 50), "whole numbers"),
        (counts_of(True, ALL - 1), "whole numbers"),
        ({"size": [HEIGHT, WIDTH]}, "whole numbers"),
        ({"size": [HEIGHT, WIDTH], "counts": 5}, "whole numbers"),
        ({"counts": [ALL]}, "of the size None"),
        ({"size": [WIDTH, HEIGHT], "counts": [ALL]}, r"of the size \[80, 64\], the photo of \[64, 80\]"),
        ({"size": "64x80", "counts": [ALL]}, "of the size '64x80'"),
        (text_of(100, 50), "add up to 150 pixels"),
        ({"size": [HEIGHT, WIDTH], "counts": ""}, "add up to 0 pixels"),
        ({"size": [HEIGHT, WIDTH], "counts": "é"}, "not in COCO's format near 'é'"),
        ({"size": [HEIGHT, WIDTH], "counts": "1 2"}, "not in COCO's format near ' '"),
        ({"size": [HEIGHT, WIDTH], "counts": "o" * 9}, "not in COCO's format"),  # a number without an end
        ({"size": [HEIGHT, WIDTH], "counts": "o"}, "cut off"),
        ({"size": [HEIGHT, WIDTH], "counts": "O"}, "the negative count -1"),
    ],
)
def test_what_is_damaged_never_reaches_pycocotools(segmentation: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        checked_outline(segmentation, HEIGHT, WIDTH)


def test_far_points_are_clipped_without_a_change_within_the_photo() -> None:
    """Against pycocotools on a canvas that holds the whole polygon."""
    rng = np.random.default_rng(1)
    compared = 0
    for _ in range(60):
        points = rng.uniform(-400, 400, (rng.integers(3, 8), 2))
        points[0] = rng.uniform(0, 64, 2)  # one within the photo
        # Shifted, so that all of it lies on the canvas.
        whole = rle.decode(rle.merge(rle.frPyObjects([(points + 400).ravel().tolist()], 800, 800)))
        at = slice(400, 400 + HEIGHT), slice(400, 400 + WIDTH)
        corners = np.rint(points + 400).astype(np.int32)
        edges = cv2.polylines(np.zeros((800, 800), np.uint8), [corners], True, (1,), thickness=4)[at]
        expected = whole[at]
        found = paint([(1, [points.ravel().tolist()])], HEIGHT, WIDTH)
        assert not (found != expected)[edges == 0].any()  # of pixels on an edge, rounding decides
        compared += expected.any()
    assert compared > 30


@pytest.mark.parametrize("far", [1e5, 208543216.0, 1e12, 1e300, 10**30])
def test_points_at_any_distance_take_no_memory(far: float) -> None:
    expected = np.zeros((HEIGHT, WIDTH), np.uint8)
    expected[10:30, 10:] = 1
    outlines = [
        checked_outline([polygon], HEIGHT, WIDTH)
        for polygon in (
            [10, 10, far, 10, far, 30, 10, 30],
            [-far, -far, far, -far, far, far, -far, far],
            [far, far, far, 2 * far, 2 * far, far],
        )
    ]
    np.testing.assert_array_equal(paint([(1, outlines[0])], HEIGHT, WIDTH), expected)
    assert paint([(1, outlines[1])], HEIGHT, WIDTH).all()
    assert not paint([(1, outlines[2])], HEIGHT, WIDTH).any()
    assert area(outlines[0]) > 0
