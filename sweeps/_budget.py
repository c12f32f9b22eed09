"""What an execution may spend: seconds by the clock, hours of GPUs."""

from __future__ import annotations

import math
import time
from typing import Any

from ray.tune import Stopper

from sweeps._screen import Execution


class Budget(Stopper):
    """Ends an execution when one of its budgets is used up; its workers save what they have.

    Args:
        execution: Knows what was used, and is told which budget ended it.
        time_s: Seconds from now; None is without end.
        gpu_hours: Of whole GPUs; half a GPU for two hours counts as one. None is without end.
    """

    def __init__(
        self, execution: Execution, *, time_s: float | None, gpu_hours: float | None
    ) -> None:
        self.execution = execution
        self._deadline = time.monotonic() + (math.inf if time_s is None else time_s)
        self._time_s = time_s
        self._gpu_hours = gpu_hours

    def __getstate__(self) -> dict[str, Any]:
        """Return nothing: Tune pickles its stoppers for a restore that is never asked for."""
        return {}

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Stop no single trial."""
        return False

    def stop_all(self) -> bool:
        """Return whether a budget is used up, or the execution is to end for another reason."""
        if time.monotonic() >= self._deadline:
            self.execution.spent = f"time budget of {self._time_s:g} s"
        elif self._gpu_hours is not None and self.execution.gpu_s >= 3600 * self._gpu_hours:
            self.execution.spent = f"budget of {self._gpu_hours:g} GPU hours"
        return self.execution.spent is not None
