from pathlib import Path

import pytest

from utils.loggers.service import Service


def test_a_resumed_run_goes_on_where_it_was(tmp_path: Path) -> None:
    service = Service(str(tmp_path), "wandb")
    service.run_id = "abc"
    service.note_sent({"step": 7})
    again = Service(str(tmp_path), "wandb")
    assert again.run_id == "abc" and not again.is_new("step", 7) and again.is_new("step", 8)


HALVES = ["", "{", "3", "[" * 100_000, '{"id": 3, "steps": {}}', '{"id": "a", "steps": []}', '{"id": "a"}']


@pytest.mark.parametrize("content", HALVES, ids=range(len(HALVES)))
def test_half_a_file_begins_anew(tmp_path: Path, content: str, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "wandb.json").write_text(content)
    service = Service(str(tmp_path), "wandb")
    assert service.run_id is None and service.is_new("step", 0)
    assert "wandb.json is damaged" in caplog.text
