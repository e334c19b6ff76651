"""Photos that keep their aspect ratio: padded, and measured and predicted without the padding."""

import csv
import json
import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from data import fitting
from data.checking import checked_samples
from data.device_loading import DeviceValidationLoader
from data.fitting import fit_of, padded_and_resized, padded_size, shrunk_size
from data.images import resize_image
from data.loading import ValidationLoader
from data.masks import resize_mask
from data.resized import ResizedSamples
from data.samples import Sample, SegmentationDataset
from engine.evaluator import evaluate as evaluate_network
from engine.normalization import Normalization
from engine.pictures import Pictures
from evaluate import evaluate
from export.facts import Facts
from inference import predictor as predictor_module
from inference.predictor import Predictor
from runs import exporting
from tests.conftest import TINY, runs_in
from tests.data.alignment import drift, scene
from tests.data.layouts import make_voc, photo
from tests.data.test_alignment import LABELS, Threshold
from tests.in_process import run_here, succeeded
from train_segmentation import train

INPUT = (128, 128)
FILL = (124, 116, 104)


@pytest.mark.parametrize(
    ("size", "image_size", "expected"),
    [
        ((360, 480), (360, 480), (360, 480)),
        ((360, 480), (180, 240), (360, 480)),
        ((64, 96), (32, 32), (96, 96)),
        ((100, 50), (40, 80), (100, 200)),
        ((90, 200), (40, 80), (100, 200)),
    ],
)
def test_sizes(size: tuple[int, int], image_size: tuple[int, int], expected: tuple[int, int]) -> None:
    assert padded_size(size, image_size) == expected


def test_padding_is_below_or_right() -> None:
    image, mask = photo(0, (64, 96)), np.full((64, 96), 3, np.uint8)
    for shape in ((96, 96), (64, 128)):
        found, found_mask = padded_and_resized(image, shape), padded_and_resized(mask, shape, resize_mask, (255,))
        assert found.shape == (*shape, 3) and found_mask.shape == shape
        np.testing.assert_array_equal(found[:64, :96], image)
        assert (found_mask[:64, :96] == 3).all()
        outside = np.ones(shape, bool)
        outside[:64, :96] = False
        assert (found[outside] == FILL).all() and (found_mask[outside] == 255).all()


