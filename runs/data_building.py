"""Build the data of a training from its config: the samples of both splits, and the loaders of their batches."""

from __future__ import annotations

import logging
from typing import Any, NamedTuple

import torch
from omegaconf import DictConfig

from config.nodes import build, build_dataset, training_split, validation_split
from data.augmentation import try_augmentation
from data.checking import checked_samples
from data.cropping import RandomCrop
from data.device_loading import DeviceTrainingLoader, DeviceValidationLoader
from data.loading import Share, TrainingLoader, ValidationLoader
from data.samples import SegmentationDataset
from data.sampling import rare_classes
from data.workers import worker_count
from engine import distributed
from utils.config_values import as_size
from utils.errors import UserError
from utils.text import plural

log = logging.getLogger(__name__)


class Splits(NamedTuple):
    """The samples of a training.

    Attributes:
        train, validation: the samples of each split, with images at the size of the network's input.
        validation_set: the validation split as the data set gives it.
    """

    train: SegmentationDataset
    validation: SegmentationDataset
    validation_set: SegmentationDataset


def build_splits(cfg: DictConfig) -> Splits:
    """Build both splits, after a check of their files."""
    training, validation = training_split(cfg.data), validation_split(cfg.data)
    train_set = build_dataset(cfg.data, training)
    validation_set = build_dataset(cfg.data, validation)
    splits = Splits(
        train=input_samples(cfg, train_set, training, masks=True),
        validation=input_samples(cfg, validation_set, validation, masks=False),
        validation_set=validation_set,
    )
    trained_on = {file for index in range(len(splits.train)) for file in splits.train.files(index)[:1]}
    both = sum(file in trained_on for i in range(len(splits.validation)) for file in splits.validation.files(i)[:1])
    if both:
        log.warning(
            "the training split (data.train_split=%s) holds %d of %s (data.val_split=%s), whose scores say"
            " nothing about other photos",
            *(training, both, plural(len(splits.validation), "validation sample"), validation),
        )
    return splits


def input_samples(cfg: DictConfig, dataset: SegmentationDataset, split: str, masks: bool) -> SegmentationDataset:
    """Return the samples of a split, after a check of their files.

    Args:
        masks: also resize masks to the size of the network's input; images always are.
    """
    # Crops are taken from photos at their own size.
    size = None if masks and "crop_size" in cfg.augmentation else as_size(cfg.data.image_size)
    return checked_samples(
        dataset,
        split,
        size,
        masks=masks,
        limit=cfg.data.limit,
        fit=cfg.data.fit,
        cache="none" if cfg.data.cache == "device" else cfg.data.cache,  # the loader keeps them on the device
        allow_single_class=cfg.data.allow_single_class,
    )


def loaders(cfg: DictConfig, splits: Splits, device: torch.device) -> tuple[TrainingLoader, ValidationLoader]:
    """Build the loaders of training and validation batches."""
    train, options = training_loader(cfg, splits.train, device), loader_options(cfg, device)
    if cfg.data.cache == "device":
        size, fit = as_size(cfg.data.image_size), cfg.data.fit
        kept = {key: options[key] for key in ("share", "batch_size")}
        return train, DeviceValidationLoader(splits.validation, image_size=size, device=device, fit=fit, **kept)
    return train, ValidationLoader(splits.validation, fit=cfg.data.fit, **options)


def training_loader(cfg: DictConfig, samples: SegmentationDataset, device: torch.device) -> TrainingLoader:
    """Build the loader of training batches."""
    keep = cfg.data.cache == "device"
    if not samples.bands.is_rgb and (keep or cfg.data.augment_on == "device"):
        key, other = ("cache", "ram") if keep else ("augment_on", "cpu")
        raise UserError(
            f"data.{key}=device: only for RGB photos of 8 bits; with data.channels or data.value_range, pass"
            f" data.{key}={other}"
        )
    augmentation = build(cfg.augmentation, "augmentation")
    size = as_size(cfg.data.image_size)
    if isinstance(augmentation, RandomCrop):
        size = augmentation.crop_size
    try_augmentation(augmentation, samples, size)
    probabilities = None
    if cfg.data.sampling == "rare_class":
        probabilities = distributed.once_per_machine(lambda: rare_classes(samples, cfg.data.sampling_temperature))
    options = {"image_size": size, "seed": cfg.seed, "probabilities": probabilities, **loader_options(cfg, device)}
    if keep and cfg.data.augment_on == "cpu":
        raise UserError("data.cache=device: its samples are augmented there; leave out data.augment_on=cpu")
    if keep or cfg.data.augment_on == "device":
        return DeviceTrainingLoader(samples, augmentation, device=device, keep=keep, **options)
    return TrainingLoader(samples, augmentation, **options)


def loader_options(cfg: DictConfig, device: torch.device) -> dict[str, Any]:
    """Return the arguments that both loaders, of training and validation, take."""
    return {
        "share": Share(distributed.rank(), distributed.processes()),
        "batch_size": cfg.data.batch_size,
        "num_workers": worker_count(cfg.data.num_workers, device),
        "pin_memory": device.type == "cuda",
    }
