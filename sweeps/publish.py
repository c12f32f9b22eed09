"""Bring the record up to date from manifests and run folders, without training anything.

    python -m sweeps.publish [--storage DIR] [--tracking-uri URI] [--sweep NAME|KEY ...]

It is for sweeps whose MLflow server was away when they ended. Publishing what is recorded already
changes nothing. If the driver of a named sweep is running, all of them are refused: the driver
publishes the sweep itself.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from analysis.record.mlflow_calls import StoreError
from analysis.record.schema import EXPERIMENT
from analysis.record.tracking_uri import default_uri, experiment_name, sqlite_file
from sweeps.driver.options import add_register, tracking_uri
from sweeps.driver.presentation import Presentation, drawn_of
from sweeps.driver.summary import SweepSummary
from sweeps.execution.progress import ExecutionStats
from sweeps.planning.state import SweepState
from sweeps.record.ended_run import check_ended
from sweeps.record.manifest import manifests, sweep_state
from sweeps.record.mlflow_store import STORE_ERRORS, check_store
from sweeps.record.publisher import conclude, say_moved
from sweeps.record.store_check import check_usable
from sweeps.record.writer import MlflowWriter
from sweeps.storage.driver_lock import FOLDER, only_driver, only_writer
from sweeps.storage.mirror import open_storage
from trainable.cli.options import INTERRUPTED, OK, SOME_FAILED, command, ended_by_signals
from trainable.cli.parsed_options import read_options
from trainable.cli.parser import Parser, refuse
from trainable.cli.streams import tell_who_waits
from trainable.config.schema import ConfigError, suggest
from trainable.storage.redaction import first_line, printable, redact_uri


@dataclass(frozen=True, kw_only=True)
class PublishOptions:
    """The options of this command.

    Attributes:
        tracking_uri: MLflow store to publish to, None for the one of each sweep.
        experiment: MLflow's experiment in it, None for the one of each sweep.
        storage: Folder or object store of the run folders.
        sweep: Names or keys of sweeps, None for all.
        register: The registered model that the best trial's model becomes a version of, None for
            none; of several sweeps of one name, that of the one begun last.
        out: Folder of figures, which are attached to the sweep that they are drawn of.
    """

    tracking_uri: str | None
    experiment: str | None
    storage: str
    register: str | None
    out: str
    sweep: tuple[str, ...] | None


Published = tuple[dict[str, Any], SweepState, str]  # manifest, state and store of a sweep


@ended_by_signals()
@command
def main() -> int:
    """Publish the sweeps that the command line names, and return the exit code."""
    options = read_options(PublishOptions, parser().parse_args())
    tell_who_waits(f"reading {redact_uri(options.storage)}")
    failed = 0
    try:
        storage, mirror = open_storage(options.storage)
        with ExitStack() as stack:
            sweeps: list[Published] = []
            for manifest in _driven(stack, storage, options.sweep):
                if options.experiment is not None:
                    manifest["experiment"] = options.experiment
                state = sweep_state(manifest, storage, mirror=mirror)
                check_ended(state)
                sweeps.append(
                    (manifest, state, options.tracking_uri or _store_of(manifest, storage))
                )
            for uri, experiment in dict.fromkeys(
                (uri, _experiment(manifest)) for manifest, _, uri in sweeps
            ):
                check_store(uri)
                check_usable(uri, experiment)
            registered = _registered(sweeps, options.register)
            for manifest, state, uri in sweeps:  # of all of them, or of none
                name = options.register if manifest is registered else None
                failed += not _publish(manifest, state, uri, options.out, name)
    except ConfigError as error:
        refuse(str(error))
    except KeyboardInterrupt:
        print("interrupted; the same command resumes", file=sys.stderr)
        return INTERRUPTED
    return SOME_FAILED if failed else OK


def _driven(stack: ExitStack, storage: Path, asked: Sequence[str] | None) -> list[dict[str, Any]]:
    """Become the one driver of the sweeps asked for, and return their manifests.

    Raises:
        ConfigError: Another process drives one of them, or as `_chosen`.
    """
    chosen = _chosen(manifests(storage), storage, asked)
    if os.access(storage / FOLDER, os.W_OK):  # else no driver of ours can be at work there
        for one in chosen:
            stack.enter_context(only_driver(storage, one["name"], one["sweep_key"]))
    keys = [one["sweep_key"] for one in chosen]
    # Read again: a driver may have ended since.
    return [one for one in manifests(storage) if one["sweep_key"] in keys]


def _chosen(
    found: list[dict[str, Any]], storage: Path, asked: Sequence[str] | None
) -> list[dict[str, Any]]:
    """Return the manifests of the sweeps asked for, all where none is.

    Raises:
        ConfigError: There is none, or none of a name or key asked for.
    """
    if not found:
        raise ConfigError(
            f"the storage (--storage) must hold manifests of sweeps in {FOLDER}/, but {storage} "
            "holds none; name the storage that the sweep had"
        )
    known = [name for one in found for name in (one["name"], one["sweep_key"])]
    for name in asked or []:
        if name not in known:
            raise ConfigError(
                f"--sweep must be the name or key of a sweep in {storage}, but got {name!r}; "
                f"{suggest(name, dict.fromkeys(known))}"
            )
    return [one for one in found if not asked or one["name"] in asked or one["sweep_key"] in asked]


def _store_of(manifest: Mapping[str, Any], storage: Path) -> str:
    """Return the store that a sweep was started with, also where both were moved or copied.

    Raises:
        ConfigError: It had a password, which is written nowhere.
    """
    uri: str = manifest["tracking_uri"]
    if manifest["password"]:
        told = default_uri()
        if redact_uri(told) == uri:
            return told
        raise ConfigError(
            f"the MLflow store must be named by --tracking-uri for {manifest['name']}, whose "
            f"store {uri} had a password, which is written nowhere"
        )
    path, before = sqlite_file(uri), Path(manifest.get("storage", storage))
    if path is not None and path.is_relative_to(before.parent):
        return f"sqlite:///{storage.parent / path.relative_to(before.parent)}"
    return uri


def _experiment(manifest: Mapping[str, Any]) -> str:
    return str(manifest.get("experiment", EXPERIMENT))  # that of a version before has none


def _registered(sweeps: Sequence[Published], name: str | None) -> Mapping[str, Any] | None:
    """Return the manifest of the sweep to register the model of: of several, that begun last.

    Raises:
        ConfigError: They are of several names.
    """
    names = sorted({manifest["name"] for manifest, _, _ in sweeps})
    if name is not None and len(names) > 1:
        raise ConfigError(
            f"--register is of one sweep, but got {', '.join(names)}; name one with --sweep"
        )
    return sweeps[-1][0] if sweeps else None


def _publish(
    manifest: Mapping[str, Any], state: SweepState, uri: str, out: str, register: str | None
) -> bool:
    """Bring a sweep's record up to date, say so, and return whether the store took it.

    Args:
        manifest: The manifest of the sweep.
        state: Its state.
        uri: The MLflow store.
        out: Folder of figures.
        register: The registered model that the best trial's model becomes a version of.
    """
    named = f"{state.plan.name} {state.plan.sweep_key}"
    try:
        with only_writer(uri, state.plan.sweep_key):
            record = MlflowWriter(state, uri, manifest)
            say_moved(record, _warn)
            before = record.hashes()
            for run in state.runs:
                record.publish(run)
            conclude(record, uri, _warn, say=_say)
            presentation = Presentation(
                uri,
                _say,
                _warn,
                experiment=_experiment(manifest),
                register=register,
            )
            presentation.open(record)
        summary = SweepSummary.of(state, ExecutionStats())
        presentation.conclude(summary, drawn_of(out, record))
    except STORE_ERRORS as error:
        lasting = isinstance(error, StoreError) and error.lasting
        cause = first_line(error, uri) + ("" if lasting else "; try again")
        _warn(f"error: {named} is not in {redact_uri(uri)}: {cause}")
        return False
    after = record.hashes()
    changed = sum(before.get(key) != text for key, text in after.items())
    print(
        f"{named}: {len(after)} of {len(state.trials)} trials in the record, {changed} of them new"
    )
    return True


def _say(text: str) -> None:
    print(printable(text))


def _warn(text: str) -> None:
    print(printable(text), file=sys.stderr)


def parser() -> Parser:
    """Return the options of this command."""
    options = Parser(
        description=__doc__,
        module="sweeps.publish",
        example="--storage runs/ --sweep lambda_grid",
    )
    options.add_argument(
        "--tracking-uri",
        type=tracking_uri,
        metavar="URI",
        help="MLflow store (default: that of the sweep); `-` reads it from standard input",
    )
    options.add_argument(
        "--experiment",
        type=experiment_name,
        metavar="NAME",
        help="MLflow's experiment (default: that of the sweep)",
    )
    options.add_argument(
        "--storage",
        default="runs/",
        metavar="DIR|URI",
        help="where run folders are (default: runs/)",
    )
    add_register(options)
    options.add_argument(
        "--out",
        default="figures/",
        metavar="DIR",
        help="where figures were drawn, which go to the sweep that they show (default: figures/)",
    )
    options.add_argument(
        "--sweep", nargs="+", metavar="NAME", help="names or keys of sweeps (default: all)"
    )
    return options


if __name__ == "__main__":
    sys.exit(main())
