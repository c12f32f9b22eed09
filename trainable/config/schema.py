"""The schema of one trial: every field, its default and its rule, checked once at construction.

The defaults are the paper's Pascal VOC 2012 setting; a preset or a user's YAML file carries values
only. Where the paper contradicts itself or its base code, the field's comment names both readings.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import math
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

from trainable.config.choices import (
    ADVERSARIAL,
    CUSTOM_DISCRIMINATOR,
    DATASETS,
    DISCRIMINATORS,
    GENERATORS,
    NO_ADVERSARY,
    SWA_BATCH_NORMS,
    SWA_RULES,
    AdversarialSpec,
    DiscriminatorSpec,
    GeneratorSpec,
    generator_spec,
    is_custom,
)
from trainable.storage.redaction import shorten

Value = bool | int | float | str  # of a field
# A mapping of names to values: JSON in its one spelling, empty where there is none.
Arguments = str
ClassWeights = str  # a name, or numbers with commas between them
TORCHVISION = "torchvision"  # instead of a file of weights
FIELDS = "`python -m trainable.train --fields`"


class ConfigError(ValueError):
    """A setting breaks a rule; the message is one line: the rule, the value, the way out."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Readout:
    """How a finished trajectory is read: the fields that change no weight of the training."""

    swa_rule: str
    swa_n: int
    swa_threshold: float
    swa_decay: float
    swa_batch_norm: str
    swa_batch_norm_batches: int

    def start(self, iterations: int) -> int:
        """Return the iteration from which `iterations` of training are averaged."""
        return math.floor(self.swa_threshold * iterations)

    def identity(self) -> dict[str, Value]:
        """Return what tells this readout from others, without what its rule does not read."""
        values = {name: getattr(self, name) for name in READOUT_FIELDS}
        if not SWA_RULES[self.swa_rule].reads_decay:
            del values["swa_decay"]
        if not SWA_BATCH_NORMS[self.swa_batch_norm].recomputes:
            del values["swa_batch_norm_batches"]
        return values


