import pytest

from tests.models.tester import SLOW, SLOW_FOR_VARIANTS, ModelTester


class TestUNet(ModelTester):
    name = "unet"
    num_classes = 21
    parameters = (31_000_000, 31_080_000)
    slow = SLOW_FOR_VARIANTS


class TestNarrowUNet(ModelTester):
    """With a quarter of the channels, and so a sixteenth of the multiply-adds."""

    name = "unet"
    num_classes = 21
    slow = SLOW

    @pytest.fixture(autouse=True)
    def narrow(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("models.unet.WIDTHS", (16, 32, 64, 128, 256))
