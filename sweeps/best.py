"""Write the best setting of a sweep as a config that trains it again.

    python -m sweeps.best lambda_grid --out best.yaml
    python -m trainable.train --config best.yaml

It is the setting that the sweep itself, its record and the report name. The config has all fields
that differ from the defaults, and every command takes it with `--config`; with the same code and
data its training run has the same key, and so the same numbers. What it lacks decides none: where
data and pretrained weights lie, and on what is trained. The record alone is read. Exit codes: 0, or
2 for bad input, with one line on standard error and nothing written.
"""

from __future__ import annotations

import dataclasses
import shlex
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

from analysis.record.choice import REVISIONS, RULE, began
from analysis.record.schema import Sweep
from analysis.stats.ranking import rank
from sweeps.driver.options import add_tracking_uri
from sweeps.driver.tables import format_best
from sweeps.planning.ranking import (
    REPORTED,
    BestPoint,
    MeasuredTrial,
    best_of_ranking,
    settings_among,
)
from sweeps.record.reader import RecordedSweep, RecordedTrial, read_sweep
from trainable.cli.options import OK, check_writable, command, ended_by_signals
from trainable.cli.parsed_options import read_options
from trainable.cli.parser import Parser, refuse
from trainable.cli.streams import tell_who_waits
from trainable.config.schema import DEFAULTS, EXECUTION_FIELDS, ConfigError, TrialConfig
from trainable.storage.files import write_atomically
from trainable.storage.redaction import printable, redact, redact_uri

WIDTH = 98  # characters of a line of the heading, without its mark


@dataclass(frozen=True, kw_only=True)
class BestOptions:
    """The options of this command.

    Attributes:
        sweep: Name, key or parent run of the sweep.
        tracking_uri: MLflow store that holds it.
        out: The file to write.
        force: Whether another file of that name is overwritten.
    """

    sweep: str
    tracking_uri: str
    out: str
    force: bool


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
    def read(cls, tracking_uri: str, wanted: str) -> BestConfig:
        """Return the best setting of a sweep of the record.

        Raises:
            ConfigError: As `read_sweep`; or no trial has numbers, or their configs are not those
                of this version.
        """
        found = read_sweep(tracking_uri, wanted)
        measured = {config_of(trial): trial for trial in found.trials}
        settings = settings_among(
            [
                MeasuredTrial(
                    config=config, metrics=metrics_of(trial), phase=trial.tags.get("phase", "")
                )
                for config, trial in measured.items()
            ],
            found.sweep.axes,
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
            for line in textwrap.wrap(_shown(said), WIDTH, break_on_hyphens=False)
        ]
        wrapped += ["Train it again, another of its seeds with --set seed=N:"]
        wrapped += ["", f"    {_shown(self.command(out))}", ""]
        values = {
            name: value
            for name, value in dataclasses.asdict(self.config).items()
            if name not in EXECUTION_FIELDS and (value != DEFAULTS[name] or name == "seed")
        }
        comments = [f"# {line}".rstrip() for line in wrapped]
        return "\n".join([*comments, yaml.safe_dump(values, sort_keys=False)])


def _shown(said: str) -> str:
    """Return a text of the record in one line that tells no secret."""
    return printable(redact(" ".join(said.split())))


@ended_by_signals()
@command
def main() -> int:
    """Write the config that the command line asks for, and return the exit code."""
    options = read_options(BestOptions, parser().parse_args())
    tell_who_waits(f"reading {redact_uri(options.tracking_uri)}")
    out = Path(options.out)
    try:
        check_writable("--out", out.parent)
        best = BestConfig.read(options.tracking_uri, options.sweep)
        _write(out, best.content(options.out).encode(), force=options.force)
    except ConfigError as error:
        refuse(str(error))
    for line in (*best.heading(), f"train it again with: {best.command(options.out)}"):
        print(_shown(line), file=sys.stderr)
    print(out)
    return OK


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
        ConfigError: Its params are not those of this version.
    """
    has_weights = bool(trial.run.data.params.get("weights_sha256"))
    return trial.config(**({"weights": "FILE"} if has_weights else {}))


def metrics_of(trial: RecordedTrial) -> dict[str, float]:
    """Return the metrics that settings are ranked by and reported with, NaN where absent."""
    metrics = trial.run.data.metrics
    return {name: float(metrics.get(name, "nan")) for name in REPORTED}


def _write(out: Path, content: bytes, *, force: bool) -> None:
    """Write the file, unless another one is there.

    Raises:
        ConfigError: It is, or a folder is.
    """
    if out.is_dir():
        raise ConfigError(f"--out must name a file, but {out} is a folder")
    if out.exists() and not force and out.read_bytes() != content:
        raise ConfigError(
            f"--out must name a new file, but {out} is there with another content; name another, "
            "or overwrite it with --force"
        )
    out.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(out, content)


def parser() -> Parser:
    """Return the options of this command."""
    options = Parser(
        description=__doc__,
        module="sweeps.best",
        example="lambda_grid --out best.yaml",
    )
    options.add_argument(
        "sweep",
        metavar="SWEEP",
        help=f"its sweep_key, the id of its parent run, or a name: {RULE}. {REVISIONS}",
    )
    add_tracking_uri(options)
    options.add_argument(
        "--out", default="best.yaml", metavar="FILE", help="config to write (default: best.yaml)"
    )
    options.add_argument("--force", action="store_true", help="overwrite another file of that name")
    return options


if __name__ == "__main__":
    sys.exit(main())
