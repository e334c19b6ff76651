"""EfficientNet as published: a classifier."""

from __future__ import annotations

from efficientnet_pytorch.utils import efficientnet_params
from torch import Tensor, nn

from models.efficientnet_lite import SCALES
from models.encoders import EfficientNetEncoder
from models.weight_files import misfits
from utils.errors import UserError


class EfficientNet(EfficientNetEncoder):
    """The classifiers EfficientNet-B0 to B7 and Lite0 to Lite2. Names of weights as in `efficientnet-pytorch`.

    Tan and Le 2019, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks", arXiv 1905.11946:
    the encoder with its 1x1 convolution (Table 1, stage 9), global average pooling, dropout, a linear layer.

    Args:
        name: `efficientnet_b0` to `efficientnet_b7`, or `efficientnet_lite0` to `efficientnet_lite2`.
        num_classes: number of logits.

    Attributes:
        image_size: height and width in pixels of the images of the published training: 224, 240, 260, 300, 380, 456,
            528 or 600; 224, 240 or 260 for Lite. Other sizes work too.

    Raises:
        ValueError: there is no network of that name.

    >>> EfficientNet("efficientnet_b0").eval()(torch.zeros(1, 3, 224, 224)).shape
    torch.Size([1, 1000])
    """

    def __init__(self, name: str = "efficientnet_b0", num_classes: int = 1000) -> None:
        super().__init__(name, stages=(7,), head=True)
        if name in SCALES:
            self.image_size, dropout = SCALES[name].image_size, SCALES[name].dropout
        else:
            _width, _depth, self.image_size, dropout = efficientnet_params(name.replace("_", "-"))
        self._dropout = nn.Dropout(dropout)
        self._fc = nn.Linear(self.channels[-1], num_classes)
        bound = num_classes**-0.5  # uniform, as in the code published with the paper
        nn.init.uniform_(self._fc.weight, -bound, bound)
        nn.init.zeros_(self._fc.bias)

    def forward(self, images: Tensor) -> Tensor:  # type: ignore[override]
        """Normalised images (N, 3, H, W) -> logits (N, num_classes)."""
        (features,) = super().forward(images)
        return self._fc(self._dropout(features.mean((2, 3))))

    def load_weights(self, weights: str) -> None:
        """Load weights of the whole network.

        Args:
            weights: `imagenet` (1000 classes; Lite: from its installed package), or the path of a state dict.

        Raises:
            UserError: the weights cannot be downloaded or read, or do not fit.
        """
        state, own = self._read_weights(weights, "weights"), self.state_dict()
        # The classifier of another network differs too, but the other layers say more.
        wrong = sorted(misfits(own, state), key=lambda difference: difference.startswith("_fc."))
        if not wrong:
            self.load_state_dict(state, strict=False)
        elif all(difference.startswith("_fc.") for difference in wrong) and "_fc.bias" in state:
            there, here = len(state["_fc.bias"]), len(own["_fc.bias"])
            raise UserError(f"weights={weights}: of {there} classes, but num_classes (the number of labels) is {here}")
        else:
            raise UserError(f"weights={weights}: weights of another network: {wrong[0]}")
