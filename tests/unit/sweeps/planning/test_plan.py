"""The planner: trials become training runs, each trained once; and what it says of their cost."""

import dataclasses
import os
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from record_helpers import BASE, DATA, fail, finish, grid, miou_of, sweep_state
from scipy import stats
from small import small_config, spec_of

from sweeps.planning import plan as plan_module
from sweeps.planning.cost import _averages_bytes, _state_bytes, describe
from sweeps.planning.ranking import best_point
from sweeps.planning.speed_probe import Probe, probe
from sweeps.planning.state import SweepState
from trainable.config.schema import EXECUTION_FIELDS, READOUT_FIELDS, Readout, TrialConfig
from trainable.networks.build import build_generator
from trainable.runs.folder import RunFolder
from trainable.runs.keys import RunSpec, readout_key, training_key
from trainable.runs.results import Result, summary
from trainable.runs.training_run import TrainingRun
from trainable.storage.tensors import load_tensors

pytestmark = pytest.mark.trains


def readings(*averagings: int, **changes: Any) -> list[TrialConfig]:
    """One trial per `swa_n`, of one training run."""
    return [dataclasses.replace(BASE, swa_n=n, **changes) for n in averagings]


def averagings(readouts: tuple[Readout, ...]) -> set[int]:
    return {readout.swa_n for readout in readouts}


# Merging


def test_trials_that_differ_in_readout_alone_share_a_training_run(tmp_path: Path) -> None:
    state = sweep_state(tmp_path, readings(5, 10, 20) + readings(5, seed=1))
    assert [len(run.trials) for run in state.runs] == [3, 1]
    assert [averagings(run.spec.readouts) for run in state.runs] == [{5, 10, 20}, {5}]
    assert len({trial.trial_key for trial in state.trials}) == 4


def test_a_trial_that_stands_twice_counts_once(tmp_path: Path) -> None:
    state = sweep_state(tmp_path, readings(5, 5))
    assert (len(state.runs), len(state.trials)) == (1, 1)


def test_a_field_that_the_rule_does_not_read_makes_no_second_trial(tmp_path: Path) -> None:
    unread = readings(5, swa_decay=0.5) + readings(5, swa_decay=0.9)
    read = [dataclasses.replace(trial, swa_rule="ema") for trial in unread]
    assert len(sweep_state(tmp_path, unread).trials) == 1
    assert len(sweep_state(tmp_path, read).trials) == 2


def test_lambda_0_is_the_baseline_whatever_its_discriminator(tmp_path: Path) -> None:
    none = [dataclasses.replace(BASE, adversarial="none")]
    zero = grid([0.0]) + grid([0.0], adversarial="standard", lr_discriminator=0.5)
    state = sweep_state(tmp_path, none + zero)
    assert (len(state.runs), len(state.trials)) == (1, 1)
    assert state.trials[0].config.adversarial == "none"
    assert len(sweep_state(tmp_path, none + grid([0.01])).runs) == 2


def test_readouts_have_one_order_whatever_the_trials_order(tmp_path: Path) -> None:
    trials = readings(*range(1, 9))
    first = sweep_state(tmp_path, trials).runs[0].spec.readouts
    for seed in range(3):
        random.Random(seed).shuffle(trials)
        assert sweep_state(tmp_path, trials).runs[0].spec.readouts == first


def test_adversarial_runs_are_trained_first(tmp_path: Path) -> None:
    runs = sweep_state(tmp_path, grid([0.0, 0.01, 0.1], seeds=(0, 1))).runs
    assert [run.spec.config.lambda_adv for run in runs] == [0.01, 0.1, 0.01, 0.1, 0.0, 0.0]


# What is done


def test_a_finished_folder_is_not_trained_again(tmp_path: Path) -> None:
    state = sweep_state(tmp_path, grid(seeds=(0, 1)))
    finish(state, state.runs[1])
    assert state.pending() == [state.runs[0], *state.runs[2:]]
    assert sweep_state(tmp_path, grid(seeds=(0, 1))).pending() == state.pending()


