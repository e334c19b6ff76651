from collections import Counter
from pathlib import Path
from typing import Any
from unittest import mock

import albumentations as A
import albumentations.pytorch
import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate

from data.augmentation import Augmentation, sample_seed, try_augmentation
from data.camvid import CamVid
from data.loading import EpochBatches, TrainingBatch, TrainingLoader, ValidationLoader
from data.resized import ResizedSamples
from data.samples import Sample
from data.synthetic import Synthetic
from data.workers import worker_count
from tests.conftest import ROOT
from utils.errors import UserError

SIZE = (40, 56)


def augmentation_of(name: str = "standard", size: tuple[int, int] = SIZE, convert: str = "all") -> Augmentation:
    """An option of conf/augmentation/."""
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        cfg = compose("train", [f"augmentation={name}", f"data.image_size=[{size[0]},{size[1]}]"])
        return instantiate(cfg.augmentation, _convert_=convert)


def batches(num_workers: int, epoch: int = 0, start: int = 0, seed: int = 7) -> list[TrainingBatch]:
    dataset = Synthetic(size=SIZE, split="train", train_length=11)
    loader = TrainingLoader(
        dataset, augmentation_of(), image_size=SIZE, batch_size=4, seed=seed, num_workers=num_workers
    )  # fmt: skip
    loader.order.epoch, loader.order.start = epoch, start
    return list(loader)


def equal(a: list[TrainingBatch], b: list[TrainingBatch]) -> bool:
    return len(a) == len(b) and all(
        torch.equal(x.images, y.images) and torch.equal(x.masks, y.masks) and x.names == y.names
        for x, y in zip(a, b, strict=True)
    )


def test_training_batches() -> None:
    found = batches(0)
    assert [tuple(b.images.shape) for b in found] == [(4, 3, *SIZE), (4, 3, *SIZE), (3, 3, *SIZE)]
    assert found[0].images.dtype == torch.uint8 and found[0].masks.dtype == torch.uint8
    assert sorted(name for b in found for name in b.names) == [f"train/{i:05}" for i in range(11)]


@pytest.mark.parametrize("num_workers", [1, 2])
def test_the_number_of_workers_changes_nothing(num_workers: int) -> None:
    assert equal(batches(0), batches(num_workers))


@pytest.mark.parametrize(
    ("cores", "on_cpu", "on_cuda"), [(1, 0, 1), (2, 0, 1), (4, 1, 3), (8, 2, 7), (16, 4, 8), (64, 8, 8)]
)
def test_automatic_number_of_workers(monkeypatch: pytest.MonkeyPatch, cores: int, on_cpu: int, on_cuda: int) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(cores)), raising=False)
    assert worker_count("auto", torch.device("cpu")) == on_cpu
    assert worker_count("auto", torch.device("cuda")) == on_cuda
    assert worker_count(3, torch.device("cpu")) == 3


def test_seed_and_epoch_do() -> None:
    first = batches(0)
    assert not equal(first, batches(0, epoch=1))
    assert not equal(first, batches(0, seed=8))


def test_a_run_can_go_on_in_the_middle_of_an_epoch() -> None:
    assert equal(batches(0, epoch=3)[2:], batches(0, epoch=3, start=2))


def test_loading_leaves_the_global_generators_alone() -> None:
    torch.manual_seed(0)
    np.random.seed(0)
    before = torch.get_rng_state(), np.random.get_state()[1].copy()  # type: ignore[index]
    batches(1)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (np.random.get_state()[1] == before[1]).all()  # type: ignore[index]


def test_a_set_smaller_than_a_batch_gives_one_batch() -> None:
    assert [len(b) for b in EpochBatches(3, 8, seed=0)] == [3]
    assert len(EpochBatches(3, 8, seed=0)) == 1


def test_limit_takes_the_first_samples() -> None:
    dataset = Synthetic(size=SIZE, split="val", val_length=9)
    loader = ValidationLoader(ResizedSamples(dataset, SIZE, masks=False, limit=5), batch_size=4)
    assert [name for b in loader for name in b.names] == [f"val/{i:05}" for i in range(5)]
    assert loader.samples == 5


