"""Ask how settings change the mIoU: plan trials, train them with Ray Tune, record them in MLflow.

What notebooks and scripts of one's own need is named here; each name is imported when it is asked
for.

    from sweeps import Sweep, log_range, run

    rates = log_range(0.005, 0.08)
    answer = run(Sweep(name="rates", preset="demo", search={"lr_generator": rates}), asks=10)
    print(answer.best, answer.trials)

- `Sweep` describes a sweep by its axes, as a YAML file does for `python -m sweeps.from_file`; `run`
  returns its `Answer`. A sweep that did not come to its end raises `SweepError`, which has the
  answer so far; what is wrong with one, `trainable.ConfigError`.
- A script with options of its own is a `SweepScript`: its axes, and a function from a base config,
  the seeds and the script's own options to the trials. `sweep_parser` gives the options that every
  sweep has, to which the script adds its own, and `run_sweep` the exit code.
- For a search, `search_source` makes a `SweepScript`'s source, a `RunSource`, from a `SweepState`,
  the `SweepOptions` and the script's own, and a `Space` of `Range` and `Choice`;
  `add_search_options` gives the options of sampler and scheduler.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainable.storage.lazy_exports import lazy_exports

if TYPE_CHECKING:
    from sweeps.api.answer import Answer, SweepError
    from sweeps.api.description import Sweep
    from sweeps.api.run import run
    from sweeps.driver.options import SweepOptions, sweep_parser
    from sweeps.driver.script import SweepScript
    from sweeps.driver.search_options import add_search_options, search_source
    from sweeps.driver.start import run_sweep
    from sweeps.planning.state import SweepState
    from sweeps.search.source import RunSource
    from sweeps.search.spaces.axes import Choice, Range, log_range
    from sweeps.search.spaces.space import Space
else:
    __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "Answer": "sweeps.api.answer",
            "Choice": "sweeps.search.spaces.axes",
            "Range": "sweeps.search.spaces.axes",
            "RunSource": "sweeps.search.source",
            "Space": "sweeps.search.spaces.space",
            "Sweep": "sweeps.api.description",
            "SweepError": "sweeps.api.answer",
            "SweepOptions": "sweeps.driver.options",
            "SweepScript": "sweeps.driver.script",
            "SweepState": "sweeps.planning.state",
            "add_search_options": "sweeps.driver.search_options",
            "log_range": "sweeps.search.spaces.axes",
            "run": "sweeps.api.run",
            "run_sweep": "sweeps.driver.start",
            "search_source": "sweeps.driver.search_options",
            "sweep_parser": "sweeps.driver.options",
        },
    )

__all__ = [
    "Answer",
    "Choice",
    "Range",
    "RunSource",
    "Space",
    "Sweep",
    "SweepError",
    "SweepOptions",
    "SweepScript",
    "SweepState",
    "add_search_options",
    "log_range",
    "run",
    "run_sweep",
    "search_source",
    "sweep_parser",
]
