"""The pages that `benchmarks.results` writes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import result_files, results
from utils.bundled_weights import bundled_names


def run(seed: int, miou: float) -> dict:
    return {
        "started": "2026-01-01",
        "parameters": 361_000,
        "macs": 1.31e9,
        "seed": seed,
        "seconds": 5400,
        "environment": {"device": "cpu (x86_64)", "threads": 1},
        "options": {},
        "overrides": ["experiment=camvid_small"],
        "training_samples": 367,
        "evaluation": {
            "split": "val",
            "samples": 101,
            "epoch": 90,
            "miou": miou,
            "class_accuracy": 0.7,
            "boundary_iou": 0.4,
            "calibration_error": 0.03,
            "benchmark": {"miou, void as false positives": miou - 0.02},
            "iou": {"sky": 0.9, "pole": 0.2},
        },
    }


@pytest.fixture
def stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, scores in {"camvid_small": [0.60, 0.64], "camvid_large": [0.70]}.items():
        (tmp_path / name).mkdir()
        for seed, miou in enumerate(scores):
            (tmp_path / name / f"seed{seed}.json").write_text(json.dumps(run(seed, miou)))
    rows = [{"backend": "eager", "median ms": 81.6}, {"backend": "onnx", "median ms": 40.2}]
    (tmp_path / "camvid_small" / "speed.json").write_text(json.dumps(rows))
    (tmp_path / "camvid_small" / "remarks.md").write_text("Misses bicycles.\n")
    monkeypatch.setattr(result_files, "RESULTS", tmp_path)
    return tmp_path


def row(page: str, *beginning: str) -> list[str]:
    """Return the cells of the first row of a table that begins so."""
    lines = [[cell.strip() for cell in line.strip("| ").split("|")] for line in page.splitlines() if line[:1] == "|"]
    return next(cells for cells in lines if cells[: len(beginning)] == list(beginning))


def test_a_page_has_means_over_seeds_and_the_best_network_first(stored: Path) -> None:
    page = results.results_page(results.read_results(), [], [], [{"network": "Small", "last": {"val/miou": 0.25}}])
    # The standard deviation of 60 and 64 is sqrt(2 * 2**2 / 1) = 2.83.
    assert row(page, "`camvid_small`")[1:3] == ["62.0 ± 2.8", "60.0 ± 2.8"]
    assert row(page, "`camvid_large`")[1:3] == ["70.0", "68.0"]
    assert "(mIoU of one seed each: Small 25.0)" in page
    assert page.index("`camvid_large`") < page.index("`camvid_small`")
    assert row(page, "`camvid_small`", "0.36 M")[2:8] == ["1.31 G", "82", "40", "2", "90", "1.5"]


def test_a_network_trained_on_val_has_no_score_on_val(stored: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (stored / "camvid_small_trainval").mkdir()
    on_both = run(0, 0.99) | {"training_samples": 468, "seconds": 3600}
    (stored / "camvid_small_trainval" / "seed0.json").write_text(json.dumps(on_both))
    found = results.read_results()
    assert [result.on_trainval for result in found] == [False, False, True]
    page = results.results_page(found, [], [], [])
    assert row(page, "`camvid_small_trainval`", "0.36 M")[6:8] == ["90", "1.0"]
    assert page.count("| `camvid_small_trainval`") == 1 and "99" not in page
    card = results.card(next(result for result in found if result.on_trainval))
    assert "splits `train` and `val`, 468 photos" in card and "mIoU" not in card
    monkeypatch.setattr(results, "bundled_names", lambda: ["small_trainval_camvid"])
    begin, end = results.MARKS
    table = results.with_weights_table(f"{begin}\n{end}\n", found)
    assert row(table, "`small_trainval_camvid`")[2:] == ["", "trained on it, too"]


def test_a_page_compares_heads(stored: Path) -> None:
    for seed, (name, miou) in enumerate({"a": 0.31, "b": 0.33}.items()):
        (stored / f"voc_{name}").mkdir()
        of_head = run(seed, miou) | {"overrides": ["experiment=voc", f"model.head={name}"], "training_samples": 400}
        (stored / f"voc_{name}" / "seed0.json").write_text(json.dumps(of_head))
    page = results.results_page(results.read_results(), results.read_results("voc"), [], [])
    assert "trained on 400 photos of `train_aug` and measured on 101 of" in " ".join(page.split())
    assert row(page, "`model.head=b`")[1] == "33.0"
    assert page.index("`model.head=b`") < page.index("`model.head=a`")
    assert "voc_a" not in page


def test_a_new_table_takes_the_place_of_that_in_the_readme(stored: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results, "bundled_names", lambda: ["small_camvid"])
    begin, end = results.MARKS
    text = results.with_weights_table(f"before\n{begin}\nold\n{end}\nafter\n", results.read_results())
    assert text.startswith(f"before\n{begin}\n|") and text.endswith(f"|\n{end}\nafter\n") and "old" not in text
    assert row(text, "`small_camvid`") == ["`small_camvid`", "0.36 M", "82", "62.0 ± 2.8 %"]
    assert "large_camvid" not in text


def test_a_card_has_the_metrics_of_the_weights_and_the_remarks(stored: Path) -> None:
    small = next(result for result in results.read_results() if result.experiment == "camvid_small")
    text = results.card(small)
    assert text.startswith("# small_camvid\n") and text.endswith("Misses bicycles.\n")
    assert "mIoU 60.0, class-average accuracy 70.0" in text and row(text, "pole") == ["pole", "20.0"]


def test_a_run_is_stored_without_paths_of_the_machine(stored: Path) -> None:
    folder = stored.parent / "run"
    folder.mkdir(exist_ok=True)
    summary = run(3, 0.5) | {"overrides": ["data.root=/home/me", "seed=3"], "notes": "private"}
    summary["samples"] = {"train": {"samples": summary.pop("training_samples")}}
    measured = summary.pop("evaluation")
    measured["classes"] = {"iou": measured.pop("iou")}
    for name, content in {"summary.json": summary, "val.json": measured | {"data": {"root": "/home/me"}}}.items():
        (folder / name).write_text(json.dumps(content))
    results.keep(folder, folder / "val.json", "camvid_small")
    text = (stored / "camvid_small" / "seed3.json").read_text()
    assert "/home" not in text and "private" not in text
    assert json.loads(text) == run(3, 0.5) | {"overrides": ["seed=3"]}


def test_a_card_says_how_a_training_was_continued(stored: Path) -> None:
    folder = stored.parent / "continued"
    folder.mkdir(exist_ok=True)
    summary = run(0, 0.5)
    summary["samples"] = {"train": {"samples": summary.pop("training_samples")}}
    measured = summary.pop("evaluation")
    measured["classes"] = {"iou": measured.pop("iou")}
    interrupted = {"after_epoch": 12, "epochs": 30, "words": ["resume=experiments/x", "data.root=/home/me"]}
    longer = {"after_epoch": 30, "epochs": 90, "words": ["resume=experiments/x", "trainer.epochs=90"]}
    (folder / "summary.json").write_text(json.dumps(summary | {"continuations": [interrupted, longer]}))
    (folder / "val.json").write_text(json.dumps(measured))
    results.keep(folder, folder / "val.json", "camvid_longer")
    text = results.card(next(result for result in results.read_results() if result.experiment == "camvid_longer"))
    assert (
        "Trained by `python train_segmentation.py experiment=camvid_small`, then after epoch 30"
        " `python train_segmentation.py resume=experiments/<run> trainer.epochs=90`, seed 0, 90 epochs" in text
    )


@pytest.mark.parametrize("given", ["further_camvid", "/home/me/further_camvid.pt"])
def test_a_training_that_starts_from_the_weights_of_its_recipe_is_added_to_theirs(stored: Path, given: str) -> None:
    folder = stored.parent / "further"
    folder.mkdir(exist_ok=True)
    before = run(0, 0.5) | {"seconds": 7200, "continuations": [{"after_epoch": 30, "words": ["trainer.epochs=90"]}]}
    (stored / "camvid_further").mkdir(exist_ok=True)
    (stored / "camvid_further" / "seed0.json").write_text(json.dumps(before))
    words = ["experiment=camvid_small", f"model.weights={given}", "trainer.epochs=20"]
    summary = run(0, 0.6) | {"overrides": words, "seconds": 1800}
    summary["samples"] = {"train": {"samples": summary.pop("training_samples")}}
    measured = summary.pop("evaluation") | {"epoch": 20}
    measured["classes"] = {"iou": measured.pop("iou")}
    (folder / "summary.json").write_text(json.dumps(summary))
    (folder / "val.json").write_text(json.dumps(measured))
    results.keep(folder, folder / "val.json", "camvid_further")
    found = results.read_results()
    text = results.card(next(result for result in found if result.experiment == "camvid_further"))
    assert (
        "`python train_segmentation.py resume=experiments/<run> trainer.epochs=90`, then `python train_segmentation.py"
        f" experiment=camvid_small model.weights={Path(given).name} trainer.epochs=20`, seed 0, 110 epochs" in text
    )
    assert ", 2.5 hours.\n" in text
    page = results.results_page(found, [], [], [])
    assert row(page, "`camvid_further`", "0.36 M")[6:8] == ["110", "2.5"]
    first, second = (line for line in page.splitlines() if "experiment=camvid_further" in line)
    assert first == "python train_segmentation.py experiment=camvid_further data.root=<path>"
    assert second.startswith(
        f"{first.removesuffix(' data.root=<path>')} model.weights=<name>.pt trainer.epochs=20 data.root="
    )


def test_the_pages_of_this_project_are_those_of_its_results() -> None:
    found = results.read_results()
    assert (results.DOCS / "results.md").read_text() == results.results_page(
        found, results.read_results("voc"), *results.tables()
    )
    readme = (results.ROOT / "README.md").read_text()
    assert readme == results.with_weights_table(readme, found)
    cards = {result.bundled: results.card(result) for result in found if result.bundled in bundled_names()}
    assert set(cards) == set(bundled_names())
    for name, text in cards.items():
        assert (results.WEIGHTS / f"{name}.md").read_text() == text
