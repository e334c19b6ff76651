from pathlib import Path

import pytest
import torch

from models.efficient_segnet import EfficientSegNet
from models.encoders import EfficientNetEncoder
from tests.models.tester import ModelTester, build, noise, pretrained


class TestEfficientSegNet(ModelTester):
    name = "efficient_segnet"
    num_classes = 20
    parameters = (4_832_656, 4_832_656)

    def test_encoder(self) -> None:
        encoder = build(self.name, self.num_classes).get_submodule("encoder")
        assert isinstance(encoder, EfficientNetEncoder)
        assert sum(p.numel() for p in encoder.parameters()) == 4_007_548
        assert encoder.channels == (24, 40, 80, 112, 1280)
        assert encoder.strides == (4, 8, 16, 16, 32)


@pytest.fixture
def encoder_file(tmp_path: Path) -> str:
    """Weights of EfficientNet-B0 with the head, as efficientnet-pytorch would save them."""
    file = tmp_path / "b0.pth"
    torch.manual_seed(1)
    torch.save(EfficientNetEncoder("efficientnet_b0", head=True).state_dict(), file)
    return str(file)


def test_a_frozen_encoder_does_not_change(encoder_file: str) -> None:
    model = pretrained(EfficientSegNet(5), encoder_weights=encoder_file, freeze_encoder=True).train()
    before = {key: value.clone() for key, value in model.encoder.state_dict().items()}
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    for seed in range(2):
        model(noise(2, 3, 64, 64, seed=seed)).square().mean().backward()
        optimizer.step()
    assert all(torch.equal(value, before[key]) for key, value in model.encoder.state_dict().items())
    assert not any(module.training for module in model.encoder.modules())
    assert model.decoders.training
    assert all(p.grad is None for p in model.encoder.parameters())
