"""Write docs/results.md, the cards of `weights/`, and their table in the README from the files in `results/`.

python -m benchmarks.results                                    # write the pages
python -m benchmarks.results --photos datasets/camvid           # draw their pictures, too
python -m benchmarks.results --photos datasets/camvid --keep experiments/<run> --name camvid_enet \\
    --weights enet_camvid.pt --evaluation <file of evaluate.py>.json     # store a run first
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from benchmarks.result_files import (
    MASKS,
    METRICS,
    RESULTS,
    Result,
    epochs,
    keep,
    markdown_table,
    read_results,
    tables,
)
from benchmarks.result_pictures import draw, predict
from utils.bundled_weights import bundled_names

ROOT = Path(__file__).parent.parent
WEIGHTS, DOCS = ROOT / "weights", ROOT / "docs"
MARKS = ("<!-- weights: written by benchmarks.results -->", "<!-- end of weights -->")  # around a table in the README

INTRODUCTION = """# Results

Read this page to know how well the networks segment CamVid, how that was measured, and how to repeat it.

## Protocol

- Data: CamVid in the SegNet layout, 360x480, 11 classes. Void pixels are ignored, unless a column says otherwise.
- Recipes are chosen on the splits `train_dev` and `dev` only (`dev` is the whole sequence 0006R0 of `train`). The split
  `val` is reported and never used to choose; it comes from a sequence that is also in `train`. The test split is not
  used: results there are lower, for published networks by up to 13 points.
