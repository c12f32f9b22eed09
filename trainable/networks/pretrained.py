"""Pretrained weights from a local file: found, known by their content, put in by name and shape.

Nothing is ever downloaded, and nothing that a file says is executed. Names understood, each also
behind `module.` or `Scale.`:
    torchvision's ResNet           conv1, bn1, layer1..4             fc is left out
    resnet101COCO-41f33a49.pth     the same, and layer5.conv2d_list.0..3 for the head
    torchvision's DeepLabv3        backbone.*, classifier.*          aux_classifier is left out
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import torch
from torch import Tensor, nn

from trainable.config.schema import ConfigError, TrialConfig
from trainable.networks.build import build_generator
from trainable.networks.custom_code import pinned
from trainable.networks.resnet import RESNETS
from trainable.networks.trunk_layout import trained_layout
from trainable.storage.bounded_reads import open_file
from trainable.storage.tensors import BROKEN, read_tensors

PIXELS = {"caffe": "BGR of 0 to 255", "torchvision": "RGB in units of its deviation"}
TORCHVISION = "torchvision"  # instead of a file: torchvision's IMAGENET1K_V1 of the trunk's ResNet


@dataclass(frozen=True, kw_only=True)
class LoadReport:
    """What a file of pretrained weights gave to a generator.

    Attributes:
        file: The path of the file.
        layout: The layout of the generator's trunk, `caffe` or `torchvision`.
        matched: The number of tensors that were put in.
        head_loaded: Whether the head's tensors are among them.
        classes: The number of classes of the generator's head.
        file_classes: The number of classes of the file's head, None where it has no such head.
        unused: Names in the file that were not used, without those of a classifier to be left out.
        initialised: Names of the generator that stay as initialised.
    """

    file: str
    layout: str
    matched: int
    head_loaded: bool
    classes: int
    file_classes: int | None
    unused: tuple[str, ...]
    initialised: tuple[str, ...]

    def describe(self) -> str:
        """Return what was put in and, in a second line, what was not used, if anything."""
        head = "of trunk and head"
        if not self.head_loaded:
            why = f"{self.file_classes} classes in the file, {self.classes} here"
            if self.file_classes is None:
                why = f"the file has none of this kind, {self.classes} classes here"
            head = f"of the trunk; the head stays as initialised ({why})"
        text = f"{self.file}: {self.matched} tensors in {self.layout} layout {head}"
        if self.unused:
            more = f" and {len(self.unused) - 3} more" if len(self.unused) > 3 else ""
            text += f"\nnot used of it: {', '.join(self.unused[:3])}{more}"
        return text


def pin(config: TrialConfig) -> TrialConfig:
    """Return the config with its weights made definite: an absolute path and the content's sha256.

    So is the code of networks of one's own. `torchvision` stays the word it is, since the layout
    of trunk and input follows from it.

    Raises:
        ConfigError: The file cannot be read, or its content is not what `weights_sha256` says; or
            as `pinned`.
    """
    config = pinned(config)
    if not config.weights:
        return config
    with _opened(config) as (_, path, digest):
        weights = TORCHVISION if config.weights == TORCHVISION else str(path)
        return dataclasses.replace(config, weights=weights, weights_sha256=digest)


def load_pretrained(generator: nn.Module, config: TrialConfig) -> LoadReport:
    """Put the weights that `config` names into a generator: all of its trunk, its head if it fits.

    Args:
        generator: The network that `build_generator` gave for `config`, on any device.
        config: The trial, whose `weights` name a file.

    Raises:
        ConfigError: The file cannot be read, is not what `weights_sha256` says, holds no mapping of
            names to tensors, lacks a tensor of the trunk, or was trained in another layout.

    Source: section 4.1, "pretrained"; the base code starts from `resnet101COCO-41f33a49.pth`.
    """
    with _opened(config) as (file, path, _):
        state = _read(file, path)
    match = _match(generator, state)
    _check_trunk(match, config, path)
    _check_layout(state, match.found, config, path)
    loaded = {name: match.found[name] for name in match.loaded}
    generator.load_state_dict(loaded, strict=False)
    last = match.head[-1]  # a bias, in every head: one number per class
    return LoadReport(
        file=str(path),
        layout="caffe" if config.is_caffe else "torchvision",
        matched=len(loaded),
        head_loaded=match.head_fits,
        classes=match.wanted[last].numel(),
        file_classes=match.found[last].numel() if last in match.found else None,
        unused=tuple(theirs for ours, theirs in match.names.items() if ours not in loaded),
        initialised=() if match.head_fits else match.head,
    )


def check_start(config: TrialConfig) -> None:
    """Refuse to keep what pretraining gave the trunk's batch norms where there was none.

    Raises:
        ConfigError: Gamma and beta would stay 1 and 0.
    """
    if config.trunk_batch_norm != "train" and not config.weights:
        raise ConfigError(
            f"trunk_batch_norm={config.trunk_batch_norm} keeps gamma and beta as pretraining left "
            "them, but weights is empty, so that they would stay 1 and 0; start from pretrained "
            "weights with --set weights=FILE, or train them with --set trunk_batch_norm=train"
        )


def try_out(config: TrialConfig, classes: int) -> LoadReport:
    """Return what `load_pretrained` would do for a generator of `config`, before any training.

    Raises:
        ConfigError: As `load_pretrained`.
    """
    return load_pretrained(build_generator(config, classes), config)


@dataclass(frozen=True, kw_only=True)
class _Match:
    """A file's tensors beside those that a generator needs, by the generator's names.

    Attributes:
        names: The file's name of each tensor.
        found: The file's tensors.
        wanted: The generator's tensors.
        misfits: Why the file's tensor cannot take a wanted one's place, by the wanted one's name;
            empty where it can.
    """

    names: dict[str, str]
    found: dict[str, Tensor]
    wanted: dict[str, Tensor]
    misfits: dict[str, str]

    @property
    def trunk(self) -> tuple[str, ...]:
        return tuple(name for name in self.wanted if name.startswith("trunk."))

    @property
    def head(self) -> tuple[str, ...]:
        return tuple(name for name in self.wanted if name.startswith("head."))

    @property
    def head_fits(self) -> bool:
        return not any(self.misfits[name] for name in self.head)

    @property
    def loaded(self) -> tuple[str, ...]:
        """The tensors that go into the generator: the trunk's, and the head's if all of it fits."""
        return self.trunk + self.head if self.head_fits else self.trunk


def _match(generator: nn.Module, state: Mapping[str, Tensor]) -> _Match:
    """Compare the tensors of a file with a generator's."""
    names = _translated(state)
    found = {ours: state[theirs] for ours, theirs in names.items()}
    wanted = {name: value for name, value in generator.state_dict().items() if _counts(name)}
    misfits = {name: _misfit(value, found.get(name)) for name, value in wanted.items()}
    return _Match(names=names, found=found, wanted=wanted, misfits=misfits)