def test_a_diverged_folder_is_not_trained_again(tmp_path: Path) -> None:
    state = sweep_state(tmp_path, grid())
    fail(state, state.runs[0], "a loss is nan")
    assert state.pending() == [state.runs[1]]


@pytest.mark.parametrize("end", [finish, lambda state, run: fail(state, run, "nan")])
def test_another_attempt_trains_what_is_done_again(
    tmp_path: Path, end: Callable[..., None]
) -> None:
    state = sweep_state(tmp_path, grid())
    for run in state.runs:
        end(state, run)
    again = sweep_state(tmp_path, grid(), attempt="second")
    assert again.pending() == list(again.runs)
    end(again, again.runs[0])
    assert again.pending() == [again.runs[1]]
    assert sweep_state(tmp_path, grid()).pending() == []


def test_a_folder_that_lacks_a_readout_is_trained_again_with_its_old_ones(tmp_path: Path) -> None:
    old = sweep_state(tmp_path, readings(5, 10))
    finish(old, old.runs[0])
    new = sweep_state(tmp_path, readings(10, 20))
    assert new.pending() == list(new.runs)
    assert averagings(new.runs[0].spec.readouts) == {5, 10, 20}
    assert [trial.config.swa_n for trial in new.trials] == [10, 20]
    finish(new, new.runs[0])
    assert sweep_state(tmp_path, readings(5, 10, 20)).pending() == []


def test_a_folder_with_more_readouts_than_asked_for_is_done(tmp_path: Path) -> None:
    old = sweep_state(tmp_path, readings(5, 10))
    finish(old, old.runs[0])
    new = sweep_state(tmp_path, readings(10))
    assert new.pending() == []
    assert averagings(new.runs[0].spec.readouts) == {10}


def test_a_made_folder_has_the_shape_of_a_trained_one(tmp_path: Path) -> None:
    """The helpers of these tests write what `TrainingRun` writes."""
    config = small_config(iterations=8)
    run = TrainingRun(spec_of(config), tmp_path / "trained")
    while not run.complete:
        run.advance()
    run.close()
    state = sweep_state(tmp_path / "made", [config])
    finish(state, state.runs[0])
    made = RunFolder(state.plan.storage, state.runs[0].spec.training_key)
    for name in ("config", "metrics", "result"):
        trained = run.folder.read(name)
        assert shape(made.read(name)) == shape(trained)


def shape(value: Any) -> Any:
    """The keys of nested mappings, and of the rows of a history."""
    if isinstance(value, dict):
        return {key: shape(item) for key, item in value.items()}
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return [shape(item) for item in value]
    return None


# The sweep's key


def test_sweep_key_does_not_depend_on_seeds_or_points(tmp_path: Path) -> None:
    keys = {
        sweep_state(tmp_path, grid([0.0]), base=base).plan.sweep_key
        for base in (BASE, *grid([0.5], seeds=(7,)))
    } | {sweep_state(tmp_path, grid([0.0, 1.0], seeds=(3, 4))).plan.sweep_key}
    assert len(keys) == 1


# The value that the base gives an axis is not asked for, so 0 is no other question than 0.01.
def test_sweep_key_of_a_base_with_lambda_0_still_tells_its_discriminators(tmp_path: Path) -> None:
    first, other = (
        sweep_state(tmp_path, [], base=base).plan.sweep_key
        for lr in (0.1, 0.2)
        for base in grid([0.0], lr_discriminator=lr)
    )
    assert first != other
    assert (
        first == sweep_state(tmp_path, [], base=grid([0.5], lr_discriminator=0.1)[0]).plan.sweep_key
    )


@pytest.mark.parametrize("changes", [{"iterations": 7}, {"swa_n": 6}, {"adversarial": "standard"}])
def test_sweep_key_depends_on_the_base_config(tmp_path: Path, changes: dict[str, Any]) -> None:
    base = dataclasses.replace(BASE, **changes)
    assert (
        sweep_state(tmp_path, [], base=base).plan.sweep_key
        != sweep_state(tmp_path, []).plan.sweep_key
    )


