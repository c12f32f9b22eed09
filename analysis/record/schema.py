"""The schema of the record: every tag, metric and artifact that the analysis reads, in one place.

`sweeps/record/` writes it. What a record of this schema may lack reads as absent: NaN, or an empty
text.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from analysis.record.origin import USER, Origin, RecordError
from analysis.record.tracking_uri import DEFAULT_EXPERIMENT

if TYPE_CHECKING:
    import pandas as pd
    from mlflow.entities import Run

__all__ = ["RecordError"]

EXPERIMENT = DEFAULT_EXPERIMENT
# 2: params are what was asked, and what else a run was made from lies in one tag (`Origin`).
SCHEMA = 2
METRICS = (
    *("val/miou", "val/acc", "val/macc", "val/fwiou"),
    *("swa/miou", "swa/acc", "swa/macc", "swa/fwiou"),
    *("train/loss_mce", "train/loss_adv", "train/loss_disc", "images_per_s"),
)
OBJECTIVE = "swa/miou"  # on validation: what settings are ranked by where nothing else is asked
SECONDS_TRAINED = "cost/train_s"  # of the training run that answers the trial
# Those with a value per iteration; `result.json` holds them and the discriminator's outputs.
CURVES = ("val/miou", "train/loss_mce", "train/loss_adv", "train/loss_disc")
LISTED = ("axes", "objectives")  # fields of a `Sweep` that are tuples, which files give as lists
# What every trial has, `trial_key` as a tag and the others in its `Origin`.
TRIAL_FACTS = ("training_key", "code_version", "data_fingerprint")
# Tags that some trials have: a failed or stopped one says why; a search numbers its suggestions;
# what the numbers were made with.
OPTIONAL_TRIAL_TAGS = (
    *("cause", "phase", "search_state", "torch"),
    *("torchvision", "python", "device", "cpu", "threads", "host"),
)
COSTS = ("cost/training_runs", "cost/naive_runs", "cost/training_s")
SWEEPS = "tags.kind = 'sweep'"  # MLflow's filter string for all parent runs
COUNT = re.compile("[0-9]{1,9}")
DETAIL_FILE = "result.json"
MASKS_FILE = "samples.npz"
ENVIRONMENT_FILE = "environment.json"

# The columns that every frame of trials has, in this order; the fields of the config follow.
COLUMNS: dict[str, str] = {
    **dict.fromkeys(("trial_key", *TRIAL_FACTS), "str"),
    "run_id": "str",
    "status": "str",  # of `status_of`: FINISHED, FAILED, KILLED (stopped for good) or RUNNING
    **dict.fromkeys((*OPTIONAL_TRIAL_TAGS, "git_commit"), "str"),  # empty where absent
    "processor": "str",  # GPU, or kind of CPU; empty where absent
    "ask": "float64",  # number of the search's suggestion, from 0; NaN outside searches
    "start_time_s": "float64",  # seconds since the epoch
    "end_time_s": "float64",  # NaN while it runs
    "record_hash": "str",  # of all that was published of the trial; empty until it has ended
    "artifact_uri": "str",
    **dict.fromkeys(METRICS, "float64"),
}


@dataclass(frozen=True, kw_only=True)
class Race:
    """How often a race may look at its settings, which decides what a look may say.

    Attributes:
        first: Seeds of every setting at the first look, at least 2.
        limit: Most seeds that a setting may get.
    """

    first: int
    limit: int

    def joined(self, other: Race | None) -> Race:
        """Return the race that looks as early as the earlier and as late as the later of two."""
        if other is None:
            return self
        return Race(first=min(self.first, other.first), limit=max(self.limit, other.limit))


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """A sweep's parent run; its fields are the `attrs` of the frame of its trials."""

    sweep: str  # name: lambda_grid, swa_grid, joint_search, ablation or the user's own
    sweep_key: str  # 16 hexadecimal digits
    dataset: str
    trials_total: int  # asked for, whatever became of them
    parent_run_id: str
    experiment_id: str
    owner: str = ""  # user@host; empty in a record of before
    artifact_uri: str = ""  # where the parent run's artifacts lie
    question: str = ""  # one sentence
    axes: tuple[str, ...] = ()  # fields of the config in which the trials differ
    # Metrics: the first is what settings are ranked by, and a search makes all of them good.
    objectives: tuple[str, ...] = (OBJECTIVE,)
    code_version: str = ""  # of the code that trains its trials
    data_fingerprint: str = ""
    state: str = ""  # complete or partial
    why_partial: str = ""  # for example "time budget of 60 s"
    data_warnings: str = ""  # what is suspect about the data's labels, one line each
    race_first: int = 0  # seeds at the first look of a race; 0 where there was none
    race_limit: int = 0  # most seeds of a setting in it
    start_time_s: float = math.nan  # seconds since the epoch
    end_time_s: float = math.nan
    training_runs: float = math.nan  # runs trained for the sweep
    naive_runs: float = math.nan  # runs that one per trial would have been
    training_s: float = math.nan  # seconds trained, over all runs

    @classmethod
    def of_run(cls, run: Run) -> Sweep:
        """Return the sweep that a parent run of the record tells of.

        Raises:
            RecordError: The run is of a later schema, or no sweep's driver wrote it.
        """
        check_schema(run)
        total = tag_of(run, "trials_total")
        if not COUNT.fullmatch(total):
            raise RecordError(
                f"trials_total is a count, but run {run.info.run_id} has {total[:50]!r}"
            )
        tags, facts = run.data.tags, Origin.of_run(run).facts
        costs = (run.data.metrics.get(name, math.nan) for name in COSTS)
        runs, naive, training_s = costs
        return cls(
            sweep=tag_of(run, "sweep"),
            sweep_key=tag_of(run, "sweep_key"),
            dataset=tag_of(run, "dataset"),
            trials_total=int(total),
            parent_run_id=run.info.run_id,
            experiment_id=run.info.experiment_id,
            owner=tags.get(USER, ""),
            artifact_uri=run.info.artifact_uri,
            question=tags.get("question", ""),
            axes=tuple(filter(None, tags.get("axes", "").split(","))),
            objectives=tuple(tags.get("objectives", OBJECTIVE).split(",")),
            code_version=facts.get("code_version", ""),
            data_fingerprint=facts.get("data_fingerprint", ""),
            state=tags.get("state", ""),
            why_partial=tags.get("why_partial", ""),
            data_warnings=tags.get("data_warnings", ""),
            race_first=whole_of(run, "race_first") or 0,
            race_limit=whole_of(run, "race_limit") or 0,
            start_time_s=seconds(run.info.start_time),
            end_time_s=seconds(run.info.end_time),
            training_runs=runs,
            naive_runs=naive,
            training_s=training_s,
        )

    @property
    def race(self) -> Race | None:
        """The race that gave the settings their seeds, None without one."""
        return _race(self.race_first, self.race_limit)

    @property
    def has_costs(self) -> bool:
        """Whether the record says what the sweep cost."""
        return all(map(math.isfinite, (self.training_runs, self.naive_runs, self.training_s)))

    @classmethod
    def of(cls, trials: pd.DataFrame) -> Sweep:
        """Return the sweep that a frame of trials came from."""
        fields = {field.name for field in dataclasses.fields(cls)}
        found: dict[str, Any] = {k: v for k, v in trials.attrs.items() if k in fields}
        listed: dict[str, Any] = {name: tuple(found[name]) for name in LISTED if name in found}
        return cls(**found | listed)


