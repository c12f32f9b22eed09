"""What the trials of a sweep were made with and on; `analysis.record.version_mix` compares it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from analysis.record.version_mix import HASHES, VersionMix, mixtures
from sweeps.planning.state import SweepState
from trainable.runs.machine import processor
from trainable.runs.results import Result


def mixtures_among(settings: Iterable[Mapping[str, object]]) -> list[VersionMix]:
    """Return what trials do not share.

    Args:
        settings: What each finished trial was made on: see `trainable.runs.machine.setting`, and
            with, where that is known: `code_version`, `data_fingerprint`. One that does not say
            on what counts for nothing.
    """
    known = [one for one in settings if "torch" in one and "device" in one and "cpu" in one]
    values = {name: [one.get(name) for one in known] for name in (*HASHES, "torch")}
    return [*mixtures({**values, "processor": [processor(one) for one in known]})]


def settings_made_on(state: SweepState) -> list[Mapping[str, object]]:
    """Return what each trial of a sweep that has numbers was made on."""
    found = [(run, state.outcome(run)) for run in state.known_runs]
    return [ended.setting for run, ended in found if isinstance(ended, Result) for _ in run.trials]
