from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.models.tester import SLOW, ModelTester, noise


class TestENet(ModelTester):
    name = "enet"
    parameters = (350_000, 370_000)
    macs = {(512, 512): 2.02e9, (360, 640): 1.77e9}
    slow = SLOW - {"test_memorises_four_pictures"}

    def test_output_sizes_of_table_1(self) -> None:
        """Paszke et al. 2016, table 1: the output of each block for an image of 512x512."""
        expected = {
            "initial": (16, 256, 256),
            "down1": (64, 128, 128),
            "stage1": (64, 128, 128),
            "down2": (128, 64, 64),
            "stage2": (128, 64, 64),
            "stage3": (128, 64, 64),
            "up4": (64, 128, 128),
            "stage4": (64, 128, 128),
            "up5": (16, 256, 256),
            "stage5": (16, 256, 256),
            "fullconv": (19, 512, 512),
        }
        found = {}

        def note(name: str) -> None:
            def hook(module: nn.Module, inputs: tuple, output: Tensor | tuple[Tensor, Tensor]) -> None:
                found[name] = tuple((output[0] if isinstance(output, tuple) else output).shape[1:])

            model.get_submodule(name).register_forward_hook(hook)

        model = self.build().eval()
        for name in expected:
            note(name)
        with torch.inference_mode():
            model(noise(1, 3, 512, 512))
        assert found == expected

    def test_bottlenecks_of_table_1(self) -> None:
        """Section 2, twice: 3x3, dilated 2, asymmetric 5, dilated 4, 3x3, dilated 8, asymmetric 5, dilated 16."""
        model = self.build()
        for stage in ("stage2", "stage3"):
            found = []
            for bottleneck in model.get_submodule(stage).children():
                convolutions = [m for m in bottleneck.modules() if isinstance(m, nn.Conv2d)]
                assert {conv.kernel_size for conv in (convolutions[0], convolutions[-1])} == {(1, 1)}
                found.append([(conv.kernel_size, conv.dilation) for conv in convolutions[1:-1]])
            asymmetric = [((5, 1), (1, 1)), ((1, 5), (1, 1))]
            regular, *dilated = ([((3, 3), (d, d))] for d in (1, 2, 4, 8, 16))
            assert found == [
                *(regular, dilated[0], asymmetric, dilated[1]),
                *(regular, dilated[2], asymmetric, dilated[3]),
            ]

    def test_dropout_of_section_4(self) -> None:
        """Probability 0.01 before bottleneck2.0 and 0.1 after."""
        for name, module in self.build().named_modules():
            if isinstance(module, nn.Dropout2d):
                assert module.p == (0.01 if name.startswith(("down1", "stage1")) else 0.1), name

    def test_decoder_uses_relu(self) -> None:
        """Section 5.1: PReLU in the encoder, ReLU in the decoder."""
        for name, module in self.build().named_modules():
            decoder = name.startswith(("up", "stage4", "stage5"))
            assert not isinstance(module, nn.PReLU if decoder else nn.ReLU), name

    @pytest.mark.parametrize("side", [33, 35, 37])
    def test_each_pixel_of_an_odd_size_counts(self, side: int) -> None:
        """A stride of 2 must not drop the last row and column: their pixels have an influence."""
        model, image = self.build().eval(), noise(1, 3, side, side).requires_grad_()
        (model(image) * noise(1, 19, side, side)).sum().backward()
        assert image.grad is not None
        assert (image.grad[..., -1, :] != 0).any()
        assert (image.grad[..., -1] != 0).any()

    def test_decoder_unpools_where_the_encoder_pooled(self) -> None:
        """With the other branch silenced, an upsampling is 0 but for the places of the encoder's maxima."""
        model = self.build().eval()
        seen: dict[str, Tensor] = {}

        def note(name: str) -> None:
            def hook(module: nn.Module, inputs: tuple, output: Tensor | tuple[Tensor, Tensor]) -> None:
                seen[name] = output if isinstance(output, Tensor) else inputs[0]

            model.get_submodule(name).register_forward_hook(hook)

        for up, down in (("up4", "down2"), ("up5", "down1")):
            norm = model.get_submodule(f"{up}.expand.1")
            assert isinstance(norm, nn.BatchNorm2d)
            nn.init.zeros_(norm.weight)
            note(up)
            note(down)
        with torch.inference_mode():
            model(noise(1, 3, 97, 131))
        for up, down in (("up4", "down2"), ("up5", "down1")):
            pooled = seen[down]
            maxima = F.interpolate(F.max_pool2d(pooled, 2, ceil_mode=True), scale_factor=2)
            places = pooled == maxima[..., : pooled.shape[-2], : pooled.shape[-1]]
            assert seen[up].shape == pooled.shape
            assert (seen[up] != 0).any()
            assert not seen[up][~places].any()
