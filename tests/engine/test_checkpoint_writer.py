import threading
import time
from pathlib import Path
from typing import Any

import pytest
import torch

import engine.checkpoint_writer
from engine.checkpoint_writer import CheckpointWriter, Copies
from utils.errors import UserError


def test_a_checkpoint_is_of_the_moment_it_was_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The training goes on while it is written."""
    gate = threading.Event()
    save = engine.checkpoint_writer.save_checkpoint

    def slowly(path: Path, checkpoint: dict[str, Any]) -> None:
        gate.wait(10)
        save(path, checkpoint)

    monkeypatch.setattr(engine.checkpoint_writer, "save_checkpoint", slowly)
    weights = torch.ones(3)
    content = {"model": {"w": weights}, "list": [1, (weights, "a")], "number": 2}
    with CheckpointWriter() as writer:
        writer.save(tmp_path / "last.pt", content)
        assert not (tmp_path / "last.pt").exists()
        weights.add_(1)
        content["number"] = 3
        gate.set()
    found = torch.load(tmp_path / "last.pt", weights_only=True)
    assert found["model"]["w"].tolist() == [1, 1, 1] and found["number"] == 2
    assert found["list"][1][0].tolist() == [1, 1, 1]


def test_they_are_written_in_order(tmp_path: Path) -> None:
    with CheckpointWriter() as writer:
        for number in range(5):
            writer.save(tmp_path / "last.pt", {"number": number})
    assert torch.load(tmp_path / "last.pt", weights_only=True)["number"] == 4


def test_a_failure_is_raised_and_the_last_good_one_stays(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    with CheckpointWriter() as writer:
        writer.save(folder / "last.pt", {"number": 1})
        writer.wait()
        writer.save(tmp_path / "nowhere" / "last.pt", {"number": 2})
        with pytest.raises(UserError, match="nowhere is gone"):
            writer.wait()
        writer.save(folder / "other.pt", {"number": 3})
    assert torch.load(folder / "last.pt", weights_only=True)["number"] == 1
    with pytest.raises(UserError, match="nowhere is gone"), CheckpointWriter() as writer:
        writer.save(tmp_path / "nowhere" / "last.pt", {})


def test_a_failure_is_seen_without_waiting(tmp_path: Path) -> None:
    with CheckpointWriter() as writer, pytest.raises(UserError, match="nowhere is gone"):
        writer.check()
        writer.save(tmp_path / "nowhere" / "last.pt", {})
        for _ in range(1000):
            writer.check()
            time.sleep(0.01)


def test_what_went_wrong_before_is_not_hidden_by_it(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="first"), CheckpointWriter() as writer:
        writer.save(tmp_path / "nowhere" / "last.pt", {})
        raise ValueError("first")


def test_copies_share_nothing_with_what_they_are_of() -> None:
    tensor = torch.zeros(2)
    copy = Copies().of({"a": [tensor, (torch.ones(1),)], "b": "text"})
    assert copy["b"] == "text" and isinstance(copy["a"][1], tuple)
    copy["a"][0].add_(5)
    assert tensor.tolist() == [0, 0]


def test_copies_use_their_memory_again() -> None:
    copies, values = Copies(), torch.arange(24.0).view(1, 2, 3, 4)
    first = copies.of({"a": values, "b": torch.zeros(2)})
    address = first["a"].data_ptr()
    second = copies.of({"a": values + 1, "b": torch.zeros(3)})
    assert second["a"].data_ptr() == address and torch.equal(second["a"], values + 1)
    assert second["b"].shape == (3,)
    other_layout = copies.of({"a": values.to(memory_format=torch.channels_last)})["a"]
    assert torch.equal(other_layout, values) and other_layout.is_contiguous(memory_format=torch.channels_last)


def test_a_reservation_leaves_its_memory_and_no_file(tmp_path: Path) -> None:
    path, values = tmp_path / "a.pt", torch.zeros(5)
    with CheckpointWriter() as writer:
        writer.reserve(path, {"a": values})
        writer.wait()
        assert not path.exists()
        address = writer._copies[path].of({"a": values})["a"].data_ptr()
        writer.save(path, {"a": values + 1})
        assert writer._copies[path].of({"a": values + 1})["a"].data_ptr() == address
    assert torch.load(path, weights_only=True)["a"].tolist() == [1] * 5


def test_one_file_does_not_wait_for_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    let_go, order = threading.Event(), []

    def slow(path: Path, checkpoint: dict) -> None:
        let_go.wait(30)
        order.append((path.name, checkpoint["a"].item()))

    monkeypatch.setattr(engine.checkpoint_writer, "save_checkpoint", slow)
    with CheckpointWriter() as writer:
        values = torch.zeros(1)
        writer.save(tmp_path / "best.pt", {"a": values})
        values += 1
        writer.save(tmp_path / "last.pt", {"a": values})
        values += 1
        assert order == []
        let_go.set()
    assert order == [("best.pt", 0), ("last.pt", 1)]
