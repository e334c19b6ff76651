"""Write docs/results.md and the cards of `weights/` from the files in `results/`.

python -m benchmarks.results                                    # write the pages
python -m benchmarks.results --photos datasets/camvid           # draw docs/results.jpg, too
python -m benchmarks.results --keep experiments/<run> --evaluation <file>.json --name camvid_enet   # store a run first

`results/<experiment>/seed<N>.json` is a run, `speed.json` beside it the output of `tools.benchmark format=json`.
"""

from __future__ import annotations

import argparse
import json
import statistics
from pathlib import Path
from typing import Any, NamedTuple

from utils.bundled_weights import bundled_names

ROOT = Path(__file__).parent.parent
RESULTS, WEIGHTS, DOCS = ROOT / "results", ROOT / "weights", ROOT / "docs"
OF_RUN = ("started", "parameters", "macs", "seed", "seconds", "environment", "options", "overrides")
METRICS = ("miou", "class_accuracy", "boundary_iou", "calibration_error")
OF_EVALUATION = ("split", "samples", "epoch", *METRICS, "benchmark")
SHOWN_PHOTOS = 8

INTRODUCTION = """# Results

Read this page to know how well the networks segment CamVid, how that was measured, and how to repeat it.

## Protocol

- Data: CamVid in the SegNet layout, 360x480, 11 classes. Void pixels are ignored, unless a column says otherwise.
- Recipes are chosen on the splits `train_dev` and `dev` only (`dev` is the whole sequence 0006R0 of `train`). The split
  `val` is reported and never chosen on; it comes from a sequence that is also in `train`. The test split is not used:
  results there are lower, for published networks by up to 13 points.
- A final run trains on `train` (367 photos) for a fixed number of epochs. Its result is the moving average of the
  weights after the last epoch, in half precision, as stored in `weights/`. No epoch is picked. The cards say which
  training was continued; that of DeepLabV3+ was, because it still made many errors on the photos of `train`.
- Three networks with Lite0 were compared on `dev` after 6 epochs at 180x240 (mIoU of one seed each: {pilots}).
  Their crops came from photos twice as large as those of `dev`, so these figures say little. Beyond that, learning
  rates, epochs and augmentation are first guesses: there was no search.
- The number of seeds is in the table of costs. With one seed, differences of one or two points mean little.
- The whole photo is predicted at 360x480, at a single scale, without flips.
- ms per image: forward pass of one photo, one thread.
"""


class Result(NamedTuple):
    """The runs of a recipe with different seeds."""

    experiment: str
    runs: list[dict[str, Any]]
    speed: dict[str, float]

    @property
    def bundled(self) -> str:
        """The name that its weights have in `weights/`."""
        return f"{self.experiment.removeprefix('camvid_')}_camvid"

    def mean(self, *keys: str) -> float:
        """Return the mean of a value over the seeds."""
        return statistics.mean(_at(run, keys) for run in self.runs)

    def percent(self, *keys: str) -> str:
        """Return mean and standard deviation of a share over the seeds, in percent."""
        values = [100 * _at(run, keys) for run in self.runs]
        spread = f" ± {statistics.stdev(values):.1f}" if len(values) > 1 else ""
        return f"{statistics.mean(values):.1f}{spread}"


def read_results() -> list[Result]:
    """Return all results, the best mIoU first."""
    found = []
    for folder in sorted(path for path in RESULTS.iterdir() if path.is_dir()):
        runs = [json.loads(path.read_text()) for path in sorted(folder.glob("seed*.json"))]
        speed = folder / "speed.json"
        rows = json.loads(speed.read_text()) if speed.exists() else []
        found.append(Result(folder.name, runs, {row["backend"]: row["median ms"] for row in rows}))
    return sorted(found, key=lambda result: -result.mean("evaluation", "miou"))


