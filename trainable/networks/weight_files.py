"""Files of weights: where the one lies that a config names, and the tensors in it.

    FILE                       what `torch.save` or safetensors wrote, a state dict or around one
    FOLDER, FOLDER/model.pt    a training run of this package: its average, or, with `#raw`, the
                               last weights; with `#KEY` one of several averages
    torchvision                torchvision's IMAGENET1K_V1 of the trunk's ResNet
    NAME_Weights.NAME          any weights of torchvision by the name of their enum

Nothing is ever downloaded, and nothing that a file says is executed.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from trainable.config.schema import TORCHVISION, ConfigError, TrialConfig, is_torchvisions, suggest
from trainable.networks.resnet import RESNETS
from trainable.storage.bounded_reads import open_file
from trainable.storage.tensors import BROKEN, read_tensors

# What state dicts are kept under, the inner ones last.
CONTAINERS = ("state_dict_ema", "state_dict", "model_state_dict", "model", "generator")
MOST_DEPTH = 3
OURS = {"generator", "averages", "classes"}  # keys of a `model.pt`


def locate(config: TrialConfig) -> tuple[Path, str]:
    """Return where the file must lie, and what to do if it does not.

    Raises:
        ConfigError: torchvision has no such weights.
    """
    if not is_torchvisions(config.weights):
        path = Path(os.path.abspath(os.path.expanduser(config.weights.partition("#")[0])))
        path = path / "model.pt" if path.is_dir() else path
        return path, "put it there, or name the file with weights=FILE"
    url = _url(config)
    path = Path(torch.hub.get_dir(), "checkpoints", url.rpartition("/")[2])
    name = "IMAGENET1K_V1" if config.weights == TORCHVISION else config.weights
    return path, f"put {url} there ({name}), or name a file with weights=FILE"


def _url(config: TrialConfig) -> str:
    from torchvision import models

    if config.weights == TORCHVISION:
        resnet = config.generator_spec.resnet
        if not resnet:
            raise ConfigError(
                f"weights=torchvision needs a generator with a ResNet of {', '.join(RESNETS)}, but "
                f"got generator={config.generator}; leave weights empty, or name a file"
            )
        return str(models.get_model_weights(resnet).IMAGENET1K_V1.url)
    try:
        return str(models.get_weight(config.weights).url)
    except (ValueError, AttributeError, KeyError) as error:
        kinds = [models.get_model_weights(name) for name in models.list_models()]
        known = [f"{kind.__name__}.{one.name}" for kind in kinds for one in kind]
        raise ConfigError(
            f"weights={config.weights} must be one of torchvision's, but is none; "
            f"{suggest(config.weights, known)}"
        ) from error


@contextmanager
def opened(config: TrialConfig) -> Iterator[tuple[BinaryIO, Path, str]]:
    """Open the file that `config` names, checked against its sha256, which comes with it.

    Raises:
        ConfigError: It is not there, or its content is another.
    """
    path, way_out = locate(config)
    try:
        file = open_file(path)
    except OSError as error:
        raise ConfigError(
            f"{path}: must be the file of the pretrained weights, but got {error.strerror!r}; "
            f"{way_out}"
        ) from error
    with file:
        digest = hashlib.file_digest(file, "sha256").hexdigest() + part_of(config)
        if config.weights_sha256.lower() not in ("", digest):
            raise ConfigError(
                f"{path}: its sha256 must be weights_sha256={config.weights_sha256}, but is "
                f"{digest}; restore the file, or leave weights_sha256 out to take this one"
            )
        file.seek(0)
        yield file, path, digest


def part_of(config: TrialConfig) -> str:
    """Return which weights of a file are meant, as `#raw`; empty where the file has one kind."""
    mark = "".join(config.weights.rpartition("#")[1:]) if "#" in config.weights else ""
    return "" if is_torchvisions(config.weights) else mark.lower()


def read_weights(file: BinaryIO, path: Path, config: TrialConfig) -> dict[str, Tensor]:
    """Return the tensors of a file by name; nothing in it is executed.

    Raises:
        ConfigError: It is broken, or holds no mapping of names to tensors.
    """
    try:
        content = _safetensors(file) if path.suffix == ".safetensors" else read_tensors(file)
    except ImportError as error:
        raise ConfigError(
            f"{path}: reading it needs safetensors; install it with `pip install safetensors`"
        ) from error
    except BROKEN as error:
        raise ConfigError(
            f"{path}: must be a file that torch.load reads with weights_only=True, but is broken "
            "or holds more than tensors; get it again, or save its state dict alone"
        ) from error
    if isinstance(content, Mapping) and content.keys() >= OURS:
        content = _of_ours(content, path, part_of(config).removeprefix("#"))
    for _ in range(MOST_DEPTH):
        inner = _inner(content)
        if inner is None:
            break
        content = inner
    entries = content.items() if isinstance(content, Mapping) else [(None, content)]
    for name, value in entries:
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise ConfigError(
                f"{path}: must map names to tensors, at the top or under "
                f"{', '.join(f'`{key}`' for key in CONTAINERS)}, "
                f"but holds {type(value).__name__}{'' if name is None else f' under {name!r}'}; "
                "save the network's state dict alone"
            )
    return dict(entries)


def _inner(content: object) -> Mapping[str, Any] | None:
    """Return the state dict that a mapping keeps under a name for one, None where it has none."""
    if not isinstance(content, Mapping):
        return None
    inner = (content.get(key) for key in CONTAINERS)
    return next((one for one in inner if isinstance(one, Mapping)), None)


def _of_ours(content: Mapping[str, Any], path: Path, part: str) -> Mapping[str, Any]:
    """Return the weights of a training run: an average, or the last ones."""
    averages = content["averages"] if isinstance(content["averages"], Mapping) else {}
    if part == "raw" or not averages:
        raw: Mapping[str, Any] = content["generator"]
        return raw
    keys = [key for key in averages if str(key).startswith(part)]
    if len(keys) != 1:
        raise ConfigError(
            f"{path}: holds {len(averages)} averages, of which weights must name one, but "
            f"#{part or '...'} names {len(keys)}; add #raw, or # and one of "
            f"{', '.join(sorted(map(str, averages))[:8])}"
        )
    return {**content["generator"], **averages[keys[0]]["state"]}


def _safetensors(file: BinaryIO) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        found: dict[str, Tensor] = load(file.read())
    except SafetensorError as error:
        raise ValueError(str(error)) from error
    return found