- A final run trains on `train` ({training} photos). Its result is the moving average of the weights after the last
  epoch, in half precision, as `tools.release` writes it; no epoch is picked by its score on `val`. Some trainings were
  extended, because the networks still made many errors on the photos of `train`. The cards of `weights/` have all
  commands; [below](#repeat-it) are those that repeat a recipe.
- Three networks with Lite0 were compared on `dev` after 6 epochs at 180x240 (mIoU of one seed each: {pilots}).
  This says little, since they were trained on crops of photos twice as large as those of `dev`. Beyond that, learning
  rates, epochs and augmentation are first guesses: there was no search.
- The number of seeds is in the table of costs. With one seed, differences of one or two points mean little.
- The whole photo is predicted at 360x480, at a single scale, without flips.
- ms per image: forward pass of one photo, one thread.
"""
TRAINVAL = """Trained further on `train` and `val` together, as some of the published networks below: {recipes}.
No split is left to measure these on here. Use them for other photos and for `test`, and the other recipes to compare.
"""
HEADS = """## Pascal VOC, a subset

The two heads of EfficientDet-D0, side by side: the extra top-down pathway, and the level P2 of the BiFPN. Both with
EfficientNet-Lite0 trained on ImageNet, and with the published loss, augmentation and optimiser, trained on {training}
photos of `train_aug` and measured on {measured} of `val`, resized to 256x256, after {epochs} epochs. The learning rate
is higher than the published one, which is meant for 100 epochs of 10,582 photos at 512x512. Compare only these rows:
after so few steps they show which head learns faster, not which one is better in the end.
Trained by {command}.
"""


def results_page(
    results: list[Result], heads: list[Result], published: list[dict[str, Any]], trials: list[dict[str, Any]]
) -> str:
    """Return docs/results.md.

    Args:
        results: results on CamVid.
        heads: results of the two heads of EfficientDet on Pascal VOC.
        published: results of papers.
        trials: short trainings by which a network was chosen.
    """
    trainval = [result for result in results if result.on_trainval]
    results = [result for result in results if not result.on_trainval]
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
            *(_milliseconds(result, backend) for backend in ("eager", "onnx")),
            f"{len(result.runs)}",
            f"{epochs(result.runs[0])}",
            f"{result.mean('seconds') / 3600:.1f}",
            _machine(result.runs[0]),
        ]
        for result in results + trainval
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
    bundled = ", ".join(
        f"`{r.bundled}` of `{r.experiment}`" for r in results + trainval if r.bundled in bundled_names()
    )
    shown = ", ".join(f"`{result.experiment}`" for result in results if result.masks.exists())
    training = results[0].runs[0]["training_samples"]
    has_seeds = any(len(result.runs) > 1 for result in results)
    spread = "; ± is the standard deviation over seeds" if has_seeds else ""
    return "\n".join(
        [
            INTRODUCTION.format(pilots=", ".join(pilots), training=training),
            f"## CamVid val\n\nAll in percent{spread}.\n",
            markdown_table([head, *quality]) + "\n",
            *(f"`{result.experiment}`: {result.training_note}\n" for result in results if result.training_note),
            f"IoU of each class:\n\n{markdown_table([['recipe', *classes], *per_class])}\n",
            f"## Cost\n\n{markdown_table([costs, *cost])}\n",
            *([TRAINVAL.format(recipes=", ".join(f"`{r.experiment}`" for r in trainval))] if trainval else []),
            "## Published\n\nCompare like with like: training split, pre-training and measured split differ.\n",
            markdown_table([["network", "mIoU", "on", "trained on", "pretrained", "source"], *others]) + "\n",
            *heads_section(heads),
            f"## Pictures\n\nEight photos of val, and the masks of {shown}.\n\n![Photos and masks](results.jpg)\n",
            "## Repeat it\n",
            "```",
            *(line for result in results + trainval for line in _commands(result)),
            "python -m tools.release checkpoint=experiments/<run>/checkpoints/last.pt output=<name>.pt",
            "python evaluate.py checkpoint=<name>.pt data.root=<path>",
            "```\n",
            f"The networks of `weights/` are such files: {bundled}.",
            "`python evaluate.py checkpoint=<name> data.root=<path>` measures them.",
            "This page is written by `python -m benchmarks.results` from the files in `results/`.\n",
        ]
    )


def heads_section(results: list[Result]) -> list[str]:
    """Return the section about the heads of EfficientDet; without results, nothing."""
    if not results:
        return []
    run = results[0].runs[0]
    measured = run["evaluation"]
    introduction = HEADS.format(
        training=run["training_samples"],
        measured=measured["samples"],
        epochs=measured["epoch"],
        command=_trained(run),
    )
    rows = [
        [
            f"`{next(word for word in result.runs[0]['overrides'] if word.startswith('model.head='))}`",
            *(result.percent("evaluation", key) for key in METRICS),
            f"{result.mean('parameters') / 1e6:.2f} M",
            f"{result.mean('macs') / 1e9:.2f} G",
            f"{len(result.runs)}",
            f"{result.mean('seconds') / 3600:.1f}",
            _machine(result.runs[0]),
        ]
        for result in results
    ]
    head = ["head", "mIoU", "class accuracy", "boundary IoU", "calibration error", "parameters", "MACs"]
    return [introduction, markdown_table([[*head, "seeds", "training hours", "machine"], *rows]) + "\n"]


def card(result: Result) -> str:
    """Return the card of a network in `weights/`."""
    run = result.runs[0]
    name = result.bundled
    splits = "splits `train` and `val`" if result.on_trainval else "split `train`"
    measured = " split=test" if result.on_trainval else ""
    return (
        "\n".join(
            [
                f"# {name}\n",
                f"{run['parameters'] / 1e6:.2f} M parameters, for street scenes, 11 classes, 360x480.\n",
                f"- Trained by {_trained(run)}, seed {run['seed']},"
                f" {epochs(run)} epochs; the weights are the moving average after the last one, as float16.",
                f"- Data: CamVid, {splits}, {run['training_samples']} photos. Licence of the data: CC BY-NC 4.0,"
                " not for commercial use.",
                f"- Machine: {_machine(run)}, {run['seconds'] / 3600:.1f} hours.",
                f"- Seeds trained: {len(result.runs)}.\n",
                *([] if result.on_trainval else _metrics(run["evaluation"])),
                "## Use\n",
                f"```\npython infer.py checkpoint={name} input=street.jpg",
                f"python evaluate.py checkpoint={name}{measured} data.root=<path of CamVid>",
                f"python train_segmentation.py {result.on_a_folder}\n```\n",
                result.remarks,
            ]
        ).rstrip()
        + "\n"
    )


def _metrics(measured: dict[str, Any]) -> list[str]:
    """Return the section of a card about an evaluation."""
    rows = [[label, f"{100 * iou:.1f}"] for label, iou in measured["iou"].items()]
    return [
        f"## Metrics on CamVid {measured['split']} ({measured['samples']} photos)\n",
        f"mIoU {100 * measured['miou']:.1f}, class-average accuracy {100 * measured['class_accuracy']:.1f},"
        f" boundary IoU {100 * measured['boundary_iou']:.1f}, calibration error"
        f" {100 * measured['calibration_error']:.1f} (percent; void ignored).\n",
        markdown_table([["class", "IoU"], *rows]) + "\n",
    ]


def with_weights_table(readme: str, results: list[Result]) -> str:
    """Return the README with a new table of the networks in `weights/`, between its two marks."""
    rows = [
        [
            f"`{result.bundled}`",
            f"{result.mean('parameters') / 1e6:.2f} M",
            _milliseconds(result, "eager"),
            "trained on it, too" if result.on_trainval else f"{result.percent('evaluation', 'miou')} %",
        ]
        for result in results
        if result.bundled in bundled_names()
    ]
    before, _, rest = readme.partition(f"{MARKS[0]}\n")
    _, _, after = rest.partition(MARKS[1])
    table = markdown_table([["checkpoint", "parameters", "ms per photo, one core", "mIoU on CamVid val"], *rows])
    return f"{before}{MARKS[0]}\n{table}\n{MARKS[1]}{after}"


def _commands(result: Result) -> list[str]:
    """Return the command of a recipe, and those that trained its network further."""
    further: list[str] = []
    run = result.runs[0]
    while "earlier" in run:
        keys = [word for word in run["overrides"] if word.startswith(("optimizer.", "trainer.epochs="))]
        further.insert(0, " ".join(["model.weights=<name>.pt", *keys, "data.root=<path>  # from its released weights"]))
        run = run["earlier"]
    return [
        f"python train_segmentation.py experiment={result.experiment} {words}"
        for words in ["data.root=<path>", *further]
    ]


def _trained(run: dict[str, Any]) -> str:
    """Return the commands that trained a network."""
    commands = [_trained(run["earlier"])] if "earlier" in run else []
    commands.append(f"`python train_segmentation.py {' '.join(run['overrides'])}`")
    for continuation in run.get("continuations", []):
        words = " ".join(continuation["words"])
        after = continuation["after_epoch"]
        commands.append(f"after epoch {after} `python train_segmentation.py resume=experiments/<run> {words}`")
    return ", then ".join(commands)


def _milliseconds(result: Result, backend: str) -> str:
    """Return the time per image; '' if it was not measured."""
    return f"{result.speed[backend]:.0f}" if backend in result.speed else ""


def _machine(run: dict[str, Any]) -> str:
    environment = run["environment"]
    return f"{environment['device']}, {environment['threads']} thread{'s' * (environment['threads'] != 1)}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keep", type=Path, metavar="RUN", help="run folder to store")
    parser.add_argument("--evaluation", type=Path, help="JSON file of evaluate.py, of its final weights")
    parser.add_argument("--name", help="recipe of the run")
    parser.add_argument("--weights", type=Path, help="released weights of the run, to store its masks of the photos")
    parser.add_argument("--photos", metavar="CAMVID", help="folder of CamVid: draw the pictures of docs/")
    given = parser.parse_args()
    if given.keep:
        if not given.evaluation or not given.name:
            parser.error("--keep needs --evaluation and --name")
        keep(given.keep, given.evaluation, given.name)
    if given.weights:
        if not given.name or not given.photos:
            parser.error("--weights needs --name and --photos")
        predict(given.weights, given.photos, RESULTS / given.name / MASKS)
    results = read_results()
    (DOCS / "results.md").write_text(results_page(results, read_results("voc"), *tables()))
    readme = ROOT / "README.md"
    readme.write_text(with_weights_table(readme.read_text(), results))
    for result in results:
        if result.bundled in bundled_names():
            (WEIGHTS / f"{result.bundled}.md").write_text(card(result))
    if given.photos:
        draw(results, given.photos, DOCS)


if __name__ == "__main__":
    main()
