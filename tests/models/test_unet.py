from tests.models.tester import SLOW, ModelTester


class TestUNet(ModelTester):
    name = "unet"
    num_classes = 21
    parameters = (31_000_000, 31_080_000)
    slow = SLOW | {"test_traced_gives_the_same", "test_bf16_autocast", "test_state_dict_round_trip"}
