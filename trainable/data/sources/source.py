"""What the module of a data set offers the rest: files to be read, or images to be generated.

Shapes: N images, H and W pixels, C classes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from trainable.config.choices import DATASETS, imported
from trainable.config.schema import TrialConfig
from trainable.data.sources.file_tree import FaultHandler, FileTree, Splits


@dataclass(frozen=True, kw_only=True)
class GeneratedSource:
    """A data set that is generated.

    Attributes:
        classes: The names of its C classes, the background first.
        generate: The function from a config to the training and the validation split, each
            images uint8 [N, 3, H, W] and labels uint8 [N, H, W] in 0..C-1 or VOID.
    """

    classes: tuple[str, ...]
    generate: Callable[[TrialConfig], tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]]


@dataclass(frozen=True, kw_only=True)
class FileSource:
    """A data set that lies in files.

    Attributes:
        title: The name of the data set in a message.
        holds: The folders by which its root is known, for a message.
        is_root: Says whether a folder is the root of this data set.
        index: The function from a config to the files in its `data_root`; faults go to the
            handler.
        survey: The function from a config to a sentence that says what its `data_root` is, and to
            all splits that can be made of it; faults go to the handler.
    """

    title: str
    holds: str
    is_root: Callable[[Path], bool]
    index: Callable[[TrialConfig, FaultHandler], FileTree]
    survey: Callable[[TrialConfig, FaultHandler], tuple[str, Splits]]


def source_of(dataset: str) -> FileSource | GeneratedSource:
    """Return the source of a data set, by its name in `DATASETS`."""
    source: FileSource | GeneratedSource = imported(DATASETS[dataset].source)
    return source


def file_sources() -> dict[str, FileSource]:
    """Return the data sets that lie in files, by their names in `DATASETS`."""
    sources = {name: source_of(name) for name in DATASETS}
    return {name: found for name, found in sources.items() if isinstance(found, FileSource)}
