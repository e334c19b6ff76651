import torch
from torch import nn

from engine.averaging import WeightAverage


def test_it_is_the_moving_average_of_parameters_and_statistics() -> None:
    """Against the recursion written out for each number."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
    average = WeightAverage(model, decay=0.5)
    expected = {name: tensor.clone().double() for name, tensor in model.state_dict().items()}
    for step in range(1, 6):
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn_like(parameter))
        model(torch.randn(2, 3, 4, 4))  # moves the running statistics
        average.update(step)
        kept = min(0.5, (1 + step) / (10 + step))
        for name, tensor in model.state_dict().items():
            expected[name] = (
                kept * expected[name] + (1 - kept) * tensor if tensor.is_floating_point() else tensor.clone()
            )
    for name, tensor in average.module.state_dict().items():
        torch.testing.assert_close(tensor.double(), expected[name].double(), rtol=1e-5, atol=1e-6)
    assert not average.module.training and not any(p.requires_grad for p in average.module.parameters())


def test_the_beginning_is_soon_forgotten() -> None:
    """With a decay of 0.999 from the first step on, 99 % of the weights would still be the first ones after ten."""
    model = nn.Linear(1, 1, bias=False)
    nn.init.constant_(model.weight, 100.0)
    average = WeightAverage(model, decay=0.999)
    nn.init.constant_(model.weight, 1.0)
    for step in range(1, 40):
        average.update(step)
    (weight,) = average.module.parameters()
    assert abs(weight.item() - 1) < 0.01