def tables() -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return published results, and the trials by which a network was chosen."""
    published, trials = (json.loads((RESULTS / f"{name}.json").read_text()) for name in ("published", "pilots"))
    return published, trials


def keep(run: Path, evaluation: Path, name: str) -> None:
    """Store in `results/` what the pages need of a run and of the evaluation of its final weights."""
    summary, measured = (json.loads(path.read_text()) for path in (run / "summary.json", evaluation))
    stored = {key: summary[key] for key in OF_RUN}
    stored["overrides"] = _portable(stored["overrides"])
    for continuation in summary.get("continuations", []):
        if words := _portable(continuation["words"]):  # without any, it resumed an interrupted training as it was
            stored.setdefault("continuations", []).append({"after_epoch": continuation["after_epoch"], "words": words})
    stored["evaluation"] = {key: measured[key] for key in OF_EVALUATION}
    stored["evaluation"]["iou"] = measured["classes"]["iou"]
    path = RESULTS / name / f"seed{summary['seed']}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(stored, indent=1) + "\n")


def results_page(results: list[Result], published: list[dict[str, Any]], trials: list[dict[str, Any]]) -> str:
    """Return docs/results.md.

    Args:
        published: results of papers.
        trials: short trainings by which a network was chosen.
    """
    pilots = [f"{trial['network']} {100 * trial['last']['val/miou']:.1f}" for trial in trials]
    head = ["recipe", "mIoU", "void as errors", "class accuracy", "boundary IoU", "calibration error"]
    quality = [
        [
            f"`{result.experiment}`",
            result.percent("evaluation", "miou"),
            result.percent("evaluation", "benchmark", "miou, void as false positives"),
            *(result.percent("evaluation", key) for key in ("class_accuracy", "boundary_iou", "calibration_error")),
        ]
        for result in results
    ]
    costs = ["recipe", "parameters", "MACs", "ms, eager", "ms, ONNX", "seeds", "epochs", "training hours", "machine"]
    cost = [
        [
            f"`{result.experiment}`",
            f"{result.mean('parameters') / 1e6:.2f} M",
            f"{result.mean('macs') / 1e9:.2f} G",
            *(f"{result.speed[kind]:.0f}" if kind in result.speed else "" for kind in ("eager", "onnx")),
            f"{len(result.runs)}",
            f"{result.runs[0]['evaluation']['epoch']}",
            f"{result.mean('seconds') / 3600:.1f}",
            _machine(result.runs[0]),
        ]
        for result in results
    ]
    classes = list(results[0].runs[0]["evaluation"]["iou"])
    per_class = [
        [f"`{result.experiment}`", *(f"{100 * result.mean('evaluation', 'iou', name):.0f}" for name in classes)]
        for result in results
    ]
    others = [
        [row["network"], f"{row['miou']}", row["split"], row["trained_on"], row["pretrained"], row["source"]]
        for row in published
    ]
    shown = ", ".join(f"`{name}`" for name in bundled_names())
    return "\n".join(
        [
            INTRODUCTION.format(pilots=", ".join(pilots)),
            "## CamVid val\n\nAll in percent; ± is the standard deviation over seeds, where there are several.\n",
            _table([head, *quality]) + "\n",
            f"IoU of each class:\n\n{_table([['recipe', *classes], *per_class])}\n",
            f"## Cost\n\n{_table([costs, *cost])}\n",
            "## Published\n\nCompare like with like: training split, pre-training and measured split differ.\n",
            _table([["network", "mIoU", "on", "trained on", "pretrained", "source"], *others]) + "\n",
            f"## Pictures\n\nPhotos of val, truth, {shown}.\n\n![Photos and masks](results.jpg)\n",
            "## Repeat it\n",
            "```",
            *(f"python train_segmentation.py experiment={result.experiment} data.root=<path>" for result in results),
            "python -m tools.release checkpoint=experiments/<run>/checkpoints/last.pt output=<name>.pt",
            "python evaluate.py checkpoint=<name>.pt data.root=<path>",
            "```\n",
            "The networks of `weights/` are such files: `enet_camvid` is that of `camvid_enet`, and so on.",
            "`python evaluate.py checkpoint=<name> data.root=<path>` measures them.",
            "This page is written by `python -m benchmarks.results` from the files in `results/`.\n",
        ]
    )


def card(result: Result) -> str:
    """Return the card of a network in `weights/`."""
    run = result.runs[0]
    name, measured = result.bundled, run["evaluation"]
    remarks = RESULTS / result.experiment / "remarks.md"
    rows = [[label, f"{100 * iou:.1f}"] for label, iou in measured["iou"].items()]
    return (
        "\n".join(
            [
                f"# {name}\n",
                f"{run['parameters'] / 1e6:.2f} M parameters, for street scenes, 11 classes, 360x480.\n",
                f"- Trained by {_trained(run)}, seed {run['seed']},"
                f" {measured['epoch']} epochs; the weights are the moving average after the last one, as float16.",
                "- Data: CamVid, split `train`, 367 photos. Licence of the data: CC BY-NC 4.0, not for commercial use.",
                f"- Machine: {_machine(run)}, {run['seconds'] / 3600:.1f} hours.",
                f"- Seeds trained: {len(result.runs)}.\n",
                f"## Metrics on CamVid {measured['split']} ({measured['samples']} photos)\n",
                f"mIoU {100 * measured['miou']:.1f}, class-average accuracy {100 * measured['class_accuracy']:.1f},"
                f" boundary IoU {100 * measured['boundary_iou']:.1f}, calibration error"
                f" {100 * measured['calibration_error']:.1f} (percent; void ignored).\n",
                _table([["class", "IoU"], *rows]) + "\n",
                "## Use\n",
                f"```\npython infer.py checkpoint={name} input=street.jpg",
                f"python evaluate.py checkpoint={name} data.root=<path of CamVid>",
                f"python train_segmentation.py experiment={result.experiment} data=folder data.root=<path>"
                f" model.weights={name} model.reset_classifier=true\n```\n",
                remarks.read_text() if remarks.exists() else "",
            ]
        ).rstrip()
        + "\n"
    )


def draw_pictures(root: str, path: Path) -> None:
    """Draw photos of val, spread evenly, with truth and the predictions of the networks in `weights/`."""
    import numpy as np
    from PIL import Image

    from data.camvid import CamVid
    from engine.pictures import evenly_spread
    from inference.predictor import Predictor
    from visualization.overlay import tinted

    dataset = CamVid(root, "val")
    networks = [Predictor.from_checkpoint(name, "cpu") for name in bundled_names()]
    rows = []
    for index in evenly_spread(len(dataset), SHOWN_PHOTOS):
        sample = dataset[index]
        masks = [sample.mask, *(network.predict(sample.image) for network in networks)]
        tiles = [sample.image, *(tinted(sample.image, mask, dataset.labels) for mask in masks)]
        rows.append(np.concatenate([tile[::2, ::2] for tile in tiles], axis=1))
    for file, shown in ((path, rows), (path.with_name("street.jpg"), rows[2:4])):
        Image.fromarray(np.concatenate(shown)).save(file, quality=88)


def _table(rows: list[list[str]]) -> str:
    """Return a Markdown table; the first row is the header."""
    lines = [rows[0], ["---", *("--:" for _ in rows[0][1:])], *rows[1:]]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _portable(words: list[str]) -> list[str]:
    """Return overrides without those that name a path of the machine."""
    return [word for word in words if not word.startswith(("data.root=", "resume="))]


def _trained(run: dict[str, Any]) -> str:
    """Return the commands that trained a network."""
    commands = [f"`python train_segmentation.py {' '.join(run['overrides'])}`"]
    for continuation in run.get("continuations", []):
        words = " ".join(continuation["words"])
        after = continuation["after_epoch"]
        commands.append(f"after epoch {after} `python train_segmentation.py resume=experiments/<run> {words}`")
    return ", then ".join(commands)


def _at(value: Any, keys: tuple[str, ...]) -> float:
    for key in keys:
        value = value[key]
    return float(value)


def _machine(run: dict[str, Any]) -> str:
    environment = run["environment"]
    return f"{environment['device']}, {environment['threads']} thread{'s' * (environment['threads'] != 1)}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keep", type=Path, metavar="RUN", help="run folder to store")
    parser.add_argument("--evaluation", type=Path, help="JSON file of evaluate.py, of its final weights")
    parser.add_argument("--name", help="recipe of the run")
    parser.add_argument("--photos", metavar="CAMVID", help="folder of CamVid: draw the pictures of docs/")
    given = parser.parse_args()
    if given.keep:
        if not given.evaluation or not given.name:
            parser.error("--keep needs --evaluation and --name")
        keep(given.keep, given.evaluation, given.name)
    results = read_results()
    (DOCS / "results.md").write_text(results_page(results, *tables()))
    for result in results:
        if result.bundled in bundled_names():
            (WEIGHTS / f"{result.bundled}.md").write_text(card(result))
    if given.photos:
        draw_pictures(given.photos, DOCS / "results.jpg")


if __name__ == "__main__":
    main()
