"""Cityscapes: Cordts et al. 2016, "The Cityscapes Dataset for Semantic Urban Scene Understanding", arXiv 1604.01685."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from data.cityscapes_labels import label_set, train_ids
from data.cityscapes_scores import CityscapesScores
from data.pairs import PairedFiles, files_by_stem, match
from utils.errors import NotThere
from utils.paths import is_folder, user_path


class Cityscapes(PairedFiles):
    """Street scenes of 1024x2048 from 50 cities.

    Args:
        root: holds `leftImg8bit/<split>/<city>/` and `gtFine/<split>/<city>/`.
        split: `train` (2,975), `val` (500), `test` (1,525; its masks say nothing) or `train_extra` (19,998, `coarse`
            only).
        classes: 19, the rest ignored, or 20 with the rest in a class `misc`.
        coarse: take the rough polygons of `gtCoarse/` for masks.
        download: refused, since it needs an account; the message says how to get the archives.

    Raises:
        UserError: the split does not exist or has no such masks, or Cityscapes is not there.
    """

    splits = ("train", "val", "test", "train_extra")

    def __init__(
        self, root: str, split: str, classes: Literal[19, 20] = 19, coarse: bool = False, download: bool = False
    ) -> None:
        photos = f"leftImg8bit/{self.known_split(split)}"
        if split == "train_extra" and not coarse:
            raise NotThere("Cityscapes' split 'train_extra' has rough masks only; pass data.coarse=true")
        kind = "gtCoarse" if coarse else "gtFine"
        masks = f"{kind}/{split}"
        place = user_path(root, "data.root")
        for path in (place / photos, place / masks):
            if not is_folder(path):
                raise NotThere(_how_to_get(path, place, split, coarse, download))
        images = files_by_stem(place, photos, (".png",), "_leftImg8bit")
        truths = files_by_stem(place, masks, (".png",), f"_{kind}_labelIds")
        pairs, faults = match(place, images, truths, (photos, masks))
        super().__init__(place, pairs, label_set(classes), train_ids(classes), faults=faults)

    def scores(self) -> CityscapesScores:
        """Return a collector of the scores that the benchmark reports besides the IoU of each class."""
        return CityscapesScores(self.instances)

    def instances(self, index: int) -> str:
        """Return the path of the sample's instance ids, which may not exist."""
        return self.files(index)[1].removesuffix("labelIds.png") + "instanceIds.png"


def _how_to_get(missing: Path, root: Path, split: str, coarse: bool, download: bool) -> str:
    photos = "leftImg8bit_trainextra.zip" if split == "train_extra" else "leftImg8bit_trainvaltest.zip"
    archives = f"{photos} and {'gtCoarse.zip' if coarse else 'gtFine_trainvaltest.zip'}"
    refused = "data.download=true: Cityscapes needs an account. " if download else ""
    return (
        f"{refused}Cityscapes was not found: there is no folder {missing}\n"
        f"Register at https://www.cityscapes-dataset.com, download {archives}, and unpack both into {root}"
        " (or pass data.root=<where they are>)"
    )
