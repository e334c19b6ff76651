"""The files in `results/`, which the pages of `benchmarks.results` are written from.

`results/<experiment>/seed<N>.json` is a run, `speed.json` beside it the output of `tools.benchmark format=json`, and
`masks.png` what its weights predict for some photos.
"""

from __future__ import annotations

import json
import re
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

RESULTS = Path(__file__).parent.parent / "results"
RECIPES = Path(__file__).parent.parent / "conf" / "experiment"
MASKS = "masks.png"
OF_RUN = ("started", "parameters", "macs", "seed", "seconds", "environment", "options", "overrides")
METRICS = ("miou", "class_accuracy", "boundary_iou", "calibration_error")
OF_EVALUATION = ("split", "samples", "epoch", *METRICS, "benchmark")


class Result(NamedTuple):
    """The runs of a recipe with different seeds."""

    experiment: str
    runs: list[dict[str, Any]]
    speed: dict[str, float]  # backend: milliseconds per image
    remarks: str = ""  # what someone who looked at the masks says

    @property
    def network(self) -> str:
        """The recipe without its data set."""
        return self.experiment.removeprefix("camvid_")

    @property
    def bundled(self) -> str:
        """The name that its weights have in `weights/`."""
        return f"{self.network}_camvid"

    @property
    def on_trainval(self) -> bool:
        """Whether it was trained on `train` and `val`, which leaves no split to measure it on."""
        return self.experiment.endswith("_trainval")

    @property
    def on_a_folder(self) -> str:
        """The arguments that train its weights further on photos with other classes in a folder."""
        recipe = self.experiment.removesuffix("_trainval")  # a folder has no such split
        path = RECIPES / f"{recipe}.yaml"
        has_encoder = path.exists() and "encoder_weights: imagenet" in path.read_text()
        encoder = " model.encoder_weights=null" if has_encoder else ""  # its own weights replace them
        weights = f"model.weights={self.bundled}{encoder} model.reset_classifier=true"
        return f"experiment={recipe} data=folder data.root=<path> {weights}"

    @property
    def training_note(self) -> str:
        """What the remarks say before the limits of the network: how its training differs from others."""
        return self.remarks.partition("## ")[0].strip()

    @property
    def masks(self) -> Path:
        """File of the masks that `benchmarks.result_pictures` draws."""
        return RESULTS / self.experiment / MASKS

    def mean(self, *keys: str) -> float:
        """Return the mean of a value over the seeds."""
        return statistics.mean(_at(run, keys) for run in self.runs)

    def percent(self, *keys: str) -> str:
        """Return mean and standard deviation of a share over the seeds, in percent."""
        return mean_and_spread([100 * _at(run, keys) for run in self.runs])


def read_results(data: str = "camvid") -> list[Result]:
    """Return the results on a data set, by mIoU, highest first, and at the end those trained on what measures it."""
    found = []
    for folder in sorted(RESULTS.glob(f"{data}_*")):
        runs = [json.loads(path.read_text()) for path in sorted(folder.glob("seed*.json"))]
        speed, remarks = folder / "speed.json", folder / "remarks.md"
        rows = json.loads(speed.read_text()) if speed.exists() else []
        times = {row["backend"]: row["median ms"] for row in rows}
        found.append(Result(folder.name, runs, times, remarks.read_text() if remarks.exists() else ""))
    return sorted(found, key=lambda result: (result.on_trainval, -result.mean("evaluation", "miou")))


def mean_and_spread(values: Sequence[float]) -> str:
    """Return the mean and, of several values, the standard deviation, with one decimal."""
    spread = f" ± {statistics.stdev(values):.1f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.1f}{spread}"


def markdown_table(rows: Sequence[Sequence[str]], left: int = 1) -> str:
    """Return a Markdown table; the first row is the header, and the first `left` columns are aligned to the left."""
    lines = [rows[0], ["---"] * left + ["--:"] * (len(rows[0]) - left), *rows[1:]]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def tables() -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return published results, and the trials by which a network was chosen."""
    published, trials = (json.loads((RESULTS / f"{name}.json").read_text()) for name in ("published", "pilots"))
    return published, trials


def epochs(run: dict[str, Any]) -> int:
    """Return the epochs of a run and of those that it started from."""
    return run["evaluation"]["epoch"] + (epochs(run["earlier"]) if "earlier" in run else 0)


def keep(run: Path, evaluation: Path, name: str) -> None:
    """Store in `results/` what the pages need of a run and of the evaluation of its final weights.

    If the run started from this recipe's weights, those of `weights/` or a file of the same name, the stored run that
    gave them becomes its `earlier`, and the seconds of both are added.
    """
    summary, measured = (json.loads(path.read_text()) for path in (run / "summary.json", evaluation))
    stored = {key: summary[key] for key in OF_RUN}
    stored["training_samples"] = summary["samples"]["train"]["samples"]
    stored["overrides"] = _portable(stored["overrides"])
    for continuation in summary.get("continuations", []):
        if words := _portable(continuation["words"]):  # without any, it resumed an interrupted training as it was
            stored.setdefault("continuations", []).append({"after_epoch": continuation["after_epoch"], "words": words})
    stored["evaluation"] = {key: measured[key] for key in OF_EVALUATION}
    stored["evaluation"]["iou"] = measured["classes"]["iou"]
    path = RESULTS / name / f"seed{summary['seed']}.json"
    bundled = Result(name, [], {}).bundled
    if {f"model.weights={bundled}", f"model.weights={bundled}.pt"} & set(stored["overrides"]):
        earlier = json.loads(path.read_text())
        stored["seconds"] += earlier["seconds"]
        steps = {key: earlier[key] for key in ("overrides", "continuations", "earlier") if key in earlier}
        stored["earlier"] = steps | {"evaluation": {"epoch": earlier["evaluation"]["epoch"]}}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(stored, indent=1) + "\n")


def _portable(words: list[str]) -> list[str]:
    """Return overrides without paths of the machine."""
    kept = [word for word in words if not word.startswith(("data.root=", "resume="))]
    return [re.sub("^model.weights=.*/", "model.weights=", word) for word in kept]


def _at(value: Any, keys: tuple[str, ...]) -> float:
    for key in keys:
        value = value[key]
    return float(value)
