"""The best setting of a recorded sweep as a config that trains it again, and as a file of it."""

from __future__ import annotations

import dataclasses
import shlex
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import yaml

from analysis.record.choice import began
from analysis.record.schema import EXPERIMENT, Sweep
from analysis.stats.ranking import rank
from sweeps.driver.tables import format_best
from sweeps.planning.ranking import (
    BestPoint,
    MeasuredTrial,
    best_of_ranking,
    reported,
    settings_among,
)
from sweeps.record.reader import RecordedSweep, RecordedTrial, read_sweep
from trainable.config.schema import DEFAULTS, EXECUTION_FIELDS, ConfigError, TrialConfig
from trainable.storage.redaction import printable, redact

WIDTH = 98  # characters of a line of the heading, without its mark


@dataclass(frozen=True, kw_only=True)
class BestConfig:
    """The best setting of a sweep, as it is trained again.

    Attributes:
        sweep: The sweep.
        config: The config of the setting's first seed.
        seeds: Its seeds, of those over which the settings were ranked.
        best: What is said of it.
        trial: One of its trials.
    """

    sweep: Sweep
    config: TrialConfig
    seeds: tuple[int, ...]
    best: BestPoint
    trial: RecordedTrial

    @classmethod
    def read(cls, tracking_uri: str, wanted: str, experiment: str = EXPERIMENT) -> BestConfig:
        """Return the best setting of a sweep of the record.

        Raises:
            ConfigError: As `read_sweep`; or no trial has numbers, or their configs are not those
                of this version.
        """
        found = read_sweep(tracking_uri, wanted, experiment)
        measured = {config_of(trial): trial for trial in found.trials}
        settings = settings_among(
            [
                MeasuredTrial(
                    config=config,
                    metrics=metrics_of(trial, found.sweep.objectives),
                    phase=trial.tags.get("phase", ""),
                )
                for config, trial in measured.items()
            ],
            found.sweep.axes,
            found.sweep.objectives,
        )
        by_seed = {setting: setting.by_seed() for setting in settings}
        ranking = rank(by_seed, race=found.sweep.race)
        best = best_of_ranking(ranking, found.sweep.axes)
        if ranking is None or best is None:
            raise ConfigError(
                f"a sweep with a best setting has trials with numbers, but {wanted!r} has none; "
                "name another"
            )
        seeds = tuple(sorted(ranking.best_values))
        trained = dataclasses.replace(ranking.best.config, seed=seeds[0])
        return cls(
            sweep=found.sweep,
            config=_as_asked(found, trained),
            seeds=seeds,
            best=best,
            trial=measured[trained],
        )

    def heading(self) -> Iterator[str]:
        """Yield what is said of the setting, a sentence or two each."""
        sweep, tags = self.sweep, self.trial.tags
        yield (
            f"The best setting of {sweep.sweep} on {sweep.dataset}, begun {began(sweep)} (sweep "
            f"key {sweep.sweep_key})."
        )
        optimistic = " Its mean is optimistic: the same seeds have picked it."
        yield f"{format_best(self.best)}.{optimistic if self.best.others else ''}"
        yield (
            f"Trained by code {tags['code_version']} (commit {tags['git_commit']}) on data "
            f"{tags['data_fingerprint']} with seeds {', '.join(map(str, self.seeds))}."
        )

    def command(self, out: str) -> str:
        """Return the command that trains the setting's first seed again from a file."""
        from trainable.data.sources.source import file_sources

        words = f"python -m trainable.train --config {shlex.quote(out)}"
        if self.config.dataset in file_sources():
            words += " --data-root DIR"
        return words + (" --set weights=FILE" if self.config.weights_sha256 else "")

    def content(self, out: str) -> str:
        """Return the file: what is said of the setting as comments, and its fields."""
        wrapped = [
            line
            for said in self.heading()
            for line in textwrap.wrap(shown(said), WIDTH, break_on_hyphens=False)
        ]
        wrapped += ["Train it again, another of its seeds with --set seed=N:"]
        wrapped += ["", f"    {shown(self.command(out))}", ""]
        values = {
            name: value
            for name, value in dataclasses.asdict(self.config).items()
            if name not in EXECUTION_FIELDS and (value != DEFAULTS[name] or name == "seed")
        }
        comments = [f"# {line}".rstrip() for line in wrapped]
        return "\n".join([*comments, yaml.safe_dump(values, sort_keys=False)])


def shown(said: str) -> str:
    """Return a text of the record in one line that tells no secret."""
    return printable(redact(" ".join(said.split())))


def _as_asked(found: RecordedSweep, trained: TrialConfig) -> TrialConfig:
    """Return what a trial was asked for, of which its own config tells only what has an effect.

    A trial with lambda 0 is recorded without an adversary. With that of the sweep it is the same
    training run, and a sweep over lambda can begin from it.
    """
    point = {axis: getattr(trained, axis) for axis in found.sweep.axes}
    weights = {"weights": trained.weights} if trained.weights else {}
    try:
        asked = found.base.config(**point, **weights, seed=trained.seed)
    except ConfigError:
        return trained
    return asked if asked.canonical() == trained else trained


def config_of(trial: RecordedTrial) -> TrialConfig:
    """Return the config of a trial; whether pretrained weights are at hand is not looked at.

    Raises:
        ConfigError: Its fields are not those of this version.
    """
    has_weights = bool(trial.origin.config.get("weights_sha256"))
    return trial.config(**({"weights": "FILE"} if has_weights else {}))


def metrics_of(trial: RecordedTrial, objectives: Sequence[str]) -> dict[str, float]:
    """Return the metrics that settings are ranked by and reported with, NaN where absent."""
    metrics = trial.run.data.metrics
    return {name: float(metrics.get(name, "nan")) for name in reported(objectives)}
