"""Export a trained network to a file that runs without this program, and compare both on images.

python -m tools.export checkpoint=experiments/<run> format=onnx output=model.onnx
"""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig

from cli.launch import launch
from utils.errors import UserError
from utils.files import prepare_output
from utils.paths import is_folder, user_path
from utils.run_folder import run_of

SUFFIXES = {"onnx": ".onnx", "torch_export": ".pt2", "torchscript": ".ts.pt"}


def export(cfg: DictConfig) -> None:
    """Write the file, load it again, and print how it compares with PyTorch."""
    output = output_file(cfg)
    prepare_output(output, cfg.overwrite)

    # Slow to import, so only here, where the config is known to be right.
    from runs.exporting import export_network

    export_network(cfg, output)


def output_file(cfg: DictConfig) -> Path:
    """Return the file to write.

    Raises:
        UserError: the suffix does not fit the format.
    """
    suffix = SUFFIXES[cfg.format]
    if cfg.output is None:
        given = user_path(cfg.checkpoint, "checkpoint")
        return (run_of(given) or given.parent) / f"model{suffix}"
    output = user_path(cfg.output, "output")
    if not output.name.endswith(suffix) or is_folder(output):
        raise UserError(f"output={output}: must end in {suffix} for format={cfg.format}")
    return output


if __name__ == "__main__":
    launch(export, "export")