def test_sweep_key_depends_on_data_axes_and_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = sweep_state(tmp_path, []).plan.sweep_key
    other_data = dataclasses.replace(DATA, fingerprint="f" * 16)
    assert sweep_state(tmp_path, [], data=other_data).plan.sweep_key != key
    assert sweep_state(tmp_path, [], axes=("swa_n",)).plan.sweep_key != key
    monkeypatch.setattr(plan_module, "code_version", lambda: "changed")
    assert sweep_state(tmp_path, []).plan.sweep_key != key


# The best point


def finished(storage: Path, swa: dict[tuple[float, int], float]) -> SweepState:
    """A plan whose runs have these swa/miou by lambda and seed, and val/miou the other way round"""
    configs = [grid([value], [seed])[0] for value, seed in swa]
    state = sweep_state(storage, configs)
    for run in state.runs:
        finish(state, run, lambda c, _: (1 - swa[c.lambda_adv, c.seed], swa[c.lambda_adv, c.seed]))
    return state


def told_of_best(state: SweepState) -> dict[str, Any] | None:
    best = best_point(state)
    return None if best is None else best.as_primitives()


def test_best_point_has_the_highest_mean_over_seeds_with_its_interval(tmp_path: Path) -> None:
    # One seed of lambda 0 is the best of all, but its mean is not.
    state = finished(
        tmp_path,
        {(0.0, 0): 0.9, (0.0, 1): 0.1, (0.01, 0): 0.60, (0.01, 1): 0.62, (0.01, 2): 0.61},
    )
    best = told_of_best(state)
    assert best is not None
    assert (best["point"], best["best/seeds"]) == ({"lambda_adv": 0.01}, 3)
    for name, values in {"swa/miou": [0.6, 0.62, 0.61], "val/miou": [0.4, 0.38, 0.39]}.items():
        mean = sum(values) / 3
        low, high = stats.t.interval(0.95, 2, loc=mean, scale=stats.sem(values))
        found = [best[f"{end}/{name}"] for end in ("mean", "ci_low", "ci_high")]
        assert found == pytest.approx([mean, low, high])
    # Standard deviation 0.01, t(2 degrees, 97.5 %) = 4.302653.
    half = best["ci_high/swa/miou"] - best["mean/swa/miou"]
    assert half == pytest.approx(4.302653 * 0.01 / 3**0.5, rel=1e-6)


def test_best_point_of_one_seed_has_no_interval(tmp_path: Path) -> None:
    best = told_of_best(finished(tmp_path, {(0.01, 4): 0.6}))
    assert best is not None
    assert (best["mean/swa/miou"], best["best/seeds"]) == (0.6, 1)
    assert all(best[f"{end}/swa/miou"] is None for end in ("ci_low", "ci_high"))


def test_two_seeds_are_enough_for_an_interval(tmp_path: Path) -> None:
    best = told_of_best(finished(tmp_path, {(0.01, 0): 0.6, (0.01, 1): 0.7}))
    assert best is not None
    # Standard error 0.05, t(1 degree, 97.5 %) = 12.7062.
    assert best["ci_low/swa/miou"] == pytest.approx(0.65 - 12.7062 * 0.05, rel=1e-4)


def test_best_point_says_how_many_others_paired_seeds_do_not_tell_from_it(tmp_path: Path) -> None:
    best = told_of_best(
        finished(
            tmp_path,
            {
                **{(0.01, 0): 0.60, (0.01, 1): 0.70, (0.01, 2): 0.65},
                # Always lower by about 0.1, though the means' own intervals overlap by far.
                **{(0.1, 0): 0.50, (0.1, 1): 0.604, (0.1, 2): 0.548},
                **{(1.0, 0): 0.598, (1.0, 1): 0.70, (1.0, 2): 0.651},
            },
        )
    )
    assert best is not None
    assert best["point"] == {"lambda_adv": 0.01}
    assert (best["best/others"], best["best/not_distinguishable"]) == (2, 1)


