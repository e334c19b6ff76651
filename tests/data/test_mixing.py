"""Augmentations that copy from another sample."""

from pathlib import Path

import numpy as np
import pytest
import torch

from data.device_augmentation import DeviceAugmentation
from data.labels import LabelSet
from data.loading import TrainingLoader
from data.mixing import ClassMix, CopyPaste, CutMix, Mixing
from data.samples import Sample, SegmentationDataset
from tests.conftest import TINY, runs_in
from tests.in_process import assert_refused, run_here, succeeded
from train_segmentation import train
from utils.errors import UserError

SIZE = (20, 30)
LABELS = LabelSet(("a", "b", "c", "d"), tuple((i, i, i) for i in range(4)))


class Marked(SegmentationDataset):
    """Random masks of four classes and 255; the red of every pixel is the sample's number, green its mask's value."""

    labels = LABELS

    def __len__(self) -> int:
        return 6

    def __getitem__(self, index: int) -> Sample:
        values = np.array([0, 1, 2, 3, 255], np.uint8)
        mask = values[np.random.default_rng(index).integers(0, 5, SIZE)]
        return Sample(np.stack([np.full_like(mask, index), mask, mask], 2), mask, self.name(index))


def mixed(augmentation: Mixing, index: int = 2, count: int = 200) -> list[Sample]:
    return [augmentation.sample(Marked(), index, seed) for seed in range(count)]


@pytest.mark.parametrize("augmentation", [CutMix(p=1), ClassMix(p=1), CopyPaste(classes=["b", "d"], p=1)])
def test_pixels_and_labels_come_from_one_sample_together(augmentation: Mixing) -> None:
    others = set()
    for image, mask, name in mixed(augmentation):
        assert image.dtype == mask.dtype == np.uint8 and name == "00002"
        sources = set(np.unique(image[..., 0]).tolist())
        assert len(sources | {2}) <= 2
        for source in sources:
            from_it = image[..., 0] == source
            np.testing.assert_array_equal(mask[from_it], Marked()[source].mask[from_it])
            others |= {source} - {2}
        np.testing.assert_array_equal(image[..., 1], mask)
    assert others == {0, 1, 3, 4, 5}  # every other sample, and never itself


def other_of(image: np.ndarray) -> int | None:
    return next((int(i) for i in np.unique(image[..., 0]) if i != 2), None)


def test_copy_paste_copies_all_of_the_chosen_classes() -> None:
    for image, _, _ in mixed(CopyPaste(classes=["b", "d"], p=1)):
        other = other_of(image)
        assert other is not None
        wanted = np.isin(Marked()[other].mask, [1, 3])
        np.testing.assert_array_equal(image[..., 0] == other, wanted)


def test_classmix_copies_half_of_the_classes() -> None:
    chosen = set()
    for image, mask, _ in mixed(ClassMix(p=1)):
        other = other_of(image)
        assert other is not None
        copied, truth = image[..., 0] == other, Marked()[other].mask
        classes = np.unique(truth[copied]).tolist()
        assert len(classes) == 2 and 255 not in classes
        np.testing.assert_array_equal(copied, np.isin(truth, classes))
        np.testing.assert_array_equal(mask[copied], truth[copied])
        chosen.add(tuple(classes))
    assert chosen == {(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)}


def test_cutmix_copies_a_rectangle() -> None:
    shares = []
    for image, _, _ in mixed(CutMix(p=1), count=400):
        copied = image[..., 0] != 2
        rows, columns = copied.any(1), copied.any(0)
        np.testing.assert_array_equal(copied, rows[:, None] & columns)
        assert (np.diff(np.flatnonzero(rows)) == 1).all() and (np.diff(np.flatnonzero(columns)) == 1).all()
        shares.append(copied.mean())
    # Without clipping, 0.5 on average. A side of s of the image keeps s - s^2 / 4 of it on average, so that the mean is
    # that of u (1 - sqrt(u) / 4)^2 for uniform u: 1/2 - 1/5 + 1/48.
    assert np.mean(shares) == pytest.approx(1 / 2 - 1 / 5 + 1 / 48, abs=0.05)


def test_p_is_the_share_of_mixed_samples() -> None:
    for p in (0, 0.3, 1):
        share = np.mean([other_of(image) is not None for image, *_ in mixed(CopyPaste(classes=["a"], p=p), count=600)])
        assert abs(share - p) < 0.08  # four standard deviations


def test_a_mixed_sample_depends_on_seed_epoch_and_index_only() -> None:
    def batches(workers: int, start: int = 0) -> list:
        loader = TrainingLoader(Marked(), ClassMix(), image_size=SIZE, batch_size=2, seed=4, num_workers=workers)
        loader.order.epoch, loader.order.start = 3, start
        return list(loader)

    expected = batches(0)
    for workers, start in ((1, 0), (2, 0), (0, 1)):
        for one, other in zip(batches(workers, start), expected[start:], strict=True):
            assert torch.equal(one.images, other.images) and torch.equal(one.masks, other.masks)


def test_a_set_of_one_sample_stays_as_it_is() -> None:
    class One(Marked):
        def __len__(self) -> int:
            return 1

    sample = CutMix(p=1).sample(One(), 0, seed=0)
    np.testing.assert_array_equal(sample.image, One()[0].image)


def test_what_cannot_be_mixed() -> None:
    with pytest.raises(
        UserError, match=r"no class 'bb' - did you mean 'b'|no class 'bb'.*'b'.*the classes are a, b, c, d"
    ):
        CopyPaste(classes=["bb"]).check(Marked())
    with pytest.raises(UserError, match=r"augmentation\.classes=\[\]: names no class"):
        CopyPaste(classes=[])
    with pytest.raises(UserError, match=r"augmentation\.p=2: must be from 0 to 1"):
        CutMix(p=2)
    with pytest.raises(UserError, match=r"ClassMix runs on the CPU only; pass data\.augment_on=cpu"):
        DeviceAugmentation(ClassMix(), SIZE)


@pytest.mark.parametrize(
    "words",
    [
        ["augmentation=copy_paste", "augmentation.classes=[car]"],
        pytest.param(["augmentation=cutmix"], marks=pytest.mark.slow),
    ],
)
def test_a_run(tmp_path: Path, words: list[str]) -> None:
    succeeded(run_here(train, "train", *words, "trainer.epochs=1", "data.cache=ram", *TINY, cwd=tmp_path))
    assert len(runs_in(tmp_path)) == 1


@pytest.mark.parametrize(
    ("words", "fragments"),
    [
        (["augmentation=copy_paste"], ["augmentation.classes is missing; pass augmentation.classes=<value>"]),
        (["augmentation=copy_paste", "augmentation.classes=[cat]"], ["no class 'cat'", "'car'", "sky, building"]),
        (["augmentation=classmix", "data.cache=device"], ["ClassMix runs on the CPU only", "data.cache=ram"]),
        (["data.sampling=rare"], ["data.sampling=rare", "'uniform' or 'rare_class'"]),
    ],
)
def test_mistakes(tmp_path: Path, words: list[str], fragments: list[str]) -> None:
    assert_refused(run_here(train, "train", *words, *TINY, cwd=tmp_path), *fragments)
    assert runs_in(tmp_path) == []
