"""Small checkpoints to share."""

from __future__ import annotations

import numpy as np
import torch

from engine.release import half, released


def checkpoint(**more: object) -> dict:
    return {
        "version": 1,
        "code": "abc",
        "config": {
            "model": {"_target_": "models.enet.ENet", "dropout": 0.1, "weights": "/home/me/start.pt"},
            "data": {"_target_": "data.camvid.CamVid", "root": "/home/me/camvid", "train_split": "train"},
            "trainer": {"epochs": 3, "amp": "off"},
            "distill": {"teacher": "/home/me/run"},
            "logger": {"project": "mine"},
        },
        "model": {"w": torch.tensor([1.0, 1 / 3]), "n": torch.tensor(7)},
        "labels": {},
        "normalization": {},
        "image_size": [8, 8],
        "epoch": 3,
        "metrics": {"val/miou": 0.5},
        "confusion": torch.zeros(2, 2, dtype=torch.int64),
        **more,
    }


def test_weights_are_half_the_size_and_the_rest_of_a_training_is_left_out() -> None:
    small = released(checkpoint(training={"average": None, "optimizer": {}}))
    assert small["model"]["w"].dtype == torch.float16
    assert small["model"]["w"].tolist() == np.array([1, 1 / 3], np.float16).tolist()
    assert small["model"]["n"].item() == 7 and small["model"]["n"].dtype == torch.int64
    assert "training" not in small and "confusion" not in small
    assert small["epoch"] == 3 and small["metrics"] == {"val/miou": 0.5} and small["code"] == "abc"


def test_the_average_of_the_weights_is_taken_where_training_kept_one() -> None:
    average = {"w": torch.tensor([5.0, 6.0]), "n": torch.tensor(7)}
    assert released(checkpoint(training={"average": average}))["model"]["w"].tolist() == [5, 6]


def test_no_folder_of_the_machine_remains() -> None:
    original = checkpoint()
    config = released(original)["config"]
    assert config["data"] == {"_target_": "data.camvid.CamVid", "root": "camvid", "train_split": "train"}
    assert config["model"]["weights"] == "start.pt"
    assert set(config) == {"model", "data", "trainer"}
    assert original["config"]["data"]["root"] == "/home/me/camvid"


def test_numbers_too_large_for_half_precision_keep_theirs() -> None:
    large = torch.tensor([70_000.0, 1.0])
    assert half(large).dtype == torch.float32 and half(large).tolist() == [70_000, 1]
