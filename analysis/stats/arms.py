"""The rows of the paper's tables: which of our trials and which of their weights stand for each."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from analysis.record.schema import RecordError, finished
from analysis.record.version_mix import describe_mixtures
from analysis.stats.aggregation import refuse_twins, require_finished
from analysis.stats.ranking import in_order
from analysis.stats.rounding import format_value

Part = str | int | float | None  # of a setting; None where a trial has no such field
Key = tuple[Part, ...]
Scores = dict[Key, dict[int, float]]  # setting to metric by seed

NUMBERS = ("lambda_adv", "seed")  # fields that every trial must have as a number
PAPER_GENERATOR = "deeplabv2_resnet101"  # section 4.1
WEIGHTS = {"val": "raw", "swa": "averaged"}
LOSSES = {"none": "baseline", "standard": "standard", "pixelwise": "pixel-wise"}  # as in Table 4


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One side of the ablation."""

    name: str
    adversarial: str
    weights: str  # `val`, the raw ones, or `swa`, the averaged ones
    words: str

    @property
    def label(self) -> str:
        """What a sentence calls it, by weights and loss: "averaged pixel-wise"."""
        return f"{WEIGHTS[self.weights]} {LOSSES[self.adversarial]}"


BASELINE = Arm(
    name="baseline", adversarial="none", weights="val", words="without adversary, raw weights"
)
STANDARD = Arm(
    name="standard",
    adversarial="standard",
    weights="swa",
    words="one decision per image, averaged weights",
)
# The paper tests with the averaged weights (section 4.1) and gains 1.0 by them alone (4.3).
PROPOSED = Arm(
    name="proposed",
    adversarial="pixelwise",
    weights="swa",
    words="pixel-wise loss, averaged weights",
)
PIXELWISE = dataclasses.replace(PROPOSED, name="pixel-wise")  # what Table 4 calls it
# Each loss with both weights of its runs.
ABLATED = (
    dataclasses.replace(BASELINE, weights="swa", words="without adversary"),
    dataclasses.replace(STANDARD, words="one decision per image"),
    dataclasses.replace(PIXELWISE, words="one decision per pixel"),
)


@dataclass(frozen=True, kw_only=True)
class ArmResults:
    """A frame's trials of one generator, by arm; with no frame every arm is empty."""

    dataset: str
    rows: Mapping[str, pd.DataFrame]  # name of the arm to its finished trials, one per seed
    notes: tuple[str, ...]

    def scores(self, arm: Arm, metric: str, weights: str = "") -> dict[int, float]:
        """Return a metric by seed, as a fraction.

        Args:
            arm: One of the rows.
            metric: `miou`, `acc`, `macc` or `fwiou`.
            weights: `val` or `swa`; by default the arm's own.
        """
        rows = self.rows[arm.name]
        return by_seed(rows, f"{weights or arm.weights}/{metric}") if len(rows) else {}


def sides(
    trials: pd.DataFrame | None, arms: Iterable[Arm], *, dataset: str, generator: str = ""
) -> ArmResults:
    """Return the finished trials of each arm, with what a caption has to say about them.

    Args:
        trials: A frame as `load_trials` returns it, or None where there are no trials.
        arms: Those of the table.
        dataset: What the table is on where there are no trials.
        generator: Which of the frame's; by default the paper's, or else the first by name.

    Raises:
        RecordError: The frame has no such generator, lacks a column, or an arm has two trials of
            one seed.
    """
    if trials is None:
        empty = {arm.name: pd.DataFrame(columns=["run_id", "seed"]) for arm in arms}
        return ArmResults(dataset=dataset, rows=empty, notes=("No trials yet",))
    require(trials, ("adversarial", "lambda_adv", "seed", "training_key", "status"))
    kept, told = _of_generator(trials, generator)
    rows = {arm.name: _rows_of(kept, arm) for arm in arms}
    ours = "; ".join(f"{arm.name} = {arm.words}{_setting(rows[arm.name], arm)}" for arm in arms)
    notes = (f"Ours: {ours}{told}", *frame_notes(trials))
    return ArmResults(dataset=trials.attrs["dataset"], rows=rows, notes=notes)


def require(trials: pd.DataFrame, names: Iterable[str]) -> None:
    """Refuse a frame that lacks one of the columns, or a number where one must be.

    Raises:
        RecordError: It does.
    """
    for name in names:
        if name not in trials:
            raise RecordError(f"a table needs {name} of every trial, but the record has none")
        is_number = pd.api.types.is_numeric_dtype(trials[name])
        if name in NUMBERS and (not is_number or trials[name].isna().any()):
            raise RecordError(f"every trial must have a number as param {name}")


def by_seed(rows: pd.DataFrame, metric: str) -> dict[int, float]:
    """Return a metric of one setting's trials by seed."""
    return {int(s): float(v) for s, v in zip(rows["seed"], rows[metric], strict=True)}


def confirmed_or_all(ended: pd.DataFrame) -> pd.DataFrame:
    """Return the trials by which settings are judged.

    Where a search trained its best settings again with other seeds, those trials alone count: the
    best of many on one seed owes part of its value to that seed.

    Args:
        ended: Finished trials.
    """
    if "phase" not in ended or not (ended["phase"] == "confirm").any():
        return ended
    return ended[ended["phase"] == "confirm"]


