"""The pictures of docs/results.md."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks import result_files, result_pictures
from benchmarks.result_files import Result

SKY, BUILDING = (128, 128, 128), (128, 0, 0)  # the first colours of CamVid


class Brightness:
    """A network that sees sky where the photo's red is above 127, and building elsewhere."""

    def predict(self, image: np.ndarray) -> np.ndarray:
        return (image[..., 0] <= 127).astype(np.uint8)


def test_masks_are_stored_and_drawn_beside_their_photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in ("val", "valannot"):
        (tmp_path / "camvid" / folder).mkdir(parents=True)
    photos = [np.full((32, 40, 3), 20 * i, np.uint8) for i in range(8)]
    photos[2][:, 20:] = 250
    for i, photo in enumerate(photos):
        Image.fromarray(photo).save(tmp_path / f"camvid/val/{i}.png")
        Image.fromarray(np.full((32, 40), 11, np.uint8)).save(tmp_path / f"camvid/valannot/{i}.png")  # void
    monkeypatch.setattr(result_files, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(result_pictures, "bundled_names", lambda: ["a_camvid"])
    monkeypatch.setattr(result_pictures.Predictor, "from_checkpoint", lambda *_: Brightness())
    results = [Result(name, [], {}) for name in ("camvid_a", "camvid_b", "camvid_never_predicted")]
    for result in results[:2]:
        result.masks.parent.mkdir(parents=True)
        result_pictures.predict(Path("weights.pt"), str(tmp_path / "camvid"), result.masks)
    with Image.open(results[0].masks) as image:
        stored = np.asarray(image)
        assert image.getpalette()[:6] == [*SKY, *BUILDING]
    expected = [np.where(photo[..., 0] > 127, 0, 1) for photo in photos]
    assert np.array_equal(stored, np.concatenate(expected))

    result_pictures.draw(results, str(tmp_path / "camvid"), tmp_path)
    with Image.open(tmp_path / "results.jpg") as image:
        assert image.size == (4 * 20, 24 + 8 * 16)  # photo, truth and two networks
    with Image.open(tmp_path / "street.jpg") as image:
        assert image.size == (3 * 20, 24 + 2 * 16)
        drawn = np.asarray(image).astype(int)
    for x, grey, color in ((44, 40, BUILDING), (56, 250, SKY)):  # photo 2, tinted to 55 %
        np.testing.assert_allclose(drawn[24 + 8, x], 0.45 * grey + 0.55 * np.array(color), atol=12)  # JPEG
