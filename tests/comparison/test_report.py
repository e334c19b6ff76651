"""The data of the HTML report, against folders written by hand."""

import base64
import io
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from comparison import report
from comparison.report import check_place, embedded
from comparison.runs import Run, read_runs
from tests.comparison.folders import add_figures, add_metrics, change_summary, data_of, make_run, scene
from tests.conftest import ROOT
from utils.errors import UserError

NASTY = "</script><script>alert(1)</script><!-- & {{script}} \u2028 <img src=x onerror=alert(1)>"


def test_the_best_run_comes_first_and_a_column_can_say_otherwise(tmp_path: Path) -> None:
    for name, miou in (("a", 0.2), ("b", None), ("c", 0.7)):
        make_run(tmp_path / "runs" / name, miou)
    assert [run["run"] for run in data_of(tmp_path / "runs")["runs"]] == ["c", "a", "b"]
    assert [run["run"] for run in data_of(tmp_path / "runs", sort="name")["runs"]] == ["a", "b", "c"]


def test_a_run_in_numbers(tmp_path: Path) -> None:
    run = make_run(tmp_path / "runs" / "a", 0.5, options={"model": "enet", "data": "synthetic"})
    change_summary(run, name="mine", notes="a remark", error=None)
    add_metrics(run, {"epoch": [1, 2, 3], "val/miou": [0.25, None, 0.5], "seconds": [10, 20, 30.5]})
    add_figures(run, [], [[1, 2, 3], [4, 5, 6], [7, 8, 9]])
    (entry,) = data_of(tmp_path / "runs")["runs"]
    expected = {"label": "mine", "name": "mine", "notes": "a remark", "model": "enet", "mIoU": 0.5, "epoch": 2}
    expected |= {"parameters": 360_000, "MACs": 2e8, "images/s": 12.34, "status": "finished", "epochs": 3}
    assert {key: entry[key] for key in expected} == expected
    assert entry["curves"] == {"epoch": [1, 2, 3], "seconds": [10, 20, 30.5], "time": [10, 30, 60.5]}
    assert entry["validations"] == {"epoch": [1, 3], "val/miou": [0.25, 0.5], "time": [10, 60.5]}
    assert entry["best"] == {"val/miou": 0.5, "val/dice": 0.6, "val/iou/sky": 0.9, "val/iou/pole": None}
    assert entry["confusion"] == {"classes": ["sky", "road", "car"], "counts": [[1, 2, 3], [4, 5, 6], [7, 8, 9]]}


def test_configs_are_told_once_where_they_are_equal(tmp_path: Path) -> None:
    make_run(tmp_path / "runs" / "a", 0.6, optimizer__lr=1)
    make_run(tmp_path / "runs" / "b", 0.5, optimizer__lr=1.0)
    make_run(tmp_path / "runs" / "c", 0.4)
    (make_run(tmp_path / "runs" / "d", 0.3) / "config.yaml").write_text("{a: [")
    data = data_of(tmp_path / "runs")
    assert [run["config"] for run in data["runs"]] == [
        {"optimizer.lr": 1},
        {"optimizer.lr": 1.0},
        {"optimizer.lr": 0.004},
        None,
    ]
    assert data["common"]["trainer.epochs"] == 2 and "optimizer.lr" not in data["common"]
    assert data["keys"] == ["optimizer.lr"] and [run["values"] for run in data["runs"]][3] == {"optimizer.lr": None}


def test_short_names_tell_runs_apart(tmp_path: Path) -> None:
    for name, seed in (("a", 0), ("b", 1), ("c", 1)):
        make_run(tmp_path / "runs" / name, seed=seed)
    for name in ("d", "e"):
        change_summary(make_run(tmp_path / "runs" / name), name=f"run {name}")
    labels = {run["run"]: run["label"] for run in data_of(tmp_path / "runs")["runs"]}
    assert labels == {"a": "ENet, seed 0", "b": "ENet, seed 1 (1)", "c": "ENet, seed 1 (2)", "d": "run d", "e": "run e"}


