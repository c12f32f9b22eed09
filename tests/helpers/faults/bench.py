"""The place where sweeps suffer: their folders, the undisturbed ones, and how long these took."""

from __future__ import annotations

import dataclasses
import sys
import time
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from faults.sweep import NotReachedError, Question, Sweep
from faults.verdict import Judge, Verdict


@dataclass(kw_only=True)
class Bench:
    """What all scenarios share.

    Attributes:
        folder: Of all that they write.
        kills: At random times.
        seed: Of these.
        short: Whether a part stands for the whole.
    """

    folder: Path
    kills: int
    seed: int
    short: bool
    _judge: Judge = field(default_factory=Judge)
    _took_s: dict[str, float] = field(default_factory=dict)
    _numbers: Any = field(default_factory=count)

    def sweep(self, question: Question, *options: str, **settings: Any) -> Sweep:
        """Return a sweep in a new folder, after the undisturbed one that it is compared with."""
        self.takes_s(question)
        folder = self.folder / str(next(self._numbers))
        return Sweep(self._asked(question), folder, *options, **settings)

    def _asked(self, question: Question) -> Question:
        """Return a question as it is asked: in the short form, of fewer runs and for no model."""
        less = ("--seeds", "2", "--no-model") if self.short else ()
        return dataclasses.replace(question, options=(*question.options, *less))

    def alone(self, question: Question, *options: str) -> Sweep:
        """Return a sweep in a new folder that is compared with no other."""
        return Sweep(question, self.folder / str(next(self._numbers)), *options)

    def takes_s(self, question: Question) -> float:
        """Return how long a question takes undisturbed, in seconds."""
        if question.script not in self._took_s:
            begun = time.monotonic()
            folder = self.folder / f"undisturbed-{question.script}"
            sweep = Sweep(self._asked(question), folder)
            code = sweep.finish()
            if code != 0:
                raise NotReachedError(f"undisturbed, it ended with {code}: {sweep.last_words()}")
            self._took_s[question.script] = time.monotonic() - begun
            self._judge.learn(sweep)
        return self._took_s[question.script]

    def judge(self, name: str, sweep: Sweep, begun: float, *wrong: str) -> Verdict:
        """Return what became of a sweep that ended, and say it to whoever waits."""
        verdict = self._judge.judge(name, sweep, begun, wrong)
        print(f"  {sweep.folder.name}: {verdict.describe()}", file=sys.stderr, flush=True)
        return verdict

    def end(self, name: str, sweep: Sweep, begun: float, *wrong: str) -> Verdict:
        """Run a sweep's command to its end, and return what became of it."""
        return self.ended(name, sweep, begun, sweep.finish(), *wrong)

    def ended(self, name: str, sweep: Sweep, begun: float, code: int, *wrong: str) -> Verdict:
        """Return what became of a sweep whose command ended with this exit code."""
        if code != 0:
            wrong += (f"exit code {code}: {sweep.last_words()}",)
        return self.judge(name, sweep, begun, *wrong)
