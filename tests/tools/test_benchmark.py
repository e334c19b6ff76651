from __future__ import annotations

import csv
import io
import json
import re
import shutil
import subprocess
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from PIL import Image

from tests.conftest import ROOT, run_command
from tests.in_process import assert_refused, run_here, succeeded
from tests.printed import rows_of_table
from tools import latency
from tools.benchmark import benchmark as task
from tools.latency import Case, Network, Result, load, prepared, timed, warm_up
from utils.config_groups import option, options


def benchmark(*words: str) -> subprocess.CompletedProcess:
    return run_command("-m", "tools.benchmark", *words, cwd=ROOT)


def benchmark_here(*words: str, cwd: Path = ROOT) -> subprocess.CompletedProcess:
    return run_here(task, "benchmark", *words, cwd=cwd)


def case_of(name: str, backend: Any = "eager", batch_size: int = 1, size: tuple[int, int] = (64, 96)) -> Case:
    network = Network(name, option("model", name), size, 19)
    return Case(network, backend, batch_size, "cpu", "off", torch.get_num_threads())


def test_a_table_of_the_models_asked_for() -> None:
    """ENet has 0.35 to 0.37 M parameters and 2.02 G multiply-adds."""
    done = succeeded(benchmark("model=[enet,fast_scnn]"))
    rows = {row[0]: row[1:] for row in rows_of_table(done.stdout)[1:]}
    assert list(rows) == ["enet", "fast_scnn"]
    assert 350_000 <= int(rows["enet"][0].replace(",", "")) <= 370_000
    assert float(rows["enet"][1].split()[0]) == pytest.approx(2.02, rel=0.03)


@pytest.mark.slow
def test_the_table_of_the_readme_is_true() -> None:
    readme, names = (ROOT / "README.md").read_text(), options("model")
    assert re.findall(r"^\| `(\w+)` \| [\d.]+ M \| [\d.]+ G \|", readme, re.M) == names
    done = succeeded(benchmark_here("format=markdown"))
    rows = done.stdout.splitlines()
    assert len(rows) == 2 + len(names) and set(rows) <= set(readme.splitlines())


def test_several_sizes() -> None:
    """Of a fully convolutional network with sizes that need no rounding, multiply-adds go with the pixels."""
    done = succeeded(benchmark_here("model=unet", "image_size=[[64,64],[128,192]]"))
    assert "MACs at 64x64 | MACs at 128x192" in done.stdout
    rows = json.loads(benchmark_here("model=unet", "image_size=[[64,64],[128,192]]", "format=json").stdout)
    assert [row["size"] for row in rows] == ["64x64", "128x192"]
    assert rows[1]["MACs"] / rows[0]["MACs"] == pytest.approx(6)
    assert rows[0]["parameters"] == rows[1]["parameters"] == pytest.approx(31.04e6, rel=1e-3)


@pytest.mark.parametrize(
    ("words", "models"),
    [
        (["sort=ms"], ["unet", "fast_scnn", "enet"]),
        (["sort=images_per_second"], ["unet", "fast_scnn", "enet"]),
        (["sort=macs"], ["fast_scnn", "enet", "unet"]),
        (["sort=memory"], ["enet", "unet", "fast_scnn"]),
        (["max_ms=20", "sort=parameters"], ["fast_scnn", "unet"]),
        (["max_ms=20"], ["unet", "fast_scnn"]),
    ],
)
def test_rows_are_sorted_and_filtered(monkeypatch: pytest.MonkeyPatch, words: list[str], models: list[str]) -> None:
    """The fast U-Net, and the ENet that takes 30 ms, are invented."""
    found = {"enet": Result([30.0], 1 << 20), "unet": Result([2.0], 2 << 20), "fast_scnn": Result([20.0], 3 << 20)}
    monkeypatch.setattr("tools.benchmark.measure", lambda cases, seconds: [found[c.network.name] for c in cases])
    names = f"model=[{','.join(found)}]"
    done = benchmark_here(names, "backends=eager", "image_size=[64,64]", "format=json", *words)
    assert [row["model"] for row in json.loads(done.stdout)] == models


