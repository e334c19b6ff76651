"""Measure the size and speed of networks.

python -m tools.benchmark model=[enet,espnet_s0] image_size=[512,512]
python -m tools.benchmark model=[enet,espnet_s0] backends=[eager,compile,onnx] batch_size=[1,8]
"""

from __future__ import annotations

import logging
import math
import statistics
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from omegaconf import DictConfig

from cli.launch import launch
from tools.latency import Case, Network, Result, described, load, measure
from utils.bundled_weights import checkpoint_path
from utils.config_groups import CONF, option, options
from utils.config_values import as_size, listed
from utils.errors import UserError, partly_failed
from utils.files import make_writable, without_nan
from utils.paths import is_onnx, is_there, png_path
from utils.text import plural
from utils.value_types import Backend, BenchmarkColumn, TableFormat

log = logging.getLogger("benchmark")

COLUMNS: dict[BenchmarkColumn, str] = {
    "ms": "median ms",
    "images_per_second": "images/s",
    "memory": "peak MiB",
    "parameters": "parameters",
    "macs": "MACs",
    "miou": "mIoU",
}
"""Names of the columns that `sort` takes."""


class Entry(NamedTuple):
    """A network, or a run and its network; each has its own rows in the tables.

    Attributes:
        parameters, macs: number of parameters, and multiply-adds for one image; NaN for an ONNX file.
        accuracy: mIoU of the run's best epoch; None if there is none.
    """

    name: str
    network: Network
    parameters: float
    macs: float
    accuracy: float | None = None


def benchmark(cfg: DictConfig) -> None:
    """Print size, and optionally time and memory, of each network; plot accuracy over speed."""
    plot = png_path(cfg.plot, "plot") if cfg.plot is not None else None
    wanted = cfg.models or ([] if cfg.runs is not None else options("model"))
    sources = [(name, source_of(name)) for name in listed(wanted)]  # reports a misspelt name before torch is imported
    exported = [name for name, source in sources if is_onnx(source)]
    if exported and not cfg.backends:
        raise UserError(f"model={exported[0]}: only the time of ONNX files is measured; pass backends=onnx")
    sizes = [cfg.image_size] if isinstance(cfg.image_size[0], int) else cfg.image_size
    networks = [Network(name, source, as_size(size), cfg.num_classes) for name, source in sources for size in sizes]
    entries = list(dict.fromkeys(map(entry_of, networks)))
    entries += entries_of_runs(cfg.runs) if cfg.runs is not None else []
    if plot is not None:
        if all(entry.accuracy is None for entry in entries):
            raise UserError(f"runs={', '.join(listed(cfg.runs))}: no run there has a val/miou to plot")
        make_writable(plot.parent)
    if not cfg.backends:
        print(as_text(entries, cfg.format))
        return

    from comparison.rendering import rendered

    cases, where = cases_of(cfg, entries)
    results = dict(zip(cases, measure(cases, cfg.seconds), strict=True))
    pairs = [(entry, case) for entry in entries for case in cases if case.network == entry.network]
    rows = [row_of(entry, case, results[case]) for entry, case in pairs]
    print(rendered(chosen(rows, cfg.sort, cfg.max_ms), cfg.format, where))
    if plot is not None:
        draw([(entry, case, results[case]) for entry, case in pairs], where, plot)
    problems = [f"{described(case)}: {found.problem}" for case, found in results.items() if found.problem]
    if problems:
        raise partly_failed(len(problems), str(len(cases)), "timed", problems)


def shown(size: tuple[int, int]) -> str:
    """Return (512, 1024) as '512x1024'."""
    return f"{size[0]}x{size[1]}"


def source_of(name: str) -> Path:
    """Return the file in conf/model/ with this name, else the file or run folder at this path or in `weights/`.

    Raises:
        UserError: there is neither.
    """
    path = checkpoint_path(name, "model")
    return path if name not in options("model") and is_there(path) else option("model", name)


