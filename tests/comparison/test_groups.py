"""Groups of runs compared: tables, intervals, folds."""

from __future__ import annotations

import csv
import io
import json
import re
import shlex
import statistics
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from comparison.differences import unmeasured_notes
from comparison.evaluations import command_to_measure
from comparison.groups import Group, grouped, groups_of
from comparison.report_data import gathered
from comparison.rows import differing_keys
from comparison.runs import Run
from comparison.tables import tables_of
from config.quoting import items_of
from tests.comparison.folders import LABELS, add_evaluation, change_summary, make_run, runs_in
from tests.printed import rows_of_table
from utils.run_folder import RunFolder

RATES = {0.1: (0.50, 0.53, 0.52), 0.2: (0.60, 0.61, 0.63)}


@pytest.fixture
def runs(tmp_path: Path) -> list[Run]:
    """Two rates with three seeds each; the second is better on every photo."""
    unions = np.random.default_rng(0).integers(50, 100, (12, 3))
    for rate, mious in RATES.items():
        for seed, miou in enumerate(mious):
            run = make_run(tmp_path / f"{rate}-{seed}", miou, optimizer__lr=rate, seed=seed)
            add_evaluation(run, "val", (unions * (0.3 + rate)).astype(int) + seed, unions)
    return runs_in(tmp_path)


def table(runs: list[Run], form: str = "table", **choices: object) -> str:
    return tables_of(runs, form, **choices)  # type: ignore[arg-type]


def test_differences_between_groups(runs: list[Run]) -> None:
    low, high = stats.ttest_ind(RATES[0.1], RATES[0.2], equal_var=False).confidence_interval(0.95)
    difference = statistics.fmean(RATES[0.1]) - statistics.fmean(RATES[0.2])
    text = table(runs, group_by=["seed"])
    assert "mIoU: differences to ENet, lr 0.2" in text
    (cells,) = [row for row in rows_of_table(text) if f"{difference:+.4f}" in row]
    assert cells[:4] == ["ENet, lr 0.1", "0.5167", f"{difference:+.4f}", f"{low:+.4f} to {high:+.4f} *"]
    assert cells[4].startswith("-0.1") and cells[4].endswith(" +")  # between photos as for every photo
    first, second = csv.DictReader(io.StringIO(table(runs, "csv", group_by=["seed"])))
    assert float(first["difference in mIoU"]) == pytest.approx(difference)
    assert float(first["low over seeds"]) == pytest.approx(low) and second["difference in mIoU"] == "0.0"


def test_why_there_is_no_interval(runs: list[Run]) -> None:
    text = table([run for run in runs if not run.name.endswith("2")], group_by=["seed"])
    assert "| 2 seeds: too few to tell |" in text
    (runs[0].path / "evaluation" / "val_counts.npz").unlink()
    assert "not measured by evaluate.py" in table(runs, group_by=["seed"])
    add_evaluation(runs[0].path, "val", np.ones((11, 3), int), np.full((11, 3), 2))
    assert "measured on different photos" in table(runs, group_by=["seed"])
    change_summary(runs[0].path, best=None)
    assert "differences" not in table(runs_in(runs[0].path.parent)[:2], group_by=["seed"])


