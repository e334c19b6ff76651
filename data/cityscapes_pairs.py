"""Cityscapes as pairs of photo and coloured labels, as prepared for image-to-image translation: Isola et al. 2017,
arXiv 1611.07004, section 4 and appendix."""

from __future__ import annotations

import functools

import numpy as np

from data.cityscapes_labels import LABELS, label_set, train_ids
from data.images import IMAGE_SUFFIXES, read_image, stored_size
from data.packed_strings import PackedStrings
from data.pairs import files_by_stem
from data.samples import Sample, SegmentationDataset
from utils.errors import NotThere, SizeMismatch
from utils.paths import is_folder, user_path

BITS = 7  # of each channel that the table of colours tells apart


class CityscapesPairs(SegmentationDataset):
    """Street scenes of 256x256 with 20 classes: the 19 of Cityscapes, and `misc`.

    Each file holds the photo on the left and the colours of its labels on the right, compressed as JPEG. So each pixel
    gets the label with the nearest official colour. All labels are candidates: with the 19 classes only, ground would
    become bicycle, and parking fence.

    Args:
        root: holds `train/` and `val/`.
        split: `train` (2,975) or `val` (500).

    Raises:
        UserError: the split does not exist, or the pictures are not there.
    """

    labels = label_set(20)

    def __init__(self, root: str, split: str) -> None:
        self.root = user_path(root, "data.root")
        folder = self.root / self.known_split(split)
        if not is_folder(folder):
            raise NotThere(
                f"Cityscapes pairs were not found: there is no folder {folder}\n"
                "Pass data.root=<what holds train/ and val/ with pictures of 512x256>"
            )
        found = [path for paths in files_by_stem(self.root, split, IMAGE_SUFFIXES).values() for path in paths]
        # By number where the names are numbers, as they are: 2.jpg before 10.jpg.
        self._names = PackedStrings(sorted(found, key=lambda path: (len(path), path)))

    def __len__(self) -> int:
        return len(self._names)

    def __getitem__(self, index: int) -> Sample:
        (path,) = self.files(index)
        both = read_image(path)
        height, width = both.shape[:2]
        if width % 2 or width < height:
            raise SizeMismatch(f"{path} is {width}x{height}: a photo and its labels side by side cannot be")
        image, colors = both[:, : width // 2], both[:, width // 2 :]
        return Sample(np.ascontiguousarray(image), nearest_label(colors), self.name(index))

    def name(self, index: int) -> str:
        """Return the file's path below the root."""
        return self._names[index]

    def files(self, index: int) -> list[str]:
        return [f"{self.root}/{self._names[index]}"]

    def size(self, index: int) -> tuple[int, int]:
        """Return height and width of the mask without decoding it."""
        height, width = stored_size(self.files(index)[0])
        return height, width // 2


def nearest_label(colors: np.ndarray) -> np.ndarray:
    """Return the train ids uint8 (H, W) of the labels nearest to colours uint8 (H, W, 3) rounded to 7 bits."""
    red, green, blue = np.moveaxis(colors >> (8 - BITS), -1, 0).astype(np.int32)
    return nearest_table()[(red << 2 * BITS) + (green << BITS) + blue]


@functools.cache
def nearest_table() -> np.ndarray:
    """Return the train id of the label nearest to the middle of each cell of colours, uint8 (2^21,)."""
    middles = (np.arange(1 << BITS, dtype=np.float32) + 0.5) * (1 << (8 - BITS)) - 0.5
    axes = [(middles[:, None] - [label.color[channel] for label in LABELS]) ** 2 for channel in range(3)]
    red, green, blue = (axis.astype(np.float32) for axis in axes)
    nearest = np.stack([(plane + green[:, None] + blue).argmin(-1) for plane in red])
    return train_ids(20)[[label.id for label in LABELS]].astype(np.uint8)[nearest].ravel()
