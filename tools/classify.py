"""Classify photos with EfficientNet.

python -m tools.classify model=efficientnet_b4 input=dog.jpg labels=imagenet.json weights=imagenet
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig

from cli.launch import launch
from utils.errors import Unreadable, UserError, partly_failed
from utils.paths import is_folder, user_path
from utils.safe_reading import read_json
from utils.text import cleaned, one_line, plural

if TYPE_CHECKING:
    import numpy as np

EXAMPLE = '{"0": {"class": "tench"}, "1": {"class": "goldfish"}, ...}'
TOP = 5
CROP_PADDING = 32


def classify(cfg: DictConfig) -> None:
    """Print the most likely classes of each photo."""
    names = read_names(user_path(cfg.labels, "labels"))

    # Slow to import, so only here, where the config is known to be right.
    import torch

    from data.images import read_image
    from engine.device import choose_device
    from engine.normalization import normalization_of
    from inference.inputs import found_below
    from models.efficientnet import EfficientNet
    from utils.tables import table

    source = user_path(cfg.input, "input")
    paths = found_below(source) if is_folder(source) else [source]
    device = choose_device(cfg.device)
    first = read_image(paths[0]) if len(paths) == 1 else None  # report a wrong input before downloading weights
    model = EfficientNet(cfg.classifier, len(names))
    model.load_weights(cfg.weights)
    model.to(device).eval()
    answers: list[dict[str, Any]] = []
    broken: list[str] = []
    for path in paths:
        try:
            photo = central_square(read_image(path) if first is None else first, model.image_size)
        except Unreadable as error:
            broken.append(str(error))
            continue
        batch = torch.from_numpy(photo).permute(2, 0, 1)[None]
        with torch.inference_mode():
            probabilities = model(normalization_of(model)(batch.to(device)))[0].softmax(0)
        best = probabilities.topk(min(TOP, len(names)))
        top = [
            {"rank": rank, "id": i, "class": names[i], "probability": share}
            for rank, (i, share) in enumerate(zip(best.indices.tolist(), best.values.tolist(), strict=True), 1)
        ]
        answers.append({"input": cleaned(str(path)), "top": top})
        if cfg.format == "table":
            rows = [[str(a["rank"]), a["class"], f"{a['probability']:.2%}"] for a in top]
            print(table([["rank", "class", "probability"], *rows], str(path)))
    if cfg.format == "json":
        print(json.dumps(answers, indent=2, ensure_ascii=False))
    if broken:
        raise partly_failed(len(broken), plural(len(paths), "image"), "read", broken)


def central_square(image: np.ndarray, size: int) -> np.ndarray:
    """Crop and resize a photo uint8 (H, W, 3) to the network's input uint8 (size, size, 3).

    The central square has size / (size + 32) of the shorter side (0.875 at 224, 0.949 at 600) and is resized by bicubic
    interpolation, as in `preprocessing.py` published with the paper. Pillow antialiases, as efficientnet-pytorch and
    timm do for these weights.
    """
    import numpy as np
    from PIL import Image

    height, width = image.shape[:2]
    side = max(size * min(height, width) // (size + CROP_PADDING), 1)
    top, left = (height - side + 1) // 2, (width - side + 1) // 2
    square = Image.fromarray(image[top : top + side, left : left + side])
    return np.array(square.resize((size, size), Image.Resampling.BICUBIC))


def read_names(path: Path) -> list[str]:
    """Read the names of the classes 0 to N - 1 from a labels file.

    Raises:
        UserError: it does not exist, or is not of the form {"0": {"class": "tench"}, ...} with every number once.
    """
    remedy = f"expected {EXAMPLE}"
    content = read_json(path, remedy)
    if not isinstance(content, dict):
        raise UserError(f"{path}: not a labels file; {remedy}")
    gaps = [str(i) for i in range(max(len(content), 1)) if str(i) not in content]
    if gaps:
        raise UserError(f"{path}: there is no class {gaps[0]}; {remedy}")
    for key, value in content.items():
        if not isinstance(value, dict) or not isinstance(value.get("class"), str):
            raise UserError(f"{path}: {key}: has no name; {remedy}")
    return [one_line(content[str(i)]["class"]) for i in range(len(content))]


if __name__ == "__main__":
    launch(classify, "classify")
