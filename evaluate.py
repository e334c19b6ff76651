"""Measure trained networks on a split.

python evaluate.py checkpoint=experiments/<run> split=val
python evaluate.py checkpoint=[experiments/<run>,experiments/<run>] split=test
python evaluate.py runs=experiments/<sweep> split=test
"""

from __future__ import annotations

if __name__ == "__main__":  # first, so that Ctrl-C ends the program: an import may swallow it
    from utils.interruption import end_at_once

    end_at_once()

from omegaconf import DictConfig

from cli.launch import launch


def evaluate(cfg: DictConfig) -> None:
    """Print the metrics of a checkpoint, an ensemble, or many runs on a split, and write them to files."""
    # Imported here because torch takes seconds: a mistake in the config is reported before.
    import cv2

    from engine.threads import set_threads
    from runs.evaluating import measure_checkpoints, measure_runs
    from runs.prediction import device_for
    from sweeps.checkpoints import chosen_checkpoints
    from utils.memory import keep_freed_memory, look_for_garbage_as_usual

    look_for_garbage_as_usual()
    keep_freed_memory()
    cv2.setNumThreads(1)  # the network needs the cores
    paths = [] if cfg.runs is not None else chosen_checkpoints(cfg.checkpoint)
    device = device_for(cfg.device, paths)
    if device.type == "cpu":
        set_threads("auto")
    if cfg.runs is not None:
        measure_runs(cfg, device)
    else:
        measure_checkpoints(cfg, paths, device)


if __name__ == "__main__":
    launch(evaluate, "evaluate")
