"""How long `compare.py` takes for 1,000 runs, and how much of that is starting Python and Hydra.

python -m benchmarks.compare
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml

from benchmarks.timing import interleaved
from utils.tables import table

ROOT = Path(__file__).parent.parent
RUNS, ROUNDS = 1000, 3


def make_runs(folder: Path) -> None:
    """Write run folders with configs of the usual length, all different."""
    command = [sys.executable, str(ROOT / "train_segmentation.py"), "--cfg", "job", "--resolve"]
    config = yaml.safe_load(subprocess.run(command, check=True, capture_output=True, text=True, cwd=folder).stdout)
    classes = {f"val/iou/class {i}": 0.5 for i in range(20)}
    for number in range(RUNS):
        run = folder / "experiments" / f"2026-01-01_00-00-00-{number:06}_enet_synthetic"
        run.mkdir(parents=True)
        config["seed"], config["optimizer"]["lr"] = number % 10, 0.001 * (1 + number // 10)
        (run / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
        best = {"epoch": 20, "val/miou": number / RUNS, "val/dice": 0.5, **classes}
        summary = {
            "status": "finished",
            "parameters": 359984,
            "macs": 2e9,
            "seconds": 100.0,
            "best": best,
            "last": best,
        }
        (run / "summary.json").write_text(json.dumps(summary))


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        make_runs(Path(folder))

        def compare(*words: str) -> None:
            command = [sys.executable, str(ROOT / "compare.py"), *words]
            subprocess.run(command, check=True, capture_output=True, cwd=folder)

        rivals = {
            "start-up only (--cfg job)": lambda: compare("--cfg", "job"),
            "1,000 runs": lambda: compare("sort=val/miou"),
            "1,000 runs, group_by=seed": lambda: compare("group_by=seed", "format=csv"),
        }
        times = interleaved(rivals, ROUNDS, warmup=1)
    print(table([["compare.py", "time"], *([name, f"{value:.2f} s"] for name, value in times.items())]))


if __name__ == "__main__":
    main()
