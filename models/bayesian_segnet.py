"""Bayesian SegNet: Kendall et al. 2015, "Bayesian SegNet: Model Uncertainty in Deep Convolutional Encoder-Decoder
Architectures for Scene Understanding", arXiv 1511.02680."""

from __future__ import annotations

from torch import Tensor, nn

from models.layers import BatchNorm, MaxPool, MaxUnpool, check_images, check_num_classes, check_share

STAGES = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))  # of VGG-16
CENTRAL = 2  # index of the first stage with dropout


def convs(in_channels: int, widths: tuple[int, ...]) -> nn.Sequential:
    """3x3 convolutions with biases, as in VGG, each followed by batch norm and ReLU."""
    layers: list[nn.Module] = []
    for before, width in zip((in_channels, *widths), widths, strict=False):
        layers += [nn.Conv2d(before, width, 3, padding=1), BatchNorm(width), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)


class BayesianSegNet(nn.Module):
    """SegNet with dropout in its central blocks, for images of any size from 32x32.

    The encoder is VGG-16. The decoder mirrors it, and unpools with the indices of its max pooling. With dropout active
    in inference, several predictions of an image give a mean and its uncertainty (section 3).

    Args:
        num_classes: number of classes.
        dropout: probability of the dropout after the three deepest blocks of encoder and decoder (section 3.2, central
            encoder-decoder).
        in_channels: number of channels of the images.
    """

    def __init__(self, num_classes: int, dropout: float = 0.5, in_channels: int = 3) -> None:
        super().__init__()
        check_num_classes(num_classes)
        self.num_classes, self.in_channels = num_classes, in_channels
        check_share(dropout=dropout)
        inputs = [in_channels, *(stage[-1] for stage in STAGES[:-1])]
        self.encoder = nn.ModuleList(convs(before, stage) for before, stage in zip(inputs, STAGES, strict=True))
        # A mirrored stage ends with the number of channels that the stage starts with.
        mirrored = [(*stage[:0:-1], before) for before, stage in zip(inputs, STAGES, strict=True)]
        mirrored[0] = mirrored[0][:-1]  # the classifier replaces the last convolution
        self.decoder = nn.ModuleList(convs(stage[-1], mirror) for stage, mirror in zip(STAGES, mirrored, strict=True))
        self.classifier = nn.Conv2d(STAGES[0][0], num_classes, 3, padding=1)
        self.dropout = nn.Dropout(dropout)
        self.pool, self.unpool = MaxPool(), MaxUnpool()

    def forward(self, images: Tensor) -> Tensor:
        """Normalised images (N, 3, H, W) -> logits (N, num_classes, H, W)."""
        check_images(images, self.in_channels)
        x, pooled = images, []
        for depth, block in enumerate(self.encoder):
            x = block(x)
            size = x.shape[-2:]
            x, indices = self.pool(x)
            x = self.dropout(x) if depth >= CENTRAL else x
            pooled.append((indices, size))
        for depth, block in reversed(list(enumerate(self.decoder))):
            x = block(self.unpool(x, *pooled[depth]))
            x = self.dropout(x) if depth >= CENTRAL else x
        return self.classifier(x)