def objectives_of(trials: pd.DataFrame) -> tuple[str, ...]:
    """Return the metrics that the settings of a frame of trials are judged by, the ranking first.

    Raises:
        RecordError: No trial has one of them.
    """
    found = tuple(trials.attrs.get("objectives", (OBJECTIVE,)))
    for name in found:
        if name not in trials:
            raise RecordError(f"no trial has the objective {name}")
    return found


def is_cost(name: str) -> bool:
    """Return whether of a metric the smaller value is the better one."""
    return name.startswith(("cost/", "train/loss"))


def race_of(trials: pd.DataFrame) -> Race | None:
    """Return the race that gave the settings of a frame of trials their seeds, None without one."""
    return _race(*(int(trials.attrs.get(f"race_{name}", 0)) for name in ("first", "limit")))


def _race(first: int, limit: int) -> Race | None:
    return Race(first=first, limit=limit) if limit else None


def finished(trials: pd.DataFrame) -> pd.DataFrame:
    """Return the trials that came to their end, the only ones that have final metrics."""
    return trials[trials["status"] == "FINISHED"]


def find_sweeps(parents: Sequence[Run], wanted: str | None) -> list[Run]:
    """Return the parent runs of a name, a `sweep_key` or a run id, all where None is wanted.

    Raises:
        RecordError: There is none.
    """
    if wanted is None:
        return [*parents]
    found = [
        run
        for run in parents
        if wanted in (run.data.tags.get("sweep"), run.data.tags.get("sweep_key"), run.info.run_id)
    ]
    if not found:
        names = sorted({run.data.tags.get("sweep", run.info.run_name) for run in parents})
        held = ", ".join(names) or "none"
        raise RecordError(f"no sweep {wanted!r} in the record; it holds: {held}")
    return found