def test_a_mean_that_lacks_runs_says_so_and_is_not_the_best(runs: list[Run]) -> None:
    """Of the second group, only one of three runs was measured on `all`; its single value is the highest."""
    for run, share in zip(runs[:4], (40, 42, 44, 90), strict=True):
        add_evaluation(run.path, "all", np.full((10, 3), share), np.full((10, 3), 100))
    choices: dict[str, Any] = {"group_by": ["seed"], "columns": ["optimizer.lr", "all/miou", "val/iou/sky"]}
    text = table(runs, **choices)
    rows = rows_of_table(text)
    assert ["ENet, lr 0.1", "3", "0.1", "0.4200 +- 0.0200", "0.9000 +- 0.0000"] in rows
    assert ["ENet, lr 0.2", "3", "0.2", "0.9000 (1 of 3)", "0.9000 +- 0.0000"] in rows
    assert "| 0.9000 (1 of 3) |" in table(runs, "markdown", **choices)
    assert "all/miou: differences to ENet, lr 0.1" in text  # the best of those that were measured
    (difference,) = [row for row in rows if "+0.4800" in row]
    assert difference[1:] == [
        "0.9000 (1 of 3)",
        "+0.4800",
        "1 seed: too few to tell",
        "not measured on all by evaluate.py",
    ]
    lacking = "not measured on all by evaluate.py: 0.2-1, 0.2-2"
    command = f"to measure what is missing: python evaluate.py 'runs=[{runs[4].path},{runs[5].path}]' split=all"
    assert text.endswith(f"\n{lacking}\n{command}")
    latex = table(runs, "latex", **choices)
    assert r"& 0.9000 (1 of 3) &" in latex and r"\textbf" not in latex
    assert f"\n% {lacking}\n% {command}\n" in latex
    first, second = csv.DictReader(io.StringIO(table(runs, "csv", **choices)))
    assert (first["all/miou (runs)"], second["all/miou (runs)"]) == ("", "1 of 3")


def test_the_reference_that_is_not_measured_is_named(runs: list[Run]) -> None:
    (runs[5].path / "evaluation" / "val_counts.npz").unlink()
    latex = table(runs, "latex", group_by=["seed"])
    assert "\n% ENet, lr 0.1: reference not measured by evaluate.py\n" in latex
    assert "\n% not measured by evaluate.py: 0.2-2\n" in latex


def test_a_run_that_failed_at_once_needs_no_measurement(runs: list[Run]) -> None:
    make_run(runs[0].path.parent / "0.1-3", None, optimizer__lr=0.1, seed=3)
    text = table(runs_in(runs[0].path.parent), group_by=["seed"])
    assert "not measured" not in text and " + |" in text and " (3 of" not in text


def test_a_run_that_was_repeated_is_no_other_seed(runs: list[Run]) -> None:
    """As with like=, which gives equal weights: three runs of one seed have no deviation, and would always differ."""
    for number in range(2):
        make_run(runs[0].path.parent / f"0.1-0-{number}", RATES[0.1][0], optimizer__lr=0.1, seed=0)
    again = runs_in(runs[0].path.parent)
    for some, note in ((again[:3] + again[5:], "1 seed: too few to tell"), (again, "")):
        first, second = csv.DictReader(io.StringIO(table(some, "csv", group_by=["seed"])))
        assert (first["note over seeds"], first["n"], second["n"]) == (note, str(len(some) - 3), "3")
    low, high = stats.ttest_ind(RATES[0.1], RATES[0.2], equal_var=False).confidence_interval(0.95)
    assert float(first["low over seeds"]) == pytest.approx(low)
    assert float(first["high over seeds"]) == pytest.approx(high)


def test_runs_without_a_metric_need_no_measurement(runs: list[Run]) -> None:
    """Of a group in which all have failed, too."""
    failed = make_run(runs[0].path.parent / "0.3-0", None, optimizer__lr=0.3)
    text = table(runs_in(runs[0].path.parent), group_by=["seed"])
    assert "not measured" not in text and str(failed) not in text
    assert re.search(r"\| ENet, lr 0.3 +\| +- \| +- \| 0 seeds: too few to tell +\| +no run has a metric \|", text)


