"""Whether all trials of a sweep were made on one kind of machine: digits follow from it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from sweeps.planning.plan import Plan
from trainable.runs.machine import processor
from trainable.runs.results import Result


def mixtures(settings: Iterable[Mapping[str, object]]) -> list[str]:
    """Return what trials do not share, with how many have which, one of a kind each.

    Args:
        settings: What each finished trial was made on: see `trainable.runs.machine.setting`. One
            that says nothing counts for nothing.
    """
    known = [one for one in settings if "torch" in one and "device" in one and "cpu" in one]
    kinds = {
        "versions of torch": Counter(str(one["torch"]) for one in known),
        "kinds of processor": Counter(processor(one) for one in known),
    }
    return [
        f"{len(counts)} {kind} ({', '.join(f'{name}: {counts[name]}' for name in sorted(counts))})"
        for kind, counts in kinds.items()
        if len(counts) > 1
    ]


def settings_made_on(plan: Plan) -> list[Mapping[str, object]]:
    """Return what each trial of a plan that has numbers was made on."""
    found = [(run, plan.outcome(run)) for run in plan.runs]
    return [ended.setting for run, ended in found if isinstance(ended, Result) for _ in run.trials]