def test_nothing_is_fast_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tools.benchmark.measure", lambda cases, seconds: [Result([30.0])])
    done = benchmark_here("model=enet", "backends=eager", "image_size=[64,64]", "max_ms=20")
    assert_refused(done, "max_ms=20: nothing is that fast; the fastest takes 30 ms")


def test_a_network_of_weights_by_its_name() -> None:
    (row,) = json.loads(benchmark_here("model=enet_camvid", "image_size=[64,64]", "format=json").stdout)
    fewer = 19 - 11
    assert row["parameters"] == 361_434 - fewer * (
        16 * 3 * 3 + 1
    )  # weights and bias of the last transposed convolution


def test_times_as_csv(monkeypatch: pytest.MonkeyPatch) -> None:
    """Median and 95th percentile of what was measured; a row for each backend and batch."""
    found = [[3.0, 1.0, 2.0, *[2.0] * 96, 50.0], [1500.0, 1600.0, 9999.0]]
    monkeypatch.setattr("tools.benchmark.measure", lambda cases, seconds: [Result(t, 3 << 20) for t in found])
    done = succeeded(benchmark_here("model=enet", "backends=eager", "batch_size=[1,8]", "device=cpu", "format=csv"))
    one, eight = csv.DictReader(io.StringIO(done.stdout))
    assert (one["batch"], one["median ms"], one["p95 ms"], one["images/s"], one["peak MiB"]) == (
        *("1", "2.0", "2.0", "500.0", "3"),
    )
    assert (eight["batch"], eight["median ms"], eight["p95 ms"], eight["images/s"]) == ("8", "1600", "9999", "5.0")


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["eager", "onnx"])
def test_real_times_and_memory(backend: str) -> None:
    """Memory is no less than the weights, the images and two of the largest maps, and of that order."""
    words = ["model=separable_unet", "image_size=[128,128]", "device=cpu", "threads=1", "seconds=0.1", "format=json"]
    done = succeeded(benchmark_here(*words, f"backends={backend}", "batch_size=[1,8]"))
    one, eight = json.loads(done.stdout)
    assert [(row["backend"], row["batch"]) for row in (one, eight)] == [(backend, 1), (backend, 8)]
    assert 0 < one["median ms"] <= one["p95 ms"] and 0 < eight["median ms"] <= eight["p95 ms"]
    assert eight["images/s"] == pytest.approx(8000 / eight["median ms"], rel=0.01)
    least = (4 * one["parameters"] + 4 * 8 * (3 + 2 * 16) * 128 * 128) / 2**20
    assert least < eight["peak MiB"] < 20 * least and one["peak MiB"] < eight["peak MiB"]


@pytest.mark.slow
def test_onnx_says_the_same(tmp_path: Path) -> None:
    case = case_of("espnet_s0", "onnx", batch_size=2)
    call: Any = prepared(case, tmp_path / "network.onnx")
    (name, images), (logits,) = next(iter(call.args[1].items())), call()
    assert onnxruntime.InferenceSession(tmp_path / "network.onnx").get_inputs()[0].shape == [2, 3, 64, 96]
    with torch.inference_mode():
        expected = load(case.network.source, 19)(torch.from_numpy(images))
    assert name and np.abs(logits - expected.numpy()).max() < 1e-4


def write_onnx(path: Path, shape: list[Any], kind: int) -> None:
    """Write an ONNX file, not from this program, that takes the mean over all pixels."""
    images = onnx.helper.make_tensor_value_info("photo", kind, shape)
    mean = onnx.helper.make_tensor_value_info("mean", onnx.TensorProto.FLOAT, [1, 1, 1, 1])
    nodes = [
        onnx.helper.make_node("Cast", ["photo"], ["floats"], to=onnx.TensorProto.FLOAT),
        onnx.helper.make_node("ReduceMean", ["floats"], ["mean"]),
    ]
    graph = onnx.helper.make_graph(nodes, "mean", [images], [mean])
    opset = onnx.helper.make_opsetid("", 17)
    path.write_bytes(onnx.helper.make_model(graph, opset_imports=[opset], ir_version=8).SerializeToString())