def test_the_model_is_named_where_runs_of_one_name_differ_in_it(tmp_path: Path) -> None:
    """As in a sweep over models with name=zoo."""
    for name, model, seed in (("a", "ENet", 0), ("b", "FastSCNN", 0), ("c", "FastSCNN", 1)):
        options = {"model": model, "data": "Synthetic", "loss": "ce_iou"}
        change_summary(make_run(tmp_path / "runs" / name, options=options, seed=seed), name="zoo")
    runs = data_of(tmp_path / "runs", group_by=["seed"])["runs"]
    assert {run["run"]: run["group"] for run in runs} == {"a": "ENet", "b": "FastSCNN", "c": "FastSCNN"}


def test_runs_alike_share_a_group(tmp_path: Path) -> None:
    for name, seed, rate in (("a", 0, 0.004), ("b", 1, 0.004), ("c", 0, 0.1)):
        make_run(tmp_path / "runs" / name, seed=seed, optimizer__lr=rate)
    groups = {run["run"]: run["group"] for run in data_of(tmp_path / "runs", group_by=["seed"])["runs"]}
    assert groups == {"a": "ENet, lr 0.004", "b": "ENet, lr 0.004", "c": "ENet, lr 0.1"}


def test_the_same_samples_side_by_side_and_each_picture_once(tmp_path: Path) -> None:
    for name, miou, seed in (("a", 0.6, 1), ("b", 0.5, 2)):
        add_figures(make_run(tmp_path / "runs" / name, miou), [scene(3, seed), scene(7, seed)])
    add_figures(make_run(tmp_path / "runs" / "c", 0.4), [scene(7, 2)])
    elsewhere = scene(7, 3)._replace(truth=np.zeros((24, 32), np.uint8))
    add_figures(make_run(tmp_path / "runs" / "d", 0.3), [elsewhere])
    make_run(tmp_path / "runs" / "older", 0.2)
    data = data_of(tmp_path / "runs")
    assert [sample["name"] for sample in data["samples"]] == ["val/00003", "val/00007", "val/00007"]
    three, seven, other = (str(sample["id"]) for sample in data["samples"])
    expected = [{three, seven}, {three, seven}, {seven}, {other}, set()]
    assert [set(run["predictions"]) for run in data["runs"]] == expected
    a, b, c, d, _ = (run["predictions"] for run in data["runs"])
    assert b[seven]["picture"] == c[seven]["picture"] != a[seven]["picture"]
    assert d[other]["wrong"] == pytest.approx(np.mean(elsewhere.prediction != 0))
    assert len(data["pictures"]) == len(set(data["pictures"])) == 4 + 4 + 1 + 1  # 2 photos and truths, b's = c's, d's
    for entry, sample in ((a[three], scene(3, 1)), (b[seven], scene(7, 2))):
        kind, _, content = data["pictures"][entry["picture"]].partition(";base64,")
        shown = np.asarray(Image.open(io.BytesIO(base64.b64decode(content))).convert("RGB"))
        colors = np.array([[70, 130, 180], [128, 64, 128], [0, 0, 142]])
        assert kind == "data:image/png" and np.array_equal(shown, colors[sample.prediction])
    assert [entry["name"] for entry in data["classes"]] == ["sky", "road", "car"]


def test_texts_cannot_leave_their_place(tmp_path: Path) -> None:
    run = make_run(tmp_path / "runs" / "a", loss__weights={NASTY: 1})
    change_summary(run, name=NASTY, notes=NASTY)
    data = data_of(tmp_path / "runs")
    assert data["runs"][0]["label"] == data["runs"][0]["notes"] == NASTY
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "alert(1)</script>" not in page and "onerror=alert" not in page.replace("\\u003cimg src=x onerror", "")
    assert page.count("</script>") == 3  # data, library, scripts
    assert embedded({"a": "<>&\u2028\ud800"}).isascii()


