"""Tables 1-4, Figs. 5-8: what do the adversarial loss, its kind and the network contribute?

Command:   python sweeps/ablation.py [--preset voc2012|segtrackv2 --data-root DIR]
Cost:      one training run per loss, generator and seed, which give the masks of Figs. 5 and 7,
           too (demo: 15 runs, about six minutes on two CPU cores, five of them for DeepLabv3)
Expected:  the paper finds pixel-wise above standard above none on Pascal VOC 2012 (75.4, 74.2,
           72.1), and on SegTrack-v2 a standard loss that does harm (83.1, 54.7, 81.2). The demo's
           generated data need not agree.

One command asks about one data set; tables join the newest sweeps of each from the record.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Iterable
from typing import Any

from sweeps import SweepScript, run_sweep, sweep_parser
from trainable import ConfigError, TrialConfig
from trainable.cli.parser import Parser
from trainable.config.choices import ADVERSARIAL, GENERATORS

TABLE_4_LOSSES = ("none", "standard", "pixelwise")
# Fig. 8 compares the networks with and without the proposed loss; Table 4 alone has the standard.
FIG_8_LOSSES = ("none", "pixelwise")
# Beside the preset's own: those of Fig. 8; for the demo the one that a CPU trains in two minutes.
FURTHER_GENERATORS = {
    "voc2012": ("deeplabv3_resnet18", "deeplabv3_resnet34"),
    "shapes": ("deeplabv3_resnet18",),
}
# Section 5.2 trains them "without pre-trained model".
FROM_SCRATCH: dict[str, Any] = {"weights": "", "weights_sha256": "", "trunk_batch_norm": "train"}


def parser() -> Parser:
    """Return the options of this sweep."""
    options = sweep_parser(str(__doc__), "--losses none pixelwise --seeds 5 --plan")
    options.add_argument(
        "--losses",
        nargs="+",
        choices=ADVERSARIAL,
        metavar="LOSS",
        help=f"of {', '.join(ADVERSARIAL)} (default: {', '.join(TABLE_4_LOSSES)} for the preset's "
        f"generator, {' and '.join(FIG_8_LOSSES)} for others)",
    )
    options.add_argument(
        "--generators",
        nargs="+",
        choices=tuple(GENERATORS),
        metavar="GENERATOR",
        help="networks (default: the preset's and, but for SegTrack-v2, those of Fig. 8)",
    )
    return options


def trials(
    base: TrialConfig, seeds: Iterable[int], options: argparse.Namespace
) -> list[TrialConfig]:
    """Return every loss on every generator with each seed; see `parser` for which.

    Raises:
        ConfigError: The losses would have no weight, so that all were the baseline.
    """
    if base.lambda_adv == 0:
        raise ConfigError(
            "`lambda_adv > 0` must hold to compare losses, but got lambda_adv=0.0; leave it at "
            "the preset's"
        )
    return [
        dataclasses.replace(with_loss(network, loss), seed=seed)
        for seed in seeds
        for network in networks(base, options.generators)
        for loss in options.losses
        or (TABLE_4_LOSSES if network.generator == base.generator else FIG_8_LOSSES)
    ]


def networks(base: TrialConfig, generators: list[str] | None) -> list[TrialConfig]:
    """Return the base with each generator: its own as it is, the others from scratch."""
    wanted = generators or (base.generator, *FURTHER_GENERATORS.get(base.dataset, ()))
    return [
        base
        if generator == base.generator
        else dataclasses.replace(base, generator=generator, **FROM_SCRATCH)
        for generator in dict.fromkeys(wanted)
    ]


def with_loss(config: TrialConfig, loss: str) -> TrialConfig:
    """Return the config with an adversarial loss of this kind, `none` with weight 0."""
    weight = 0.0 if loss == "none" else config.lambda_adv
    return dataclasses.replace(config, adversarial=loss, lambda_adv=weight)


SWEEP = SweepScript(
    name="ablation",
    question="What do the adversarial loss, its kind and the generator contribute to the mIoU?",
    axes=("adversarial", "lambda_adv", "generator"),
    trials=trials,
    with_samples=True,
)


def main() -> int:
    """Run the sweep and return its exit code."""
    return run_sweep(SWEEP, parser())


if __name__ == "__main__":
    sys.exit(main())