def test_onnx_files_are_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the size asked for unless they take only one; in ONNX Runtime whatever the backends of the others are."""
    monkeypatch.setattr(latency, "peak_memory", lambda *_: None)
    write_onnx(tmp_path / "any.onnx", ["n", 3, "h", "w"], onnx.TensorProto.FLOAT)
    write_onnx(tmp_path / "bytes.onnx", [1, 40, 60, 3], onnx.TensorProto.UINT8)
    words = ["model=[any.onnx,bytes.onnx,enet]", "image_size=[[32,32],[64,32]]", "device=cpu", "seconds=0.01"]
    done = succeeded(benchmark_here(*words, "backends=eager", "format=json", cwd=tmp_path))
    rows = json.loads(done.stdout)
    assert [(row["model"], row["size"], row["backend"]) for row in rows] == [
        *(("any.onnx", "32x32", "onnx"), ("any.onnx", "64x32", "onnx"), ("bytes.onnx", "40x60", "onnx")),
        *(("enet", "32x32", "eager"), ("enet", "64x32", "eager")),
    ]
    assert all(row["median ms"] > 0 for row in rows)
    assert rows[2]["parameters"] is None and rows[2]["MACs"] is None and rows[3]["parameters"] > 350_000
    said = [line for line in done.stderr.splitlines() if "warming up" in line]
    assert len(said) == 5 and said[2] == "warming up 3 of 5: bytes.onnx, 40x60, onnx, batch of 1"
    done = benchmark_here("model=bytes.onnx", "backends=onnx", "batch_size=4", "device=cpu", cwd=tmp_path)
    assert done.returncode == 1 and "bytes.onnx: takes only batches of 1, not 4; export it with" in done.stderr
    assert_refused(benchmark_here("model=any.onnx", cwd=tmp_path), "model=any.onnx: only the time of ONNX files")
    write_onnx(tmp_path / "text.onnx", [1, 3], onnx.TensorProto.FLOAT)
    assert_refused(benchmark_here("model=text.onnx", "backends=onnx", cwd=tmp_path), "text.onnx: does not take images")
    (tmp_path / "broken.onnx").write_text("no")
    done = benchmark_here("model=broken.onnx", "backends=onnx", cwd=tmp_path)
    assert_refused(done, "broken.onnx: not an ONNX file, or a damaged one")


def test_a_compiled_network_is_what_is_timed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    compiled: list[Any] = []

    def compile(model: torch.nn.Module, **options: Any) -> Any:
        compiled.append((type(model).__name__, options))
        return lambda images: compiled.append((tuple(images.shape), torch.is_inference_mode_enabled()))

    monkeypatch.setattr(torch, "compile", compile)
    call = prepared(case_of("enet", "compile", batch_size=3), tmp_path / "none")
    call()
    assert compiled == [("ENet", {"dynamic": False}), ((3, 3, 64, 96), True)]


def test_autocast_is_as_asked_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    seen = []
    monkeypatch.setattr(torch, "compile", lambda model, **_: lambda images: seen.append(model(images).dtype))
    for amp in ("off", "bf16"):
        prepared(replace(case_of("enet", "compile"), amp=amp), tmp_path / "none")()
    assert seen == [torch.float32, torch.bfloat16]


def test_cases_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is timed once a round, after a call that is not timed."""
    calls: list[str] = []
    monkeypatch.setattr(latency, "prepared", lambda case, file: lambda: calls.append(case.network.name))
    monkeypatch.setattr(latency, "warm_up", lambda *_: None)
    monkeypatch.setattr(latency, "peak_memory", lambda *_: None)
    results = latency.measure([case_of("enet"), case_of("unet")], seconds=1e-9)
    assert calls == ["enet", "enet", "unet", "unet"] * latency.ROUNDS
    assert [len(result.times) for result in results] == [5, 5]


