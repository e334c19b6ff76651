"""Train the ENet of a clone of davidtvs/PyTorch-ENet with its own loop, for `benchmarks.epoch`.

python benchmarks/peer_training.py CLONE CAMVID EPOCHS BATCH

Run as a script: its packages have the names of ours.
"""

from __future__ import annotations

import sys
from importlib import import_module

import torch
from torchvision.transforms import ToTensor

UNLABELLED = 11


def main(clone: str, folder: str, epochs: int, batch: int) -> None:
    """Train and validate in each epoch, as the clone's main.py does with its defaults."""
    sys.path[0] = clone  # in place of this folder, whose files have the names of its packages
    camvid, to_labels = import_module("data").CamVid, import_module("transforms").PILToLongTensor()

    def batches(mode: str) -> torch.utils.data.DataLoader:
        samples = camvid(folder, mode=mode, transform=ToTensor(), label_transform=to_labels)
        return torch.utils.data.DataLoader(samples, batch_size=batch, shuffle=mode == "train")

    classes = UNLABELLED + 1
    model = import_module("models.enet").ENet(classes)
    weight = torch.ones(classes)
    weight[UNLABELLED] = 0
    criterion = torch.nn.CrossEntropyLoss(weight)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-4, weight_decay=2e-4)
    metric = import_module("metric.iou").IoU(classes, ignore_index=UNLABELLED)
    device = torch.device("cpu")
    train = import_module("train").Train(model, batches("train"), optimizer, criterion, metric, device)
    validation = import_module("test").Test(model, batches("val"), criterion, metric, device)
    for _ in range(epochs):
        train.run_epoch()
        validation.run_epoch()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
