"""Writes masks for photos, from a trained network.

python infer.py checkpoint=experiments/<run> input=dog.jpg output=dog_mask.png
"""

from __future__ import annotations

import logging
from collections import Counter
from pathlib import Path

from omegaconf import DictConfig

from utils.errors import PartlyFailed, UserError
from utils.files import make_writable
from utils.launch import launch

log = logging.getLogger("infer")

Plan = dict[Path, dict[str, Path]]
"""Input image -> format -> file to write."""


def infer(cfg: DictConfig) -> None:
    """Segments an image, or every image of a folder."""
    formats = [cfg.format] if isinstance(cfg.format, str) else list(cfg.format)
    source = Path(cfg.input).expanduser()
    output = Path(cfg.output).expanduser() if cfg.output else None
    plan = plan_folder(source, output, formats) if source.is_dir() else plan_image(source, output, formats)
    written = [path for outputs in plan.values() for path in outputs.values()]
    refuse_collisions(plan, written)
    existing = [path for path in written if path.exists()]
    if existing and not cfg.overwrite:
        raise UserError(f"{existing[0]} exists already; overwrite=true replaces it, output= writes elsewhere")

    # Slow to import, so only here, where there is something to do.
    from tqdm import tqdm

    from data.images import read_image, write_mask
    from engine.device import choose_device
    from engine.predictor import Predictor
    from utils.overlay import class_shares, overlay
    from utils.tables import table

    predictor = Predictor.from_checkpoint(cfg.checkpoint, choose_device(cfg.device))
    shares: Counter[str] = Counter()
    broken: list[str] = []
    for path, outputs in tqdm(list(plan.items()), unit="img", disable=len(plan) == 1):
        try:
            image = read_image(path)
        except UserError as error:
            if len(plan) == 1:
                raise
            broken.append(str(error))
            continue
        mask = predictor.predict(image)
        for kind, target in outputs.items():
            if kind == "mask":
                write_mask(target, mask, predictor.labels)
            else:
                overlay(image, mask, predictor.labels).save(target)
        shares.update({name: share for name, _, share in class_shares(mask, predictor.labels)})

    done = len(plan) - len(broken)
    if done:
        rows = [[name, f"{share / done:.2%}"] for name, share in shares.most_common()]
        log.info("%s", table([["class", "pixels"], *rows], f"mean of {done} images" if len(plan) > 1 else None))
    for place in written if len(plan) == 1 else sorted({path.parent for path in written}):
        log.info("wrote %s", place)
    if broken:
        raise PartlyFailed("\n".join([f"{len(broken)} of {len(plan)} images could not be read:", *broken]))


def refuse_collisions(plan: Plan, written: list[Path]) -> None:
    """Refuses a plan in which two masks would be one file, a mask would replace a photo, or nothing can be written.

    Raises:
        UserError: names the file.
    """
    twice = [path for path, count in Counter(written).items() if count > 1]
    if twice:
        raise UserError(f"{twice[0]} would be written for two images; rename one of them, or write one format alone")
    photos = {path.resolve() for path in plan}
    for path in written:
        if path.resolve() in photos:
            raise UserError(f"output={path}: this is an image to be read; write somewhere else")
    make_writable(written[0].parent)


def plan_image(source: Path, output: Path | None, formats: list[str]) -> Plan:
    """What to write for one image: `output` itself where there is one format, else the mask.

    Raises:
        UserError: there is no such image, or the output is not a .png (a mask would be lossy in .jpg).
    """
    if not source.is_file():
        raise UserError(f"input={source}: there is no such file or folder")
    if output is None:
        output = source.with_name(f"{source.stem}_mask.png")
        names = {kind: source.with_name(f"{source.stem}_{kind}.png") for kind in formats}
    else:
        if output.is_dir():
            output = output / f"{source.stem}.png"
        names = {kind: output.with_name(f"{output.stem}_{kind}.png") for kind in formats}
        names[formats[0] if len(formats) == 1 else "mask"] = output
    if output.suffix.lower() != ".png":
        raise UserError(f"output={output}: masks are written as .png, which keeps the class ids; a .jpg would not")
    return {source: names}


def plan_folder(source: Path, output: Path | None, formats: list[str]) -> Plan:
    """What to write for the images of a folder: files of the same stems in `output`.

    Raises:
        UserError: there are no images, or two of them have the same stem.
    """
    from data.images import IMAGE_SUFFIXES

    if output is None:
        whole = source if source.name else source.resolve()  # '.' has no name
        output = whole.with_name(f"{whole.name}_masks")
    images = sorted(path for path in source.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES)
    if not images:
        raise UserError(f"input={source}: there are no images ({', '.join(IMAGE_SUFFIXES)}) in this folder")
    if output.is_file():
        raise UserError(f"output={output}: must be a folder, since the input is one")
    twice = [stem for stem, count in Counter(path.stem for path in images).items() if count > 1]
    if twice:
        raise UserError(f"input={source}: several images are called '{twice[0]}'; their masks would be one file")
    plan: Plan = {}
    for path in images:
        plan[path] = {kind: output / f"{path.stem}_{kind}.png" for kind in formats}
        plan[path][formats[0] if len(formats) == 1 else "mask"] = output / f"{path.stem}.png"
    return plan


if __name__ == "__main__":
    launch(infer, "infer")