@dataclass(frozen=True, kw_only=True, slots=True)
class TrialConfig:
    """One trial: a training run and the readout that is made of it.

    Raises:
        ConfigError: A value has the wrong type or breaks a rule.
    """

    # Data
    dataset: str = "voc2012"  # what is trained and validated on
    data_root: str = ""  # folder that holds the real data set; the embedded one needs none
    image_px: int = 48  # side of a generated image (shapes only)
    train_images: int = 240  # generated training images (shapes only)
    val_images: int = 96  # generated validation images (shapes only)
    data_seed: int = 0  # what the generated data set, or a seeded split of a real one, follows from
    voc_train: str = "train_aug"  # or `train`, VOC's own 1,464; the paper: SBD added (section 4)
    skip_bad_images: bool = False  # train without the images that cannot be decoded
    segtrack_classes: str = "merged16"  # class table in presets/segtrack; the paper: "16 classes"
    segtrack_split: str = "interleave"  # or `block`: none is published (section 4.4)
    scale_min: float = 0.5  # random scaling; base code 0.5 to 1.5 in steps of 0.1
    scale_max: float = 1.5
    mirror: bool = True  # random left-right mirroring; base code
    crop_px: int = 321  # side of a training crop; base code

    # Networks
    # The network that segments; section 4.1. One of one's own is `MODULE:CALLABLE`, and
    # `torchvision:NAME` and `smp:NAME` are those libraries'
    generator: str = "deeplabv2_resnet101"
    generator_args: Arguments = ""  # of such a generator; --set generator_args.NAME=VALUE sets one
    generator_code: str = ""  # what its code must be; filled in when it is imported
    # File with pretrained weights, or a run folder, `torchvision`, or the name of any weights of
    # torchvision's such as ResNet50_Weights.IMAGENET1K_V2, or, in a sweep, `run:RUN_ID` of a
    # recorded trial; empty: random
    weights: str = ""
    weights_sha256: str = ""  # what the content of that file must be; filled in when it is read
    # Where a bottleneck strides, how pooling rounds, order and mean of the input: `caffe`
    # (BGR) or `torchvision` (RGB); `auto`: caffe for deeplabv2_resnet101, torchvision for others
    # and for torchvision's weights
    trunk_layout: str = "auto"
    # `affine_frozen` (base code: gamma and beta fixed, batch statistics), `frozen` or `train`
    trunk_batch_norm: str = "affine_frozen"
    # Atrous convolutions of the head that are summed, of rates 6, 12, 18, 24; base code really
    # computes the first 2
    aspp_branches: int = 4
    # The network that judges, or `MODULE:CALLABLE`; section 3.1 and Fig. 2
    discriminator: str = "encoder_decoder"
    discriminator_args: Arguments = ""  # of such a discriminator, as for a generator
    discriminator_code: str = ""  # what its code must be; filled in when it is imported
    output_stride: int = 8  # pixels per cell, 8 (section 4.1) or 16 (deeplabv3_* only)
    generator_width: int = 16  # channels of the first stage (deeplab_small only)
    discriminator_width: int = 64  # channels of the first encoder layer; base code 64

    # Losses
    adversarial: str = "pixelwise"  # `none`, `standard` (section 5.1) or `pixelwise` (section 3.3)
    lambda_adv: float = 0.01  # weight of the adversarial term; section 4.2, Fig. 4
    loss_disc_weight: float = 1.0  # of Eq. 5's sum of fake and real; base code 0.5
    # What the generator learns by itself: `ce` (Eq. 3), `ce+dice` or `focal`, for rare classes
    generator_loss: str = "ce"
    # Of each class's pixels in the cross entropy: `none`, `inverse_frequency`, or a list of them
    class_weights: ClassWeights = "none"

    # Optimisation
    iterations: int = 20000  # steps of training; section 4.3; SegTrack-v2 5,000
    batch_size: int = 10  # images; text, twice, and base code; Algorithm 1 says m = 16
    lr_generator: float = 2.5e-4  # first learning rate; section 4.2
    # First learning rate of the discriminator; section 4.2 and base code; Algorithm 1 says 2.5e-4
    lr_discriminator: float = 1e-4
    # Of lr_generator, in the trunk; base code in effect 3: it lists block convolutions thrice
    lr_trunk_multiplier: float = 1.0
    lr_head_multiplier: float = 10.0  # of lr_generator, in the head; base code
    momentum: float = 0.9  # of SGD, for the generator; section 4.2
    weight_decay: float = 5e-5  # of SGD, for the generator; section 4.2; base code 5e-4
    adam_beta1: float = 0.9  # of Adam, for the discriminator; section 4.2
    adam_beta2: float = 0.99  # of Adam, for the discriminator; section 4.2
    accumulate: int = 1  # parts of a batch, one after the other, whose gradients add up
    # Compute the activations of a generator's blocks again in the backward pass: less memory
    activation_checkpointing: bool = False
    clip_norm: float = 0.0  # largest norm of each network's gradients; 0: none
    warmup: int = 0  # iterations over which learning rates rise to what they are
    poly_power: float = 0.9  # by which learning rates fall to 0 at the end; section 4.2
    seed: int = 0  # decides initialisation, batches and crops, alike in paired trials

    # Numerics: each changes the rounding, so each is part of what identifies a training run
    # `fp32`, or autocast in `bf16` or, with scaled gradients, `fp16`; auto, which is made definite
    # before the key: bf16 on a GPU that has it (Ampere and later), fp16 on others, fp32 on a CPU
    precision: str = "auto"
    memory_format: str = "channels_last"  # or `contiguous`, torch's default
    optimizer_kernels: str = "fused"  # or `plain`, what torch takes by itself
    compile: bool = False  # torch.compile for both networks
    deterministic: bool = False  # the same bits on a GPU, too, with slower kernels

    # Readout: changes no weight of the training run
    swa_rule: str = "eq7"  # `eq7` as printed, `uniform` (Izmailov et al.), `ema`
    swa_n: int = 100  # iterations between two averagings; Algorithm 1
    swa_threshold: float = 0.0  # share of the iterations before averaging begins; section 4.3
    swa_decay: float = 0.99  # weight kept at each averaging (ema only)
    swa_batch_norm: str = "recompute"  # of the averaged weights: `recompute`, `average`, `copy`
    swa_batch_norm_batches: int = 100  # training batches that `recompute` reads

    # Reporting
    eval_every: int = 1000  # iterations between two validations of the raw weights
    log_every: int = 50  # iterations per recorded mean of the training losses

    # Execution: changes neither weights nor metrics
    checkpoint_every: int = 500  # iterations between two checkpoints
    device: str = "auto"  # `auto` takes cuda when there is one, or `cpu`, `cuda`
    data_device: str = "auto"  # where the data set lies: `host`, `device`; auto: device if it fits
    averages_on: str = "device"  # where carried averages lie: `device` or `host`
    cache_dir: str = ""  # folder of decoded data sets; empty: one in the user's cache folder

    def __post_init__(self) -> None:
        new = self._unlike(_CHECKED[-1:])
        for name, kind in new.items():
            value = coerce(name, kind, getattr(self, name))
            object.__setattr__(self, name, value)
            _check_size(name, value)
        for name, rule, holds in RULES:
            if name in new and not holds(value := getattr(self, name)):
                raise ConfigError(f"`{rule}` must hold, but got {name}={shown(value)}")
        if new.keys() - ALONE:
            self._check_names()
            self._check_together()
        _CHECKED[:] = [self]

    def _unlike(self, checked: Sequence[TrialConfig]) -> dict[str, str]:
        """Return the fields that a checked config has not with the same object, and their types.

        Of 100,000 trials each differs from the one before it in a field or two.
        """
        if not checked:
            return KINDS
        mine, its = ALL(self), ALL(checked[0])
        same = zip(KINDS.items(), mine, its, strict=True)
        return {name: kind for (name, kind), one, other in same if one is not other}

    def _check_names(self) -> None:
        for name, known in CHOICES.items():
            value = getattr(self, name)
            if name in NETWORKS and is_custom(value):
                continue
            if value not in known:
                raise ConfigError(f"unknown {name} {shown(value)}; {suggest(value, known)}")
            if name in NETWORKS and (given := self._only_of_custom(name)):
                raise ConfigError(
                    f"{given} is of a {name} of one's own, MODULE:CALLABLE, but got "
                    f"{name}={value}; leave {given} out"
                )

    def _only_of_custom(self, network: str) -> str:
        """Return a field that is set and that only a network of one's own reads, or nothing."""
        fields = (f"{network}_args", f"{network}_code")
        return next((name for name in fields if getattr(self, name)), "")

    def _check_together(self) -> None:
        if self.scale_min > self.scale_max:
            raise ConfigError(
                "`scale_min <= scale_max` must hold, but got "
                f"scale_min={self.scale_min}, scale_max={self.scale_max}"
            )
        generator = self.generator_spec
        least = generator.least_px
        if (judge := self.discriminator_spec) is not None:
            least = max(least, judge.least_px)
        if self.crop_px < least:
            raise ConfigError(
                f"`crop_px >= {least}` must hold for generator={self.generator}, "
                f"but got crop_px={self.crop_px}"
            )
        self._check_parts()
        if generator.pools_images and self.batch_size < 2 * self.accumulate:
            raise ConfigError(
                f"`batch_size >= {2 * self.accumulate}` must hold for generator={self.generator}, "
                f"but got batch_size={self.batch_size}"
            )
        for name, smallest in DATASETS[self.dataset].least.items():
            if (value := getattr(self, name)) < smallest:
                raise ConfigError(f"`{name} >= {smallest}` must hold, but got {name}={value}")
        if self.weights_sha256 and not self.weights:
            raise ConfigError(
                "`weights` must name a file where weights_sha256 is set, but is empty; "
                "set weights=FILE, or leave weights_sha256 out"
            )
        if is_torchvisions(self.weights) and self.trunk_layout == "caffe":
            raise ConfigError(
                f"`trunk_layout=torchvision` must hold for weights={self.weights}, but got "
                "trunk_layout=caffe; leave it at auto"
            )
        if self.trunk_batch_norm == "frozen" and not self.weights:
            raise ConfigError(
                "trunk_batch_norm=frozen needs the statistics of pretrained weights, but weights "
                "is empty; set weights=FILE or trunk_batch_norm=train"
            )

    def _check_parts(self) -> None:
        if self.accumulate > self.batch_size:
            raise ConfigError(
                "`accumulate <= batch_size` must hold, but got "
                f"accumulate={self.accumulate}, batch_size={self.batch_size}"
            )
        if self.accumulate > 1 and self.generator_loss != "ce":
            raise ConfigError(
                f"generator_loss={self.generator_loss} is of a whole batch, but accumulate="
                f"{self.accumulate} parts it; set accumulate=1 or generator_loss=ce"
            )
        if self.warmup > self.iterations:
            raise ConfigError(
                "`warmup <= iterations` must hold, but got "
                f"warmup={self.warmup}, iterations={self.iterations}"
            )

    @property
    def generator_spec(self) -> GeneratorSpec:
        """What is known of the generator."""
        return generator_spec(self.generator)

    @property
    def custom_codes(self) -> dict[str, str]:
        """What names the code of those of its networks that are of one's own, by their names."""
        named = ((getattr(self, role), getattr(self, f"{role}_code")) for role in NETWORKS)
        return {network: code for network, code in named if is_custom(network)}

    @property
    def adversary_spec(self) -> AdversarialSpec | None:
        """The adversarial loss, None where none acts on the weights: with lambda 0 none does."""
        return ADVERSARIAL[self.adversarial] if self.lambda_adv > 0 else None

    @property
    def has_adversary(self) -> bool:
        """Whether a discriminator acts on the weights."""
        return self.adversary_spec is not None

    @property
    def discriminator_spec(self) -> DiscriminatorSpec | None:
        """The discriminator that acts on the weights, None where there is none."""
        if self.adversary_spec is None:
            return None
        if self.adversary_spec.discriminator is not None:
            return self.adversary_spec.discriminator
        custom = is_custom(self.discriminator)
        return CUSTOM_DISCRIMINATOR if custom else DISCRIMINATORS[self.discriminator]

    @property
    def is_caffe(self) -> bool:
        """Whether trunk and input are laid out as Caffe's weights want them (`trunk_layout`)."""
        if self.trunk_layout != "auto":
            return self.trunk_layout == "caffe"
        layout = self.generator_spec.trunk_layout
        return layout == "caffe" and not is_torchvisions(self.weights)

    @property
    def readout(self) -> Readout:
        """The part of the trial that only reads the trajectory."""
        return Readout(**{name: getattr(self, name) for name in READOUT_FIELDS})

    def canonical(self) -> TrialConfig:
        """Return the config with one spelling for what is the same training.

        With lambda 0 no gradient of the adversary reaches the generator, so such a trial is the
        baseline; what only a discriminator reads then takes its default.
        """
        spelled: dict[str, Any] = {"trunk_layout": "caffe" if self.is_caffe else "torchvision"}
        if self.adversary_spec is None:
            spelled |= {name: DEFAULTS[name] for name in ADVERSARY_FIELDS}
            spelled |= {"adversarial": NO_ADVERSARY, "lambda_adv": 0.0}
        elif self.adversary_spec.discriminator is not None:  # its own, whatever the config names
            spelled |= {name: DEFAULTS[name] for name in ADVERSARY_FIELDS[:3]}
        if all(getattr(self, name) is value for name, value in spelled.items()):
            return self
        found = object.__new__(TrialConfig)  # not by `replace`, which checks what is known to hold
        for name, value in {**dict(zip(KINDS, ALL(self), strict=True)), **spelled}.items():
            object.__setattr__(found, name, value)
        return found

    def training_identity(self) -> dict[str, Value]:
        """Return the fields that decide the weights, in their one spelling."""
        return dict(zip(TRAINING_FIELDS, TRAINING(self.canonical()), strict=True))


