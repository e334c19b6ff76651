"""What data sets and views of them inherit."""

import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from data.augmentation import Augmentation
from data.checking import checked_samples
from data.labels import LabelSet
from data.loading import TrainingLoader, ValidationLoader
from data.samples import Sample, SegmentationDataset, View
from tests.conftest import ROOT

SIZE = (32, 40)


def documented(base: str) -> type[SegmentationDataset]:
    """The data set with a base class that docs/extending.md shows."""
    page = (ROOT / "docs" / "extending.md").read_text()
    (code,) = re.findall(rf"```python\n([^`]*class Mine\({base}\).*?)```", page, re.DOTALL)
    names: dict[str, Any] = {"__name__": __name__}
    exec(code, names)
    return names["Mine"]


@pytest.mark.parametrize("cache", ["none", "ram"])
def test_the_documented_data_set_trains(tmp_path: Path, cache: Any) -> None:
    rng = np.random.default_rng(0)
    images, masks = rng.integers(0, 256, (5, *SIZE, 3), np.uint8), rng.integers(0, 2, (5, *SIZE), np.uint8)
    np.savez(tmp_path / "train.npz", images=images, masks=masks)
    dataset = documented("SegmentationDataset")(root=str(tmp_path), split="train")  # type: ignore[call-arg]
    samples = checked_samples(dataset, "train", SIZE, masks=True, cache=cache)
    loader = TrainingLoader(samples, Augmentation(), image_size=SIZE, batch_size=2, seed=0, num_workers=1)
    for batch in loader:
        for image, mask, name in zip(batch.images, batch.masks, batch.names, strict=True):
            np.testing.assert_array_equal(image.permute(1, 2, 0), images[int(name)])
            np.testing.assert_array_equal(mask, masks[int(name)])
    (batch, last) = ValidationLoader(samples, batch_size=3)
    assert batch.names + last.names == ["00000", "00001", "00002", "00003", "00004"]
    assert samples.size(4) == SIZE and samples.files(4) == [] and not samples.faults


def test_the_documented_data_set_of_files_reads_them(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    image, mask = rng.integers(0, 256, (*SIZE, 3), np.uint8), rng.choice(np.array([0, 1, 2, 255], np.uint8), SIZE)
    for folder, pixels in (("photos", image), ("truth", mask)):
        (tmp_path / folder / "train").mkdir(parents=True)
        Image.fromarray(pixels).save(tmp_path / folder / "train" / "a.png")
    dataset = documented("PairedFiles")(root=str(tmp_path), split="train")  # type: ignore[call-arg]
    assert len(dataset) == 1
    sample = dataset[0]
    np.testing.assert_array_equal(sample.image, image)
    np.testing.assert_array_equal(sample.mask, np.where(mask == 2, 1, mask))
    assert dataset.labels.names == ("ground", "tree") and dataset.faults == []


class Numbered(SegmentationDataset):
    """Sample i is a picture of i."""

    labels = LabelSet(("a", "b"), ((0, 0, 0), (1, 1, 1)))

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> Sample:
        return Sample(np.full((2, 3, 3), index, np.uint8), np.full((2, 3), index % 2, np.uint8), self.name(index))

    def files(self, index: int) -> list[str]:
        return [f"{index}.png"]


def test_a_view_shows_some_samples_in_its_order() -> None:
    view = pickle.loads(pickle.dumps(View(Numbered(), [3, 0])))
    assert len(view) == 2 and [view.name(i) for i in range(2)] == ["00003", "00000"]
    assert view.files(0) == ["3.png"] and view.size(0) == (2, 3) and view.labels is not None
    assert [int(view[i].image[0, 0, 0]) for i in range(2)] == [3, 0]
    assert [int(view.mask(i)[0, 0]) for i in range(2)] == [1, 0]
    with pytest.raises(IndexError):
        view[2]