def test_validation_keeps_masks_at_their_own_size(camvid: Path) -> None:
    dataset = CamVid(str(camvid), "val")
    (batch,) = ValidationLoader(ResizedSamples(dataset, (32, 36), masks=False), batch_size=4)
    assert batch.images.shape == (2, 3, 32, 36) and batch.images.dtype == torch.uint8
    for i, mask in enumerate(batch.masks):
        np.testing.assert_array_equal(mask.numpy(), dataset[i].mask)


def test_augmentation_is_a_function_of_its_seed() -> None:
    sample = Synthetic(size=SIZE, split="train", train_length=1)[0]
    augmentation = augmentation_of()
    image, mask = augmentation(sample.image, sample.mask, seed=5)
    augmentation(sample.image, sample.mask, seed=6)
    again, mask_again = augmentation(sample.image, sample.mask, seed=5)
    fresh, _ = augmentation_of()(sample.image, sample.mask, seed=5)
    np.testing.assert_array_equal(image, again)
    np.testing.assert_array_equal(mask, mask_again)
    np.testing.assert_array_equal(image, fresh)
    assert len({augmentation(sample.image, sample.mask, seed=s)[0].tobytes() for s in range(10)}) == 10


def test_transforms_are_drawn_independently() -> None:
    """That one is applied says nothing about the other; a common seed for each would apply both or none."""
    augmentation = Augmentation([A.HorizontalFlip(p=0.5), A.VerticalFlip(p=0.5), A.InvertImg(p=0.5)])
    image = np.array([[[0] * 3, [40] * 3], [[80] * 3, [120] * 3]], np.uint8)
    seen = Counter(augmentation(image, image[..., 0], sample_seed(0, 0, i))[0].tobytes() for i in range(1600))
    assert len(seen) == 8
    assert all(140 < count < 260 for count in seen.values())  # 200 each, give or take four standard deviations


def test_seeds_differ_by_run_epoch_and_sample() -> None:
    seeds = {sample_seed(s, e, i) for s in range(5) for e in range(20) for i in range(50)}
    assert len(seeds) == 5 * 20 * 50


@pytest.mark.parametrize("name", ["standard", "affine"])
def test_image_and_mask_move_together_and_what_is_uncovered_is_ignored(name: str) -> None:
    """On an image whose colour is its class, the augmented colour must still tell the augmented class."""
    rng = np.random.default_rng(0)
    mask = np.kron(rng.integers(0, 2, (5, 7)), np.ones((8, 8))).astype(np.uint8)
    image = np.repeat((mask * 255)[..., None], 3, 2)
    padded = 0
    augmentation = augmentation_of(name)
    for seed in range(40):
        new_image, new_mask = augmentation(image, mask, seed)
        assert new_image.shape == (*SIZE, 3) and new_mask.shape == SIZE
        assert set(np.unique(new_mask)) <= {0, 1, 255}
        valid = new_mask != 255
        bright = new_image.mean(-1) > 90
        assert (bright[valid] == new_mask[valid]).mean() > 0.9
        if not valid.all():
            padded += 1
            assert abs(new_image[~valid].astype(int).mean() - 115) < 45  # the mean colour, jittered
    assert padded > 5  # scales below 1 need padding


def test_flip_mirrors_every_other_time() -> None:
    image = np.arange(SIZE[0] * SIZE[1] * 3, dtype=np.uint8).reshape(*SIZE, 3)
    mask = image[..., 0].copy()
    flip, mirrored = augmentation_of("flip"), 0
    for seed in range(200):
        found, found_mask = flip(image, mask, seed)
        flipped = not np.array_equal(found, image)
        np.testing.assert_array_equal(found, image[:, ::-1] if flipped else image)
        np.testing.assert_array_equal(found_mask, mask[:, ::-1] if flipped else mask)
        mirrored += flipped
    assert 70 < mirrored < 130


def test_none_changes_nothing() -> None:
    sample = Synthetic(size=SIZE, split="train", train_length=1)[0]
    image, mask = augmentation_of("none")(sample.image, sample.mask, 3)
    np.testing.assert_array_equal(image, sample.image)
    np.testing.assert_array_equal(mask, sample.mask)


