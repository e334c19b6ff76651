"""Pack a run into one zip file that others can use.

python -m tools.share run=experiments/<run>
"""

from __future__ import annotations

import logging
import shlex
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile

from omegaconf import DictConfig

from cli.launch import launch
from utils.bundled_weights import bundled_names
from utils.errors import UserError
from utils.files import atomic_path, prepare_output
from utils.find_run import NEVER_STARTED, never_started
from utils.paths import is_file, user_path

log = logging.getLogger("share")

FILES = ("config.yaml", "summary.json", "metrics.csv", "code.diff")
FOLDERS = ("figures", "evaluation")
STORED = (".pt", ".png", ".jpg")
"""Suffixes of files that are compressed already, or would not get much smaller."""
DATA = {"data.root": "<folder of the data set>", "data.labels": "<file of the labels>"}
NETWORKS = dict.fromkeys(("distill.teacher", "model.weights", "model.encoder_weights"), "<run or file>")
"""Keys of a config that name files outside of the run, and what to pass for them elsewhere."""
NOTE = """# {name}

{what}

The program that trained it is the repository "Efficient segmentation", with `train_segmentation.py`, `infer.py` and
`evaluate.py`, {version}. Unpack this file in its folder, and run one of these there:

```
python infer.py {checkpoint} input=<photo or folder>
python evaluate.py {checkpoint}{data}
python train_segmentation.py {like}{data}{networks}
```

They predict, measure the network, and train a new one with the same config.
`report.html` has the learning curves, `config.yaml` the config, `metrics.csv` one row per epoch.
"""


def share(cfg: DictConfig) -> None:
    """Write the zip file of a run."""
    from comparison.report import write_report
    from comparison.runs import read_runs
    from sweeps.checkpoints import best_of_sweep
    from utils.tables import number

    run = user_path(best_of_sweep(cfg.run, "run"), "run")
    if never_started(run):
        raise UserError(f"run={cfg.run}: {NEVER_STARTED}")
    best = run / "checkpoints" / "best.pt"
    if not is_file(run / "config.yaml"):
        raise UserError(f"run={cfg.run}: not a run folder: there is no config.yaml in it")
    if not is_file(best):
        raise UserError(f"run={cfg.run}: it has no checkpoints/best.pt, which the first validation writes")
    name = f"{run.resolve().parent.name}_{run.name}" if run.name.isdecimal() else run.resolve().name
    output = user_path(cfg.output or f"{name}.zip", "output")
    if output.suffix.lower() != ".zip":
        raise UserError(f"output={cfg.output}: must be a .zip file")
    prepare_output(output, cfg.overwrite)
    files = [best, *(run / file for file in FILES if is_file(run / file))]
    files += [path for folder in FOLDERS for path in sorted((run / folder).rglob("*")) if path.is_file()]

    runs, skipped = read_runs([run])
    if not runs:
        raise UserError(f"run={cfg.run}: {skipped[0]}")
    found = runs[0]
    environment = found.summary.get("environment") or {}
    commit, changed = environment.get("git_commit"), is_file(run / "code.diff")
    note = NOTE.format(
        name=name,
        checkpoint=shlex.quote(f"checkpoint={name}"),
        what=f"{found.option('model')} on {found.option('data')}, epoch {found.best_epoch}: validation mIoU"
        f" {number(found.best('val/miou'))}",
        like=shlex.quote(f"like={name}"),
        data=_words(found.config, DATA),
        networks=_words(found.config, NETWORKS),
        version=(f"commit {commit}" if commit else "of an unknown commit")
        + (", with the changes in `code.diff`" if changed else ""),
    )
    with tempfile.TemporaryDirectory() as folder, atomic_path(output) as temporary, ZipFile(temporary, "w") as packed:
        report = Path(folder, "report.html")
        write_report(report, [found], [], str(cfg.run))
        for path, inside in [*((path, path.relative_to(run).as_posix()) for path in files), (report, report.name)]:
            packed.write(path, f"{name}/{inside}", ZIP_STORED if path.suffix in STORED else ZIP_DEFLATED)
        packed.writestr(f"{name}/README.md", note, ZIP_DEFLATED)
    log.info("wrote %s (%.1f MB), with %d files", output, output.stat().st_size / 1e6, len(files) + 2)


def _words(config: Mapping[str, Any], keys: Mapping[str, str]) -> str:
    """Return a word for each of the keys whose value in a run's config names a file of this machine."""
    everywhere = (None, "imagenet", *bundled_names())
    return "".join(f" {key}={text}" for key, text in keys.items() if config.get(key) not in everywhere)


if __name__ == "__main__":
    launch(share, "share")
