"""Fetching COCO 2017."""

from __future__ import annotations

from pathlib import Path

from data.download import fetch_archive

ADDRESS = "http://images.cocodataset.org"
ARCHIVES = {
    "annotations": ("annotations/annotations_trainval2017.zip", "f4bbac642086de4f52a3fdda2de5fa2c"),
    "train2017": ("zips/train2017.zip", "cced6f7f71b7629ddf16f17bbcfab6b2"),
    "val2017": ("zips/val2017.zip", "442b8da7639aecaf257c1dceb8ba8c80"),
}
"""Path and md5 of each archive, by the folder that it holds."""


def download_coco(root: Path, split: str) -> None:
    """Download the annotations and the photos of a split into `root`, unless they are there.

    Raises:
        UserError: they cannot be downloaded.
    """
    photos, outlines = root / f"{split}2017", root / "annotations" / f"instances_{split}2017.json"
    for folder, is_there in (
        ("annotations", outlines.is_file),
        (photos.name, lambda: photos.is_dir() and any(photos.iterdir())),
    ):
        path, md5 = ARCHIVES[folder]
        fetch_archive(f"{ADDRESS}/{path}", md5, root, is_there)
