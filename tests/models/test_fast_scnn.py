from typing import Any

import torch

from tests.models.tester import SLOW, SLOW_FOR_VARIANTS, ModelTester, build, noise


class TestFastSCNN(ModelTester):
    name = "fast_scnn"
    memorising_scale = 4
    parameters = (1_100_000, 1_150_000)
    slow = SLOW - {"test_onnx_gives_the_same"}

    def test_sizes_of_table_1(self) -> None:
        """Table 1 of the paper: the output of each part for an image of 1024x2048."""
        found = {}
        with torch.device("meta"):
            model = self.build().eval()
        for name, part in (
            *((f"down{i}", m) for i, m in enumerate(model.learning_to_downsample)),
            *((f"global{i}", m) for i, m in enumerate(model.global_features)),
            ("fusion", model.fusion),
        ):
            part.register_forward_hook(lambda m, i, output, name=name: found.update({name: tuple(output.shape[1:])}))
        model(torch.empty(1, 3, 1024, 2048, device="meta"))
        downsampling = {"down0": (32, 512, 1024), "down1": (48, 256, 512), "down2": (64, 128, 256)}
        deep = [(64, 64, 128)] * 3 + [(96, 32, 64)] * 3 + [(128, 32, 64)] * 4
        assert found == downsampling | {f"global{i}": s for i, s in enumerate(deep)} | {"fusion": (128, 128, 256)}


class TestFastSCNNWithAuxiliaryHead(ModelTester):
    name = "fast_scnn"
    memorising_scale = 4
    parameters = (1_150_000, 1_170_000)
    slow = SLOW_FOR_VARIANTS - {"test_every_parameter_gets_a_gradient"}

    def build(self) -> Any:
        return build(self.name, self.num_classes, auxiliary=True)

    def test_two_logits_in_training_and_one_in_eval(self) -> None:
        model = self.build()
        main, auxiliary = model.train()(noise(2, 3, 64, 96))
        assert main.shape == auxiliary.shape == (2, 19, 64, 96)
        assert isinstance(model.eval()(noise(2, 3, 64, 96)), torch.Tensor)