def test_best_point_leaves_out_what_has_no_numbers(tmp_path: Path) -> None:
    state = sweep_state(tmp_path, grid([0.0, 0.01, 0.1]))
    assert told_of_best(state) is None
    fail(state, state.runs[0], "nan")
    assert told_of_best(state) is None
    finish(state, state.runs[2])
    best = told_of_best(state)
    assert best is not None
    assert best["point"] == {"lambda_adv": 0.0}


def test_best_point_tells_the_readouts_of_one_run_apart(tmp_path: Path) -> None:
    state = sweep_state(tmp_path, readings(5, 10, 20), axes=("swa_n",))
    finish(state, state.runs[0], lambda _, readout: (0.5, 0.9 - abs(readout.swa_n - 10) / 100))
    best = told_of_best(state)
    assert best is not None
    assert (best["point"], best["mean/swa/miou"]) == ({"swa_n": 10}, 0.9)


def test_summary_has_the_numbers_of_its_own_readout(tmp_path: Path) -> None:
    state = sweep_state(tmp_path, readings(5, 10))
    run = state.runs[0]
    finish(state, run)
    found = state.outcome(run)
    assert isinstance(found, Result)
    for trial in run.trials:
        val, swa = miou_of(trial.config, trial.config.readout)
        numbers = summary(found, trial.config.readout)
        assert (numbers["val/miou"], numbers["swa/miou"]) == (val, swa)
        assert numbers["images_per_s"] == 40.0
        assert found.readouts[readout_key(trial.config.readout)]["swa"]["miou"] == swa


# What a plan will cost


def line(text: str, head: str) -> str:
    (found,) = [row.removeprefix(head) for row in text.splitlines() if row.startswith(head)]
    return found.strip()


def test_a_plan_says_trials_runs_and_what_is_done(tmp_path: Path) -> None:
    trials = [trial for seed in range(3) for trial in readings(5, 10, seed=seed)]
    state = sweep_state(tmp_path, trials)
    finish(state, state.runs[0])
    said = describe(state)
    assert said.startswith(f"lambda_grid on shapes, sweep {state.plan.sweep_key}\n")
    assert line(said, "trials:") == "6"
    assert line(said, "training runs:").startswith("3 after merging")
    assert line(said, "done already:") == "1"


def test_time_follows_from_the_mean_throughput_of_runs_that_cost_the_same(tmp_path: Path) -> None:
    """Two runs at 1 and 3 images a second: 60,000 iterations of 3 images take 25 hours each."""
    long = {"iterations": 60_000, "batch_size": 3}
    state = sweep_state(tmp_path, grid([0.01], range(3), **long))
    assert line(describe(state), "training time:").startswith("not known")
    short = sweep_state(tmp_path, grid([0.01], (7, 8), batch_size=3))
    for run, speed in zip(short.runs, (1.0, 3.0), strict=True):
        finish(short, run, images_per_s=speed)
    assert line(describe(state), "training time:").startswith("3 d 03:00:00 in one slot")


def test_the_wall_time_is_that_of_the_slots_in_use(tmp_path: Path) -> None:
    """Three runs of 25 hours on two slots: one slot trains two of them."""
    long = {"iterations": 90_000, "batch_size": 2}
    state = sweep_state(tmp_path, grid([0.01], range(3), **long))
    short = sweep_state(tmp_path, grid([0.01], [7], batch_size=2))
    finish(short, short.runs[0], images_per_s=2.0)
    assert line(describe(state, slots=2), "wall time:") == "about 2 days on 2 slots"
    assert line(describe(state, slots=3), "wall time:") == "about 25 hours on 3 slots"
    assert line(describe(state, slots=1), "wall time:") == "about 3 days on 1 slot"
    assert "wall time" not in describe(state)  # a cluster that was not asked