def test_groups_that_were_measured_on_other_photos_are_not_compared(runs: list[Run]) -> None:
    """As with another data.val_split or data.limit; a measurement of one split by evaluate.py compares them."""
    for run in runs:
        photos = "a" if "0.1" in run.name else "b"
        change_summary(run.path, samples={"validation": {"sha256": photos}})
        for stem, measured in (("val", "all"), ("test", "all"), ("dev", photos)):
            add_evaluation(run.path, stem, np.full((10, 3), 60 if photos == "b" else 50), np.full((10, 3), 100))
            path = run.path / "evaluation" / f"{stem}.json"
            path.write_text(json.dumps(json.loads(path.read_text()) | {"photos": measured}))
    found = runs_in(runs[0].path.parent)
    note = "measured on different photos"
    assert f"| {note} | {note} |" in table(found, group_by=["seed"])
    for metric, seeds, photos in (
        ("mIoU", note, note),
        ("val/dice", note, note),
        ("dev/miou", note, note),
        ("test/miou", "", ""),
        ("val/boundary_iou", "", "only of mIoU"),  # of evaluate.py
    ):
        rows = list(csv.DictReader(io.StringIO(table(found, "csv", group_by=["seed"], columns=[metric]))))
        for kind, expected in (("seeds", seeds), ("photos", photos)):  # the other row is the reference
            assert {row[f"note over {kind}"] for row in rows} == {expected, ""}, metric
    assert f"% ENet, lr 0.1: {note}" in table(found, "latex", group_by=["seed"])


def test_the_command_that_measures_what_is_not_measured(runs: list[Run]) -> None:
    lacking = [runs[0], runs[4]]
    for run in lacking:
        (run.path / "evaluation" / "val_counts.npz").unlink()
    command = f"python evaluate.py 'runs=[{lacking[0].path},{lacking[1].path}]'"
    named = "not measured by evaluate.py: 0.1-0, 0.2-1"
    text, markdown = table(runs, group_by=["seed"]), table(runs, "markdown", group_by=["seed"])
    assert text.endswith(f"(paired bootstrap)\n{named}\nto measure what is missing: {command}")
    assert f"(paired bootstrap)\n\n{named}\n\nto measure what is missing: {command}" in markdown
    assert unmeasured_notes([Group("all", runs)], "val_flip/miou") == [
        "not measured on val_flip by evaluate.py: 6 of 6 runs"
    ]
    (runs[0].path.parent / "multirun.yaml").touch()
    assert table(runs, group_by=["seed"]).endswith(f": python evaluate.py runs={runs[0].path.parent}")
    for run in runs[1:4]:
        (run.path / "evaluation" / "val_counts.npz").unlink()
    assert "\nnot measured by evaluate.py: 5 of 6 runs\n" in table(runs, group_by=["seed"])
    assert command_to_measure(runs[:1], "test") == f"python evaluate.py runs={runs[0].path.parent} split=test"


def test_the_command_takes_any_name_of_a_run(runs: list[Run]) -> None:
    for run, name in zip(runs, ["lr 1, it's", "b #2 (warm)"], strict=False):
        run.path.rename(run.path.with_name(name))
    found = [run for run in runs_in(runs[0].path.parent) if not run.name.startswith("0.")]
    *_, word = shlex.split(command_to_measure(found, ""))
    assert {Path(item).name for item in items_of(word.removeprefix("runs="))} == {"lr 1, it's", "b #2 (warm)"}


def test_few_photos_are_too_few_to_tell(runs: list[Run]) -> None:
    """The second group is better on each of nine photos; in the table, in LaTeX, in a file, and in the report."""
    for run in runs:
        share = 60 if "0.2" in run.name else 50
        add_evaluation(run.path, "val", np.full((9, 3), share), np.full((9, 3), 100))
    runs = runs_in(runs[0].path.parent)
    note = "9 photos: too few to tell"
    assert f"| {note} |" in table(runs, group_by=["seed"])
    first, _ = csv.DictReader(io.StringIO(table(runs, "csv", group_by=["seed"])))
    assert (first["note over photos"], first["low over photos"]) == (note, "")
    latex = table([run for run in runs if not run.name.endswith("2")], "latex", group_by=["seed"])
    assert f"\n% ENet, lr 0.1: 2 seeds: too few to tell; {note}\n" in latex and "$^{" not in latex.partition("begin")[2]
    (entry,) = gathered(runs, [], "", group_by=["seed"])[0]["differences"]
    assert [(row["photos"], row["photos_note"]) for row in entry["rows"]] == [(None, note)]


def test_the_reference_is_the_group_of_the_baseline(runs: list[Run]) -> None:
    text = table(runs, group_by=["seed"], baseline=runs[0])
    assert "mIoU: differences to ENet, lr 0.1" in text and "+0.0967" in text
    assert "| ENet, lr 0.1, seed 0 " in text or "| ENet, seed 0, lr 0.1 " in text  # of its classes, by labels
    assert "0.1-0" not in text


