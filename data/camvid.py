"""CamVid in the SegNet layout: Brostow et al. 2009, "Semantic object classes in video"; 11 classes as
in Badrinarayanan et al. 2017, "SegNet", arXiv 1511.00561."""

from __future__ import annotations

from pathlib import Path

from data.images import IMAGE_SUFFIXES, read_pair
from data.labels import LabelSet, lookup_table
from data.samples import Sample
from utils.errors import UserError, did_you_mean

LABELS = LabelSet(
    names=("sky", "building", "pole", "road", "pavement", "tree", "sign", "fence", "car", "pedestrian", "bicyclist"),
    colors=(
        (128, 128, 128),
        (128, 0, 0),
        (192, 192, 128),
        (128, 64, 128),
        (60, 40, 222),
        (128, 128, 0),
        (192, 128, 128),
        (64, 64, 128),
        (64, 0, 128),
        (64, 64, 0),
        (0, 128, 192),
    ),
)
VOID = 11
SPLITS = ("train", "val", "test")


class CamVid:
    """Street scenes of 360x480 with 11 classes; raw id 11 (void) becomes 255.

    Args:
        root: holds `train/`, `trainannot/`, `val/`, `valannot/` ...; images and masks match by stem.
        split: `train`, `val` or `test`.

    Raises:
        UserError: the split does not exist, or images and masks do not pair up.
    """

    labels = LABELS

    def __init__(self, root: str, split: str) -> None:
        if split not in SPLITS:
            raise UserError(f"CamVid has no split '{split}'; it has {', '.join(SPLITS)}{did_you_mean(split, SPLITS)}")
        self.root = Path(root).expanduser()
        self.pairs = _pairs(self.root, split)
        self._train_ids = lookup_table({i: i for i in range(len(LABELS))}, ignored=(VOID, LABELS.ignore_index))

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> Sample:
        image_path, mask_path = self.pairs[index]
        image, mask = read_pair(image_path, mask_path, self._train_ids)
        return Sample(image, mask, str(image_path.relative_to(self.root)))

    def files(self, index: int) -> list[str]:
        return [str(path) for path in self.pairs[index]]


def _pairs(root: Path, split: str) -> list[tuple[Path, Path]]:
    """(image, mask) of a split, in the order of their stems."""
    for folder in (root / split, root / f"{split}annot"):
        if not folder.is_dir():
            raise UserError(
                f"CamVid was not found: there is no folder {folder}\n"
                "Get its SegNet version (folders train/ trainannot/ val/ valannot/) and say data.root=<where it is>"
            )
    images = {p.stem: p for p in sorted((root / split).iterdir()) if p.suffix.lower() in IMAGE_SUFFIXES}
    masks = {p.stem: p for p in sorted((root / f"{split}annot").iterdir()) if p.suffix.lower() == ".png"}
    if not images:
        raise UserError(f"{root / split}: there are no images ({', '.join(IMAGE_SUFFIXES)}) in this folder")
    for have, lack, what in ((images, masks, "mask"), (masks, images, "image")):
        alone = [path for stem, path in have.items() if stem not in lack]
        if alone:
            more = f" (and {len(alone) - 1} more)" if len(alone) > 1 else ""
            raise UserError(f"{alone[0]}: there is no {what} of this name for it{more}")
    return [(images[stem], masks[stem]) for stem in images]
