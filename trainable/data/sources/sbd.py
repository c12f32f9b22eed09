"""SBD, the Semantic Boundaries Dataset: VOC's 21 classes on more images, without void.

    img/<id>.jpg
    cls/<id>.mat            MATLAB: GTcls.Segmentation holds the labels
    train.txt, val.txt

They lie in the data root, or in its `benchmark_RELEASE/dataset`, as the download unpacks.
"""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np

from trainable.config.schema import ConfigError, TrialConfig
from trainable.data.sources import file_tree, voc
from trainable.data.sources.images import Pixels, undecodable
from trainable.data.sources.source import FileSource

UNPACKED = "benchmark_RELEASE/dataset"
MAT_HEADER = 128  # bytes before the first element of a MATLAB file
MAT_COMPRESSED = 15  # type of an element that is a zlib stream


def index(
    config: TrialConfig, report: file_tree.FaultHandler = file_tree.fail
) -> file_tree.FileTree:
    """Return the files that the lists `train.txt` and `val.txt` name.

    Raises:
        ConfigError: A folder or a list is missing.
    """
    root = file_tree.data_root(config, "img", "cls", inside=UNPACKED)
    train, val = (root / f"{name}.txt" for name in ("train", "val"))
    return file_tree.FileTree(
        root=root,
        train=_samples(root, train, report),
        val=_samples(root, val, report),
        lists=(train, val),
        classes=voc.CLASSES,
        read_mask=read_mask,
    )


def survey(config: TrialConfig, report: file_tree.FaultHandler) -> tuple[str, file_tree.Splits]:
    """Return what the data root is, in words, and its splits."""
    return "SBD", file_tree.checked_splits(index(config, report), report)


def _is_root(root: Path) -> bool:
    return (root / "cls").is_dir() or (root / UNPACKED).is_dir()


def read_mask(path: Path, content: bytes) -> Pixels:
    """Return `GTcls.Segmentation` of a MATLAB file.

    Raises:
        UndecodableError: The file is broken, or holds no such array.
        ConfigError: The array is not of labels.
    """
    # Imported here: it costs a second and the embedded data set does without.
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    try:
        _verify(content)
        labels = loadmat(io.BytesIO(content))["GTcls"][0]["Segmentation"][0]
        if not isinstance(labels, np.ndarray):
            raise TypeError("GTcls.Segmentation is no array")
    # scipy has many ways to say that a file is none of MATLAB's, or holds something else.
    except (
        MatReadError, zlib.error, struct.error, OSError, ValueError, TypeError, LookupError,
        NotImplementedError,
    ) as error:  # fmt: skip
        rule = "must be a MATLAB file that holds GTcls.Segmentation"
        raise undecodable(path, rule, f"reading it ends with {error!r}") from error
    if (labels.dtype, labels.ndim) != (np.uint8, 2):
        raise ConfigError(
            f"{path}: GTcls.Segmentation must be bytes [H, W], but is {labels.dtype} "
            f"{list(labels.shape)}; restore the mask that the data set ships"
        )
    return labels


def _verify(content: bytes) -> None:
    """Compare the checksums of what is compressed: damaged bytes can end scipy's whole process."""
    place = MAT_HEADER
    while place < len(content):
        kind, size = struct.unpack_from("<II", content, place)
        place += 8
        if kind == MAT_COMPRESSED:
            zlib.decompress(content[place : place + size])
        place += size


def _samples(
    root: Path, path: Path, report: file_tree.FaultHandler
) -> tuple[file_tree.Sample, ...]:
    return tuple(
        file_tree.Sample(image=root / "img" / f"{name}.jpg", masks=(root / "cls" / f"{name}.mat",))
        for name in file_tree.read_list(path, report)
    )


SOURCE = FileSource(title="SBD", holds="img and cls", is_root=_is_root, index=index, survey=survey)
