"""The arms of an ablation, baseline, standard and pixel-wise loss, and what each is called."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from analysis._frames import RecordError
from analysis._palette import LOOKS, Look
from analysis._points import finished

# In the order of Table 4. The baseline has no discriminator.
ARMS = {"none": "baseline", "standard": "standard loss", "pixelwise": "pixel-wise loss"}
ARM_LOOKS: dict[str, Look] = {"none": LOOKS[1], "standard": LOOKS[2], "pixelwise": LOOKS[0]}
BASELINE, PROPOSED = "none", "pixelwise"


def with_arm(trials: pd.DataFrame) -> pd.DataFrame:
    """Return the finished trials with a column `arm`; with lambda 0 no adversary acts.

    Raises:
        RecordError: No trial finished, or one does not tell its adversary.
    """
    kept = finished(trials)
    for name in ("adversarial", "lambda_adv"):
        if name not in kept or kept[name].isna().any():
            raise RecordError(f"every trial must have the param {name}")
    return kept.assign(arm=kept["adversarial"].where(kept["lambda_adv"] > 0, BASELINE))


def of_one_generator(trials: pd.DataFrame, generator: str | None) -> tuple[pd.DataFrame, str]:
    """Return the finished trials of a generator, each with its `arm`, and the generator's name.

    Args:
        trials: A frame as `load_trials` returns it.
        generator: The generator; None takes the one with most trials, the first of several by name.

    Raises:
        RecordError: As `with_arm`; or no finished trial has the generator.
    """
    kept = with_arm(trials)
    counts = kept["generator"].value_counts()
    chosen = generator or min(counts.index, key=lambda name: (-counts[name], name))
    if chosen not in counts:
        known = ", ".join(sorted(counts.index))
        raise RecordError(f"no finished trial has generator={chosen}; there are: {known}")
    return kept[kept["generator"] == chosen], chosen


def need_arms(kept: pd.DataFrame, arms: Sequence[str], figure: str) -> None:
    """Refuse trials of which none belongs to one of these arms.

    Raises:
        RecordError: An arm has no trial.
    """
    for arm in arms:
        if not (kept["arm"] == arm).any():
            found = ", ".join(ARMS.get(name, name) for name in sorted(kept["arm"].unique()))
            raise RecordError(
                f"{figure} needs the {ARMS[arm]}, but finished trials are of: {found}"
            )