def test_nothing_that_is_damaged_stops_it(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    damage = {
        "index": ("figures/samples/index.json", "[1]"),
        "matrix": ("figures/confusion_matrix.csv", "true class,a,b\na,1\n"),
        "letters": ("figures/confusion_matrix.csv", "true class,a\na,x\n"),
        "empty": ("figures/confusion_matrix.csv", ""),
        "infinite": ("figures/samples/index.json", '{"classes": [], "samples": [{"number": Infinity}]}'),
        "text": ("config.yaml", "only a text"),
        "loop": ("config.yaml", "a: &a [{b: *a}]"),
        "digits": ("summary.json", f'{{"parameters": 1{"0" * 400}, "best": {{"epoch": 1e999}}}}'),
        "metrics": ("metrics.csv", "epoch,step\n1,x\n"),
        "rows": ("summary.json", '{"best": [1], "last": 3, "options": 4, "name": 5, "notes": {"a": 1}}'),
        "best": ("summary.json", '{"best": {"val/miou": "high", "val/iou/sky": [], "epoch": "two"}}'),
        "nan": ("summary.json", '{"best": {"val/miou": NaN, "epoch": 1}, "parameters": Infinity}'),
    }
    for name, (file, content) in damage.items():
        add_figures(make_run(runs / name), [scene(1, 1)])
        (runs / name / file).write_text(content)
    cut = make_run(runs / "cut")
    add_figures(cut, [scene(1, 1), scene(2, 1)])
    (picture,) = (cut / "figures" / "samples").glob("1_*_truth.png")
    picture.write_bytes(picture.read_bytes()[:-20])
    (make_run(runs / "no summary") / "summary.json").write_text("{")
    data = data_of(runs)
    entries = {run["run"]: run for run in data["runs"]}
    assert set(entries) == {*damage, "cut"}
    assert [("no summary" in reason, "damaged" in reason) for reason in data["skipped"]] == [(True, True)]
    assert entries["text"]["config"] is None and entries["loop"]["config"] is None
    assert entries["digits"]["parameters"] is None and entries["digits"]["epoch"] is None
    assert (
        entries["infinite"]["predictions"] == entries["index"]["predictions"] == {}
        and not entries["index"]["pictures_left_out"]
    )
    assert all(entries[name]["confusion"] is None for name in ("matrix", "letters", "empty"))
    assert entries["nan"]["mIoU"] is None and entries["nan"]["parameters"] is None
    assert entries["best"]["best"] == {"val/miou": None, "val/iou/sky": None}
    assert len(entries["cut"]["predictions"]) == 1


@pytest.mark.parametrize("file", ["../../secret.png", "/etc/hostname", "secret.txt"])
def test_no_file_but_the_pictures_of_the_run_gets_into_a_report(tmp_path: Path, file: str) -> None:
    run = make_run(tmp_path / "runs" / "a")
    add_figures(run, [scene(1, 1)])
    Image.new("RGB", (4, 4)).save(run / "secret.png")
    (run / "figures" / "samples" / "secret.txt").write_text("secret")
    path = run / "figures" / "samples" / "index.json"
    index = json.loads(path.read_text())
    index["samples"][0]["truth"] = file
    path.write_text(json.dumps(index))
    assert data_of(tmp_path / "runs")["pictures"] == []


def test_a_run_that_has_been_silent_for_long_is_doubted(tmp_path: Path) -> None:
    run = make_run(tmp_path / "a")
    change_summary(run, status="running")
    add_metrics(run, {"epoch": [1, 2], "seconds": [100.0, 100.0]})
    for age, status in ((250, "running"), (350, "running?")):  # three epochs take 300 s
        for file in run.iterdir():
            os.utime(file, (time.time() - age,) * 2)
        assert [found.live_status for found in read_runs([run])[0]] == [status]
    change_summary(run, status="failed")
    assert Run(run, {"status": "failed"}).live_status == "failed"


def test_places_that_no_report_can_be_written_to(tmp_path: Path) -> None:
    (tmp_path / "folder.html").mkdir()
    for name, fragment in (
        ("report.pdf", r"must end in \.html"),
        ("folder.html", "a folder has this name"),
        ("nowhere/report.html", "there is no folder"),
    ):
        with pytest.raises(UserError, match=fragment):
            check_place(tmp_path / name)
    check_place(tmp_path / "report.html")
    assert [path.name for path in tmp_path.iterdir()] == ["folder.html"]


def test_nothing_heavy_is_imported() -> None:
    code = "import sys, comparison.report, comparison.watch; print({'torch', 'numpy', 'PIL'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.strip() == "set()", done.stderr


def test_the_library_is_the_one_that_its_readme_names() -> None:
    readme = (report.LIBRARY.parent / "README.md").read_text()
    (version,) = re.findall(r"plotly.js-cartesian-dist-min` (\d+\.\d+\.\d+)", readme)
    assert f"plotly.js (cartesian - minified) v{version}\n" in report.LIBRARY.read_text(encoding="utf-8")[:200]
