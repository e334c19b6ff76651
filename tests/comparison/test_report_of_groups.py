"""The HTML report in headless Chromium with group_by, sort and baseline, and of epochs without a validation."""

from __future__ import annotations

import shutil
import statistics
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from comparison.report import write_report
from comparison.runs import read_runs
from tests.comparison.folders import add_evaluation, add_metrics, change_summary, make_run
from utils.run_folder import RunFolder

Page = Any

MIOUS = {0.1: [[0.1, 0.3], [0.2, 0.7]], 0.2: [[0.4, 0.5], [0.6, 0.9]]}  # of epochs 2 and 4, by rate and seed


def add_validations(run: Path, seed: int, second: float, fourth: float) -> None:
    validated = [None, second, None, fourth]
    add_metrics(run, {"epoch": [1, 2, 3, 4], "train/loss": [4, 3, 2, 1 + seed], "val/miou": validated})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two rates with two seeds each, validated every second epoch; one of another seed that failed at once."""
    folder = tmp_path / "groups"
    for rate, runs in MIOUS.items():
        for seed, (second, fourth) in enumerate(runs):
            run = make_run(folder / "runs" / f"{rate}-{seed}", fourth, optimizer__lr=rate, seed=seed)
            best = {"epoch": 4, "val/miou": fourth, "val/iou/sky": fourth}
            change_summary(run, best=best, parameters=1_000_000 + 1000 * seed + int(1e7 * rate))
            add_validations(run, seed, second, fourth)
    failed = make_run(folder / "runs" / "0.1-2", None, optimizer__lr=0.1, seed=2)
    change_summary(failed, status="failed", error="CUDA out of memory")
    return folder


@pytest.fixture
def open_report(folder: Path, open_page: Any, request: pytest.FixtureRequest) -> Any:
    def opened(baseline: str | None = None, **choices: Any) -> Page:
        runs, skipped = read_runs([folder / "runs"])
        base = next((run for run in runs if run.name == baseline), None)
        path = folder / "report.html"
        write_report(path, runs, skipped, "experiments", baseline=base, **choices)
        return open_page(path=path, viewport={"width": 1280, "height": 800})

    return opened


def lines(page: Page, chart: str = "curves-chart") -> list[dict[str, Any]]:
    """What is drawn with a name."""
    return page.evaluate(f"document.getElementById('{chart}').data.filter((trace) => trace.name)")


@pytest.mark.slow
def test_unfinished_runs_in_groups_are_named(folder: Path, open_report: Any) -> None:
    assert open_report(group_by=["seed"]).is_hidden("#unfinished")
    change_summary(folder / "runs" / "0.1-0", status="interrupted", last={"epoch": 1})
    text = open_report(group_by=["seed"]).inner_text("#unfinished")
    assert "1 unfinished run: 0.1-0 (interrupted after epoch 1 of 2)" in text and "'status=finished' leaves it" in text


def test_groups_are_means_with_their_deviation(open_report: Any) -> None:
    page = open_report(group_by=["seed"])
    assert page.inner_text("#mean-label") == "mean \u00b1 deviation over seed" and page.is_checked("#mean")
    drawn = page.evaluate("document.getElementById('curves-chart').data")
    assert len(drawn) == 6  # two groups: the edges of a band, and the mean
    for (low, high, mean), rate, n in ((drawn[:3], 0.2, "2"), (drawn[3:], 0.1, "2 of 3")):
        assert mean["name"] == f"ENet, lr {rate} (n = {n})" and mean["x"] == [2, 4]
        middle = [statistics.fmean(pair) for pair in zip(*MIOUS[rate], strict=True)]
        spread = [statistics.stdev(pair) for pair in zip(*MIOUS[rate], strict=True)]
        assert mean["y"] == pytest.approx(middle) and mean["customdata"] == pytest.approx(spread)
        assert low["y"] == pytest.approx([m - s for m, s in zip(middle, spread, strict=True)])
        assert high["y"] == pytest.approx([m + s for m, s in zip(middle, spread, strict=True)])
        red, green, blue = (int(mean["line"]["color"][i : i + 2], 16) for i in (1, 3, 5))
        assert high["fillcolor"] == f"rgba({red},{green},{blue},0.2)"
    assert "No val/miou yet: ENet, seed 2, lr 0.1." in page.inner_text("#curves-note")
    page.select_option("#metric", "train/loss")
    assert [line["x"] for line in lines(page)] == [[1, 2, 3, 4]] * 2
    assert lines(page)[0]["y"] == [4, 3, 2, 1.5]
    page.uncheck("#mean")
    assert len(lines(page)) == 4


def test_everything_is_grouped(open_report: Any, folder: Path) -> None:
    """Rows that unfold, cost, classes, the legend; and all by run when that is chosen."""
    for number, path in enumerate(sorted((folder / "runs").iterdir())):
        if not path.name.endswith("2"):
            RunFolder(path).write_confusion(["sky", "road"], [[10 + number, 1], [2, 20]])
    page = open_report(group_by=["seed"])
    texts = [row.split("\t") for row in page.locator("#table tbody tr").all_inner_texts()]
    assert [row[1].strip() for row in texts] == ["0.7000 \u00b1 0.2828", "0.5000 \u00b1 0.2828\n2 of 3"]
    assert page.locator("#table tbody .best").first.inner_text().startswith("0.7000")
    page.click("#table tbody tr:nth-child(2) .toggle")
    assert page.locator("#table tbody tr .folder").all_inner_texts() == ["2 runs", "3 runs", "0.1-1", "0.1-0", "0.1-2"]
    assert page.get_attribute("#table tr:nth-child(2) .toggle", "aria-expanded") == "true"

    (dots,) = page.evaluate("document.getElementById('cost-chart').data.filter((trace) => trace.hovertext)")
    assert dots["x"] == pytest.approx([3_000_500, 2_000_500]) and dots["y"] == pytest.approx([0.7, 0.5])
    assert dots["error_y"]["array"] == pytest.approx([statistics.stdev([0.5, 0.9]), statistics.stdev([0.3, 0.7])])
    (heat,) = page.evaluate("document.getElementById('classes-chart').data")
    assert heat["z"] == [[pytest.approx(0.7)] * 2, [pytest.approx(0.5)] * 2]
    page.select_option("#relative", label="difference to ENet, lr 0.2")
    (heat,) = page.evaluate("document.getElementById('classes-chart').data")
    assert heat["z"] == [[0, 0], [pytest.approx(-0.2)] * 2]
    page.select_option("#confusion-run", label="ENet, lr 0.2: sum of 2 runs")
    page.select_option("#confusion-unit", "pixels")
    (matrix,) = page.evaluate("document.getElementById('confusion-chart').data")
    assert matrix["z"] == [[13 + 14, 2], [4, 40]]

    assert page.locator("#legend button").all_inner_texts() == ["ENet, lr 0.2", "ENet, lr 0.1"]
    page.click("#legend button:first-child")
    assert len(lines(page)) == 1 and page.inner_text("#count") == "5 runs, 3 in the charts"
    page.uncheck("#mean")
    assert page.locator("#table tbody tr").count() == 5 and page.locator("#legend button").count() == 5


def test_the_interval_is_drawn(open_report: Any, folder: Path) -> None:
    for path in (folder / "runs").iterdir():
        share = {"0.1": 40, "0.2": 60}[path.name[:3]]
        add_evaluation(path, "val", np.full((10, 3), share), np.full((10, 3), 100), epoch=4)
    add_evaluation(
        folder / "runs" / "0.1-0", "val", np.full((10, 3), 40) + np.arange(10)[:, None] % 5, np.full((10, 3), 100), 4
    )
    shutil.rmtree(folder / "runs" / "0.1-2" / "evaluation")  # of the run that failed
    page = open_report(group_by=["seed"])
    assert page.inner_text("#differences-title") == "Differences in mIoU to ENet, lr 0.2"
    row = page.locator("#intervals tbody tr").inner_text().split("\t")
    assert row[:3] == ["ENet, lr 0.1", "-0.2000", "2 seeds: too few to tell"]
    page.wait_for_selector("#intervals tbody .clear")
    (bar,) = page.evaluate("document.getElementById('differences-chart').data.filter((trace) => trace.name)")
    assert bar["x"][1] == pytest.approx(0.41 - 0.6) and bar["x"][0] < bar["x"][1] < bar["x"][2] < 0
    shutil.rmtree(folder / "runs" / "0.2-1" / "evaluation")
    row = open_report(group_by=["seed"]).locator("#intervals tbody tr").inner_text().split("\t")
    assert row[3] == "reference not measured by evaluate.py"
    assert open_report().is_hidden("#differences")


def test_means_that_lack_runs_are_marked_and_not_the_best(open_report: Any, folder: Path) -> None:
    for name, share in (("0.1-0", 40), ("0.1-1", 50), ("0.2-0", 90)):
        add_evaluation(folder / "runs" / name, "all", np.full((10, 3), share), np.full((10, 3), 100), epoch=4)
    page = open_report(group_by=["seed"])
    titles = page.locator("#table thead th").all_inner_texts()
    (place,) = [place for place, title in enumerate(titles) if title.startswith("all/miou")]
    cells = [row.locator("th, td").nth(place) for row in page.locator("#table tbody tr.group").all()]
    assert [cell.inner_text().split() for cell in cells] == [["0.9000", "1", "of", "2"], ["0.4500", "±", "0.0707"]]
    assert ["best" in (cell.get_attribute("class") or "") for cell in cells] == [False, False]


def test_one_data_set_at_a_time(tmp_path: Path, open_page: Any) -> None:
    for i, (name, miou) in enumerate((("camvid", 0.5), ("voc", 0.9), ("camvid", 0.6))):
        make_run(tmp_path / "runs" / f"run{i}", miou, options={"model": f"net{i}", "data": name})
    write_report(tmp_path / "report.html", *read_runs([tmp_path / "runs"]), "experiments")
    page = open_page(path=tmp_path / "report.html")
    assert page.locator("#table tbody .folder").all_inner_texts() == ["run1"]
    page.select_option("#data-set", "camvid")
    assert page.locator("#table tbody .folder").all_inner_texts() == ["run2", "run0"]
    assert page.inner_text("#count") == "2 runs, 2 in the charts"
    assert page.locator("#legend button").all_inner_texts() == ["net2", "net0"]


def test_epochs_that_some_lack_are_in_no_mean(open_report: Any, folder: Path) -> None:
    """One of two runs has no third validation of four; later, only one is left."""
    for seed, mious in enumerate(([0.5, 0.5, 0.5, 0.5, None], [0.1, 0.1, None, 0.1, 0.9])):
        add_metrics(folder / "runs" / f"0.2-{seed}", {"epoch": [1, 2, 3, 4, 5], "val/miou": mious})
    line = lines(open_report(group_by=["seed"]))[0]
    assert line["x"] == [1, 2, 4, 5] and line["y"] == pytest.approx([0.3, 0.3, 0.3, 0.9])


def test_the_baseline_is_chosen_beforehand(open_report: Any) -> None:
    page = open_report(baseline="0.1-1")
    label = "ENet, seed 1, lr 0.1"
    assert page.eval_on_selector("#relative", "e => e.selectedOptions[0].text") == f"difference to {label}"
    assert page.eval_on_selector("#first", "e => e.selectedOptions[0].text") == label
    (chart,) = page.evaluate("document.getElementById('classes-chart').data")
    assert [row[0] for row in chart["z"]] == pytest.approx([0.9 - 0.7, 0, 0.5 - 0.7, 0.3 - 0.7])


@pytest.mark.parametrize(
    ("sort", "title", "direction"),
    [
        (None, "mIoU", "descending"),
        pytest.param("val/miou", "mIoU", "descending", marks=pytest.mark.slow),
        pytest.param("val/dice", "Dice", "descending", marks=pytest.mark.slow),
        ("seconds", "duration", "ascending"),
        pytest.param("parameters", "parameters", "ascending", marks=pytest.mark.slow),
        pytest.param("optimizer.lr", "optimizer.lr", "ascending", marks=pytest.mark.slow),
    ],
)
def test_the_column_that_rows_are_sorted_by_is_told(
    open_report: Any, folder: Path, sort: str | None, title: str, direction: str
) -> None:
    page = open_report(sort=sort)
    (head,) = page.locator("#table thead th[aria-sort]").all()
    assert (head.inner_text(), head.get_attribute("aria-sort")) == (title, direction)
    order = page.evaluate("JSON.parse(document.getElementById('data').textContent).runs.map((run) => run.run)")
    assert page.locator("#table tbody .folder").all_inner_texts() == order


def test_keys_are_not_looked_for_where_javascript_has_its_own(tmp_path: Path, open_page: Any) -> None:
    make_run(tmp_path / "runs" / "a", constructor=1, seed=0)
    make_run(tmp_path / "runs" / "b", 0.4, seed=1)
    for name in ("a", "b"):
        add_metrics(tmp_path / "runs" / name, {"epoch": [1, 2], "val/miou": [0.1, 0.2]})
    add_metrics(tmp_path / "runs" / "b", {"epoch": [1, 2], "toString": [0.1, 0.2]})
    write_report(tmp_path / "report.html", *read_runs([tmp_path / "runs"]), "experiments")
    page = open_page(path=tmp_path / "report.html")
    assert page.locator("#difference tbody tr").all_inner_texts() == ["constructor\t1\t\u2013", "seed\t0\t1"]
    page.select_option("#metric", "toString")
    assert len(lines(page)) == 1


@pytest.mark.slow
def test_labels_of_dots_are_as_long_as_there_is_room_for(tmp_path: Path, open_page: Any) -> None:
    long = "espnet_s1, loss ce_dice, size 512 and more"
    for i, (name, parameters) in enumerate(((long, 1e6), ("unet", 3e6), ("enet", 5e6))):
        run = make_run(tmp_path / "runs" / str(i), 0.5 + i / 10, seed=i)
        change_summary(run, name=name, parameters=parameters)
    write_report(tmp_path / "report.html", *read_runs([tmp_path / "runs"]), "experiments")
    page = open_page(path=tmp_path / "report.html", viewport={"width": 1280, "height": 800})
    drawn = "document.getElementById('cost-chart').data[1].text"
    assert page.evaluate(drawn) == ["enet", "unet", f"{long[:31]}\u2026"]
    page = open_page(path=tmp_path / "report.html", viewport={"width": 320, "height": 800})
    assert page.evaluate(drawn)[2] in (f"{long[:19]}\u2026", "")
