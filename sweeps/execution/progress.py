"""The numbers that an execution counts while it runs."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(kw_only=True)
class ExecutionStats:
    """What one execution used, and how it ended.

    Attributes:
        causes: The last line of the error of each run whose worker failed, by its training key.
        busy_s: How many seconds workers spent loading, training and validating, all together.
        wall_s: How many seconds it took from the moment Ray was ready.
        slots: How many training runs were under way at a time.
        rss_gb: The largest resident memory of a worker, in GB.
        gpu_s: How many seconds of whole GPUs workers were busy.
        spent: The budget, or what else, that ended the execution; None if nothing did.
        refused: Why a worker refused to train, empty if none did.
    """

    causes: dict[str, str] = field(default_factory=dict)
    busy_s: float = 0.0
    wall_s: float = 0.0
    slots: int = 1
    rss_gb: float = 0.0
    gpu_s: float = 0.0
    spent: str | None = None
    refused: str = ""

    @property
    def utilisation(self) -> float:
        """Share of the slots' time that went into training."""
        return self.busy_s / (self.slots * self.wall_s) if self.wall_s else 0.0
