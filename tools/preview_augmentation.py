"""Draw a sample as augmented in successive epochs.

python -m tools.preview_augmentation data=camvid augmentation=affine index=3
"""

from __future__ import annotations

import logging

from omegaconf import DictConfig

from cli.launch import launch
from config.nodes import build, build_dataset, training_split
from utils.config_values import as_size
from utils.errors import UserError
from utils.files import make_writable
from utils.paths import png_path
from utils.text import plural

log = logging.getLogger("preview_augmentation")


def preview(cfg: DictConfig) -> None:
    """Write a sheet of one sample with its augmentation in each epoch."""
    # Slow to import, so only here, where the config is known to be right.
    from data.augmentation import check_augmented, sample_seed, try_augmentation
    from data.cropping import RandomCrop
    from data.resized import ResizedSamples
    from visualization.figures import draw_sheet

    path = png_path(cfg.output, "output")
    augmentation = build(cfg.augmentation, "augmentation")
    size = None if isinstance(augmentation, RandomCrop) else as_size(cfg.data.image_size)
    dataset = build_dataset(cfg.data, training_split(cfg.data))
    samples = ResizedSamples(dataset, size, masks=True, limit=cfg.data.limit, fit=cfg.data.fit)
    if cfg.index >= len(samples):
        raise UserError(f"index={cfg.index}: the split has {plural(len(samples), 'sample')}, counted from 0")
    try_augmentation(augmentation, samples, size)
    make_writable(path.parent)
    panels = []
    for epoch in range(cfg.count):
        image, mask, name = augmentation.sample(samples, cfg.index, sample_seed(cfg.seed, epoch, cfg.index))
        check_augmented(image, mask, name, bands=samples.bands)
        panels.append((f"epoch {epoch + 1}", samples.bands.picture(image), mask))
    # A low opacity, so that changes of colour are visible.
    draw_sheet(panels, samples.labels, samples.name(cfg.index), path, opacity=0.3)
    log.info("wrote %s", path)


if __name__ == "__main__":
    launch(preview, "preview_augmentation")
