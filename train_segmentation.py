"""Train a segmentation network.

python train_segmentation.py model=enet data=camvid data.root=<folder of CamVid>
"""

from __future__ import annotations

if __name__ == "__main__":  # first, so that Ctrl-C ends the program: an import may swallow it
    from utils.interruption import end_at_once

    end_at_once()

from omegaconf import DictConfig

from cli.launch import launch


def train(cfg: DictConfig) -> float:
    """Train the network of a config. Return the best value of the monitored metric."""
    # Imported here because torch takes seconds: a mistake in the config is reported before.
    from engine import distributed
    from evaluation.report import report
    from runs.building import build_training
    from runs.recording import recording
    from runs.resuming import open_run

    run = open_run(cfg)
    if run.finished_with is not None:
        return run.finished_with

    training = build_training(cfg, run)
    trainer, splits = training.trainer, training.splits
    with recording(cfg, run, training) as record:
        loop = trainer.fit(
            training.components, training.train_loader, training.validation_loader, record, run.checkpoint
        )
        distributed.leave()
        if record.run is not None:
            report(record.run, splits.validation_set, len(splits.validation), trainer.device, cfg.trainer.monitor)
    return loop.progress.best


if __name__ == "__main__":
    launch(train, "train")