READOUT_FIELDS = tuple(field.name for field in dataclasses.fields(Readout))
DATA_FIELDS = (
    "dataset",
    *(name for spec in DATASETS.values() for name in spec.fields),
    "data_seed",
    "skip_bad_images",
)
EXECUTION_FIELDS = (
    "data_root",
    "weights",
    "checkpoint_every",
    "device",
    "data_device",
    "averages_on",
    "cache_dir",
)
ADVERSARY_FIELDS = (
    "discriminator",
    "discriminator_args",
    "discriminator_code",
    "discriminator_width",
    "loss_disc_weight",
    "lr_discriminator",
    "adam_beta1",
    "adam_beta2",
)
ARGUMENTS_FIELDS = ("generator_args", "discriminator_args")
DEFAULTS: dict[str, Any] = {field.name: field.default for field in dataclasses.fields(TrialConfig)}
KINDS: dict[str, str] = {field.name: str(field.type) for field in dataclasses.fields(TrialConfig)}
ALL = attrgetter(*KINDS)  # values of a config, in this order
_CHECKED: list[TrialConfig] = []  # the last one

NETWORKS = ("generator", "discriminator")  # which may be of one's own, too
# What each field may be that is a name.
CHOICES: dict[str, Collection[str]] = {
    "dataset": DATASETS,
    "adversarial": ADVERSARIAL,
    "generator": GENERATORS,
    "discriminator": DISCRIMINATORS,
    "generator_loss": ("ce", "ce+dice", "focal"),
    "swa_rule": SWA_RULES,
    "swa_batch_norm": SWA_BATCH_NORMS,
    "voc_train": ("train", "train_aug"),
    "segtrack_split": ("interleave", "block"),
    "segtrack_classes": ("merged16", "separate17"),
    "trunk_layout": ("auto", "caffe", "torchvision"),
    "trunk_batch_norm": ("affine_frozen", "frozen", "train"),
    "precision": ("auto", "fp32", "bf16", "fp16"),
    "memory_format": ("channels_last", "contiguous"),
    "optimizer_kernels": ("fused", "plain"),
    "device": ("auto", "cpu", "cuda"),
    "data_device": ("auto", "device", "host"),
    "averages_on": ("device", "host"),
}
TRAINING_FIELDS = tuple(sorted(DEFAULTS.keys() - {*READOUT_FIELDS, *EXECUTION_FIELDS}))
TRAINING = attrgetter(*TRAINING_FIELDS)
ALONE = {"seed", *READOUT_FIELDS} - CHOICES.keys()  # whose values no rule sets beside another's
MOST_TEXT = 4096  # characters: the longest path
# What no real use meets: above, a slip of the pen would fill memory or disk before it is noticed.
MOST: dict[str, float] = {
    "train_images": 1_000_000,
    "val_images": 1_000_000,
    "scale_max": 16.0,
    "crop_px": 4096,
    "lambda_adv": 1e6,
    "loss_disc_weight": 1e6,
    "iterations": 100_000_000,
    "batch_size": 65_536,
    "lr_generator": 1e30,  # fills nothing, and at what rate training diverges may be asked
    "lr_discriminator": 1e30,
    "lr_trunk_multiplier": 1e6,
    "lr_head_multiplier": 1e6,
    "weight_decay": 1e3,
    "accumulate": 65_536,
    "clip_norm": 1e6,
    "warmup": 100_000_000,
    "poly_power": 1e3,
    "swa_n": 100_000_000,
    "swa_batch_norm_batches": 1_000_000,
    "eval_every": 100_000_000,
    "log_every": 100_000_000,
    "checkpoint_every": 100_000_000,
}
RULES: tuple[tuple[str, str, Callable[[float], bool]], ...] = (
    ("image_px", "image_px <= 4096", lambda v: v <= 4096),
    ("train_images", "train_images >= 1", lambda v: v >= 1),
    ("val_images", "val_images >= 1", lambda v: v >= 1),
    ("data_seed", "0 <= data_seed < 2**31", lambda v: 0 <= v < 2**31),
    ("scale_min", "scale_min > 0", lambda v: v > 0),
    ("output_stride", "output_stride in (8, 16)", lambda v: v in (8, 16)),
    ("generator_width", "1 <= generator_width <= 4096", lambda v: 1 <= v <= 4096),
    ("discriminator_width", "1 <= discriminator_width <= 4096", lambda v: 1 <= v <= 4096),
    ("lambda_adv", "lambda_adv >= 0", lambda v: v >= 0),
    ("iterations", "iterations >= 1", lambda v: v >= 1),
    ("batch_size", "batch_size >= 1", lambda v: v >= 1),
    ("lr_generator", "lr_generator > 0", lambda v: v > 0),
    ("lr_discriminator", "lr_discriminator > 0", lambda v: v > 0),
    ("lr_trunk_multiplier", "lr_trunk_multiplier > 0", lambda v: v > 0),
    ("lr_head_multiplier", "lr_head_multiplier > 0", lambda v: v > 0),
    ("aspp_branches", "1 <= aspp_branches <= 4", lambda v: 1 <= v <= 4),
    ("loss_disc_weight", "loss_disc_weight > 0", lambda v: v > 0),
    ("momentum", "0 <= momentum < 1", lambda v: 0 <= v < 1),
    ("weight_decay", "weight_decay >= 0", lambda v: v >= 0),
    ("adam_beta1", "0 <= adam_beta1 < 1", lambda v: 0 <= v < 1),
    ("adam_beta2", "0 <= adam_beta2 < 1", lambda v: 0 <= v < 1),
    ("accumulate", "accumulate >= 1", lambda v: v >= 1),
    ("clip_norm", "clip_norm >= 0", lambda v: v >= 0),
    ("warmup", "warmup >= 0", lambda v: v >= 0),
    ("poly_power", "poly_power >= 0", lambda v: v >= 0),
    ("seed", "0 <= seed < 2**31", lambda v: 0 <= v < 2**31),
    ("swa_n", "swa_n >= 1", lambda v: v >= 1),
    ("swa_threshold", "0 <= swa_threshold < 1", lambda v: 0 <= v < 1),
    ("swa_decay", "0 < swa_decay < 1", lambda v: 0 < v < 1),
    ("swa_batch_norm_batches", "swa_batch_norm_batches >= 1", lambda v: v >= 1),
    ("eval_every", "eval_every >= 1", lambda v: v >= 1),
    ("log_every", "log_every >= 1", lambda v: v >= 1),
    ("checkpoint_every", "checkpoint_every >= 1", lambda v: v >= 1),
)


