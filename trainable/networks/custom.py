"""Networks of one's own, and those of libraries, in the place of the product's.

Shapes: N images, C classes, H and W pixels, h and w cells.
    generator       images [N, 3, H, W] -> logits [N, C, h, w], or a mapping with these as `out`
    discriminator   maps [N, C, H, W] -> logits [N, 1, h, w], or [N, 1, 1, 1] per image
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from trainable.config.schema import ConfigError, TrialConfig, arguments_in, shown
from trainable.networks.custom_code import callable_of, checked_code, is_of_library, said
from trainable.networks.deeplab import PretrainedTrunk

# Nothing is downloaded: pretrained weights come by `weights`, from a file.
SET_HERE = ("weights", "weights_backbone", "encoder_weights", "in_channels", "num_classes")
TRUNKS = ("trunk", "backbone", "encoder")  # what a network calls the part that is pretrained
# An input may have to be a multiple of this many pixels: the least that a network takes is used.
DIVISORS = (1, 2, 4, 8, 16, 32, 64)
PROBE_PX = (67, 93)  # no multiple of any of them


class CustomGenerator(PretrainedTrunk):
    """A network of one's own, which takes images of any size to logits of that size.

    Images are padded at the right and at the bottom to what the network takes, and its logits
    enlarged bilinearly.

    Args:
        network: The network; see the head of this module.
        trunk_batch_norm: See `set_policy`; it is of the part that is named as a trunk.
        divisor: The network takes images whose sides are multiples of so many pixels.
    """

    def __init__(self, network: nn.Module, *, trunk_batch_norm: str, divisor: int) -> None:
        super().__init__()
        self.network = network
        self.divisor = divisor
        self.set_policy(trunk_batch_norm)

    @property
    def trunk(self) -> nn.Module | None:
        """The part of the network that is named as a trunk, None where none is."""
        parts = dict(self.network.named_children())
        return next((parts[name] for name in TRUNKS if name in parts), None)

    def parts(self) -> dict[str, list[nn.Parameter]]:
        """Return what trains at rates of its own: `trunk` and `head`, or `all` without a trunk."""
        if self.trunk is None:
            return {"all": list(self.parameters())}
        trunk = list(self.trunk.parameters())
        known = set(map(id, trunk))
        return {"trunk": trunk, "head": [one for one in self.parameters() if id(one) not in known]}

    def norms_of_trunk(self) -> Iterator[nn.BatchNorm2d]:
        """Yield the batch norms of the part that is named as a trunk."""
        trunk = self.trunk
        if trunk is not None:
            yield from (module for module in trunk.modules() if isinstance(module, nn.BatchNorm2d))

    def forward(self, images: Tensor) -> Tensor:
        height, width = images.shape[-2:]
        padded = functional.pad(images, (0, -width % self.divisor, 0, -height % self.divisor))
        logits = logits_of(self.network(padded)).float()
        if logits.shape[-2:] != padded.shape[-2:]:
            logits = functional.interpolate(logits, size=padded.shape[-2:], mode="bilinear")
        return logits[..., :height, :width]


class CustomDiscriminator(nn.Module):
    """A discriminator of one's own, whose logits are enlarged bilinearly where they are per cell.

    Args:
        network: The network; see the head of this module.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, maps: Tensor) -> Tensor:
        logits = logits_of(self.network(maps))
        if logits.shape[-2:] in (maps.shape[-2:], (1, 1)):
            return logits
        return functional.interpolate(logits, size=maps.shape[-2:], mode="bilinear")


def logits_of(output: object) -> Tensor:
    """Return the logits that a network gave.

    Raises:
        ConfigError: They are neither a tensor nor the `out` of a mapping.
    """
    found = output.get("out") if isinstance(output, Mapping) else output
    if isinstance(found, Tensor) and found.ndim == 4:
        return found
    what = f"a tensor of shape {tuple(found.shape)}" if isinstance(found, Tensor) else _kind(output)
    raise ConfigError(
        "a network must give logits [N, C, h, w], or a mapping with these as `out`, but gave "
        f"{what}; change what it returns"
    )


def _kind(output: object) -> str:
    if isinstance(output, Mapping):
        return f"a mapping with {', '.join(map(str, output)) or 'nothing'}"
    return f"a {type(output).__name__}"


def custom_generator(config: TrialConfig, classes: int) -> CustomGenerator:
    """Build the generator that `config` names, with logits for `classes` classes.

    Raises:
        ConfigError: It cannot be imported or built, its code is not what `generator_code` says, it
            takes no image, or has no trunk for a policy of the trunk.
    """
    network = _built(config, "generator", classes)
    generator = CustomGenerator(
        network, trunk_batch_norm=config.trunk_batch_norm, divisor=_divisor(network, config)
    )
    if config.trunk_batch_norm != "train" and generator.trunk is None:
        raise ConfigError(
            f"trunk_batch_norm={config.trunk_batch_norm} is of a trunk, but generator="
            f"{config.generator} has no part of the name {', '.join(TRUNKS)}; set "
            "trunk_batch_norm=train, or name its part so"
        )
    return generator


def custom_discriminator(config: TrialConfig, classes: int) -> CustomDiscriminator:
    """Build the discriminator that `config` names, for `classes` classes.

    Raises:
        ConfigError: It cannot be imported or built, or its code is not what `discriminator_code`
            says.
    """
    return CustomDiscriminator(_built(config, "discriminator", classes))


def _built(config: TrialConfig, role: str, classes: int) -> nn.Module:
    """Build the network of a role, whose code was checked."""
    reference, values = getattr(config, role), arguments_in(getattr(config, f"{role}_args"))
    checked_code(config, role)
    if is_of_library(reference):
        refused = [name for name in SET_HERE if values.pop(name, None) is not None]
        if refused:
            raise ConfigError(
                f"{role}_args of {reference} must leave out what is set here, but has "
                f"{', '.join(refused)}; give pretrained weights with weights=FILE"
            )
    build = callable_of(reference)
    try:
        network = build(classes=classes, **values)
    except Exception as error:
        raise ConfigError(
            f"{role}={reference} must build a network from classes={classes} and "
            f"{role}_args={shown(values)}, but {said(error)}; give it what it takes"
        ) from error
    if not isinstance(network, nn.Module) or not any(True for _ in network.parameters()):
        raise ConfigError(
            f"{role}={reference} must give a torch.nn.Module with parameters, but gave "
            f"{_kind(network)}; return the network"
        )
    return network


@torch.no_grad()
def _divisor(network: nn.Module, config: TrialConfig) -> int:
    """Return the least number of pixels of whose multiples a network takes the sides of an image.

    Raises:
        ConfigError: It takes no image.
    """
    device = next(network.parameters()).device
    network.eval()
    cause: Exception | None = None
    for divisor in DIVISORS:
        height, width = (side + -side % divisor for side in PROBE_PX)
        try:
            output = network(torch.zeros(1, 3, height, width, device=device))
        except Exception as error:  # noqa: BLE001  # said of the last divisor, whatever it is
            cause = error
            continue
        logits_of(output)
        return divisor
    raise ConfigError(
        f"generator={config.generator} must take images [N, 3, H, W] whose sides are multiples of "
        f"{DIVISORS[-1]} pixels, but {said(cause)}; mend it, or wrap it in one that does"
    )