def test_transforms_that_would_invent_a_class_are_refused() -> None:
    with pytest.raises(UserError, match=r"Affine fills mask pixels with 0(\.0)?, a class; set fill_mask: 255"):
        Augmentation([A.Affine(rotate=30, p=1.0)])
    with pytest.raises(UserError, match="Affine"):
        Augmentation([A.OneOf([A.Affine(rotate=30)])])
    with pytest.raises(UserError, match="Affine would average the ids of a mask; set mask_interpolation: 0"):
        Augmentation([A.Affine(rotate=30, fill_mask=255, mask_interpolation=1)])
    Augmentation([A.Affine(rotate=30, fill_mask=255, p=1.0)])
    Augmentation([A.CenterCrop(8, 8)])  # which pads nothing
    with pytest.raises(UserError, match="CenterCrop fills mask pixels"):
        Augmentation([A.CenterCrop(8, 8, pad_if_needed=True)])
    Augmentation([A.CoarseDropout(p=1.0)])  # by default it leaves the mask alone


@pytest.mark.parametrize("operation", ["dilation", "erosion"])
def test_morphology_of_ids_is_refused(operation: str) -> None:
    """It would make 255, which is ignored, a class at its edges, or the other way round."""
    with pytest.raises(UserError, match="Morphological would let classes of a mask grow or shrink by their ids; leave"):
        Augmentation([A.OneOf([A.Morphological(operation=operation), A.NoOp()])])


def test_a_transform_of_another_size_is_refused() -> None:
    dataset = Synthetic(size=SIZE, split="train", train_length=4)
    augmentation = Augmentation([A.RandomCrop(16, 16, fill_mask=255)])
    loader = TrainingLoader(dataset, augmentation, image_size=SIZE, batch_size=2, seed=0, num_workers=0)
    with pytest.raises(UserError, match=r"came out as \(16, 16\), not as \(40, 56\)"):
        next(iter(loader))


@pytest.mark.usefixtures("workers_end_soon")
def test_an_error_in_a_worker_keeps_its_message(camvid: Path) -> None:
    dataset = CamVid(str(camvid), "train")
    (camvid / "train" / "001.jpg").write_bytes(b"broken")
    samples = ResizedSamples(dataset, SIZE, masks=True)
    loader = TrainingLoader(samples, Augmentation(), image_size=SIZE, batch_size=4, seed=0, num_workers=1)
    with pytest.raises(UserError) as error:
        next(iter(loader))
    assert str(error.value) == f"{camvid / 'train' / '001.jpg'}: not an image that can be read"


@pytest.mark.parametrize("kind", [A.Normalize, A.ToFloat, A.FromFloat, A.pytorch.ToTensorV2])
def test_transforms_from_and_to_floats_are_refused(kind: Any) -> None:
    transform = kind()
    with pytest.raises(UserError, match=f"{kind.__name__}: images must stay uint8 .*training does that itself"):
        Augmentation([A.OneOf([transform, A.NoOp()], p=0.01)])


def test_what_is_no_transform_is_refused() -> None:
    with pytest.raises(UserError, match="augmentation: function is not a transform of albumentations"):
        Augmentation([lambda image, mask: (image, mask)])


class Own(Augmentation):
    """As users write it."""

    def __init__(self, function: Any) -> None:
        super().__init__()
        self.function = function

    def __call__(self, image: np.ndarray, mask: np.ndarray, seed: int) -> Any:
        return self.function(image, mask)


@pytest.mark.parametrize(
    ("augmentation", "message"),
    [
        (
            Augmentation([A.ToGray(num_output_channels=1, p=0.5)]),
            r"came out with an image uint8 \(40, 56\); images must",
        ),
        (Augmentation([A.Lambda(mask=lambda m, **_: m / 2, p=1)]), r"a mask float64 \(40, 56\)"),
        (Augmentation([A.Lambda(mask=lambda m, **_: m[::2], p=1)]), r"a mask \(20, 56\); they must be of one size"),
        (Augmentation([A.Lambda(mask=lambda m, **_: m + 200, p=1)]), r"gets the id 2\d\d, which belongs to no class"),
        (Augmentation([A.RandomCrop(16, 16, fill_mask=255)]), r"came out as \(16, 16\).*end the list"),
        (Augmentation([A.CenterCrop(400, 400)]), "fails on train/00000: .*[Cc]rop size"),
        (Own(lambda image, mask: (torch.from_numpy(image), mask)), r"an image torch.uint8 \(40, 56, 3\)"),
        (Own(lambda image, mask: image), "fails on train/00000: ValueError"),
        (Own(lambda image, mask: (image, None)), "a mask NoneType"),
        (lambda image, mask, seed: (image, mask), "function is not an Augmentation; inherit from data.augmentation"),
    ],
)
def test_an_augmentation_is_tried_before_training(augmentation: Any, message: str) -> None:
    samples = Synthetic(size=SIZE, split="train", train_length=1)
    with pytest.raises(UserError, match=message):
        try_augmentation(augmentation, samples, SIZE)
    try_augmentation(augmentation_of(), samples, SIZE)