def is_torchvisions(weights: str) -> bool:
    """Return whether pretrained weights are torchvision's, by the word or by their enum's name."""
    return weights == TORCHVISION or re.fullmatch(r"\w+_Weights\.\w+", weights) is not None


def coerce(name: str, kind: str, value: object) -> Value:
    """Return `value` as the type of a field; numbers that YAML 1.1 reads as text are numbers.

    Args:
        name: The field, for a message.
        kind: The type of the field: `bool`, `int`, `float` or `str`.
        value: The value that was given for the field.

    Raises:
        ConfigError: The value is not of that type, or is a number that is not finite or does not
            fit into 64 bits.
    """
    if isinstance(value, int):
        _check_64_bits(name, value)
    wanted, convert = _KINDS[kind]
    coerced = convert(name, value)
    if coerced is None:
        raise ConfigError(f"{name} must be {wanted}, but got {shown(value)} ({kind_of(value)})")
    return coerced


def _check_size(name: str, value: Value) -> None:
    """Refuse a value that no real use has.

    Raises:
        ConfigError: A text is too long or not printable, or a number is above `MOST`.
    """
    if isinstance(value, str):
        if len(value) > MOST_TEXT or not value.isprintable():
            raise ConfigError(
                f"{name} must be at most {MOST_TEXT} printable characters, but got {shown(value)}"
            )
    elif value > MOST.get(name, math.inf):
        raise ConfigError(f"`{name} <= {MOST[name]}` must hold, but got {name}={shown(value)}")


