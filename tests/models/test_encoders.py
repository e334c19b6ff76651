"""Encoders against the libraries they come from, and what can be wrong with their weights."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch
from efficientnet_pytorch import EfficientNet
from torch import nn

from models import encoders
from models.encoders import EFFICIENTNETS, EfficientNetEncoder, TimmEncoder, build_encoder
from tests.models.tester import loaded, noise
from utils.errors import UserError

PARAMETERS = (3_595_388, 6_101_024, 7_202_562, 10_103_336, 16_742_216, 27_288_112, 39_403_992, 62_143_440)


def batch_norms(module: nn.Module) -> list[Any]:
    return [m for m in module.modules() if isinstance(m, nn.BatchNorm2d)]


@pytest.mark.parametrize(("name", "parameters"), list(zip(EFFICIENTNETS, PARAMETERS, strict=False)))
def test_number_of_parameters(name: str, parameters: int) -> None:
    with torch.device("meta"):
        assert sum(p.numel() for p in EfficientNetEncoder(name).parameters()) == parameters


@pytest.mark.parametrize("size", [(64, 96), (97, 131), (33, 50)], ids=str)
@pytest.mark.parametrize("name", ["efficientnet_b0", "efficientnet_b2"])
def test_features_equal_those_of_the_library(name: str, size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    library = EfficientNet.from_name(name.replace("_", "-"), image_size=None).eval()
    for norm in batch_norms(library):
        nn.init.uniform_(norm.running_var, 1e-3, 0.1)  # else the maps fade away
        nn.init.normal_(norm.running_mean, std=0.1)
    encoder = EfficientNetEncoder(name, head=True).eval()
    state = {key: value for key, value in library.state_dict().items() if not key.startswith("_fc.")}
    encoder.load_state_dict(state)
    with torch.inference_mode():
        expected = library.extract_endpoints(noise(1, 3, *size))
        found = encoder(noise(1, 3, *size))
    for level, (x, channels, stride) in enumerate(zip(found, encoder.channels, encoder.strides, strict=True), 1):
        reference = expected[f"reduction_{level if level < 5 else 6}"]
        assert x.shape == (1, channels, -(-size[0] // stride), -(-size[1] // stride))
        torch.testing.assert_close(x, reference, rtol=1e-4, atol=1e-5 * reference.abs().max().item())


def test_dilation_in_place_of_stride_sees_the_same_places() -> None:
    """At output stride 16 every other place of the last map is the map at output stride 32."""
    torch.manual_seed(0)
    dense, sparse = (EfficientNetEncoder("efficientnet_b0", output_stride=s).eval() for s in (16, 32))
    assert (dense.strides, sparse.strides) == ((2, 4, 8, 16, 16), (2, 4, 8, 16, 32))
    for encoder in (dense, sparse):  # the mean over the whole map would differ
        for block in encoder._blocks:
            block.has_se = False
    for norm in batch_norms(sparse):
        norm.momentum = None
    with torch.no_grad():
        sparse.train()(noise(4, 3, 161, 161))
    dense.load_state_dict(sparse.eval().state_dict())
    image = noise(1, 3, 481, 481)  # halved to 241, 121, 61 and 31: odd, so that padding is alike on all sides
    with torch.inference_mode():
        found, expected = dense(image)[-1], sparse(image)[-1]
    assert (found.shape[-1], expected.shape[-1]) == (31, 16)
    torch.testing.assert_close(found[..., ::2, ::2], expected, rtol=1e-4, atol=1e-4 * expected.abs().max().item())


def test_published_initialisation() -> None:
    encoder = EfficientNetEncoder("efficientnet_b0")
    pointwise = encoder._blocks[-1]._project_conv.weight  # 1152 -> 320, 1x1
    depthwise = encoder._blocks[-1]._depthwise_conv.weight  # 3x3
    assert pointwise.std().item() == pytest.approx((2 / 320) ** 0.5, rel=0.02)
    assert depthwise.std().item() == pytest.approx((2 / 9) ** 0.5, rel=0.02)
    assert {(norm.eps, norm.momentum) for norm in batch_norms(encoder)} == {(1e-3, 0.01)}


def test_every_timm_encoder_has_the_same_interface() -> None:
    encoder = build_encoder("resnet18", output_stride=16).eval()
    assert isinstance(encoder, TimmEncoder)
    with torch.inference_mode():
        maps = encoder(noise(1, 3, 97, 131))
    assert encoder.strides == (2, 4, 8, 16, 16)
    assert [tuple(x.shape) for x in maps] == [
        (1, channels, -(-97 // stride), -(-131 // stride))
        for channels, stride in zip(encoder.channels, encoder.strides, strict=True)
    ]


@pytest.mark.parametrize(
    ("name", "message"),
    [("efficientnet_b8x", "did you mean"), ("resnet19", "there is no encoder 'resnet19'; did you mean 'resnet")],
)
def test_names_that_do_not_exist(name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build_encoder(name)


def test_a_timm_encoder_without_that_output_stride() -> None:
    with pytest.raises(ValueError, match="cannot have output stride 8; xception65"):
        TimmEncoder("vgg11", output_stride=8)


@pytest.fixture
def b0_file(tmp_path: Path) -> Path:
    """A whole classifier's weights, as published."""
    torch.manual_seed(5)
    file = tmp_path / "efficientnet-b0.pth"
    torch.save(EfficientNet.from_name("efficientnet-b0").state_dict(), file)
    return file


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """The address of a server of the files in `tmp_path`."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(SimpleHTTPRequestHandler, directory=str(tmp_path))) as found:
        threading.Thread(target=found.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{found.server_port}"
        found.shutdown()


def test_weights_from_a_path(b0_file: Path) -> None:
    found = loaded(EfficientNetEncoder("efficientnet_b0"), str(b0_file)).state_dict()
    expected = torch.load(b0_file)
    assert all(torch.equal(value, expected[key]) for key, value in found.items())
    assert not any(key.startswith(("_fc", "_conv_head")) for key in found)


def test_imagenet_weights_are_downloaded_once(
    b0_file: Path, server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "home"))
    name = f"b0-{hashlib.sha256(b0_file.read_bytes()).hexdigest()[:8]}.pth"
    served = b0_file.rename(tmp_path / name)
    monkeypatch.setitem(encoders.url_map, "efficientnet-b0", f"{server}/{name}")
    first = loaded(EfficientNetEncoder("efficientnet_b0"), "imagenet")
    assert torch.equal(first._conv_stem.weight, torch.load(served)["_conv_stem.weight"])
    served.unlink()
    loaded(EfficientNetEncoder("efficientnet_b0"), "imagenet")  # from the cache


def test_imagenet_weights_without_a_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setitem(encoders.url_map, "efficientnet-b0", "http://127.0.0.1:9/efficientnet-b0-355c32eb.pth")
    with pytest.raises(UserError) as error:
        loaded(EfficientNetEncoder("efficientnet_b0"), "imagenet")
    for part in ("127.0.0.1:9", str(tmp_path / "hub" / "checkpoints"), "model.encoder_weights=<path"):
        assert part in str(error.value)


def test_no_weights_touch_no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object, **options: object) -> None:
        raise AssertionError("the network was touched")

    monkeypatch.setattr("socket.socket.connect", refuse)
    build_encoder("efficientnet_b0")
    build_encoder("resnet18")


def test_weights_of_another_encoder(tmp_path: Path) -> None:
    file = tmp_path / "b1.pth"
    torch.save(EfficientNetEncoder("efficientnet_b1").state_dict(), file)
    with pytest.raises(UserError, match="weights of another encoder: _blocks"):
        loaded(EfficientNetEncoder("efficientnet_b0"), str(file))


def test_weights_of_another_timm_encoder(tmp_path: Path) -> None:
    import timm

    file = tmp_path / "resnet34.pth"
    torch.save(timm.create_model("resnet34").state_dict(), file)
    with pytest.raises(UserError, match="weights of another encoder than timm's resnet18: "):
        loaded(TimmEncoder("resnet18"), str(file))


class Evil:
    """Runs code where it is unpickled without care."""

    def __reduce__(self) -> tuple:
        return pytest.fail, ("a weights file ran code",)


@pytest.mark.parametrize("name", ["efficientnet_b0", "resnet18"])
def test_a_weights_file_cannot_run_code(tmp_path: Path, name: str) -> None:
    file = tmp_path / "evil.pth"
    torch.save({"conv1.weight": Evil()}, file)
    with pytest.raises(UserError, match="holds more than tensors"):
        loaded(build_encoder(name), str(file))


def test_a_damaged_download_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    file = tmp_path / "hub" / "checkpoints" / encoders.url_map["efficientnet-b0"].rpartition("/")[2]
    file.parent.mkdir(parents=True)
    file.touch()
    with pytest.raises(UserError, match=f"{file} is damaged; delete it"):
        loaded(EfficientNetEncoder("efficientnet_b0"), "imagenet")


@pytest.mark.parametrize("content", [b"", b"no weights at all", b"hello world", None])
def test_files_that_hold_no_weights(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "file.pth"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(UserError, match=r"file\.pth"):
        loaded(EfficientNetEncoder("efficientnet_b0"), str(file))
    if content is not None:
        with pytest.raises(UserError, match=r"file\.pth: (not a (checkpoint|file of weights)|damaged)"):
            loaded(TimmEncoder("resnet18"), str(file))


def test_timm_weights_from_a_path(tmp_path: Path) -> None:
    import timm

    torch.manual_seed(5)
    whole: Any = timm.create_model("resnet18")
    file = tmp_path / "resnet18.pth"
    torch.save(whole.state_dict(), file)
    encoder: Any = loaded(TimmEncoder("resnet18"), str(file))
    assert torch.equal(encoder.net.conv1.weight, whole.conv1.weight)
