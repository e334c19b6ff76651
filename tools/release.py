"""Write a small checkpoint of a trained network, to share it: half precision, without the state of the training.

python -m tools.release checkpoint=experiments/<run> output=network.pt
"""

from __future__ import annotations

import logging
import shlex

from omegaconf import DictConfig

from cli.launch import launch
from utils.errors import UserError
from utils.files import prepare_output
from utils.paths import is_folder, user_path

log = logging.getLogger("release")


def release(cfg: DictConfig) -> None:
    """Write the file."""
    output = user_path(cfg.output, "output")
    if output.suffix != ".pt" or is_folder(output):
        raise UserError(f"output={cfg.output}: must be a .pt file")
    prepare_output(output, cfg.overwrite)

    from engine.checkpoint import load_checkpoint, save_checkpoint
    from engine.release import released

    checkpoint = released(load_checkpoint(cfg.checkpoint))
    save_checkpoint(output, checkpoint)
    log.info("wrote %s: %.1f MB, epoch %s", output, output.stat().st_size / 1e6, checkpoint.get("epoch"))
    log.info("use it: python infer.py %s input=<photo or folder>", shlex.quote(f"checkpoint={output}"))


if __name__ == "__main__":
    launch(release, "release")