def values_by_setting(rows: pd.DataFrame, axes: Sequence[str], metric: str) -> Scores:
    """Return a metric by setting and seed, the settings in the order of their values.

    Args:
        rows: Trials, no two of one setting and seed.
        axes: Fields that tell the settings apart.
        metric: Column of the values.
    """
    found: Scores = {}  # by plain loops, since a grid may have thousands of trials
    columns = (rows[name].tolist() for name in (*axes, "seed", metric))
    for *key, seed, value in zip(*columns, strict=True):
        found.setdefault(tuple(map(_known, key)), {})[int(seed)] = float(value)
    return {key: found[key] for key in sorted(found, key=in_order)}


def _known(part: Part) -> Part:
    """Return None for a field that a trial has not: NaN would not equal itself as a key."""
    return None if isinstance(part, float) and math.isnan(part) else part


def refuse_twins_of(rows: pd.DataFrame, axes: Iterable[str], name: str) -> None:
    """Refuse two trials of one seed at one setting of a table.

    Args:
        rows: Finished trials.
        axes: Fields that tell the settings apart.
        name: What the trials are called in the message.

    Raises:
        RecordError: There are two.
    """
    refuse_twins(rows, [*axes, "seed"], "a table takes one trial per setting and seed", name)


def frame_notes(trials: pd.DataFrame) -> list[str]:
    """Say how many of the trials are missing, and whether they may not compare."""
    done = len(finished(trials))
    notes = []
    if done < (asked := trials.attrs["trials_total"]):
        notes.append(f"{done} of {asked} trials finished")
    return notes + [f"{told[0].upper()}{told[1:]}" for told in describe_mixtures(trials)]


def _of_generator(trials: pd.DataFrame, wanted: str) -> tuple[pd.DataFrame, str]:
    if "generator" not in trials:
        return trials, ""
    names = sorted(trials["generator"].unique())
    if wanted and wanted not in names:
        raise RecordError(f"no trial has generator={wanted}; there are: {', '.join(names)}")
    chosen = wanted or main_generator(trials)
    others = [name for name in names if name != chosen]
    told = f"; generator {chosen}" + (f" (not: {', '.join(others)})" if others else "")
    return trials[trials["generator"] == chosen], told


def _rows_of(trials: pd.DataFrame, arm: Arm) -> pd.DataFrame:
    ended = finished(trials)
    rows = ended[acting_loss(ended) == arm.adversarial]
    if arm.weights == "val":  # the raw weights are the same, however the run is read
        rows = rows.drop_duplicates("training_key")
    refuse_twins_of(rows, (), f"the {arm.name}")
    return rows.sort_values("seed")


def _setting(rows: pd.DataFrame, arm: Arm) -> str:
    """Return in brackets what one arm's trials were made with, as far as it is recorded."""
    names = ["lambda_adv"] if arm.adversarial != "none" else []
    names += ["swa_rule", "swa_n", "swa_threshold"] if arm.weights == "swa" else []
    found = [
        f"{name}={'/'.join(format_value(v) for v in rows[name].unique())}"
        for name in names
        if name in rows and len(rows)
    ]
    return f" ({', '.join(found)})" if found else ""


# In the order of Table 4. The baseline has no discriminator.
ARMS = {BASELINE.adversarial: BASELINE.name} | {
    arm.adversarial: f"{arm.name} loss" for arm in (STANDARD, PIXELWISE)
}
BASELINE_LOSS, PROPOSED_LOSS = BASELINE.adversarial, PROPOSED.adversarial


def with_arm(trials: pd.DataFrame) -> pd.DataFrame:
    """Return the finished trials with a column `arm`: the loss that acts.

    Raises:
        RecordError: No trial finished, or one does not tell its adversary.
    """
    kept = require_finished(trials)
    for name in ("adversarial", "lambda_adv"):
        if name not in kept or kept[name].isna().any():
            raise RecordError(f"every trial must have the param {name}")
    return kept.assign(arm=acting_loss(kept))


def acting_loss(trials: pd.DataFrame) -> pd.Series:
    """Return the adversarial loss of each trial: none with lambda 0, whatever its name."""
    return trials["adversarial"].where(trials["lambda_adv"] > 0, BASELINE.adversarial)


def main_generator(trials: pd.DataFrame) -> str:
    """Return the generator of which a figure or table is where none is asked for.

    It is the paper's if that has finished trials, else the one with most of them, the first of
    several by name.
    """
    counts = finished(trials)["generator"].value_counts()
    if PAPER_GENERATOR in counts:
        return PAPER_GENERATOR
    names = sorted(str(name) for name in trials["generator"].unique())
    return min(names, key=lambda name: -int(counts.get(name, 0)))


def of_one_generator(trials: pd.DataFrame, generator: str | None) -> tuple[pd.DataFrame, str]:
    """Return the finished trials of a generator, each with its `arm`, and the generator's name.

    Args:
        trials: A frame as `load_trials` returns it.
        generator: The generator; None takes `main_generator`.

    Raises:
        RecordError: As `with_arm`; or no finished trial has the generator.
    """
    kept = with_arm(trials)
    names = sorted(kept["generator"].unique())
    chosen = generator or main_generator(kept)
    if chosen not in names:
        known = ", ".join(names)
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
