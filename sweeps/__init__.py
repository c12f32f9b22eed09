"""Ask one question per script: plan its trials, train them with Ray Tune, record them in MLflow.

What a sweep script of one's own needs is named here; each name is imported when it is asked for.

    from sweeps import Sweep, run_sweep, sweep_parser

    SWEEP = Sweep(name="widths", axes=("generator_width",), trials=trials)
    raise SystemExit(run_sweep(SWEEP, sweep_parser(__doc__)))

- `Sweep` is a question: its axes, and a function from a base config, the seeds and the script's own
  options to the trials. `sweep_parser` gives the options that every sweep has, to which the script
  adds its own, and `run_sweep` the exit code.
- For a search, `search_source` makes a `Sweep`'s source, a `RunSource`, from a `SweepState`, the
  `SweepOptions` and the script's own, and a `Space` of `Range` and `Choice`; `add_search_options`
  gives the options of sampler and scheduler.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainable.storage.lazy_exports import lazy_exports

if TYPE_CHECKING:
    from sweeps.driver.options import SweepOptions, sweep_parser
    from sweeps.driver.script import Sweep
    from sweeps.driver.search_options import add_search_options, search_source
    from sweeps.driver.start import run_sweep
    from sweeps.planning.state import SweepState
    from sweeps.search.source import RunSource
    from sweeps.search.space import Choice, Range, Space
else:
    __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "Choice": "sweeps.search.space",
            "Range": "sweeps.search.space",
            "RunSource": "sweeps.search.source",
            "Space": "sweeps.search.space",
            "Sweep": "sweeps.driver.script",
            "SweepOptions": "sweeps.driver.options",
            "SweepState": "sweeps.planning.state",
            "add_search_options": "sweeps.driver.search_options",
            "run_sweep": "sweeps.driver.start",
            "search_source": "sweeps.driver.search_options",
            "sweep_parser": "sweeps.driver.options",
        },
    )

__all__ = [
    "Choice",
    "Range",
    "RunSource",
    "Space",
    "Sweep",
    "SweepOptions",
    "SweepState",
    "add_search_options",
    "run_sweep",
    "search_source",
    "sweep_parser",
]
