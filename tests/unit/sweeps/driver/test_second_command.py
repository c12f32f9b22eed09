"""A second command adds to the first: all know of both, and only what is asked is trained."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from driver_helpers import options, question
from record_helpers import fail, finish
from store_helpers import children_of, parent_of, record_of

from analysis.record.trials import load_trials
from analysis.result_tables.summaries import grid_summary
from sweeps import publish
from sweeps.driver import session
from sweeps.driver.sweep import answer
from sweeps.execution.progress import ExecutionStats
from sweeps.execution.resources import Slots
from trainable.cli.options import resume_command
from trainable.config.schema import Readout, TrialConfig

pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated")

Miou = Callable[[TrialConfig, Readout], tuple[float, float]]


def rising(config: TrialConfig, readout: Readout) -> tuple[float, float]:
    """The larger lambda, the better; a seed has its own share, and some noise."""
    value = 0.5 + config.lambda_adv + config.seed / 100 + (config.lambda_adv * 997 % 7) / 1e4
    return value - 0.05, value - readout.swa_n / 1000


class Commands:
    """Commands of one sweep in one folder, whose runs train at once."""

    def __init__(
        self, folder: Path, uri: str, monkeypatch: pytest.MonkeyPatch, capsys: Any
    ) -> None:
        self.folder, self.uri, self.monkeypatch, self.capsys = folder, uri, monkeypatch, capsys
        self.miou: Miou = rising
        self.most = 1000  # runs that train before the command is out of time
        self.failing: tuple[float, ...] = ()  # lambdas
        self.trained: list[tuple[float, int]] = []
        self.said = ""
        self.lines: list[str] = []  # that were given
        slots = Slots(count=1, cpus=1.0, gpus=0.0, time_budget_s=None)
        monkeypatch.setattr(session, "ray_slots", lambda *_: nullcontext(slots))
        monkeypatch.setattr(session, "execute", self._execute)

    def _execute(self, state: Any, source: Any, _: Any, __: Any, publish: Any, **___: Any) -> Any:
        while len(self.trained) < self.most and (run := source.suggest()) is not None:
            config = run.spec.config
            self.trained.append((config.lambda_adv, config.seed))
            if config.lambda_adv in self.failing:
                fail(state, run, "loss_mce is nan")
            else:
                finish(state, run, self.miou)
            publish(run, None)
            source.on_complete(run, None)
        return ExecutionStats()

    def ask(
        self,
        lambdas: Iterable[float],
        seeds: Iterable[int] = (0, 1),
        *argv: str,
        code: int = 0,
        **changes: Any,
    ) -> Any:
        """Give a command and return what a program is told; `said` is what a person is."""
        points = [{"lambda_adv": x, "seed": k, **changes} for x in lambdas for k in seeds]
        self.monkeypatch.setattr("sys.argv", ["mine.py", "--lambdas", *map(str, lambdas)])
        self.lines.append(resume_command(None))
        self.capsys.readouterr()
        self.trained = []
        axes = ("lambda_adv", *changes)
        given = ["--tracking-uri", self.uri, "--no-figures", "--no-model", "--json", *argv]
        asked = options(self.folder, *given)
        assert answer(question(points, axes), *asked) == code
        told, self.said = self.capsys.readouterr()
        return json.loads(told)

    def publish_by_hand(self) -> None:
        argv = ["publish", "--storage", str(self.folder / "runs")]
        self.monkeypatch.setattr("sys.argv", argv)
        with pytest.raises(SystemExit) as ended:
            raise SystemExit(publish.main())
        assert ended.value.code == 0

    @property
    def tags(self) -> Any:
        return parent_of(self.uri).data.tags

    @property
    def metrics(self) -> Any:
        return parent_of(self.uri).data.metrics


@pytest.fixture
def commands(
    tmp_path: Path, uri: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Commands:
    return Commands(tmp_path, uri, monkeypatch, capsys)


@pytest.mark.parametrize("new", [0.02, 0.2])
def test_it_trains_what_it_asks_for_and_all_know_the_best_of_both(
    new: float, commands: Commands
) -> None:
    commands.ask([0.0, 0.01, 0.1], range(3))
    told = commands.ask([0.0, new], range(3))
    assert commands.trained == [(new, 0), (new, 1), (new, 2)]
    best = max(0.1, new)
    assert told["best"]["point"] == {"lambda_adv": best}
    assert told["best"]["best/others"] == 3
    lambdas = [row["point"]["lambda_adv"] for row in told["settings"]]
    assert lambdas == sorted([0.0, 0.01, new, 0.1], reverse=True)
    assert (told["trials"], told["training_runs"], told["training_runs_done"]) == (12, 12, 12)
    assert told["asked_now"] == {"trials": 6, "training_runs": 6, "training_runs_done": 6}
    assert f"best point: lambda_adv={best} with" in commands.said
    assert "best settings (4 of 4)" in commands.said
    known = "earlier commands asked for 6 trials more, which count here, too: 6 of 6 training runs"
    assert commands.said.count(known) == 1

    assert (commands.metrics["best/lambda_adv"], commands.metrics["best/others"]) == (best, 3)
    assert commands.metrics["mean/swa/miou"] == told["best"]["mean/swa/miou"]
    assert commands.metrics["cost/training_runs"] == 12
    assert (commands.tags["trials_total"], commands.tags["state"]) == ("12", "complete")
    table = grid_summary(load_trials(commands.uri, sweep="mine", cache=False), ["lambda_adv"])
    assert sorted(table["lambda_adv"]) == sorted(lambdas)


def test_the_order_of_commands_decides_nothing(commands: Commands, empty_store: Path) -> None:
    found = []
    for name, order in (("a", [[0.0, 0.1], [0.0, 0.02]]), ("b", [[0.0, 0.02], [0.1]])):
        commands.folder = commands.folder / name
        commands.folder.mkdir()
        commands.uri = f"sqlite:///{shutil.copy(empty_store, commands.folder / 'm.db')}"
        told = [commands.ask(lambdas) for lambdas in order][-1]
        found.append((told["best"], told["settings"], told["mixed"], commands.metrics))
    assert found[0] == found[1]


def test_fewer_seeds_forget_none(commands: Commands) -> None:
    first = commands.ask([0.0, 0.1], range(4))
    again = commands.ask([0.0, 0.1], range(2))
    assert commands.trained == []
    assert (again["best"], again["settings"]) == (first["best"], first["settings"])
    assert commands.metrics["best/seeds"] == 4


def test_what_an_earlier_command_left_is_named_and_not_trained(commands: Commands) -> None:
    commands.most = 3
    commands.ask([0.0, 0.01, 0.1])
    assert commands.tags["why_partial"] == "3 training runs are left"
    commands.most = 1000
    told = commands.ask([0.02])
    assert commands.trained == [(0.02, 0), (0.02, 1)]
    assert (told["training_runs"], told["training_runs_done"]) == (8, 5)
    left = (
        "3 training runs of earlier commands are left, which this one does not train; train with: "
        f"{commands.lines[0]}"
    )
    assert left.endswith("mine.py --lambdas 0.0 0.01 0.1")
    assert commands.said.count(left) == 2  # before it trains, and after
    assert told["earlier"][1] == left
    said = commands.tags["state"], commands.tags["why_partial"]
    assert said == ("partial", "3 training runs are left")
    by_the_driver = record_of(commands.uri)
    commands.publish_by_hand()
    assert record_of(commands.uri) == by_the_driver

    told = commands.ask([0.0, 0.01, 0.1])
    assert len(commands.trained) == 3
    assert (told["training_runs"], told["training_runs_done"]) == (8, 8)
    assert commands.tags["state"] == "complete"


def test_an_earlier_commands_failures_count_and_are_not_this_ones(commands: Commands) -> None:
    commands.failing = (0.1,)
    commands.ask([0.0, 0.1], code=1)
    told = commands.ask([0.0, 0.02])
    assert told["failed"] == []
    assert "failed:" not in commands.said
    assert "2 of 2 training runs done, 2 of them without numbers" in commands.said
    assert commands.tags["state"] == "complete"
    commands.ask([0.1], code=1)
    assert "failed: lambda_adv=0.1 seed=0" in commands.said


def test_a_plan_says_what_is_known_besides_and_trains_nothing(commands: Commands) -> None:
    commands.most = 3
    commands.ask([0.01, 0.1])
    told = commands.ask([0.0, 0.02], (0, 1), "--plan")
    assert (told["training_runs"], told["asked_now"]["training_runs"]) == (8, 4)
    lines = commands.said.splitlines()
    assert "trials:          4" in lines
    known = [line for line in lines if line.startswith("known besides:")]
    assert known[0].endswith(
        "asked for 4 trials more, which count here, too: 3 of 4 training runs done"
    )
    assert known[1].startswith("known besides:   1 training run of earlier commands is left, which")
    # A difference between four settings is harder to find than one between two.
    power = [line for line in lines if line.startswith("power:")]
    commands.folder = commands.folder / "afresh"
    commands.ask([0.0, 0.02], (0, 1), "--plan")
    assert power[0] > next(x for x in commands.said.splitlines() if x.startswith("power:"))


# A readout costs no training, but a run that lacks one is trained again with those it has.
def test_numbers_of_an_earlier_readout_come_from_the_run_that_was_trained_last(
    commands: Commands,
) -> None:
    commands.ask([0.1], swa_n=2)
    commands.miou = lambda config, readout: (0.7, 0.8 + readout.swa_n / 100)
    told = commands.ask([0.1], swa_n=3)
    assert commands.trained == [(0.1, 0), (0.1, 1)]
    means = {row["point"]["swa_n"]: row["mean/swa/miou"] for row in told["settings"]}
    assert means == {2: pytest.approx(0.82), 3: pytest.approx(0.83)}
    recorded = {
        child.data.params["swa_n"]: child.data.metrics["swa/miou"]
        for child in children_of(commands.uri)
    }
    assert recorded == {"2": pytest.approx(0.82), "3": pytest.approx(0.83)}
    assert (told["trials"], told["training_runs"]) == (4, 2)


def test_another_store_is_given_what_earlier_commands_recorded_elsewhere(
    commands: Commands, empty_store: Path
) -> None:
    commands.ask([0.0, 0.1])
    other = f"sqlite:///{shutil.copy(empty_store, commands.folder / 'other.db')}"
    commands.ask([0.0, 0.02], (0, 1), "--tracking-uri", other)
    assert len(children_of(other)) == 6
    assert parent_of(other).data.metrics["best/lambda_adv"] == 0.1


def test_a_base_with_another_seed_leaves_earlier_trials_as_they_were(commands: Commands) -> None:
    commands.ask([0.0, 0.1], (0, 1))
    commands.ask([0.0, 0.1], (7, 8), "--set", "seed=7", "--set", "lambda_adv=0.1")
    told = commands.ask([0.0, 0.1], (0,))
    assert commands.trained == []
    assert [row["seeds"] for row in told["settings"]] == [4, 4]
    seeds = {child.data.params["seed"] for child in children_of(commands.uri)}
    commands.publish_by_hand()
    assert {child.data.params["seed"] for child in children_of(commands.uri)} == seeds
