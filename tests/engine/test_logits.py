import numpy as np
import pytest
import torch
from torch.nn import functional as F

from engine.logits import likeliest, likeliest_at, resize_logits, without_padding

SIZES = [(60, 80), (33, 47), (7, 200), (1, 1), (1, 900), (500, 1)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_logits_are_resized_as_torch_does(size: tuple[int, int], dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    logits = torch.randn(1, 5, 30, 40).to(dtype)
    expected = F.interpolate(logits.float(), size=size, mode="bilinear", align_corners=False)
    found = resize_logits(logits, size)
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found.numpy(), expected.numpy(), atol=1e-4)  # of places in float32


@pytest.mark.parametrize("size", [*SIZES, (30, 40)])
def test_the_likeliest_class_at_a_size_is_that_of_the_resized_logits(size: tuple[int, int]) -> None:
    logits = torch.randn(1, 21, 30, 40)
    found = likeliest_at(logits, size)
    assert found.dtype == torch.uint8 and found.shape == size
    np.testing.assert_array_equal(found.numpy(), resize_logits(logits, size)[0].numpy().argmax(0))


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_likeliest_is_argmax(layout: torch.memory_format) -> None:
    scores = torch.randn(2, 21, 30, 40).contiguous(memory_format=layout)
    np.testing.assert_array_equal(likeliest(scores, 1).numpy(), scores.numpy().argmax(1))
    np.testing.assert_array_equal(likeliest(scores[0], 0).numpy(), scores[0].numpy().argmax(0))


def test_the_first_one_of_equals() -> None:
    assert likeliest(torch.tensor([1.0, 3.0, 3.0, 2.0]), 0).item() == 1
    assert likeliest(torch.zeros(255, 4), 0).tolist() == [0] * 4
    assert likeliest(torch.arange(255.0)[:, None], 0).tolist() == [254]


@pytest.mark.parametrize(("padded", "size"), [((90, 120), (90, 31)), ((60, 80), (7, 80)), ((300, 400), (1, 400))])
def test_logits_without_the_padding_of_their_photo(padded: tuple[int, int], size: tuple[int, int]) -> None:
    logits = torch.randn(1, 5, 30, 40)
    expected = F.interpolate(logits, size=padded, mode="bilinear", align_corners=False)[..., : size[0], : size[1]]
    found = resize_logits(without_padding(logits, padded, size), size)
    np.testing.assert_allclose(found.numpy(), expected.numpy(), atol=1e-4)
