"""Read a `dataset.yaml`: all that it says is checked, and refused in one line.

    classes: [background, road, car]     # mask values 0, 1, 2; or a mapping from each name to its
                                         # mask value or values, or, for all of them, to [r, g, b]
    images: images                       # a folder, or a pattern such as photos/**/*.jpg
    masks: masks                         # the same stem as the image
    mask_suffix: _mask                   # of the mask's stem, where it is longer
    splits: {train: train.txt, val: val.txt}   # lists, or a folder each, or {val_fraction: 0.2}
    ignore: [255]                        # values, or colours, that no loss and no metric counts

Only `classes` must be there.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from trainable.config.loading import read_yaml
from trainable.config.schema import ConfigError, kind_of, shown, suggest
from trainable.data.folders.description import VAL_FRACTION, Description, number_of
from trainable.data.sources.labels import VOID

KEYS = ("classes", "images", "masks", "mask_suffix", "splits", "ignore")
MOST_VALUE = 2**16 - 1  # of a mask of 16 bits


def read_description(path: Path) -> Description:
    """Read a `dataset.yaml`.

    Raises:
        ConfigError: It cannot be read, or what it says cannot be: the rule, the value, the way out.
    """
    given = read_yaml(path)
    for key in given:
        if key not in KEYS:
            raise ConfigError(f"{path}: unknown key {shown(key)}; {suggest(str(key), KEYS)}")
    classes, values, in_colour = _classes(path, given.get("classes"))
    labels = _labels(path, classes, values, _ignored(path, given.get("ignore"), in_colour))
    texts = {
        key: _text(path, key, given[key])
        for key in ("images", "masks", "mask_suffix")
        if key in given
    }
    splits, fraction = _splits(path, given.get("splits", {"val_fraction": VAL_FRACTION}))
    return Description(
        classes=classes,
        labels=labels,
        in_colour=in_colour,
        splits=splits,
        val_fraction=fraction,
        **texts,
    )


def _text(path: Path, key: str, value: object) -> str:
    if not isinstance(value, str) or value.startswith("/") or ".." in PurePosixPath(value).parts:
        raise ConfigError(
            f"{path}: {key} must be a text that leads to no other folder, but is {shown(value)}; "
            "name what lies beside the file"
        )
    return value


def _classes(path: Path, given: object) -> tuple[tuple[str, ...], list[list[int]], bool]:
    """Return the names of the classes, the values of each, and whether these are colours."""
    rule = f"{path}: classes must be a list of names, or map each name to its mask values"
    if isinstance(given, list):
        given = {name: value for value, name in enumerate(_distinct(path, given))}
    if not isinstance(given, Mapping) or len(given) < 2:
        raise ConfigError(f"{rule}, at least two, but is {shown(given)}; name what masks hold")
    names = tuple(given)
    if not all(isinstance(name, str) and name.strip() and name.isprintable() for name in names):
        raise ConfigError(f"{rule}, but has a name that is no text: {shown(list(names))}; quote it")
    if len(names) > VOID:
        raise ConfigError(f"{rule}, at most {VOID}, but has {len(names)}; join some of them")
    listed = [value if isinstance(value, list) else [value] for value in given.values()]
    in_colour = all(len(one) == 3 for one in listed)
    for name, one in zip(names, listed, strict=True):
        if not one or not all(type(value) is int and 0 <= value <= MOST_VALUE for value in one):
            raise ConfigError(
                f"{path}: class {name} must have mask values of 0 to {MOST_VALUE}, or [r, g, b] as "
                f"all others, but has {shown(given[name])}; say which pixels are of it"
            )
    return names, [[number_of(*one)] if in_colour else one for one in listed], in_colour


def _distinct(path: Path, names: list[Any]) -> list[Any]:
    twice = [name for place, name in enumerate(names) if name in names[:place]]
    if twice:
        raise ConfigError(
            f"{path}: two classes must not have one name, but {shown(twice[0])} stands twice; "
            "rename one, or give both values to one class"
        )
    return names


def _ignored(path: Path, given: object, in_colour: bool) -> list[int]:
    values: list[Any] = [] if given is None else given if isinstance(given, list) else [given]
    if in_colour and values and not isinstance(values[0], list):
        values = [values] if len(values) == 3 else [[value] * 3 for value in values]
    flat = [value for one in values for value in (one if isinstance(one, list) else [one])]
    if not all(type(value) is int and 0 <= value <= MOST_VALUE for value in flat) or (
        in_colour and not all(len(one) == 3 for one in values)
    ):
        what = "colours [r, g, b]" if in_colour else "mask values"
        raise ConfigError(
            f"{path}: ignore must be a list of {what}, but is {shown(given)}; say what counts for "
            "nothing"
        )
    return [number_of(*one) for one in values] if in_colour else flat


def _labels(
    path: Path, classes: tuple[str, ...], values: list[list[int]], ignored: list[int]
) -> dict[int, int]:
    """Return the label of each value, which is one's alone."""
    labels: dict[int, int] = {}
    whose = [*zip(range(len(classes)), values, strict=True), (VOID, ignored)]
    for label, own in whose:
        for value in own:
            if labels.setdefault(value, label) != label:
                name = "ignore" if label == VOID else classes[label]
                raise ConfigError(
                    f"{path}: a mask value must be of one class, but {value} is of "
                    f"{classes[labels[value]]} and {name}; take it from one of them"
                )
    return labels


def _splits(path: Path, given: object) -> tuple[dict[str, str], float]:
    """Return the lists or folders of a split, or none and the share that validates."""
    if isinstance(given, Mapping) and set(given) == {"val_fraction"}:
        share = given["val_fraction"]
        if isinstance(share, int | float) and 0 < share < 1:
            return {}, float(share)
    elif isinstance(given, Mapping) and set(given) == {"train", "val"}:
        return {name: _text(path, f"splits.{name}", one) for name, one in given.items()}, 0.0
    raise ConfigError(
        f"{path}: splits must be {{train: LIST, val: LIST}}, with a folder for each list or none, "
        f"or {{val_fraction: SHARE}} with 0 < SHARE < 1, but is {shown(given)} "
        f"({kind_of(given)}); write one of them"
    )
