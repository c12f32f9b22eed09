"""What the data sets are called where a person reads of them."""

from __future__ import annotations

NAMES = {
    "folder": "own data",
    "shapes": "shapes",
    "sbd": "SBD",
    "segtrackv2": "SegTrack-v2",
    "voc2012": "Pascal VOC 2012",
}
GENERATED = ("shapes",)  # drawn by this project: not the paper's data


def dataset_name(dataset: str) -> str:
    """Return what a data set is called, one that is not known here by its name."""
    name = NAMES.get(dataset, dataset)
    return f"{name} (generated)" if dataset in GENERATED else name
