"""Build the objects of a training from its config.

Objects that users may write themselves (network, loss, optimizer, schedule, augmentation) are tried before training.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

from omegaconf import DictConfig
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from config.nodes import build, build_network, plain, pretrained_options
from config.validation import DISTILL_KEYS, OPTIMIZER_KEYS
from data.checking import check_fits
from data.labels import difference
from data.loading import TrainingLoader, ValidationLoader
from data.samples import SegmentationDataset
from data.statistics import channel_statistics, count_pixels
from engine import distributed
from engine.checkpoint import build_model, load_checkpoint
from engine.distillation import Distillation
from engine.parameter_groups import with_encoder_lr
from engine.randomness import seed_everything
from engine.size import multiply_adds
from engine.trainer import Trainer
from engine.training_step import Components, encoder_to_freeze
from engine.trial import try_loss, try_model, try_optimizer, try_scheduler
from losses import class_weights
from losses.weighted_sum import WeightedSum
from models.weights import encoder_of, load_pretrained
from runs.data_building import Splits, build_splits, loaders
from runs.resuming import OpenRun, check_resumable, check_same_samples, threads_of
from utils.config_values import as_size
from utils.errors import UserError
from utils.loggers import Logger, NoLogger
from utils.paths import user_path
from utils.text import plural
from utils.trusted import trust

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Training:
    """All objects of a training.

    Attributes:
        train_loader, validation_loader: loaders of batches.
        metric_columns: columns of metrics.csv.
        parameters: number of the network's parameters.
        macs: multiply-adds of the network for one image.
    """

    trainer: Trainer
    components: Components
    splits: Splits
    train_loader: TrainingLoader
    validation_loader: ValidationLoader
    logger: Logger
    metric_columns: list[str]
    parameters: int
    macs: float


def build_training(cfg: DictConfig, run: OpenRun) -> Training:
    """Build all that a training needs, with the weights of the checkpoint if the run is resumed.

    Raises:
        UserError: an object cannot be built, does not work, or does not fit the checkpoint.
    """
    logger = NoLogger()  # of all processes but the first
    if distributed.rank() == 0:
        logger = build(cfg.logger, "logger", folder=str(run.folder.path), first_step=run.step)
    trust(cfg.model._target_)  # whose checkpoints this process reads, to resume the run and to report it
    seed_everything(cfg.seed)
    trainer: Trainer = build(cfg.trainer, "trainer", threads=threads_of(cfg, run))
    splits = distributed.once_per_machine(lambda: build_splits(cfg))
    labels = splits.validation_set.labels
    train, validation = loaders(cfg, splits, trainer.device)
    model = new_model(cfg, splits.train) if run.checkpoint is None else build_model(run.checkpoint)
    macs = multiply_adds(model, as_size(cfg.data.image_size))
    model = trainer.prepare(model)
    encoder_to_freeze(model, trainer.options)  # a mistake is reported before the run begins
    optimizer = build_optimizer(cfg, model, trainer.parameters_of(model))
    distillation = build_distillation(cfg, trainer, splits.validation_set)
    # Without class weights: counting pixels takes time, and a mistake is reported before.
    unweighted = build(cfg.loss, "loss", **({"class_weights": None} if "class_weights" in cfg.loss else {}))
    try_loss(unweighted, len(labels))
    metric_columns = trainer.metric_columns(unweighted, labels, distils=distillation is not None)
    if run.checkpoint is not None:
        check_same_samples(cfg, run, splits)
        check_resumable(run, model, optimizer, metric_columns, trainer.options.ema)
    loss = trainer.prepare(build_loss(cfg, splits.train))
    steps = trainer.steps_per_epoch(train)
    scheduler = build_scheduler(cfg, optimizer, steps * trainer.options.epochs, steps)
    if distributed.rank() > 0:
        seed_everything((cfg.seed + distributed.rank()) % 2**32)  # so that dropout differs between processes
    return Training(
        trainer=trainer,
        components=Components(model, loss, optimizer, scheduler, distillation),
        splits=splits,
        train_loader=train,
        validation_loader=validation,
        logger=logger,
        metric_columns=metric_columns,
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        macs=macs,
    )


def new_model(cfg: DictConfig, samples: SegmentationDataset) -> nn.Module:
    """Build the network of a new run, and load its pretrained weights.

    Images are normalised by `data.mean` and `data.std` if they are set, else as the network's weights require. Weights
    without a normalisation get the statistics of the training samples, unless the images are RGB bytes.
    """
    num_classes = len(samples.labels)
    model = build_network(cfg.model, num_classes, in_channels=samples.bands.channels)
    try_model(model, num_classes, as_size(cfg.data.image_size))
    trained_for = load_pretrained(model, **pretrained_options(cfg.model))
    if trained_for is not None and trained_for != tuple(samples.labels.names):
        log.warning(
            "model.weights=%s: trained for as many classes, but they differ in %s; the classifier is loaded, too, and"
            " has to learn yours",
            cfg.model.weights,
            difference(trained_for, samples.labels.names),
        )
    if cfg.data.get("mean") is not None:
        model.input_mean, model.input_std = tuple(cfg.data.mean), tuple(cfg.data.std)
    elif not samples.bands.is_rgb and getattr(model, "input_mean", None) is None:
        model.input_mean, model.input_std = distributed.once_per_machine(lambda: channel_statistics(samples))
    return model


def build_loss(cfg: DictConfig, train_samples: SegmentationDataset) -> WeightedSum:
    """Build the loss. Class weights given as the name of a formula are computed from the training masks."""
    weights, names = cfg.loss.get("class_weights"), train_samples.labels.names
    if isinstance(weights, str):
        formula = {"enet": class_weights.enet, "median_frequency": class_weights.median_frequency}[weights]
        weights = formula(distributed.once_per_machine(lambda: count_pixels(train_samples)))
        log.info("class weights: %s", ", ".join(f"{n} {w:.3g}" for n, w in zip(names, weights, strict=True)))
    if weights is not None and len(weights) != len(names):
        raise UserError(
            f"loss.class_weights: {plural(len(weights), 'weight')} for {plural(len(names), 'class', 'classes')}:"
            f" {', '.join(names)}"
        )
    loss = build(cfg.loss, "loss", **({} if weights is None else {"class_weights": list(weights)}))
    try_loss(loss, len(names))
    return loss


def build_distillation(cfg: DictConfig, trainer: Trainer, dataset: SegmentationDataset) -> Distillation | None:
    """Build the teacher and the term that compares the network with it; None with `distill=none`.

    Raises:
        UserError: there is no such checkpoint, or it is of a network for other classes or channels.
    """
    node = plain(cfg.distill)
    if "_target_" not in node:
        return None
    teacher = user_path(node["teacher"], "distill.teacher")
    try:
        checkpoint = load_checkpoint(teacher)
    except UserError as error:
        raise UserError(f"distill.teacher: {error}") from error
    check_fits(
        len(checkpoint["normalization"]["mean"]),
        checkpoint["labels"]["names"],
        dataset,
        f"distill.teacher={node['teacher']}: the teacher",
        "choose one that was trained on data with the same classes and channels",
    )
    term = build({key: value for key, value in node.items() if key not in DISTILL_KEYS}, "distill")
    return Distillation(trainer.prepare(build_model(checkpoint)), term, node["weight"])


def build_optimizer(cfg: DictConfig, model: nn.Module, parameters: list[Any]) -> Optimizer:
    """Build the optimizer, after a trial step of a second instance.

    Args:
        parameters: the parameters of the model to train, or groups of them.

    Raises:
        UserError: the optimizer fails, or the network or the optimizer cannot have `encoder_lr_factor`.
    """
    factor = cfg.optimizer.get("encoder_lr_factor", 1.0)
    if factor != 1:
        if cfg.optimizer.get("lr") is None:
            raise UserError(f"optimizer.encoder_lr_factor={factor}: needs optimizer.lr")
        encoder = encoder_of(model, f"optimizer.encoder_lr_factor={factor}")
        parameters = with_encoder_lr(parameters, encoder, cfg.optimizer.lr * factor)
    try_optimizer(lambda some: _optimizer(cfg, some))
    return _optimizer(cfg, parameters)


def _optimizer(cfg: DictConfig, parameters: list[Any]) -> Optimizer:
    own = {key: value for key, value in plain(cfg.optimizer).items() if key not in OPTIMIZER_KEYS}
    return build(own, "optimizer", params=parameters)


def build_scheduler(cfg: DictConfig, optimizer: Optimizer, total_steps: int, steps_per_epoch: int) -> LambdaLR:
    """Build the schedule of the learning rate, after trial steps of a second instance."""
    steps = {"total_steps": total_steps, "steps_per_epoch": steps_per_epoch}
    tried = try_optimizer(lambda some: _optimizer(cfg, some))
    try_scheduler(build(cfg.scheduler, "scheduler", optimizer=tried, **steps), tried, total_steps)
    return build(cfg.scheduler, "scheduler", optimizer=optimizer, **steps)