@pytest.mark.parametrize(
    "changes",
    [{"lambda_adv": 0.0}, {"adversarial": "standard"}, {"crop_px": 40}, {"generator_width": 8}],
)
def test_time_is_not_known_where_earlier_runs_cost_something_else(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    other = sweep_state(tmp_path, [dataclasses.replace(BASE, **changes)])
    finish(other, other.runs[0])
    assert line(describe(sweep_state(tmp_path, [BASE])), "training time:").startswith("not known")


def test_a_plan_that_is_done_takes_no_time_and_no_disk(tmp_path: Path) -> None:
    state = sweep_state(tmp_path, grid([0.0]))
    assert "disk:" in describe(state)
    finish(state, state.runs[0])
    assert line(describe(state), "training time:") == "none"
    assert "disk:" not in describe(state)


def test_each_readout_costs_one_more_copy_of_the_generator(tmp_path: Path) -> None:
    weights = sum(w.numel() for w in build_generator(BASE, len(DATA.classes)).parameters())
    one, three = (sweep_state(tmp_path, readings(*ns)) for ns in ((5,), (5, 10, 20)))
    baseline = sweep_state(tmp_path, grid([0.0]))
    assert _state_bytes(baseline.runs[0], baseline.plan) == 4 * 2 * weights
    assert _averages_bytes(one.runs[0], one.plan) == 4 * weights
    assert _averages_bytes(three.runs[0], three.plan) == 4 * 3 * weights


@pytest.mark.parametrize("place", ["device", "host"])
def test_averages_count_where_they_lie(tmp_path: Path, place: str) -> None:
    configs = [dataclasses.replace(one, averages_on=place) for one in readings(5, 10)]
    state = sweep_state(tmp_path, configs, base=configs[0])
    weights, averages = (
        size(state.runs[0], state.plan) / 1e9 for size in (_state_bytes, _averages_bytes)
    )
    said = line(describe(state), "device memory:")
    on_host = place == "host"
    assert said.startswith(f"{weights + (0 if on_host else averages):.3f} GB")
    assert ("of host memory" in said) == on_host
    disk = line(describe(state), "disk:")
    assert disk.startswith(f"{weights + averages:.3f} GB at most")
    assert f"{2 * (weights + averages):.3f} GB of checkpoints" in disk


def test_a_plan_of_many_finished_runs_reads_each_folder_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", lambda _: None)  # of the 900 files that are made first
    configs = grid([0.01], range(300), iterations=1)
    made = sweep_state(tmp_path, configs)
    for run in made.runs:
        finish(made, run)
    read = Counter[Path]()
    read_bytes = Path.read_bytes

    def counted(path: Path) -> bytes:
        content = read_bytes(path)  # what is not there counts for nothing
        read[path] += 1
        return content

    monkeypatch.setattr(Path, "read_bytes", counted)
    state = sweep_state(tmp_path, [*configs, BASE])
    assert len(state.pending()) == 1
    describe(state)
    assert told_of_best(state) is not None
    in_storage = {path: count for path, count in read.items() if tmp_path in path.parents}
    assert len(in_storage) == 300
    assert set(in_storage.values()) == {1}


def probed(images_per_s: float = 1.0, device_gb: float | None = None) -> Probe:
    return Probe(images_per_s=images_per_s, host_gb=1.5, device_gb=device_gb)


def test_a_plan_measures_what_no_earlier_run_tells_and_each_cost_once(tmp_path: Path) -> None:
    """At 10 images a second 100 iterations of 8 take 80 s; 2 seeds, with 3 readouts each."""
    measured = []

    def measure(spec: RunSpec) -> Probe:
        measured.append(spec.config.adversarial)
        return probed(10.0, device_gb=2.25)

    trials = [one for seed in (0, 1) for one in readings(5, 10, 20, seed=seed, iterations=100)]
    said = describe(sweep_state(tmp_path, trials), measure)
    assert measured == ["pixelwise"]
    assert line(said, "training time:").startswith("00:02:40 in one slot, by a few iterations")
    assert line(said, "naive sweep:") == "6 training runs, one per trial, 00:08:00 in one slot"
    assert line(said, "host memory:").startswith("1.50 GB")
    assert "2.25 GB on the GPU" in said
    short = sweep_state(tmp_path, grid([0.01], [7]))
    finish(short, short.runs[0])
    assert line(describe(sweep_state(tmp_path, trials), measure), "training time:").endswith(
        "by the throughput of earlier runs; validations come on top"
    )
    assert len(measured) == 1


def test_the_few_iterations_of_a_plan_leave_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found = probe(spec_of(small_config()), threads=1)
    assert found.images_per_s > 0
    assert 0.1 < found.host_gb < 100
    assert list(tmp_path.iterdir()) == []


# What may merge: every field, one by one

OTHER: dict[str, Any] = {
    "dataset": "voc2012", "generator": "deeplabv3_resnet18", "discriminator": "fully_convolutional",
    "adversarial": "standard", "voc_train": "train", "segtrack_classes": "separate17",
    "segtrack_split": "block", "trunk_layout": "caffe", "trunk_batch_norm": "affine_frozen",
    "precision": "fp32", "memory_format": "contiguous", "optimizer_kernels": "plain",
    "swa_rule": "uniform", "swa_batch_norm": "copy", "device": "cpu", "data_device": "host",
    "averages_on": "host", "data_root": "there", "weights": "file.pth", "cache_dir": "there",
    "weights_sha256": "0" * 64, "output_stride": 16, "scale_min": 0.7, "scale_max": 1.4,
    "aspp_branches": 2, "swa_decay": 0.5, "swa_threshold": 0.5, "generator_loss": "focal",
    "class_weights": "inverse_frequency", "generator_args": '{"width": 3}',
    "discriminator_args": '{"width": 3}', "generator_code": "0" * 12,
    "discriminator_code": "0" * 12,
}  # fmt: skip
# A field that is no part of the key must give the same bits whatever it is: trained, or why not.
SAME_BITS = {
    "checkpoint_every": 5,
    "data_device": "host",
    "averages_on": "host",
    "device": "cpu",
}
NOT_READ = {
    "data_root": "the data's fingerprint is in the key",
    "cache_dir": "the data's fingerprint is in the key",
    "weights": "weights_sha256 is in the key",
}


def changed(config: TrialConfig, name: str) -> TrialConfig:
    value = getattr(config, name)
    if name in OTHER:
        other = OTHER[name]
    elif isinstance(value, bool):
        other = not value
    else:
        other = value / 2 if isinstance(value, float) and value else value + 1
    # A hash without a file is refused; the file alone decides nothing.
    changes: dict[str, Any] = {name: other}
    if name == "weights_sha256":
        changes["weights"] = "file.pth"
    return dataclasses.replace(config, **changes)


@pytest.mark.parametrize("name", [field.name for field in dataclasses.fields(TrialConfig)])
def test_a_field_is_in_the_key_or_a_readouts_or_changes_no_bit(name: str, tmp_path: Path) -> None:
    base = small_config(batch_size=2, crop_px=32, image_px=32, swa_rule="ema", iterations=6)
    if name.endswith(("_args", "_code")):
        own: dict[str, Any] = {name.rpartition("_")[0]: "own_nets:plain"}
        base = dataclasses.replace(base, **own)
    other = changed(base, name)
    assert getattr(other, name) != getattr(base, name)
    keys = [training_key(config, DATA.fingerprint) for config in (base, other)]
    if name in READOUT_FIELDS:
        assert keys[0] == keys[1]
        assert readout_key(base.readout) != readout_key(other.readout)
        assert len(sweep_state(tmp_path, [base, other]).runs) == 1
    elif name in EXECUTION_FIELDS:
        assert keys[0] == keys[1]
        assert name in {**SAME_BITS, **NOT_READ}
        if name in SAME_BITS:
            assert bits(base, tmp_path / "base") == bits(other, tmp_path / "other")
    else:
        assert keys[0] != keys[1]
        assert len(sweep_state(tmp_path, [base, other]).runs) == 2


def bits(config: TrialConfig, storage: Path) -> dict[str, bytes]:
    """Train and return every tensor of the outcome as bytes."""
    run = TrainingRun(spec_of(config), storage)
    while not run.complete:
        run.advance()
    run.close()
    model = load_tensors(run.folder.path / "model.pt")
    (average,) = model["averages"].values()
    states = {"raw": model["generator"], "swa": average["state"]}
    return {
        f"{kind}/{name}": tensor.numpy().tobytes()
        for kind, state in states.items()
        for name, tensor in state.items()
    }
