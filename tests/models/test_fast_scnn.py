from typing import Any

import torch
from torch.nn import functional as F

from tests.models.tester import SLOW, SLOW_FOR_VARIANTS, ModelTester, build, noise, settled, without_chance


class TestFastSCNN(ModelTester):
    name = "fast_scnn"
    memorising_scale = 4
    parameters = (1_100_000, 1_150_000)
    slow = SLOW - {"test_traced_gives_the_same"}

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


class TestFastSCNNWithAuxiliaryHeads(ModelTester):
    """Heads of 19 classes: 3x3 convolutions of 64 and of 128 channels to 32, batch norm, 1x1 convolutions."""

    name = "fast_scnn"
    memorising_scale = 4
    heads = 9 * (64 + 128) * 32 + 2 * (2 * 32 + 32 * 19 + 19)
    parameters = (1_100_000 + heads, 1_150_000 + heads)
    slow = SLOW_FOR_VARIANTS - {"test_every_parameter_gets_a_gradient", "test_logits_have_the_size_of_the_images"}

    def build(self) -> Any:
        return build(self.name, self.num_classes, auxiliary=True)

    def test_heads_after_downsampling_and_after_the_global_features(self) -> None:
        """Each sees the features of that place, and nothing after it."""
        model: Any = without_chance(self.build()).train()
        features: list[torch.Tensor] = []
        for part in (model.learning_to_downsample, model.global_features):
            part.register_forward_hook(lambda module, inputs, output: features.append(output))
        logits = model(noise(2, 3, 64, 96))
        assert [x.shape for x in logits] == [(2, 19, 64, 96)] * 3
        assert [x.shape[1:] for x in features] == [(64, 8, 12), (128, 2, 3)]
        for head, x, found in zip(model.auxiliary, features, logits[1:], strict=True):
            expected = F.interpolate(head(x), size=(64, 96), mode="bilinear", align_corners=False)
            torch.testing.assert_close(found, expected)

    def test_eval_gives_what_a_network_without_the_heads_gives(self) -> None:
        """The same tensor, bit for bit, and not one layer of them is run or exported."""
        model = settled(self.build())
        plain = build(self.name, self.num_classes)
        plain.load_state_dict({k: v for k, v in model.state_dict().items() if not k.startswith("auxiliary.")})
        images = noise(2, 3, 64, 96)
        with torch.inference_mode():
            assert torch.equal(model(images), plain.eval()(images))
        program = torch.export.export(model, (images,))
        used = {str(node.meta.get("nn_module_stack")) for node in program.graph.nodes}
        assert any("fusion" in modules for modules in used) and not any("auxiliary" in modules for modules in used)
