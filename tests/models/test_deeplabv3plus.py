from typing import Any

import pytest
import torch

from models.deeplabv3plus import DeepLabV3Plus
from tests.models.tester import SLOW_FOR_VARIANTS, ModelTester, noise


class TestDeepLabV3Plus(ModelTester):
    name = "deeplabv3plus"
    memorising_scale = 4
    slow = SLOW_FOR_VARIANTS - {"test_smallest_batch_trains", "test_logits_have_the_size_of_the_images"}


class TestWithAnEfficientNet(ModelTester):
    """Separable, at output stride 8: the pyramid's rates are doubled."""

    name = "deeplabv3plus"
    memorising_scale = 4

    def build(self) -> DeepLabV3Plus:
        torch.manual_seed(0)
        return DeepLabV3Plus(self.num_classes, "efficientnet_b0", output_stride=8, separable=True)


@pytest.mark.parametrize(("output_stride", "size"), [(16, (6, 8)), (8, (12, 16))])
def test_output_stride(output_stride: Any, size: tuple[int, int]) -> None:
    model: Any = DeepLabV3Plus(3, "efficientnet_b0", output_stride).eval()
    seen: list[tuple[int, int]] = []
    model.aspp.register_forward_hook(lambda module, inputs, output: seen.append(tuple(output.shape[-2:])))
    with torch.inference_mode():
        model(noise(1, 3, 96, 128))
    assert seen == [size]
    rates = [conv.dilation[0] for branch in model.aspp.atrous for conv in branch if hasattr(conv, "dilation")]
    assert rates == {16: [6, 12, 18], 8: [12, 24, 36]}[output_stride]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"encoder": "xception56"}, "did you mean 'xception65'"),
        ({"encoder": "efficientnet_b9"}, "there is no encoder 'efficientnet_b9'; did you mean"),
        ({"output_stride": 4}, "output_stride=4: must be 8 or 16"),
    ],
)
def test_options_that_do_not_exist(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DeepLabV3Plus(3, **options)
