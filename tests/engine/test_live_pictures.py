"""The picture of a few validation samples that loggers get."""

from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from data.bands import RGB
from data.labels import LabelSet
from data.samples import Sample
from engine.loop import TrainingLoop
from engine.pictures import GAP, LONGEST_SIDE, Pictures
from tests.engine.small import Halves, Notes, fit

CPU = torch.device("cpu")


class Bright(nn.Module):
    """Says class 1 where red is above 100."""

    def forward(self, x: Tensor) -> Tensor:
        assert not self.training
        red = x[:, 0] * (0.229 * 255) + 0.485 * 255
        return torch.stack([100 - red, red - 100], 1)


def test_a_row_is_image_truth_and_prediction() -> None:
    samples = Halves(10)
    model = Bright().train()
    picture = Pictures(samples, CPU)(model)
    assert model.training
    assert picture.dtype == np.uint8 and picture.shape == (4 * 32 + 3 * GAP, 3 * 32 + 2 * GAP, 3)
    expected = np.full(picture.shape, 255, np.uint8)
    for row, index in enumerate([0, 3, 6, 9]):
        image, mask, _ = samples[index]
        panels = [image, np.stack([mask * 255] * 3, -1), np.stack([(image[..., 0] > 100) * 255] * 3, -1)]
        for column, panel in enumerate(panels):
            y, x = row * (32 + GAP), column * (32 + GAP)
            expected[y : y + 32, x : x + 32] = panel
    np.testing.assert_array_equal(picture, expected)
    np.testing.assert_array_equal(Pictures(samples, CPU)(model), picture)


@pytest.mark.parametrize("length", [1, 2, 3, 4, 5])
def test_there_are_as_many_rows_as_samples_but_four_at_most(length: int) -> None:
    rows = min(length, 4)
    assert Pictures(Halves(length), CPU)(Bright()).shape[0] == rows * 32 + (rows - 1) * GAP


class Large:
    """One image of 400x800 with a mask of half that size: the lower half is ignored."""

    labels = LabelSet(("left", "right"), ((10, 20, 30), (40, 50, 60)))
    bands = RGB

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> Sample:
        image = np.zeros((400, 800, 3), np.uint8)
        image[:, 400:] = 200
        mask = np.zeros((200, 400), np.uint8)
        mask[100:] = 255
        return Sample(image, mask, "large")


def test_large_images_are_shown_smaller() -> None:
    picture = Pictures(cast(Any, Large()), CPU)(Bright())
    assert picture.shape == (LONGEST_SIDE // 2, 3 * LONGEST_SIDE + 2 * GAP, 3)
    image, truth, prediction = (picture[:, i * (LONGEST_SIDE + GAP) :][:, :LONGEST_SIDE] for i in range(3))
    assert image[80, 10].tolist() == [0, 0, 0] and image[80, 310].tolist() == [200, 200, 200]
    assert truth[79, 10].tolist() == [10, 20, 30] and truth[80, 10].tolist() == [255, 255, 255]
    assert prediction[80, 10].tolist() == [10, 20, 30] and prediction[80, 310].tolist() == [40, 50, 60]


def test_the_trainer_has_one_made_of_the_averaged_weights_at_each_validation(tmp_path: Path) -> None:
    shown: list[nn.Module] = []

    class Remembering(Pictures):
        def __call__(self, model: nn.Module) -> np.ndarray:
            shown.append(model)
            return super().__call__(model)

    notes = Notes()
    pictures = Remembering(Halves(4), CPU)
    options: dict[str, Any] = {"ema": True, "epochs": 3, "validate_every": 2, "logger": notes, "pictures": pictures}
    loop = fit(tmp_path, **options)
    assert loop.training_step.average is not None and shown == [loop.training_step.average.module] * 2
    assert [step for step, _ in notes.images] == [10, 15]  # epochs of 5 steps
    np.testing.assert_array_equal(notes.images[-1][1], Pictures(Halves(4), CPU)(loop.training_step.average.module))


def test_they_do_not_change_the_training(tmp_path: Path) -> None:
    networks = []
    for name, pictures in (("with", Pictures(Halves(4), CPU)), ("without", None)):
        loop: TrainingLoop = fit(tmp_path / name, logger=Notes(), pictures=pictures)
        networks.append(loop.model.state_dict())
    assert all(torch.equal(networks[0][name], networks[1][name]) for name in networks[0])
