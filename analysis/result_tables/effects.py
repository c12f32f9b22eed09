"""The two effects of an ablation apart: what the loss does, and what averaging the weights does.

It is a split plot. Raw and averaged weights come from one training run and share its error, so
that averaging, and how far it depends on the loss, is read from the differences within the runs;
losses are compared between runs, in blocks of seeds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import pandas as pd

from analysis.record.schema import finished
from analysis.result_tables.beside_paper import marks_note, mean_of, sentences
from analysis.result_tables.cells import Cell, seeds_note, table
from analysis.stats.arms import (
    ABLATED,
    WEIGHTS,
    ArmResults,
    frame_notes,
    refuse_twins_of,
    require,
    sides,
    values_by_setting,
)
from analysis.stats.comparisons import Comparison
from analysis.stats.datasets import dataset_name
from analysis.stats.families import Gains, Values, against, gains, in_pairs

Pair = tuple[str, str]  # two losses, the first less the second
RAW, AVERAGED = WEIGHTS["val"], WEIGHTS["swa"]
BOTH = "mean of both"
METRICS = {words: f"{weights}/miou" for weights, words in WEIGHTS.items()}
COLUMNS = {RAW: "raw [%]", AVERAGED: "averaged [%]", BOTH: "mean of both [%]"}
AVERAGING = "averaged less raw [points]"


@dataclass(frozen=True, kw_only=True, eq=False)
class Effects:
    """Loss and averaging, and their interaction; each is computed when it is first asked for.

    Attributes:
        found: The trials that they are of.
        values: mIoU by seed of each loss that has trials, for raw and averaged weights and for the
            mean of both.
    """

    found: ArmResults
    values: Mapping[str, Mapping[str, Values]]

    @cached_property
    def averaging(self) -> Gains[str]:
        """What averaging gains within each run, by loss and over all losses."""
        return gains(self.values[AVERAGED], self.values[RAW])

    @cached_property
    def raw(self) -> Mapping[Pair, Comparison]:
        """The pairs of losses, with raw weights of both."""
        return in_pairs(self.values[RAW])

    @cached_property
    def averaged(self) -> Mapping[Pair, Comparison]:
        """The pairs of losses, with averaged weights of both."""
        return in_pairs(self.values[AVERAGED])

    @cached_property
    def mean(self) -> Mapping[Pair, Comparison]:
        """The pairs of losses, in the mean of raw and averaged weights."""
        return in_pairs(self.values[BOTH])

    @cached_property
    def interaction(self) -> Mapping[Pair, Comparison]:
        """By how much averaging gains more with the first loss of a pair."""
        raw = self.values[RAW]
        changes = {
            loss: {seed: value - raw[loss][seed] for seed, value in averaged.items()}
            for loss, averaged in self.values[AVERAGED].items()
        }
        return in_pairs(changes)


def effects_of(trials: pd.DataFrame | None, *, dataset: str = "", generator: str = "") -> Effects:
    """Return the effects in a frame's trials of one generator.

    Args:
        trials: A frame as `load_trials` returns it, or None where there are no trials.
        dataset: As of `sides`.
        generator: As of `sides`.

    Raises:
        RecordError: As `sides`.
    """
    found = sides(trials, ABLATED, dataset=dataset, generator=generator)
    arms = [arm for arm in ABLATED if len(found.rows[arm.name])]
    values: dict[str, dict[str, Values]] = {
        words: {arm.name: found.scores(arm, "miou", weights) for arm in arms}
        for weights, words in WEIGHTS.items()
    }
    values[BOTH] = {
        loss: {seed: (value + values[AVERAGED][loss][seed]) / 2 for seed, value in of_raw.items()}
        for loss, of_raw in values[RAW].items()
    }
    return Effects(found=found, values=values)


def effects(trials: pd.DataFrame, *, generator: str = "") -> pd.DataFrame:
    """Return mIoU by loss and weights, with the contrasts of either and their interaction.

    Args:
        trials: A frame as `load_trials` returns it.
        generator: As of `sides`.

    Returns:
        A row per loss, one for averaging over all losses, and one per pair of losses. Columns: raw
        and averaged weights, the mean of both, and averaged less raw, which is the interaction in
        the row of a pair.

    Raises:
        RecordError: As `sides`.
    """
    apart = effects_of(trials, generator=generator)
    rows: list[dict[str, Cell]] = [
        {"loss": loss}
        | {column: mean_of(apart.values[weights][loss]) for weights, column in COLUMNS.items()}
        | {AVERAGING: gain}
        for loss, gain in apart.averaging.each.items()
    ]
    if len(rows) > 1:
        over_all: dict[str, Cell] = dict.fromkeys(COLUMNS.values())
        rows.append({"loss": "all losses"} | over_all | {AVERAGING: apart.averaging.overall})
    losses = dict(zip(COLUMNS.values(), (apart.raw, apart.averaged, apart.mean), strict=True))
    rows += [
        dict[str, Cell](loss=f"{one} less {other}, points")
        | {column: by_pair[one, other] for column, by_pair in losses.items()}
        | {AVERAGING: interaction}
        for (one, other), interaction in apart.interaction.items()
    ]
    dataset = dataset_name(apart.found.dataset)
    cells = [cell for row in rows for cell in row.values()]
    compared = [cell for cell in cells if isinstance(cell, Comparison)]
    return table(
        rows,
        title=f"Loss and averaging apart, mIoU, {dataset}",
        finding="\n".join(_findings(apart)),
        measured=[*COLUMNS.values(), AVERAGING],
        caption=sentences(
            [
                f"On the validation set of {dataset}",
                *apart.found.notes,
                *seeds_note(cells),
                *_families(apart),
                *marks_note(compared, "comparisons"),
            ]
        ),
    )


def lambda_effects(trials: pd.DataFrame) -> pd.DataFrame:
    """Return what each lambda changes against lambda 0, and what averaging does at each and in all.

    These questions were asked before the numbers were seen, apart from the search for the best.

    Args:
        trials: A frame as `load_trials` returns it.

    Returns:
        A row per lambda and one for all of them. Columns: raw and averaged weights less those at
        lambda 0, and averaged less raw.

    Raises:
        RecordError: A column is missing, or two trials share lambda and seed.
    """
    require(trials, ("lambda_adv", "seed", "status", *METRICS.values()))
    ended = finished(trials)
    refuse_twins_of(ended, ["lambda_adv"], "the grid")
    values = {
        words: {
            float(str(key[0])): by_seed
            for key, by_seed in values_by_setting(ended, ["lambda_adv"], metric).items()
        }
        for words, metric in METRICS.items()
    }
    averaging = gains(values[AVERAGED], values[RAW])
    from_zero = {
        words: against(0.0, of_weights) if 0.0 in of_weights else {}
        for words, of_weights in values.items()
    }
    columns = {f"{words} less lambda 0 [points]": found for words, found in from_zero.items()}
    rows: list[dict[str, Cell]] = []
    for value, gain in averaging.each.items():
        row: dict[str, Cell] = {"lambda_adv": value}
        row |= {column: found.get(value) for column, found in columns.items()}
        rows.append(row | {AVERAGING: gain})
    over_all: dict[str, Cell] = {"lambda_adv": "all", **dict.fromkeys(columns)}
    rows.append(over_all | {AVERAGING: averaging.overall})
    dataset = dataset_name(str(trials.attrs["dataset"]))
    compared = [cell for row in rows for cell in row.values() if isinstance(cell, Comparison)]
    return table(
        rows,
        title=f"Loss and averaging by lambda, mIoU, {dataset}",
        finding="\n".join(_lambda_findings(averaging.overall, from_zero[AVERAGED])),
        measured=[name for name in rows[0] if name.endswith("[points]")],
        caption=sentences(
            [
                f"On the validation set of {dataset}",
                *frame_notes(trials),
                "Less lambda 0: within seeds; averaged less raw: within each training run. The "
                "95 % intervals of a column hold at once; over all lambdas by the seeds alone",
                *marks_note(compared, "comparisons"),
            ]
        ),
    )


def _lambda_findings(overall: Comparison, from_zero: Mapping[float, Comparison]) -> list[str]:
    """Say what averaging gains, and the lambda whose difference from 0 is the surest."""
    found = [overall.describe("Averaged mIoU over all lambdas", "the raw one of the same runs")]
    tested = {value: one for value, one in from_zero.items() if one.error > 0}
    if tested:
        value = min(tested, key=lambda key: tested[key].p_corrected)
        told = tested[value].describe(f"Averaged mIoU at lambda {value:g}", "that at lambda 0")
        clear = sum(one.distinguishable for one in tested.values())
        many = f"{clear} of {len(tested)} differ from 0"
        found.append(f"{told}; {many}" if len(tested) > 1 else told)
    return found


def loss_findings(apart: Effects) -> list[str]:
    """Say how the losses compare with averaged weights, pixel-wise against standard first."""
    return [
        comparison.describe(f"{AVERAGED} {one}", f"{AVERAGED} {other}")
        for (one, other), comparison in sorted(
            apart.averaged.items(), key=lambda item: item[0][1] != "standard"
        )
    ]


def _findings(apart: Effects) -> list[str]:
    """Return what averaging does, what the loss does, and whether one depends on the other."""
    found = [apart.averaging.overall.describe("averaged mIoU", "the raw one of the same runs")]
    for (one, other), interaction in [*apart.interaction.items()][:1]:
        loss = apart.mean[one, other]
        found.append(f"{loss.describe(f'{one} loss', f'the {other}')}, mean of both weights")
        found.append(interaction.describe(f"averaging's gain at {one}", f"that at {other}"))
    return [f"{words[0].upper()}{words[1:]}" for words in found]


def _families(apart: Effects) -> list[str]:
    many = len(apart.averaging.each)
    notes = [f"{AVERAGING.partition(' [')[0].capitalize()}: within each training run"]
    if many > 1:
        notes[0] += f", with intervals for {many} losses at once; over all losses, by the seeds"
    if many > 2:
        pairs = len(apart.interaction)
        notes.append(f"Losses: within seeds, with intervals for {pairs} pairs at once per column")
    elif many > 1:
        notes.append("Losses: within seeds")
    if many > 1:
        notes.append("In the rows of pairs the last column is the interaction")
    return notes
