"""Pretrained weights from a local file: found, known by their content, put in by name and shape."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from trainable.config.schema import ConfigError, TrialConfig, is_torchvisions
from trainable.networks.build import build_generator
from trainable.networks.custom_code import pinned
from trainable.networks.trunk_layout import trained_layout
from trainable.networks.weight_files import opened, part_of, read_weights
from trainable.networks.weight_names import WRAPPERS, common, counts, translated, unwrapped

PIXELS = {"caffe": "BGR of 0 to 255", "torchvision": "RGB in units of its deviation"}


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
    with opened(config) as (_, path, digest):
        named = is_torchvisions(config.weights)
        weights = config.weights if named else f"{path}{part_of(config)}"
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
    with opened(config) as (file, path, _):
        state = read_weights(file, path, config)
    match = _match(generator, state)
    _check_trunk(match, config, path)
    _check_layout(state, match.found, config, path)
    loaded = {name: match.found[name] for name in match.loaded}
    generator.load_state_dict(loaded, strict=False)
    last = (match.head or match.trunk)[-1]  # a bias, in every head of ours: one number per class
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
        """The tensors that must be there: the trunk's, or all where none is named so."""
        named = tuple(name for name in self.wanted if common(name).startswith("trunk."))
        return named or tuple(self.wanted)

    @property
    def head(self) -> tuple[str, ...]:
        trunk = set(self.trunk)
        return tuple(name for name in self.wanted if name not in trunk)

    @property
    def head_fits(self) -> bool:
        return not any(self.misfits[name] for name in self.head)

    @property
    def loaded(self) -> tuple[str, ...]:
        """The tensors that go into the generator: the trunk's, and the head's if all of it fits."""
        return self.trunk + self.head if self.head_fits else self.trunk


def _match(generator: nn.Module, state: Mapping[str, Tensor]) -> _Match:
    """Compare the tensors of a file with a generator's."""
    wanted = {name: value for name, value in generator.state_dict().items() if counts(name)}
    names = translated(state, wanted)
    found = {ours: state[theirs] for ours, theirs in names.items()}
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
    bare = (unwrapped(name, WRAPPERS[:-1]) for name in state)  # by the last, `Scale.`, one tells
    trained = trained_layout(bare, kernels, variance)
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
