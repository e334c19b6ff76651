"""EfficientNet as it was published: a classifier."""

from __future__ import annotations

from efficientnet_pytorch.utils import efficientnet_params, url_map
from torch import Tensor, nn

from models.efficientnet_lite import SCALES, packaged_weights
from models.encoders import EfficientNetEncoder
from models.weight_files import download_state_dict, misfits, read_state_dict
from utils.errors import UserError


class EfficientNet(EfficientNetEncoder):
    """The classifiers EfficientNet-B0 to B7, with the names of weights of `efficientnet-pytorch`.

    Tan and Le 2019, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks", arXiv 1905.11946:
    the encoder with its 1x1 convolution (Table 1, stage 9), pooling over the whole map, dropout, a linear layer.

    Args:
        name: `efficientnet_b0` to `efficientnet_b7`, or `efficientnet_lite0` to `efficientnet_lite2`.
        num_classes: of the linear layer.
        weights: None for the published random initialisation; `imagenet`, downloaded once (Lite: from its installed
            package), 1000 classes; or the path of a state dict with the names of `efficientnet-pytorch`.

    Attributes:
        image_size: height and width in pixels of the images that the network was made for: 224, 240, 260, 300, 380,
            456, 528 or 600; 224, 240 or 260 for Lite. It takes others too.

    Raises:
        ValueError: there is no network of that name.
        UserError: the weights cannot be had, or do not fit.

    >>> EfficientNet("efficientnet_b0").eval()(torch.zeros(1, 3, 224, 224)).shape
    torch.Size([1, 1000])
    """

    def __init__(self, name: str = "efficientnet_b0", num_classes: int = 1000, weights: str | None = None) -> None:
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
        if weights is not None:
            if weights == "imagenet" and name in SCALES:
                weights = str(packaged_weights(name, "weights"))
            self._load(weights, url_map.get(name.replace("_", "-"), ""))
            self.set_input_statistics(name, weights)

    def forward(self, images: Tensor) -> Tensor:
        """Images (N, 3, H, W), normalised as the weights want -> logits (N, num_classes)."""
        (features,) = self.features(images)
        return self._fc(self._dropout(features.mean((2, 3))))

    def _load(self, weights: str, url: str) -> None:
        state = download_state_dict(url, "weights") if weights == "imagenet" else read_state_dict(weights)
        own = self.state_dict()
        # Of another network of this kind, the classifier differs too: what says more comes first.
        wrong = sorted(misfits(own, state), key=lambda difference: difference.startswith("_fc."))
        if not wrong:
            self.load_state_dict(state, strict=False)
        elif all(difference.startswith("_fc.") for difference in wrong) and "_fc.bias" in state:
            there, here = len(state["_fc.bias"]), len(own["_fc.bias"])
            raise UserError(f"weights={weights}: of {there} classes, but num_classes (the number of labels) is {here}")
        else:
            raise UserError(f"weights={weights}: weights of another network: {wrong[0]}")
