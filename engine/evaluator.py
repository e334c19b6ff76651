"""The metrics and losses of a network on a split."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from data.fitting import padded_size
from data.loading import ValidationBatch
from engine import distributed
from engine.logits import likeliest, resize_logits, without_padding
from engine.metrics import add_to_confusion
from engine.normalization import Normalization
from engine.running_loss import named_losses
from losses.class_sums import widest_float
from losses.weighted_sum import WeightedSum


class Evaluation(NamedTuple):
    """The counts of a pass over a split.

    Attributes:
        confusion: int64 (C, C), row = truth.
        ignored: int64 (C,), predicted classes of the pixels that the truth ignores.
        losses: the loss and its terms by name, computed sample by sample; {} without a loss.
    """

    confusion: Tensor
    ignored: Tensor
    losses: dict[str, float]


@torch.inference_mode()
def evaluate(
    model: nn.Module,
    loss: WeightedSum | None,
    batches: Iterable[ValidationBatch],
    *,
    num_classes: int,
    device: torch.device,
    normalization: Normalization,
    autocast: torch.dtype | None = None,
    channels_last: bool = False,
    after_batch: Callable[[int], object] = lambda images: None,
    after_sample: Callable[[int, Tensor, Tensor, Tensor], None] | None = None,
) -> Evaluation:
    """Run a network in eval mode over a split, and compare its predictions with the masks at their own sizes.

    Each of several processes takes a part with the same number of batches, and all get the same result.
    Memory does not grow with the number of samples, and the losses do not depend on the batch size.

    Args:
        after_batch: called with the number of images after each batch (progress, interruption).
        after_sample: called with the number of each sample, its prediction uint8 (h, w), its truth uint8 (h, w) and its
            logits float32 (C, h, w), on the device.
    """
    was_training, pinned = model.training, device.type == "cuda"
    model.eval()
    counts = torch.zeros(num_classes + 1, num_classes, dtype=torch.int64, device=device)
    totals = torch.zeros(len(loss.names) if loss else 0, dtype=widest_float(device), device=device)
    denominators = torch.zeros_like(totals)
    done = 0
    try:
        for batch in batches:
            if not batch.masks:  # another process has one more batch
                after_batch(0)
                continue
            images = batch.images.to(device, non_blocking=pinned)
            with torch.autocast(device.type, autocast, enabled=autocast is not None):
                logits = model(normalization(images, channels_last))
            for sample_logits, mask in zip(logits.split(1), batch.masks, strict=True):
                target = mask.to(device, non_blocking=pinned)
                size = (target.shape[0], target.shape[1])
                if batch.fit == "pad":
                    padded = padded_size(size, (images.shape[2], images.shape[3]))
                    sample_logits = without_padding(sample_logits, padded, size)
                resized = resize_logits(sample_logits, size)
                prediction = likeliest(resized, 1)
                add_to_confusion(counts, prediction, target)
                if after_sample is not None:
                    after_sample(done, prediction[0], target, resized[0])
                done += 1
                if loss is None:
                    continue
                for i, term in enumerate(loss.named_terms(resized, target.long().unsqueeze(0)).values()):
                    totals[i] += term.total
                    denominators[i] += term.denominator
            after_batch(len(batch.images))
    finally:
        model.train(was_training)
    for sums in (counts, totals, denominators):
        distributed.sum_over_processes(sums)
    *confusion, ignored = counts.cpu()
    return Evaluation(torch.stack(confusion), ignored, named_losses(loss, totals, denominators) if loss else {})