def test_times_are_those_of_the_calls() -> None:
    times = timed(lambda: time.sleep(0.02), "cpu", 0.1)
    assert 1 <= len(times) <= 5 and min(times) >= 20
    assert len(timed(lambda: time.sleep(0.02), "cpu", 0)) == 1


def test_warm_up_ends_when_calls_take_as_long(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([9.0, 5.0, 5.1, 3.0, 2.1, 2.0, 2.05, 7.0])
    monkeypatch.setattr(latency, "timed", lambda *_: [next(times)])
    calls: list[int] = []
    warm_up(lambda: calls.append(1), "cpu", 60)
    assert next(times) == 7 and calls == [1]  # the last three differ by less than a tenth; the first call compiles


def test_a_backend_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its row has no numbers, the reason comes after the table, and the others go on."""

    def fails(*_: Any, **__: Any) -> None:
        raise RuntimeError("no such operator\nand much more")

    monkeypatch.setattr(torch.onnx, "export", fails)
    monkeypatch.setattr(latency, "peak_memory", lambda *_: None)
    words = ["model=enet", "image_size=[32,32]", "backends=[onnx,eager]", "device=cpu", "seconds=0.01"]
    done = benchmark_here(*words)
    assert done.returncode == 1
    _, onnx, eager = rows_of_table(done.stdout)
    assert onnx[4:] == ["onnx", "1", "-", "-", "-", "-"]
    assert float(eager[6]) > 0
    assert done.stderr.splitlines()[-2:] == [
        "error: 1 of 2 could not be timed:",
        "enet, 32x32, onnx, batch of 1: RuntimeError: no such operator",
    ]
    done = benchmark_here(*words, "amp=bf16")
    assert done.returncode == 1 and "ONNX Runtime is timed on the CPU in float32" in done.stderr


def test_runs_and_their_picture(finished_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run's network at the run's own size; two of the same are timed once. One without a checkpoint is skipped."""
    from visualization import figures

    runs = tmp_path / "runs"
    for name in ("first", "second", "third"):
        shutil.copytree(finished_run, runs / name)
    summary = json.loads((runs / "second" / "summary.json").read_text())
    summary["best"]["val/miou"] = 0.75
    (runs / "second" / "summary.json").write_text(json.dumps(summary))
    config = (runs / "second" / "config.yaml").read_text()
    (runs / "second" / "config.yaml").write_text(re.sub("^seed: 0$", "seed: 1", config, flags=re.MULTILINE))
    shutil.rmtree(runs / "third" / "checkpoints")
    drawn: list[Any] = []
    timed_cases: list[Case] = []
    real, measured = figures.draw_speed, [7.0, 8.0, 9.0]

    def measure(cases: list[Case], seconds: float) -> list[Result]:
        timed_cases.extend(cases)
        return [Result(measured) for _ in cases]

    def draw(points: Any, title: str, path: Path) -> None:
        drawn.append(points)
        real(points, title, path)

    monkeypatch.setattr("tools.benchmark.measure", measure)
    monkeypatch.setattr(figures, "draw_speed", draw)
    words = ["runs=runs", "backends=eager", "device=cpu", "plot=out (1).png", "format=json"]
    done = succeeded(benchmark_here(*words, cwd=tmp_path))
    assert "skipped" in done.stderr and "third: no checkpoint" in done.stderr
    (case,) = timed_cases
    assert case.network.image_size == (32, 32) and case.network.num_classes == 9
    best = json.loads((finished_run / "summary.json").read_text())["best"]["val/miou"]
    rows = json.loads(done.stdout)
    assert [(row["mIoU"], row["median ms"], row["size"]) for row in rows] == [(best, 8, "32x32"), (0.75, 8, "32x32")]
    assert [row["model"] for row in rows] == ["enet, seed 0", "enet, seed 1"]
    assert drawn == [[("enet, seed 0", best, {"eager": 8.0}), ("enet, seed 1", 0.75, {"eager": 8.0})]]
    pixels = np.asarray(Image.open(tmp_path / "out (1).png").convert("RGB")).astype(int)
    assert (pixels[..., 2] - pixels[..., 0] > 100).sum() > 100  # the points


def test_a_list_of_runs(tmp_path: Path, finished_run: Path) -> None:
    shutil.copytree(finished_run, tmp_path / "other")
    done = benchmark_here(f"runs=[{finished_run},{tmp_path / 'other'}]", "format=json", cwd=tmp_path)
    first, second = json.loads(done.stdout)
    assert first["parameters"] == second["parameters"] > 0
    done = benchmark_here(f"runs=[{tmp_path}/*]", "format=json", cwd=tmp_path)
    assert len(json.loads(done.stdout)) == 1
    (tmp_path / "other" / "config.yaml").unlink()
    done = benchmark_here(f"runs=[{tmp_path / 'other'}]", cwd=tmp_path)
    assert done.returncode == 2 and f"runs={tmp_path / 'other'}: there is no run with a checkpoint" in done.stderr


def test_a_run_in_place_of_a_name(finished_run: Path) -> None:
    """Its network has its own classes, at the size asked for."""
    words = ["image_size=[64,64]", "format=json"]
    (found,) = json.loads(benchmark_here(f"model={finished_run}", *words).stdout)
    (same,) = json.loads(benchmark_here("model=enet", "num_classes=9", *words).stdout)
    assert (found["parameters"], found["MACs"]) == (same["parameters"], same["MACs"])


def test_without_onnxruntime(monkeypatch: pytest.MonkeyPatch) -> None:
    from config import checks

    monkeypatch.setattr(checks, "find_spec", lambda name: None if name == "onnxruntime" else name)
    assert_refused(
        benchmark_here("backends=[onnx]"), "onnxruntime not installed", "pip install -r requirements-export.txt"
    )


@pytest.mark.parametrize(
    ("words", "fragments"),
    [
        ("model=enett", ["model=enett", "did you mean 'enet'"]),
        ("modle=enet", ["modle", "unknown key"]),
        ("image_size=[16,16]", ["image_size.0=16", "at least 32"]),
        ("image_size=[[64,64],[16,64]]", ["image_size.1.0=16", "at least 32"]),
        ("num_classes=0", ["num_classes=0", "at least 1"]),
        ("format=latex", ["format=latex", "'table', 'csv', 'markdown' or 'json'"]),
        ("backends=[eager,onnxx]", ["onnxx", "'eager', 'compile' or 'onnx'"]),
        ("backends=eager batch_size=[0]", ["batch_size.0=0"]),
        ("backends=eager seconds=0", ["seconds=0", "greater than 0"]),
        ("batch_size=8", ["batch_size=8: has no effect without timing; pass backends=[eager]"]),
        ("plot=out.png runs=experiments", ["plot=out.png: has no effect without timing"]),
        ("plot=out.png backends=eager", ["plot=out.png", "pass runs="]),
        ("plot=out.jpg backends=eager runs=experiments", ["plot=out.jpg: must be a .png file"]),
        ("runs=nowhere", ["runs=nowhere: there is no such run"]),
    ],
)
def test_mistakes(words: str, fragments: list[str]) -> None:
    assert_refused(benchmark_here(*words.split()), *fragments)


@pytest.mark.skipif(torch.cuda.is_available(), reason="is for machines without CUDA")
def test_cuda_where_there_is_none() -> None:
    assert_refused(benchmark_here("model=enet", "backends=eager", "device=cuda"), "'cuda' is not available")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_on_cuda() -> None:
    done = succeeded(benchmark_here("model=enet", "backends=eager", "device=cuda", "seconds=0.3", "format=json"))
    (row,) = json.loads(done.stdout)
    assert row["median ms"] > 0 and row["peak MiB"] > 4 * row["parameters"] / 2**20
