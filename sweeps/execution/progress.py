"""What an execution counts while it runs."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(kw_only=True)
class ExecutionStats:
    """What became of one execution.

    Attributes:
        causes: Last line of the error of each training run whose worker failed, by key.
        busy_s: Seconds that workers spent loading, training and validating.
        wall_s: Seconds from the moment Ray was ready.
        slots: Training runs at a time.
        rss_gb: Largest resident memory of a worker, in GB.
        gpu_s: As `busy_s`, of whole GPUs.
        spent: The budget that ended it, or what else, in words; None if nothing did.
        refused: Why a worker would not train, empty if none refused.
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