def test_an_augmentation_that_leaves_no_label_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    samples = Synthetic(size=SIZE, split="train", train_length=1)
    try_augmentation(augmentation_of(), samples, SIZE)
    assert not caplog.records
    try_augmentation(Own(lambda image, mask: (image, np.full_like(mask, 255))), samples, SIZE)
    (record,) = caplog.records
    assert "augmentation: leaves no labelled pixel of train/00000 in any of 8 draws" in record.getMessage()


def test_a_transform_that_fails_now_and_then_names_the_sample() -> None:
    """Such as one that is not met when it is tried."""
    samples = Synthetic(size=SIZE, split="train", train_length=3)
    augmentation = Own(lambda image, mask: image[1000])
    with pytest.raises(UserError, match="augmentation: fails on train/00002: IndexError: index 1000 is out of bounds"):
        augmentation.sample(samples, 2, 0)
    with (
        mock.patch.object(Synthetic, "__getitem__", side_effect=OSError("a fault of the disk")),
        pytest.raises(OSError, match="a fault of the disk"),
    ):
        augmentation.sample(samples, 2, 0)


@pytest.mark.parametrize("transforms", [None, {"a": 1}, "flip"])
def test_transforms_are_a_list(transforms: Any) -> None:
    with pytest.raises(UserError, match=r"augmentation\.transforms=.*: must be a list of transforms"):
        Augmentation(transforms)


@pytest.mark.parametrize("option", ["standard", "crop", "cutmix"])
def test_an_augmentation_that_hydra_instantiates(option: str) -> None:
    """Its lists are those of OmegaConf."""
    samples = Synthetic(size=SIZE, split="train", train_length=2)
    try_augmentation(augmentation_of(option, convert="none"), samples, SIZE)


def test_a_fault_of_a_sample_is_not_one_of_the_augmentation() -> None:
    samples = Synthetic(size=SIZE, split="train", train_length=1)
    with mock.patch.object(Synthetic, "__getitem__", side_effect=KeyError("photo")), pytest.raises(KeyError):
        try_augmentation(augmentation_of(), samples, SIZE)


@pytest.mark.parametrize(
    ("image", "mask", "message"),
    [
        (np.zeros((9, 9), np.uint8), np.zeros((9, 9), np.uint8), r"an image uint8 \(9, 9\)"),
        (np.zeros((3, 9, 9), np.uint8), np.zeros((9, 9), np.uint8), r"an image uint8 \(3, 9, 9\)"),
        (np.zeros((9, 9, 3), np.float32), np.zeros((9, 9), np.uint8), r"an image float32 \(9, 9, 3\)"),
        (np.zeros((9, 9, 3), np.uint8), np.zeros((9, 9), np.int64), r"a mask int64 \(9, 9\)"),
        (
            np.zeros((9, 9, 3), np.uint8),
            np.zeros((9, 8), np.uint8),
            r"an image .* and a mask \(9, 8\); they must",
        ),
    ],
)
def test_samples_of_another_form_are_refused(image: np.ndarray, mask: np.ndarray, message: str) -> None:
    class Mine(Synthetic):
        def __getitem__(self, index: int) -> Sample:
            return Sample(image, mask, "x.png")

    with pytest.raises(UserError, match=f"data: Mine gives x.png as {message}"):
        ResizedSamples(Mine(size=SIZE, split="val"), SIZE, masks=True)[0]