def trials_under(parent_run_id: str) -> str:
    """Return MLflow's filter string for the trials of a sweep."""
    return f"tags.kind = 'trial' and tags.`mlflow.parentRunId` = '{parent_run_id}'"


def count_ended(statuses: Iterable[str]) -> int:
    """Return how many trials finished or were stopped by the sweep; 0 where none finished."""
    counts = Counter(statuses)
    return counts["FINISHED"] + counts["KILLED"] if counts["FINISHED"] else 0


def status_of(run: Run, origin: Origin) -> str:
    """Return the status of a trial's run, RUNNING also of one that goes on when it is resumed.

    A trial that a command left half-way is KILLED in MLflow, as one is that its sweep stopped for
    good; of that one alone all is published.
    """
    is_left_off = run.info.status == "KILLED" and "record_hash" not in origin.facts
    return "RUNNING" if is_left_off else str(run.info.status)


def check_schema(run: Run) -> None:
    """Refuse a run of a later schema.

    Raises:
        RecordError: It is one, or no driver wrote it.
    """
    found = tag_of(run, "schema")
    if not COUNT.fullmatch(found) or int(found) > SCHEMA:
        raise RecordError(
            f"run {run.info.run_id} has schema {found}, but this version reads up to {SCHEMA}; "
            "update the program"
        )


def tag_of(run: Run, name: str) -> str:
    """Return a tag that every run of the record has.

    Raises:
        RecordError: The run lacks it.
    """
    if name not in run.data.tags:
        raise RecordError(f"run {run.info.run_id} has no tag {name!r}: no sweep's driver wrote it")
    return str(run.data.tags[name])


def fact_of(run: Run, origin: Origin, name: str) -> str:
    """Return what every run of the record is made from.

    Raises:
        RecordError: The run does not say it.
    """
    if name not in origin.facts:
        raise RecordError(f"run {run.info.run_id} has no {name!r}: no sweep's driver wrote it")
    return origin.facts[name]


def whole_of(run: Run, name: str) -> int | None:
    """Return a tag that is a whole number, where the run has it.

    Raises:
        RecordError: The tag is no such number.
    """
    text = run.data.tags.get(name)
    if text is not None and not COUNT.fullmatch(text):
        raise RecordError(f"{name} is a count, but run {run.info.run_id} has {text[:50]!r}")
    return None if text is None else int(text)


def seconds(milliseconds: int | None) -> float:
    """Return a time of MLflow's in seconds since the epoch, NaN where there is none."""
    return math.nan if milliseconds is None else milliseconds / 1000