@pytest.mark.parametrize("size", [(30, 500), (500, 30)])
def test_a_large_photo_is_padded_without_its_padding_in_memory(
    size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same as in one step, but for rounding; a mask exactly."""
    image, mask = photo(0, size), np.random.default_rng(0).integers(0, 9, size, np.uint8)
    expected = padded_and_resized(image, (40, 60)), padded_and_resized(mask, (40, 60), resize_mask, (255,))
    height, width = image.shape[:2]
    rows, columns = padded_size((height, width), (40, 60))
    whole = cv2.copyMakeBorder(image, 0, rows - height, 0, columns - width, cv2.BORDER_CONSTANT, value=FILL)
    np.testing.assert_array_equal(expected[0], resize_image(whole, (40, 60)))
    monkeypatch.setattr(fitting, "LARGEST", 100)
    found = padded_and_resized(image, (40, 60)), padded_and_resized(mask, (40, 60), resize_mask, (255,))
    assert np.abs(found[0].astype(int) - expected[0]).max() <= 1
    np.testing.assert_array_equal(found[1], expected[1])


def test_a_very_narrow_photo_takes_little_memory() -> None:
    """Padded it would have 1.6 billion pixels: NumPy could not allocate its image and mask here."""
    image = np.full((1, 40_000, 3), 20, np.uint8)
    mask = np.ones((1, 40_000), np.uint8)
    predictor = Predictor(Threshold(), LABELS, INPUT, Normalization((0, 0, 0), (1, 1, 1)))
    predictor.fit = "pad"
    tracemalloc.start()
    found = predictor.predict_with(image, uncertainty=True, probabilities=True)
    resized = padded_and_resized(mask, INPUT, resize_mask, (255,))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1e8 and found.mask.shape == mask.shape
    assert found.probabilities is not None and found.probabilities.shape == (2, 1, 40_000)
    assert (resized == 255).all()  # each of the 128 rows is nearest to one of the padding


class Scenes(SegmentationDataset):
    """Light and dark blobs, in photos of several shapes."""

    labels = LABELS
    sizes = ((160, 224), (200, 120), (128, 128))

    def __len__(self) -> int:
        return len(self.sizes)

    def __getitem__(self, index: int) -> Sample:
        return Sample(*scene(*self.sizes[index], index), self.name(index))


@pytest.mark.parametrize("cache", ["none", "ram", "device"])
def test_metrics_are_those_without_the_padding(cache: Any) -> None:
    """A network that sees what is light is right nearly everywhere, and every pixel of the masks counts once."""
    samples = checked_samples(Scenes(), "val", INPUT, masks=False, fit="pad", cache="ram" if cache == "ram" else "none")
    loader: Any = ValidationLoader(samples, batch_size=2, fit="pad")
    if cache == "device":
        options = {"image_size": INPUT, "batch_size": 2, "device": torch.device("cpu")}
        loader = DeviceValidationLoader(samples, fit="pad", **options)  # type: ignore[arg-type]
    predictions: list[np.ndarray] = []
    found = evaluate_network(
        Threshold(),
        None,
        loader,
        num_classes=2,
        device=torch.device("cpu"),
        normalization=Normalization((0, 0, 0), (1, 1, 1)),
        after_sample=lambda _, prediction, *__: predictions.append(prediction.numpy()),
    )
    assert int(found.confusion.sum()) == sum(height * width for height, width in Scenes.sizes)
    assert found.confusion.diagonal().sum() > 0.97 * found.confusion.sum()
    for index, prediction in enumerate(predictions):
        image, mask, _ = Scenes()[index]
        assert prediction.shape == mask.shape
        assert np.abs(drift(image, prediction)).max() < 0.1


@pytest.mark.parametrize("options", [{}, {"tta": ["flip"]}])
@pytest.mark.parametrize("index", range(3))
def test_predictions_lie_where_they_are_in_the_photo(options: dict, index: int) -> None:
    image, mask, _ = Scenes()[index]
    predictor = Predictor(Threshold(), LABELS, INPUT, Normalization((0, 0, 0), (1, 1, 1)), **options)
    predictor.fit = "pad"
    found = predictor.predict_with(image, uncertainty=True, probabilities=True)
    assert found.uncertainty is not None and found.probabilities is not None
    assert found.mask.shape == found.uncertainty.shape == found.probabilities.shape[1:] == mask.shape
    assert np.abs(drift(image, found.mask)).max() < 0.1
    assert (found.mask == mask).mean() > 0.97
    np.testing.assert_array_equal(predictor.predict_with(image, predictor.resized(image)).mask, found.mask)


def test_training_pads_both() -> None:
    samples = ResizedSamples(Scenes(), INPUT, masks=True, fit="pad")
    for index, (height, width) in enumerate(Scenes.sizes):
        image, mask, _ = samples[index]
        assert image.shape == (*INPUT, 3) and mask.shape == INPUT == samples.size(index)
        np.testing.assert_array_equal(samples.mask(index), mask)
        side = max(height, width)
        inside = np.flatnonzero((mask != 255).any(1)), np.flatnonzero((mask != 255).any(0))
        for shown, length in zip(inside, (height, width), strict=True):
            assert abs(len(shown) - 128 * length / side) <= 1 and shown[0] == 0
        assert np.abs(drift(image, mask)).max() < 0.1


def test_pictures_show_image_and_truth_alike() -> None:
    samples = ResizedSamples(Scenes(), INPUT, masks=False, limit=1, fit="pad")
    picture = Pictures(samples, torch.device("cpu"), fit="pad")
    model = Threshold()
    model.register_buffer("input_mean", torch.zeros(3))
    truth = picture(model)[:, 128 + 4 : 256 + 4]
    assert (truth[92:] == 255).all() and not (truth[:91] == 255).all()  # 160 of 224 rows are 91 of 128


def test_a_run_is_measured_as_it_was_validated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEGMENTATION_DATA", str(tmp_path))
    words = ("data=voc", f"data.root={make_voc(tmp_path / 'voc')}", "data.fit=pad", "trainer.epochs=1")
    succeeded(run_here(train, "train", *words, *TINY, "trainer.ema=false", cwd=tmp_path))
    (run,) = runs_in(tmp_path)
    succeeded(run_here(evaluate, "evaluate", f"checkpoint={run}", "device=cpu", cwd=tmp_path))
    with (run / "metrics.csv").open() as file:
        (row,) = csv.DictReader(file)
    (results,) = (run / "evaluation").glob("val*.json")
    assert json.loads(results.read_text())["miou"] == pytest.approx(float(row["val/miou"]), abs=1e-5)


class Exported(Threshold):
    """A file of a run with `fit=pad`, as ONNX Runtime would run it."""

    normalization = Normalization((0, 0, 0), (1, 1, 1))

    def __init__(self, path: Path, device: Any) -> None:
        super().__init__()
        self.path, text = path, json.dumps({"data": {"fit": "pad"}})
        self.facts = Facts(LABELS, self.normalization, INPUT, True, False, "", "Threshold", "", text)


def test_exported_files_are_used_as_the_run_was_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(predictor_module, "OnnxModel", Exported)
    image, mask, _ = Scenes()[0]
    predictor = Predictor.from_checkpoint("model.onnx")
    assert predictor.fit == "pad"
    found = predictor.predict(image)
    assert found.shape == mask.shape and np.abs(drift(image, found)).max() < 0.1
    for damaged in ("", "[1]", '{"data": 3}', "[" * 100_000):
        config = replace(Exported(Path(), "cpu").facts, config=damaged).run_config()
        assert fit_of(config) == "stretch"


def test_quantisation_sees_what_is_trained_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exporting, "build_dataset", lambda *_: Scenes())
    facts = Exported(Path(), "cpu").facts
    found = exporting.samples({"limit": None, "fit": "pad"}, "val", facts)
    expected = ResizedSamples(Scenes(), INPUT, masks=False, fit="pad")
    np.testing.assert_array_equal(found[0].image, expected[0].image)
    assert exporting.miou(Threshold(), facts.normalization, found) > 0.95


@pytest.mark.parametrize(
    ("size", "limits", "expected"),
    [
        ((480, 640), (240, 240), (180, 240)),  # times 0.375
        ((640, 480), (480, 240), (320, 240)),  # times 0.5
        ((30, 40), (240, 240), (30, 40)),
        ((1, 10_000), (100, 100), (1, 100)),
    ],
)
def test_sizes_shrink_to_their_limits(
    size: tuple[int, int], limits: tuple[int, int], expected: tuple[int, int]
) -> None:
    assert shrunk_size(size, limits) == expected