def test_unfinished_runs_in_a_mean_are_named(runs: list[Run]) -> None:
    note = (
        "the means include 2 unfinished runs: 0.1-0 (interrupted after epoch 1 of 2), 0.2-1 (failed);"
        " where='status=finished' leaves them out"
    )
    for form in ("table", "markdown", "latex"):
        assert "unfinished" not in table(runs, form, group_by=["seed"])
    change_summary(runs[0].path, status="interrupted", last={"epoch": 1})
    change_summary(runs[4].path, status="failed")
    change_summary(make_run(runs[0].path.parent / "0.2-3", None, optimizer__lr=0.2, seed=3), status="failed")
    runs = runs_in(runs[0].path.parent)
    assert f"\n\n{note}\n\n" in table(runs, group_by=["seed"], columns=["mIoU"])
    assert f"|\n\n{note}\n\n|" in table(runs, "markdown", group_by=["seed"])
    assert f"\n% {note}\n" in "\n" + table(runs, "latex", group_by=["seed"])
    (line,) = gathered(runs, [], "", group_by=["seed"])[0]["unfinished"]  # the best run first
    assert line.startswith("the means include 2 unfinished runs: 0.2-1 (failed), 0.1-0 (interrupted after epoch 1 ")
    for columns in (None, ["mIoU"]):
        rows = json.loads(table(runs, "json", group_by=["seed"], columns=columns))
        expected = ["0.1-0 (interrupted after epoch 1 of 2)", "0.2-1 (failed)"]
        assert [row["unfinished"] for row in rows] == expected
        lines = csv.DictReader(io.StringIO(table(runs, "csv", group_by=["seed"], columns=columns)))
        assert [line["unfinished"] for line in lines] == expected
    assert [row["unfinished"] for row in json.loads(table(runs[1:4], "json", group_by=["seed"]))] == ["", ""]
    assert "unfinished" not in table(runs) and gathered(runs, [], "")[0]["unfinished"] == []


def test_notes_of_markdown_are_not_rows(runs: list[Run]) -> None:
    *_, row, blank, note = table(runs, "markdown", group_by=["seed"]).splitlines()
    assert row.startswith("| ") and blank == "" and note.startswith("95 % intervals")


def test_a_metric_of_an_evaluation(runs: list[Run]) -> None:
    for number, run in enumerate(runs):
        add_evaluation(run.path, "test", np.full((6, 3), 50 + number), np.full((6, 3), 100))
    text = table(runs, group_by=["seed"], columns=["test/miou", "optimizer.lr"])
    assert "test/miou: differences to ENet, lr 0.2" in text and "0.5100 +- 0.0100" in text and "-0.0300" in text


def test_latex(runs: list[Run]) -> None:
    *head, first, second, rule, end = table(runs, "latex", group_by=["seed"], columns=["mIoU"]).splitlines()
    assert head[-3:] == [r"\toprule", r"group & n & mIoU \\", r"\midrule"]
    assert (rule, end) == (r"\bottomrule", r"\end{tabular}")
    assert first == r"ENet, lr 0.1 & 3 & 0.5167 $\pm$ 0.0153$^{*\dagger}$ \\"
    assert second == r"ENet, lr 0.2 & 3 & \textbf{0.6133} $\pm$ 0.0153 \\"
    assert all(line.startswith(("%", "\\", "group")) for line in head)
    assert r"\begin{tabular}{lrr}" in head
    notes = [line for line in head if line.startswith("%")]
    assert "* over seeds (Welch), dagger over photos" in notes[0] and not any("+" in line for line in notes)