def _check_trunk(match: _Match, config: TrialConfig, path: Path) -> None:
    """Refuse a file that lacks a tensor of the trunk.

    Raises:
        ConfigError: It does; the first such tensor is named.
    """
    for name in match.trunk:
        if match.misfits[name]:
            raise ConfigError(
                f"{path}: the trunk of generator={config.generator} must find all its "
                f"{len(match.trunk)} tensors, but finds "
                f"{sum(not match.misfits[one] for one in match.trunk)}, and "
                f"{name.removeprefix('trunk.')} {match.misfits[name]}; give the weights of this "
                "trunk, or name the generator that these weights are of"
            )


def _check_layout(
    state: Iterable[str], found: Mapping[str, Tensor], config: TrialConfig, path: Path
) -> None:
    """Refuse the weights of a ResNet that were trained in another layout than the config's.

    Raises:
        ConfigError: They were.
    """
    if not config.generator_spec.resnet:
        return  # no published weights
    kernels, variance = found["trunk.conv1.weight"], found["trunk.bn1.running_var"]
    trained = trained_layout(state, kernels, variance)
    layout = "caffe" if config.is_caffe else "torchvision"
    if trained not in (None, layout):
        raise ConfigError(
            f"{path}: these weights were trained in {trained}'s layout, but would be read in "
            f"{layout}'s, with other strides and pixels ({PIXELS[layout]} instead of "
            f"{PIXELS[str(trained)]}); read them in theirs with --set trunk_layout={trained}"
        )


