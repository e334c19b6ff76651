"""Run folders read and compared, against folders written by hand."""

import csv
import io
import json
import statistics
from pathlib import Path
from typing import Any

import pytest

from comparison.groups import check_group_by, grouped, groups_of
from comparison.rendering import rendered
from comparison.rows import against, differing_keys, rows_of, sorted_by
from comparison.runs import read_runs
from tests.comparison.folders import change_summary, make_run, runs_in
from tests.printed import rows_of_table
from utils.errors import UserError


def test_what_differs_is_a_column(tmp_path: Path) -> None:
    make_run(tmp_path / "a", name="one")
    make_run(tmp_path / "b", name="two", optimizer__lr=0.01, trainer__epochs=3)
    assert differing_keys(runs_in(tmp_path)) == ["optimizer.lr", "trainer.epochs"]
    first, second = rows_of(runs_in(tmp_path), ["optimizer.lr"])
    assert (first["optimizer.lr"], second["optimizer.lr"]) == (0.004, 0.01)
    expected = {"name": "a", "model": "ENet", "data": "Synthetic", "mIoU": 0.5, "epoch": 2, "Dice": 0.6}
    expected |= {"images/s": 12.34, "seconds": 75.2, "status": "finished"}
    assert {column: first[column] for column in expected} == expected


def test_what_another_option_brings_with_it_is_none(tmp_path: Path) -> None:
    """Other models have other keys; transforms follow the image size."""
    make_run(tmp_path / "a")
    make_run(tmp_path / "b", model={"_target_": "models.unet.UNet", "width": 64})
    make_run(tmp_path / "c", data__image_size=[64, 64], augmentation__transforms=[{"height": 64, "p": 0.5}])
    make_run(tmp_path / "d", loss={"_target_": "losses.combinations.focal"})
    assert differing_keys(runs_in(tmp_path)) == ["loss", "data.image_size"]
    make_run(tmp_path / "e", augmentation__transforms=[{"height": 96, "p": 0.9}])
    make_run(tmp_path / "f", model={"_target_": "models.unet.UNet", "width": 32})
    assert differing_keys(runs_in(tmp_path)) == [
        "loss",
        "model.width",
        "data.image_size",
        "augmentation.transforms.0.p",
    ]


def test_sizes_that_follow_the_image_size_are_not_columns(tmp_path: Path) -> None:
    for name, size, crop in (("a", [64, 64], [64, 64]), ("b", [96, 128], [96, 128]), ("c", [96, 128], [96, 128])):
        augmentation = {"_target_": "data.crops.Crops", "crop_size": crop}
        sizes: dict[str, Any] = {"data__image_size": size, "data__size": size, "data__crop_size": crop}
        make_run(tmp_path / name, augmentation=augmentation, **sizes)
    runs = runs_in(tmp_path)
    assert differing_keys(runs) == ["data.image_size"]
    assert len(groups_of(runs, differing_keys(runs), ["data.image_size"])) == 1
    make_run(
        tmp_path / "d", augmentation={**augmentation, "crop_size": [64, 64]}, **sizes | {"data__crop_size": [64, 64]}
    )
    assert differing_keys(runs_in(tmp_path)) == ["data.image_size", "data.crop_size"]


def test_options_are_called_as_they_were_typed(tmp_path: Path) -> None:
    make_run(tmp_path / "a", options={"model": "espnet_s0", "data": "camvid"})
    (row,) = rows_of(runs_in(tmp_path), [])
    assert (row["model"], row["data"]) == ("espnet_s0", "camvid")


def test_runs_that_differ_in_the_seed_alone_are_one_row(tmp_path: Path) -> None:
    for seed, miou in enumerate((0.5, 0.6, 0.8)):
        make_run(tmp_path / f"a{seed}", miou, seed=seed)
    make_run(tmp_path / "b", 0.3, optimizer__lr=0.1)
    runs = runs_in(tmp_path)
    rows = grouped(runs, differing_keys(runs), ["seed"])
    assert [(row["n"], row["optimizer.lr"]) for row in rows] == [(3, 0.004), (1, 0.1)]
    assert rows[0]["mIoU"] == pytest.approx((0.5 + 0.6 + 0.8) / 3)
    assert rows[0]["mIoU +-"] == pytest.approx(statistics.stdev([0.5, 0.6, 0.8]))
    assert rows[1]["mIoU +-"] is None
    assert "0.6333 +- 0.1528" in rendered(rows, "table")
    with pytest.raises(UserError, match=r"group_by=sed: no run has this key; did you mean 'seed'"):
        check_group_by(runs, ["sed"])


