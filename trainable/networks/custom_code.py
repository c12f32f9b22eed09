"""The code behind a network that is named, not listed: imported, and known by what it is.

my_nets:unet                 called as `unet(classes=C, **generator_args)`
torchvision:fcn_resnet50     a segmentation network of torchvision, without its weights
smp:Unet                     one of segmentation_models_pytorch, without its weights
"""

from __future__ import annotations

import dataclasses
import hashlib
import platform
import sys
from collections.abc import Callable, Collection, Iterable
from functools import cache
from importlib import import_module, metadata
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

from trainable.config.choices import is_custom
from trainable.config.schema import NETWORKS, ConfigError, TrialConfig, shown, suggest

SMP = "segmentation_models_pytorch"


class UntrustedNetworkError(ConfigError):
    """A file or a record names code that nobody else named."""


def pinned(config: TrialConfig) -> TrialConfig:
    """Return the config with the code of its own networks made definite.

    Raises:
        ConfigError: A network cannot be imported, or its code is not what the config says.
    """
    for role in NETWORKS:
        if is_custom(getattr(config, role)):
            code = checked_code(config, role)
            given: dict[str, Any] = {f"{role}_code": code}
            config = dataclasses.replace(config, **given)
    return config


def checked_code(config: TrialConfig, role: str) -> str:
    """Return `code_of` a config's generator or discriminator.

    Raises:
        ConfigError: It cannot be imported, or is not what the config says.
    """
    reference, wanted = getattr(config, role), getattr(config, f"{role}_code")
    code = code_of(reference)
    if wanted not in ("", code):
        raise ConfigError(
            f"the code of {role}={reference} must be {role}_code={wanted!r}, but on "
            f"{platform.node()} is {code!r}; install the same code there, or leave {role}_code out"
        )
    return code


@cache
def code_of(reference: str) -> str:
    """Return what names the code behind a reference: its files' hash and its package's version.

    A module in a package that no distribution brought is hashed with all of that package.

    Raises:
        ConfigError: It cannot be imported.
    """
    library, _, name = reference.partition(":")
    if library in LIBRARIES:
        LIBRARIES[library](name)
        names = ("torchvision",) if library == "torchvision" else (SMP, "timm")
        return ", ".join(f"{one} {metadata.version(one)}" for one in names)
    module, _ = _imported(reference)
    known = sorted(set(metadata.packages_distributions().get(library.partition(".")[0], ())))
    digest = hashlib.sha256()
    for path in _sources(module, alone=bool(known)):
        digest.update(path.read_bytes())
    versions = [f"{one} {metadata.version(one)}" for one in known]
    return ", ".join([digest.hexdigest()[:12], *versions])


def _sources(module: ModuleType, *, alone: bool) -> list[Path]:
    package = sys.modules[module.__name__.partition(".")[0]]
    if alone or not hasattr(package, "__path__") or package.__file__ is None:
        return [Path(str(module.__file__))]
    return sorted(Path(package.__file__).parent.rglob("*.py"))


def callable_of(reference: str) -> Callable[..., nn.Module]:
    """Return what builds the network of a reference from `classes` and its arguments.

    Raises:
        ConfigError: It cannot be imported.
    """
    library, _, name = reference.partition(":")
    if library in LIBRARIES:
        return LIBRARIES[library](name)
    found: Callable[..., nn.Module] = _imported(reference)[1]
    return found


def is_of_library(reference: str) -> bool:
    """Return whether a reference names a network of a known library, and no other code."""
    return reference.partition(":")[0] in LIBRARIES


def check_trusted(config: TrialConfig, place: object, networks: Collection[str]) -> None:
    """Refuse to import code that a file or a record names, unless whoever asks named it, too.

    Args:
        config: What the file or the record holds.
        place: Where it was found, for a message.
        networks: The networks of one's own that were named.

    Raises:
        UntrustedNetworkError: It names another.
    """
    for role in NETWORKS:
        named = getattr(config, role)
        if is_custom(named) and not is_of_library(named) and named not in networks:
            raise UntrustedNetworkError(
                f"{place}: {role}={named} is code that is imported only where you name it, too, "
                f"but got {', '.join(networks) or 'none'}; if it is yours, add --network {named}"
            )


def _imported(reference: str) -> tuple[ModuleType, Any]:
    """Return the module and the callable that a reference names.

    Raises:
        ConfigError: There is no such module, importing it fails, or it has no such callable.
    """
    name, _, attribute = reference.partition(":")
    if not {"", str(Path.cwd())} & set(sys.path):
        sys.path.append(str(Path.cwd()))  # where a script is run from, not only where it lies
    try:
        module = import_module(name)
    except Exception as error:
        raise ConfigError(
            f"{reference}: the module {name} must be importable on every machine that trains, but "
            f"on {platform.node()} {said(error)}; put it into the current folder, or install it"
        ) from error
    found = getattr(module, attribute, None)
    if not callable(found) or not getattr(module, "__file__", None):
        known = [one for one, value in vars(module).items() if callable(value) and one[0] != "_"]
        raise ConfigError(
            f"{reference}: {name} must have a callable {attribute} in a file, but has none; "
            f"{suggest(attribute, known) or 'write it there'}"
        )
    return module, found


def _of_torchvision(name: str) -> Callable[..., nn.Module]:
    from torchvision import models

    _choose("torchvision", name, models.list_models(module=models.segmentation))

    def build(*, classes: int, **values: Any) -> nn.Module:
        network: nn.Module = models.get_model(
            name, weights=None, weights_backbone=None, num_classes=classes, **values
        )
        return network

    return build


def _of_smp(name: str) -> Callable[..., nn.Module]:
    try:
        smp = import_module(SMP)
    except ImportError as error:
        raise ConfigError(
            f"smp:{name} is of {SMP}, which is not installed on {platform.node()}; install it with "
            "`pip install 'pixelwise-adversarial-sweeps[smp]'`"
        ) from error
    known = {one.__name__: one for one in smp.MODEL_ARCHITECTURES_MAPPING.values()}
    _choose("smp", name, known)

    def build(*, classes: int, **values: Any) -> nn.Module:
        network: nn.Module = known[name](encoder_weights=None, classes=classes, **values)
        return network

    return build


def _choose(library: str, name: str, known: Iterable[str]) -> None:
    if name not in (names := list(known)):
        raise ConfigError(f"unknown network {library}:{name}; {suggest(name, names)}")


LIBRARIES: dict[str, Callable[[str], Callable[..., nn.Module]]] = {
    "torchvision": _of_torchvision,
    "smp": _of_smp,
}


def said(error: object) -> str:
    """Return an error of another's code in one line."""
    return f"{type(error).__name__} says {shown(' '.join(str(error).split()))}"
