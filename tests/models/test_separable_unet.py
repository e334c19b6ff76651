from tests.models.tester import ModelTester


class TestSeparableUNet(ModelTester):
    name = "separable_unet"
    parameters = (336_000, 356_000)