def test_titles_tell_columns_apart(tmp_path: Path) -> None:
    for model, miou in (("enet", 0.5), ("unet", 0.6)):
        for seed in range(2):
            options = {"model": model, "data": "camvid"}
            run = make_run(tmp_path / f"{model}{seed}", miou, options, seed=seed, model={"_target_": model})
            add_evaluation(run, "all", np.full((10, 3), 50 + seed), np.full((10, 3), 100))
    runs = runs_in(tmp_path)
    choices: dict[str, Any] = {"group_by": ["seed"], "columns": ["model", "mIoU", "all/miou"]}
    latex = table(runs, "latex", **choices)
    assert "\n" + r"model & n & val/miou & all/miou \\" in latex and "\nenet & 2 & 0.5000" in latex
    assert "% val/miou: compared with unet;" in latex and r"\begin{tabular}{lrrr}" in latex
    assert table(runs, "markdown", **choices).startswith("| model | n | val/miou | all/miou |")
    text = table(runs, **choices)
    assert (
        re.search(r"\| model \| n \| +val/miou \| +all/miou \|", text)
        and "val/miou: differences to unet" in text
        and "mIoU" not in text
    )
    rows = json.loads(table(runs, "json", **choices))
    assert [(row["group"], row["model"], row["mIoU"]) for row in rows] == [("enet", "enet", 0.5), ("unet", "unet", 0.6)]
    assert " mIoU |" in table(runs, group_by=["seed"], columns=["mIoU"])


def test_one_run_has_no_deviation_and_equal_runs_have_one_of_zero(tmp_path: Path) -> None:
    for rate, seeds in ((0.1, 1), (0.2, 2)):
        for seed in range(seeds):
            make_run(tmp_path / f"{rate}-{seed}", 0.5, optimizer__lr=rate, seed=seed)
    latex = table(runs_in(tmp_path), "latex", group_by=["seed"], columns=["mIoU"])
    assert r"ENet, lr 0.1 & 1 & 0.5000 \\" in latex and r"ENet, lr 0.2 & 2 & 0.5000 $\pm$ 0.0000 \\" in latex


def test_latex_leaves_out_columns_that_are_the_same_in_all_rows(runs: list[Run]) -> None:
    change_summary(runs[5].path, status="failed")
    runs = runs_in(runs[0].path.parent)
    lines = table(runs, "latex", group_by=["seed"]).splitlines()
    assert r"optimizer.lr & mIoU & status \\" in lines and r"\begin{tabular}{rrl}" in lines
    (same,) = [line for line in lines if line.startswith("% the same in all rows: ")]
    values = same.partition(": ")[2].split(", ")
    assert {"n 3", "model ENet", "data Synthetic", "parameters 0.36 M"} <= set(values)
    asked = table(runs, "latex", group_by=["seed"], columns=["model", "mIoU", "parameters"])
    assert r"group & n & model & mIoU & parameters \\" in asked and r"\begin{tabular}{lrlrr}" in asked
    assert "the same" not in asked and "the same" not in table(runs[:1], "latex")


def test_grouped_by_several_keys_and_by_options(tmp_path: Path) -> None:
    for i, (seed, rate, loss) in enumerate([(0, 0.1, "a"), (1, 0.1, "b"), (0, 0.2, "a"), (1, 0.2, "b")]):
        target = {"_target_": f"losses.combinations.{loss}", f"only_{loss}": i}
        make_run(tmp_path / str(i), 0.5 + i / 10, seed=seed, optimizer__lr=rate, loss=target)
    runs = runs_in(tmp_path)
    keys = differing_keys(runs)
    assert [len(group.runs) for group in groups_of(runs, keys, ["seed", "loss"])] == [2, 2]
    assert [len(group.runs) for group in groups_of(runs, keys, ["seed", "loss", "optimizer.lr"])] == [4]
    assert [len(group.runs) for group in groups_of(runs, keys, ["seed"])] == [1] * 4
    rows = grouped(runs, keys, ["seed", "loss"])
    assert [row["mIoU"] for row in rows] == pytest.approx([0.55, 0.75]) and "seed" not in rows[0]