def entry_of(network: Network, name: str | None = None, accuracy: float | None = None) -> Entry:
    """Count parameters and multiply-adds; without allocating the weights of a network in conf/model/.

    An ONNX file that takes one size is measured at that.
    """
    if is_onnx(network.source):
        import torch

        from export.onnx_model import open_session, size_of

        own = size_of(open_session(network.source, torch.device("cpu"), 1), network.source)
        return Entry(network.name, replace(network, image_size=own or network.image_size), math.nan, math.nan)
    from engine.size import multiply_adds

    model = load(network.source, network.num_classes, on_meta=network.source.suffix == ".yaml")
    parameters = sum(p.numel() for p in model.parameters())
    return Entry(name or network.name, network, parameters, multiply_adds(model, network.image_size), accuracy)


def entries_of_runs(given: str | Sequence[str]) -> list[Entry]:
    """Return runs with their networks at their own image sizes. Runs of equal networks share one, which is timed once.

    Raises:
        UserError: there are none.
    """
    from comparison.rows import differing_keys
    from comparison.run_names import short_names
    from comparison.runs import Run, required_runs

    by_size: dict[tuple[int, int], list[Run]] = {}
    for run in required_runs(given)[0]:
        size = run.config.get("data.image_size")
        if (run.path / "checkpoints").is_dir() and isinstance(size, list) and len(size) == 2:
            by_size.setdefault(as_size(size), []).append(run)
        else:
            log.warning("skipped %s: no checkpoint, or no config", run.path)
    networks: dict[str, Network] = {}
    entries = []
    for (height, width), same in by_size.items():
        for run, name in zip(same, short_names(same, differing_keys(same)), strict=True):
            classes = sum(key.startswith("val/iou/") for key in run.row("best"))
            own = {k: v for k, v in run.config.items() if k.startswith("model.") or k == "data.channels"}
            key = str((own, height, width, classes))
            network = networks.setdefault(key, Network(run.option("model") or name, run.path, (height, width), classes))
            entries.append(entry_of(network, name, run.best("val/miou")))
    if not entries:
        where = ", ".join(listed(given))
        raise UserError(f"runs={where}: there is no run with a checkpoint; pass a folder of runs, or a pattern")
    return entries


def cases_of(cfg: DictConfig, entries: Sequence[Entry]) -> tuple[list[Case], str]:
    """Return what to time, and a description of the device.

    Raises:
        UserError: the device is not available.
    """
    import torch

    from engine.device import choose_device

    wanted = cfg.device if cfg.device != "auto" else "cuda" if torch.cuda.is_available() else "cpu"
    device, threads = choose_device(wanted).type, cfg.threads or torch.get_num_threads()
    in_onnx: list[Backend] = ["onnx"]
    cases = [
        Case(network, backend, batch_size, device, cfg.amp, threads)
        for network in dict.fromkeys(entry.network for entry in entries)
        for backend in (in_onnx if is_onnx(network.source) else listed(cfg.backends))
        for batch_size in listed(cfg.batch_size)
    ]
    name = torch.cuda.get_device_name() if device == "cuda" else f"CPU, {plural(threads, 'thread')}"
    return cases, f"{name}, amp={cfg.amp}"


def row_of(entry: Entry, case: Case, found: Result) -> dict[str, Any]:
    """Return the row of a case: times in milliseconds, memory in MiB, None if unknown."""
    import numpy as np

    times = found.times or [math.nan]
    median = statistics.median(times)
    row = {
        "model": entry.name,
        "size": shown(entry.network.image_size),
        **({} if entry.accuracy is None else {"mIoU": entry.accuracy}),
        "parameters": float(entry.parameters),
        "MACs": entry.macs,
        "backend": case.backend,
        "batch": case.batch_size,
        "median ms": short(median),
        "p95 ms": short(float(np.percentile(times, 95, method="inverted_cdf"))),
        "images/s": 1000 * case.batch_size / median,
        "peak MiB": None if found.memory is None else round(found.memory / 2**20),
    }
    return without_nan(row)