def _misfit(wanted: Tensor, found: Tensor | None) -> str:
    """Return what keeps a tensor of the file from its place, empty where nothing does."""
    if found is None:
        return "is missing"
    if found.shape != wanted.shape:
        return f"must have shape {tuple(wanted.shape)}, but has {tuple(found.shape)}"
    is_plain = found.is_floating_point() and found.layout == torch.strided and not found.is_meta
    if not is_plain:
        return f"must hold plain floating-point numbers, but is {found.layout} of {found.dtype}"
    if not found.isfinite().all():
        return "must be finite, but holds infinite numbers or NaN"
    return ""


def _locate(config: TrialConfig) -> tuple[Path, str]:
    """Return where the file must lie, and what to do if it does not."""
    if config.weights != TORCHVISION:
        path = Path(os.path.abspath(os.path.expanduser(config.weights)))
        return path, "put it there, or name the file with weights=FILE"
    resnet = config.generator_spec.resnet
    if not resnet:
        raise ConfigError(
            f"weights=torchvision needs a generator with a ResNet of {', '.join(RESNETS)}, but got "
            f"generator={config.generator}; leave weights empty, or name a file"
        )
    from torchvision.models import get_model_weights

    url = get_model_weights(resnet).IMAGENET1K_V1.url
    path = Path(torch.hub.get_dir(), "checkpoints", url.rpartition("/")[2])
    return path, f"put {url} there (IMAGENET1K_V1), or name a file with weights=FILE"


@contextmanager
def _opened(config: TrialConfig) -> Iterator[tuple[BinaryIO, Path, str]]:
    """Open the file that `config` names, checked against its sha256, which comes with it."""
    path, way_out = _locate(config)
    try:
        file = open_file(path)
    except OSError as error:
        raise ConfigError(
            f"{path}: must be the file of the pretrained weights, but got {error.strerror!r}; "
            f"{way_out}"
        ) from error
    with file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        if config.weights_sha256.lower() not in ("", digest):
            raise ConfigError(
                f"{path}: its sha256 must be weights_sha256={config.weights_sha256}, but is "
                f"{digest}; restore the file, or leave weights_sha256 out to take this one"
            )
        file.seek(0)
        yield file, path, digest


def _read(file: BinaryIO, path: Path) -> dict[str, Tensor]:
    """Return the tensors of a file by name; nothing in it is executed."""
    try:
        content = read_tensors(file)
    except BROKEN as error:
        raise ConfigError(
            f"{path}: must be a file that torch.load reads with weights_only=True, but is broken "
            "or holds more than tensors; get it again, or save its state dict alone"
        ) from error
    for key in ("state_dict", "model"):
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    entries = content.items() if isinstance(content, Mapping) else [(None, content)]
    for name, value in entries:
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise ConfigError(
                f"{path}: must map names to tensors, at the top or under `state_dict` or `model`, "
                f"but holds {type(value).__name__}{'' if name is None else f' under {name!r}'}; "
                "save the network's state dict alone"
            )
    return dict(entries)


def _translated(names: Iterable[str]) -> dict[str, str]:
    """Return a file's names by what the generator calls them, without what it never has."""
    translated = {}
    for name in names:
        bare = name.removeprefix("module.").removeprefix("Scale.")
        if not _counts(bare) or bare.startswith(("fc.", "aux_classifier.")):
            continue
        ours = f"trunk.{bare}"
        for theirs, prefix in (
            ("backbone.", "trunk."),
            ("classifier.", "head."),
            ("layer5.", "head."),
        ):
            if bare.startswith(theirs):
                ours = prefix + bare.removeprefix(theirs)
        translated[ours] = name
    return translated


def _counts(name: str) -> bool:
    """Whether a tensor is a weight or a statistic; old files lack batch norm's counters."""
    return not name.endswith("num_batches_tracked")