def _to_float(name: str, value: object) -> float | None:
    number = _number_in(value)
    if number is not None and not math.isfinite(number):
        raise ConfigError(f"{name} must be finite, but got {shown(value)}")
    return None if number is None else float(number)


def _to_int(name: str, value: object) -> int | None:
    number = _number_in(value)
    if number is None or not math.isfinite(number):
        return None
    _check_64_bits(name, number)
    return int(number) if number == int(number) else None


def _to_bool(name: str, value: object) -> bool | None:
    return value if isinstance(value, bool) else None


def _to_text(name: str, value: object) -> str | None:
    return value if isinstance(value, str) else None


def _to_arguments(name: str, value: object) -> str | None:
    if isinstance(value, str) and value:
        try:
            value = json.loads(value)
        except ValueError:
            return None
    if value in ("", None) or value == {}:
        return ""
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        return None
    try:
        return json.dumps(value, sort_keys=True, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise ConfigError(
            f"{name} must map names to texts, numbers, true, false, or lists and mappings of them, "
            f"but {error}"
        ) from error


def _to_class_weights(name: str, value: object) -> str | None:
    if value in ("none", "inverse_frequency"):
        return str(value)
    parts = value.split(",") if isinstance(value, str) else value
    if not isinstance(parts, list | tuple):
        return None
    numbers = [_number_in(part) for part in parts]
    usable = [one for one in numbers if one is not None and math.isfinite(one) and one >= 0]
    if len(usable) < len(numbers) or len(usable) < 2 or not any(usable):
        return None
    return ",".join(f"{one:g}" for one in usable)


def class_weights_in(text: ClassWeights) -> str | list[float]:
    """Return what a field of class weights holds: a name, or a weight for each class."""
    return text if text[:1].isalpha() else [float(part) for part in text.split(",")]


def arguments_in(text: Arguments) -> dict[str, Any]:
    """Return the mapping that a field of arguments holds."""
    found: dict[str, Any] = json.loads(text or "{}")
    return found


# What a message calls each type of a field, and how a value becomes one; None where it cannot.
_KINDS: dict[str, tuple[str, Callable[[str, object], Value | None]]] = {
    "int": ("a whole number", _to_int),
    "float": ("a number", _to_float),
    "bool": ("true or false", _to_bool),
    "str": ("text", _to_text),
    "ClassWeights": ("none, inverse_frequency or a weight for each class", _to_class_weights),
    "Arguments": ("a mapping of names to values", _to_arguments),
}


def _number_in(value: object) -> float | None:
    """Return the number that a value is or, as text, says; None where there is none."""
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value


def _check_64_bits(name: str, number: float) -> None:
    """Refuse a whole number that no store could hold.

    Raises:
        ConfigError: It has more than 63 bits beside its sign.
    """
    if abs(number) >= 2**63:
        raise ConfigError(f"{name} must lie within 64 bits, but has {int(number).bit_length()}")


def shown(value: object) -> str:
    """Return a value for a message, quoted and not too long."""
    return shorten(repr(value))


def kind_of(value: object) -> str:
    """Return what YAML would call a value, for a message."""
    names = {bool: "true or false", str: "text", list: "a list", dict: "a mapping"}
    kind = dict if isinstance(value, dict) else type(value)
    return names.get(kind, "nothing" if value is None else kind.__name__)


def suggest(value: str, known: Iterable[str]) -> str:
    """Return the hint that ends a message about an unknown name."""
    names = list(known)
    nearest = difflib.get_close_matches(str(value), names, n=1)
    listed = f"one of {', '.join(names)}" if len(names) <= 8 else f"{len(names)} are known"
    if set(names) == set(DEFAULTS):
        listed = f"{FIELDS} lists them"
    return f"did you mean {nearest[0]!r}?" if nearest else listed