def chosen(rows: list[dict[str, Any]], sort: BenchmarkColumn | None, max_ms: float | None) -> list[dict[str, Any]]:
    """Return the rows whose median time is at most `max_ms`, the best of a column first, and rows without a value last.

    Raises:
        UserError: no row is left.
    """
    kept = [row for row in rows if max_ms is None or (row["median ms"] is not None and row["median ms"] <= max_ms)]
    if rows and not kept:
        fastest = min((row["median ms"] for row in rows if row["median ms"] is not None), default=math.nan)
        raise UserError(f"max_ms={max_ms:g}: nothing is that fast; the fastest takes {fastest:g} ms")
    if sort is None:
        return kept
    sign = -1 if sort in ("images_per_second", "miou") else 1
    found = [(row.get(COLUMNS[sort]), row) for row in kept]
    known = sorted(((sign * value, i) for i, (value, _) in enumerate(found) if value is not None))
    return [kept[i] for _, i in known] + [row for value, row in found if value is None]


def short(milliseconds: float) -> float | int:
    """Round to two decimals, or to none from one second on."""
    return round(milliseconds) if milliseconds >= 1000 else round(milliseconds, 2)


def as_text(entries: Sequence[Entry], form: TableFormat) -> str:
    """Return a table of sizes: one row per network, with a column of multiply-adds for each image size."""
    from comparison.rendering import rendered
    from utils.tables import table

    if form in ("csv", "json"):
        rows = [(e, {"model": e.name, "size": shown(e.network.image_size)}) for e in entries]
        return rendered([row | {"parameters": e.parameters, "MACs": e.macs} for e, row in rows], form)
    sizes = list(dict.fromkeys(entry.network.image_size for entry in entries))
    head = ["parameters", *(f"MACs at {shown(size)}" for size in sizes)]
    by_name: dict[tuple[str, Path], dict[tuple[int, int], Entry]] = {}
    for entry in entries:
        by_name.setdefault((entry.name, entry.network.source), {})[entry.network.image_size] = entry
    cells = [["model", *head]]
    lines = [f"| `model=` | {' | '.join(head)} | source | published |", f"|---|{'--:|' * len(head)}---|---|"]
    for (name, source), by_size in by_name.items():
        parameters = next(iter(by_size.values())).parameters
        macs = [f"{by_size[size].macs / 1e9:.2f} G" if size in by_size else "" for size in sizes]
        cells.append([name, f"{parameters:,}", *macs])
        lines.append(f"| `{name}` | {parameters / 1e6:.2f} M | {' | '.join([*macs, *remarks(source)])} |")
    return table(cells) if form == "table" else "\n".join(lines)


def remarks(source: Path) -> tuple[str, str]:
    """Return the paper and the published results in the comments of a file in conf/model/; '' for a run."""
    if source.parent != CONF / "model":
        return "", ""
    text = source.read_text(encoding="utf-8").splitlines()
    lines = [line.removeprefix("#").strip() for line in text if line.startswith("#")]
    published = [line.removeprefix("Published: ") for line in lines if line.startswith("Published: ")]
    return "".join(lines[:1]), "; ".join(published)


def draw(found: Sequence[tuple[Entry, Case, Result]], where: str, path: Path) -> None:
    """Plot each run's mIoU over the median time of its network, for the smallest batch size."""
    from visualization.figures import draw_speed

    batch = min(case.batch_size for _, case, _ in found)
    sizes = {shown(case.network.image_size) for _, case, _ in found}
    times: dict[Entry, dict[str, float]] = {}
    for entry, case, result in found:
        if case.batch_size == batch and result.times:
            times.setdefault(entry, {})[case.backend] = statistics.median(result.times)
    points = [
        (entry.name if len(sizes) == 1 else f"{entry.name}, {shown(entry.network.image_size)}", accuracy, each)
        for entry, each in times.items()
        if (accuracy := entry.accuracy) is not None
    ]
    if not points:  # all failed, which is reported
        return
    size = f", {sizes.pop()}" if len(sizes) == 1 else ""
    draw_speed(points, f"{where}, batch of {batch}{size}", path)
    log.info("wrote %s", path)


if __name__ == "__main__":
    launch(benchmark, "benchmark")
