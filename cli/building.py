"""The components of a training, built from its config, and those that may be a user's own tried at once."""

from __future__ import annotations

import logging
from typing import Any

from omegaconf import DictConfig

from utils.config import build, build_dataset, build_network, pretrained_options
from utils.errors import UserError

log = logging.getLogger(__name__)


def new_model(cfg: DictConfig, num_classes: int) -> Any:
    """Build the network of a new run, and load its pretrained weights."""
    from engine.trial import try_model
    from models.weights import load_pretrained

    model = build_network(cfg.model, num_classes)
    try_model(model, num_classes, (cfg.data.image_size[0], cfg.data.image_size[1]))
    load_pretrained(model, num_classes, **pretrained_options(cfg.model))
    return model


def samples_of(cfg: DictConfig) -> tuple[Any, Any, Any]:
    """The validation split as it is, and the samples of both splits at the size of the network's input, after a look
    at their files."""
    train_set = build_dataset(cfg.data, cfg.data.train_split)
    validation_set = build_dataset(cfg.data, cfg.data.val_split)
    train_samples = input_samples(cfg, train_set, cfg.data.train_split, masks=True)
    validation_samples = input_samples(cfg, validation_set, cfg.data.val_split, masks=False)
    return validation_set, train_samples, validation_samples


def input_samples(cfg: DictConfig, dataset: Any, split: str, masks: bool) -> Any:
    """The samples of a split at the size of the network's input, after a look at their files."""
    from data.checking import checked_samples

    size, cache = (cfg.data.image_size[0], cfg.data.image_size[1]), cfg.data.get("cache", "none")
    if cache == "device":  # the loader keeps them there
        cache = "none"
    single = cfg.data.get("allow_single_class", False)
    return checked_samples(
        dataset, split, size, masks=masks, limit=cfg.data.limit, cache=cache, allow_single_class=single
    )


def build_loss(cfg: DictConfig, train_samples: Any) -> Any:
    """The loss, with the numbers of its class weights where the config names a formula for them."""
    from data.statistics import count_pixels
    from engine import distributed
    from engine.trial import try_loss
    from losses import class_weights

    weights, names = cfg.loss.get("class_weights"), train_samples.labels.names
    if isinstance(weights, str):
        formula = {"enet": class_weights.enet, "median_frequency": class_weights.median_frequency}[weights]
        weights = formula(distributed.once_a_machine(lambda: count_pixels(train_samples)))
        log.info("class weights: %s", ", ".join(f"{n} {w:.3g}" for n, w in zip(names, weights, strict=True)))
    if weights is not None and len(weights) != len(names):
        raise UserError(f"loss.class_weights: {len(weights)} weights for {len(names)} classes: {', '.join(names)}")
    loss = build(cfg.loss, "loss", **({} if weights is None else {"class_weights": list(weights)}))
    try_loss(loss, len(names))
    return loss


def build_optimizer(cfg: DictConfig, parameters: list[Any]) -> Any:
    """The optimizer, after a step of another one like it."""
    from engine.trial import try_optimizer

    try_optimizer(lambda some: build(cfg.optimizer, "optimizer", params=some))
    return build(cfg.optimizer, "optimizer", params=parameters)


def build_scheduler(cfg: DictConfig, optimizer: Any, total_steps: int, steps_per_epoch: int) -> Any:
    """The schedule of the learning rate, after a look at another one like it."""
    from engine.trial import try_optimizer, try_scheduler

    steps = {"total_steps": total_steps, "steps_per_epoch": steps_per_epoch}
    other = try_optimizer(lambda some: build(cfg.optimizer, "optimizer", params=some))
    try_scheduler(build(cfg.scheduler, "scheduler", optimizer=other, **steps), other, total_steps)
    return build(cfg.scheduler, "scheduler", optimizer=optimizer, **steps)


def loaders(cfg: DictConfig, train_samples: Any, validation_samples: Any, device: Any) -> tuple[Any, Any]:
    """The loaders of training and validation batches."""
    from data.device_loading import DeviceValidationLoader
    from data.loading import ValidationLoader

    options = loader_options(cfg, device)
    if cfg.data.cache == "device":
        size = cfg.data.image_size[0], cfg.data.image_size[1]
        kept = {key: options[key] for key in ("share", "batch_size")}
        validation: Any = DeviceValidationLoader(validation_samples, image_size=size, device=device, **kept)
    else:
        validation = ValidationLoader(validation_samples, **options)
    return training_loader(cfg, train_samples, device), validation


def training_loader(cfg: DictConfig, samples: Any, device: Any) -> Any:
    """The loader of training batches."""
    from data.augmentation import try_augmentation
    from data.device_loading import DeviceTrainingLoader
    from data.loading import TrainingLoader

    augmentation = build(cfg.augmentation, "augmentation")
    size = cfg.data.image_size[0], cfg.data.image_size[1]
    try_augmentation(augmentation, samples, size)
    options = {
        "image_size": size,
        "seed": cfg.seed,
        **loader_options(cfg, device),
    }
    keep = cfg.data.cache == "device"
    if keep and cfg.data.augment_on == "cpu":
        raise UserError("data.cache=device: its samples are augmented there; leave out data.augment_on=cpu")
    if keep or cfg.data.augment_on == "device":
        return DeviceTrainingLoader(samples, augmentation, device=device, keep=keep, **options)
    return TrainingLoader(samples, augmentation, **options)


def loader_options(cfg: DictConfig, device: Any) -> dict[str, Any]:
    """What the loaders of training and validation have in common."""
    from data.loading import Share
    from data.workers import worker_count
    from engine import distributed

    return {
        "share": Share(distributed.rank(), distributed.processes()),
        "batch_size": cfg.data.batch_size,
        "num_workers": worker_count(cfg.data.num_workers, device),
        "pin_memory": device.type == "cuda",
    }