@pytest.fixture
def folds(tmp_path: Path) -> list[Run]:
    """Three folds with a confusion matrix each."""
    for fold in range(3):
        data = {"_target_": "data.camvid.CamVid", "image_size": [96, 128], "folds": 3, "fold": fold}
        run = make_run(tmp_path / str(fold), data=data)
        matrix = np.random.default_rng(fold).integers(1, 50, (3, 3)) + 100 * (fold + 1) * np.eye(3, dtype=int)
        RunFolder(run).write_confusion(LABELS.names, matrix.tolist())
        ious = {f"val/iou/{name}": iou for name, iou in zip(LABELS.names, iou_of(matrix), strict=True)}
        change_summary(run, best={"epoch": 2, "val/miou": float(np.mean(iou_of(matrix))), **ious})
    return runs_in(tmp_path)


def iou_of(matrix: np.ndarray) -> list[float]:
    return [matrix[c, c] / (matrix[c].sum() + matrix[:, c].sum() - matrix[c, c]) for c in range(len(matrix))]


def matrix_of(run: Run) -> np.ndarray:
    with (run.path / "figures" / "confusion_matrix.csv").open() as file:
        return np.array([[int(cell) for cell in row[1:]] for row in list(csv.reader(file))[1:]])


def test_folds_together(folds: list[Run]) -> None:
    total = iou_of(sum(map(matrix_of, folds), np.zeros((3, 3), int)))
    text = table(folds, group_by=["data.fold"])
    rows = {row[0]: row[1:] for row in rows_of_table(text) if len(row) == 3}
    for name, pooled in (*zip(LABELS.names, total, strict=True), ("mIoU", np.mean(total))):
        key = "val/miou" if name == "mIoU" else f"val/iou/{name}"
        values = [run.summary["best"][key] for run in folds]
        assert rows[name] == [f"{statistics.fmean(values):.4f} +- {statistics.stdev(values):.4f}", f"{pooled:.4f}"]
    (row,) = json.loads(table(folds, "json", group_by=["data.fold"]))
    assert row["n"] == 3 and row["pooled mIoU"] == pytest.approx(np.mean(total))
    assert "is missing" not in text
    assert "ENet: fold 1 of 3 is missing" in table([folds[0], folds[2]], group_by=["data.fold"])


def test_the_photos_of_all_folds_are_one_set(folds: list[Run], tmp_path: Path) -> None:
    """Of two rates, each photo was held out by a fold of each."""
    for fold, run in enumerate(folds):
        data = {"_target_": "data.camvid.CamVid", "image_size": [96, 128], "folds": 3, "fold": fold}
        other = make_run(tmp_path / "other" / str(fold), 0.3, data=data, optimizer__lr=0.2)
        for path, share in ((run.path, 60), (other, 50)):
            add_evaluation(path, "fold", np.full((4, 3), share), np.full((4, 3), 100))
            counts = path / "evaluation" / "fold_counts.npz"
            stored = dict(np.load(counts))
            stored["names"] = np.array([f"photo {fold}-{i}" for i in range(4)])
            np.savez(counts, **stored)
    rows = table([*folds, *runs_in(tmp_path / "other")], "csv", group_by=["data.fold"], sort="optimizer.lr")
    _, second = csv.DictReader(io.StringIO(rows))
    assert float(second["low over photos"]) == pytest.approx(-0.1) == float(second["high over photos"])


def test_photos_of_runs_of_the_same_name_are_not_joined(tmp_path: Path) -> None:
    """Of two rates with a run of seed 0 and 1 each, those of the first in folders of the same name."""
    unions = np.full((10, 3), 100)
    for rate, share in ((0.1, 50), (0.2, 60)):
        for seed in range(2):
            name = "mine" if rate == 0.1 else f"mine {seed}"
            run = make_run(tmp_path / f"{rate}-{seed}" / name, share / 100, optimizer__lr=rate, seed=seed)
            add_evaluation(run, "val", np.full((10, 3), share), unions)
    runs = [run for folder in sorted(tmp_path.iterdir()) for run in runs_in(folder)]
    first, _ = csv.DictReader(io.StringIO(table(runs, "csv", group_by=["seed"], sort="optimizer.lr")))
    assert float(first["low over photos"]) == pytest.approx(-0.1) == float(first["high over photos"])