def test_sorting(tmp_path: Path) -> None:
    for name, miou in (("a", 0.2), ("b", None), ("c", 0.7)):
        make_run(tmp_path / name, miou)
    rows = rows_of(runs_in(tmp_path), [])
    assert [row["name"] for row in sorted_by(rows, "val/miou")] == ["c", "a", "b"]
    assert [row["name"] for row in sorted_by(rows, "name")] == ["a", "b", "c"]


def test_threads_separate_no_runs(tmp_path: Path) -> None:
    """A run that was started with like= has the number of threads that the other found."""
    make_run(tmp_path / "a", trainer__threads="auto", seed=0)
    make_run(tmp_path / "b", trainer__threads=4, seed=1)
    assert differing_keys(runs_in(tmp_path)) == ["seed"]


def test_differences_to_a_baseline(tmp_path: Path) -> None:
    make_run(tmp_path / "a", 0.5)
    make_run(tmp_path / "b", 0.625)
    base, other = runs_in(tmp_path)
    sky, pole, mean = against(base, [base, other], ["a", "b"])
    assert sky == {"class": "sky", "a": 0.9, "b": 0.0}
    assert pole == {"class": "pole", "a": None, "b": None}
    assert mean == {"class": "mIoU", "a": 0.5, "b": 0.125}
    assert "+0.1250" in rendered([sky, mean], "table", signed=True)
    make_run(tmp_path / "c", None)
    with pytest.raises(UserError, match="no validated epoch"):
        against(runs_in(tmp_path)[2], [base], ["a"])


def test_nothing_that_is_damaged_stops_it(tmp_path: Path) -> None:
    make_run(tmp_path / "good")
    for name, content in (("cut", '{"status": "fin'), ("list", "[1]"), ("bytes", "\ud800")):
        make_run(tmp_path / name)
        (tmp_path / name / "summary.json").write_bytes(content.encode("utf-8", "surrogatepass"))
    make_run(tmp_path / "no_config")
    (tmp_path / "no_config" / "config.yaml").write_text("{a: [")
    make_run(tmp_path / "odd")
    (tmp_path / "odd" / "summary.json").write_text('{"best": {"epoch": "two", "val/miou": "high"}, "parameters": true}')
    (tmp_path / "odd" / "metrics.csv").write_text("epoch,step\n1,x\n")
    runs, skipped = read_runs([tmp_path])
    assert [run.name for run in runs] == ["good", "no_config", "odd"]
    assert sorted(Path(reason.partition(":")[0]).name for reason in skipped) == ["bytes", "cut", "list"]
    for form in ("table", "csv", "json", "markdown", "latex"):
        assert "odd" in rendered(rows_of(runs, differing_keys(runs)), form)
    assert runs[2].rows == [] and runs[2].status == "unknown" and runs[2].best("val/miou") is None


def test_jobs_of_a_sweep_come_in_their_order(tmp_path: Path) -> None:
    for job in (0, 2, 10):
        make_run(tmp_path / "x_sweep" / str(job))
    make_run(tmp_path / "alone")
    (tmp_path / "no run").mkdir()
    names = ["x_sweep/0", "x_sweep/2", "x_sweep/10"]
    assert [run.name for run in runs_in(tmp_path)] == ["alone", *names]
    assert [run.name for run in runs_in(tmp_path / "x_sweep")] == names
    assert [run.name for run in runs_in(tmp_path / "x_sweep" / "2")] == names[1:2]


def test_formats(tmp_path: Path) -> None:
    make_run(tmp_path / "a_b|c", 0.51234567)
    rows = rows_of(runs_in(tmp_path), [])
    assert json.loads(rendered(rows, "json")) == rows
    (read,) = csv.DictReader(io.StringIO(rendered(rows, "csv")))
    assert float(read["mIoU"]) == 0.51234567 and read["name"] == "a_b|c"
    head, line, row = rendered(rows, "markdown").splitlines()
    assert head.startswith("| name | model |") and line.startswith("| --- | --: |")
    assert row.startswith("| a_b\\|c | ENet |") and "| 0.36 M | 0.20 G | 0.5123 |" in row
    assert r"a\_b|c & ENet" in rendered(rows, "latex") and rendered(rows, "latex").endswith(r"\end{tabular}")
    assert "1 min 15 s" in rendered(rows, "table")
    tiny = [{**row, "parameters": 2883, "MACs": 1_250_000} for row in rows]
    assert "| 0.0029 M | 0.0013 G |" in rendered(tiny, "markdown")


