"""A sweep's state, failures, cost, conditions and links, as the words of its section."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

import pandas as pd

from analysis.record.schema import Sweep
from analysis.record.tracking_uri import is_server, ui_command
from analysis.record.version_mix import SHARED
from analysis.report.views import SCORES, STATUS
from trainable.storage.json_files import JsonObject
from trainable.storage.redaction import HIDDEN, redact_uri

LOCAL_UI = "http://127.0.0.1:5000"  # where `mlflow ui` listens unless told otherwise
CAUSES_SHOWN = 20
RUNS_PER_CAUSE = 3
NOT_RECORDED = "not recorded"


@dataclass(frozen=True, kw_only=True)
class Tracking:
    """Where the runs of a record are shown in MLflow's pages.

    Attributes:
        shown: The tracking URI, without what gives access to it.
        base: The address that links to runs begin with.
        command: What starts the server of a database; empty where the URI names a server.
    """

    shown: str
    base: str
    command: str

    @classmethod
    def of(cls, uri: str) -> Tracking:
        """Return where the runs of a tracking URI are shown."""
        shown = redact_uri(uri)
        if is_server(shown):
            parts = urlsplit(shown)
            host = parts.netloc.removeprefix(f"{HIDDEN}@")
            base = f"{parts.scheme}://{host}{parts.path.rstrip('/')}"
            return cls(shown=base, base=base, command="")
        return cls(shown=shown, base=LOCAL_UI, command=ui_command(uri))

    def run(self, experiment_id: str, run_id: str) -> str:
        """Return the address of a run's page in MLflow."""
        return f"{self.base}/#/experiments/{experiment_id}/runs/{run_id}"


@dataclass(frozen=True, kw_only=True)
class FailureGroup:
    """Trials that did not finish for one and the same cause, with the first of their runs."""

    count: int
    status: str
    cause: str
    runs: list[str]


def stamp(sweep: Sweep, trials: pd.DataFrame) -> str:
    """Return "n of N trials" for a sweep that lacks some, and nothing for one that has all."""
    counts = Counter(trials["status"])
    total = sweep.trials_total
    ended = counts["FINISHED"] + counts["KILLED"]  # the scheduler stops trials by intention
    if sweep.state != "partial" and ended >= total:
        return ""
    return f"{counts['FINISHED']} of {total} trials"


def why_partial(sweep: Sweep) -> str:
    """Return the reason for which a sweep ended early, as a sentence."""
    return f"The sweep ended early: {sweep.why_partial}." if sweep.why_partial else ""


def tally(trials: pd.DataFrame, total: int) -> str:
    """Return how many of the trials asked for finished, failed or are missing, in one sentence."""
    counts = Counter(trials["status"])
    parts = [f"{counts[status]} {word}" for status, word in STATUS.items() if counts[status]]
    if (absent := total - len(trials)) > 0:
        parts.append(f"{absent} not begun")
    finished = trials[trials["status"] == "FINISHED"]
    if silent := int(finished[list(SCORES)].isna().any(axis=1).sum()):
        parts.append(f"{silent} finished without an mIoU")
    return f"Of {total} trials {', '.join(parts)}."


def failure_groups(trials: pd.DataFrame) -> list[FailureGroup]:
    """Return the causes for which trials did not finish, the most frequent first."""
    rows = trials[trials["status"] != "FINISHED"]
    cause = rows["cause"].astype(object).fillna("no cause recorded")
    found = [
        FailureGroup(
            count=len(group),
            status=STATUS.get(status, status),
            cause=why,
            runs=list(group["run_id"].head(RUNS_PER_CAUSE)),
        )
        for (status, why), group in rows.groupby([rows["status"], cause])
    ]
    return sorted(found, key=lambda group: -group.count)


def costs(sweep: Sweep) -> list[tuple[str, str]]:
    """Return what the sweep cost beside one training run per trial."""
    if not sweep.has_costs:
        return [("Cost", NOT_RECORDED)]
    runs, naive, seconds = round(sweep.training_runs), round(sweep.naive_runs), sweep.training_s
    time = format_duration(seconds)
    if runs:
        time += (
            f"; one run per trial would take about {format_duration(seconds * naive / runs)}, "
            "at the mean time per run"
        )
    counts = f"{runs} for {sweep.trials_total} trials; one run per trial would be {naive}"
    return [("Training runs", counts), ("Training time", time)]


def format_duration(seconds: float) -> str:
    """Return seconds in the unit that a person would use."""
    for unit, size in (("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:,.1f} {unit}"
    return f"{seconds:.0f} s"


def conditions(environment: JsonObject) -> list[tuple[str, str]]:
    """Return hardware and versions from a sweep's `environment.json`, empty where not recorded."""
    if not environment:
        return [("Hardware and versions", NOT_RECORDED)]
    packages = environment.get("packages") or {}
    return [
        ("Hardware", hardware(environment)),
        ("Python", _joined([environment.get("python"), environment.get("platform")])),
        ("Packages", _joined([f"{name} {packages[name]}" for name in sorted(packages)])),
    ]


def identities(trials: pd.DataFrame) -> list[tuple[str, str]]:
    """Return code, data, torch and processors of the trials, where the frame has them."""
    return [
        (name.replace("_", " ").capitalize(), _joined(sorted(trials[name].dropna().unique())))
        for name in SHARED
        if name in trials
    ]


def hardware(environment: JsonObject) -> str:
    """Return processor, memory and GPUs in one line."""
    cpus, memory = environment.get("cpus"), environment.get("memory_gb")
    gpus = Counter(environment.get("gpus") or ())
    return _joined(
        [
            environment.get("cpu"),
            cpus and f"{cpus} CPU core{'s' * (cpus != 1)}",
            memory and f"{memory:.4g} GB of memory",
            *(f"{number} {name}" for name, number in sorted(gpus.items())),
            "no GPU" if not gpus else None,
        ]
    )


def _joined(parts: Sequence[str | None]) -> str:
    return ", ".join(str(part) for part in parts if part) or NOT_RECORDED