def test_a_table_of_classes_is_divided_where_it_does_not_fit() -> None:
    rows: list[dict[str, Any]] = [
        {"class": name, "base": 0.5, "first run": 0.1, "second run": -0.1, "third run": 0.2} for name in ("sky", "car")
    ]
    above, below = rendered(rows, "table", "differences", signed=True, width=46).split("\n\n")
    assert max(map(len, [*above.splitlines(), *below.splitlines()])) <= 46
    assert rows_of_table(above)[0] == ["class", "base", "first run", "second run"]
    assert rows_of_table(below)[1] == ["sky", "0.5000", "+0.2000"]
    assert above.startswith("+differences") and len(above.splitlines()) == len(below.splitlines()) == 6
    narrow = rendered(rows, "table", signed=True, width=5).split("\n\n")
    assert [rows_of_table(part)[0][2] for part in narrow] == ["first run", "second run", "third run"]


def test_only_runs_with_an_miou_count(tmp_path: Path) -> None:
    for seed, miou in enumerate((0.5, 0.7, None)):
        make_run(tmp_path / f"a{seed}", miou, seed=seed)
    change_summary(tmp_path / "a2", status="failed", seconds=1.0, last=None)
    change_summary(make_run(tmp_path / "b", None, optimizer__lr=0.1), status="failed", seconds=1.0)
    runs = runs_in(tmp_path)
    counted, none = grouped(runs, differing_keys(runs), ["seed"])
    assert (counted["n"], counted["n of"], counted["status"]) == (2, 3, "finished, failed")
    assert counted["mIoU"] == pytest.approx(0.6) and counted["mIoU +-"] == pytest.approx(statistics.stdev([0.5, 0.7]))
    assert (counted["seconds"], counted["images/s"]) == (75.2, 12.34)  # of the two
    assert (none["n"], none["n of"], none["seconds"], "mIoU" in none) == (0, 1, 1.0, False)
    text = rendered([counted, none], "table")
    assert "| 2 of 3 |" in text and "| 0 of 1 |" in text and "n of" not in text
    (read, _) = csv.DictReader(io.StringIO(rendered([counted, none], "csv")))
    assert (read["n"], read["n of"]) == ("2", "3")
    change_summary(tmp_path / "a0", seconds=1.7e308)
    change_summary(tmp_path / "a1", seconds=1.7e308)
    assert grouped(runs_in(tmp_path), ["optimizer.lr"], ["seed"])[0]["seconds"] is None


def test_signs_of_latex_and_markdown_stay_in_their_cell() -> None:
    rows = [{"name": "[a]\\input{x} C:\\data", "key": "a\\|b\nc & d~^", "true": True}]
    assert rendered(rows, "latex").splitlines()[-3] == (
        r"{}[a]\textbackslash{}input\{x\} C:\textbackslash{}data & a\textbackslash{}|b c \& d\textasciitilde{}"
        r"\textasciicircum{} & true \\"
    )
    assert rendered(rows, "markdown").splitlines()[2:] == [r"| [a]\\input{x} C:\\data | a\\\|b c & d~^ | true |"]


def test_a_narrow_table_leaves_out_what_it_has_no_room_for(tmp_path: Path) -> None:
    make_run(tmp_path / "a", data__batch_size=8, optimizer__lr=0.01, trainer__epochs=3)
    make_run(tmp_path / "b", data__batch_size=16)
    keys = ["data.batch_size", "optimizer.lr", "trainer.epochs"]
    rows = rows_of(runs_in(tmp_path), keys)
    whole = rendered(rows, "table")
    full = max(map(len, whole.splitlines()))
    assert rendered(rows, "table", width=full) == rendered(rows, "table", width=None) == whole
    same = {"model", "data", "parameters", "MACs", "mIoU", "epoch", "Dice", "images/s", "seconds", "status"}
    needed = {part.strip(): len(part) + 1 for part in whole.splitlines()[1].split("|")[1:-1]}
    seen = set()
    for width in (full - 1, full - 18, full - 50, 90, 60, 40):
        *drawn, told = rendered(rows, "table", width=width).splitlines()
        assert all(len(line) == len(drawn[0]) <= width for line in drawn)
        head = rows_of_table(drawn[1])[0]
        missing = [column for column in rows[0] if column not in head]
        assert head == [column for column in rows[0] if column in head] and head[0] == "name"
        assert told.startswith(f"columns that do not fit: {', '.join(missing)}; choose columns with columns=[...], ")
        room = width - len(drawn[0])  # a column that has none is wider than what is left
        assert all(needed[column] > room for column in missing)
        seen.add(tuple(key in head for key in keys))
        if width >= 90:  # what differs outlives what is the same
            assert set(keys) <= set(head) and set(missing) <= same
    assert len(seen) > 1
    for form in ("csv", "json", "markdown", "latex"):
        assert rendered(rows, form, width=40) == rendered(rows, form)
