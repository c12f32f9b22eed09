"""A recorded trial trained again, and its generator as an MLflow model."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import torch
from own_nets import EVERY_GENERATOR, config_with
from record_helpers import fail, finish, grid, sweep_state
from small import small_config
from store_helpers import children_of, parent_of, publish

from analysis.record.origin import TAG, Origin
from sweeps import log_model, repeat
from sweeps.planning.plan import Trial, make_plan
from sweeps.planning.state import SweepState
from sweeps.record.environment import git_commit
from sweeps.record.model_export import EXAMPLE, Segmenter
from sweeps.record.publisher import Publisher
from sweeps.record.reader import with_weights_of_trial
from trainable.config.schema import ConfigError
from trainable.data import datasets
from trainable.data.augmentation import normalise
from trainable.inference.saved_model import load_model
from trainable.networks.build import build_generator
from trainable.networks.pretrained import load_pretrained, pin
from trainable.runs.keys import readout_key
from trainable.runs.training_run import TrainingRun
from trainable.training.numerics import Numerics

pytestmark = [
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated"),
    pytest.mark.trains,
]


@pytest.fixture
def trained(tmp_path: Path, uri: str) -> SweepState:
    """A sweep of one training run and two readouts, really trained and published without model."""
    base = small_config()
    configs = [dataclasses.replace(base, swa_n=n) for n in (2, 3)]
    asked = make_plan(
        "swa_grid",
        base=base,
        axes=("swa_n",),
        data=datasets.inspect(base),
        storage=tmp_path / "runs",
    )
    state = SweepState.of(asked, configs)
    with closing(TrainingRun(state.runs[0].spec, state.plan.storage)) as run:
        while not run.complete:
            run.advance()
    with Publisher(state, uri, pytest.fail, with_model=False) as publisher:
        publisher.publish(state.runs[0])
    return state


def run(program: Any, monkeypatch: pytest.MonkeyPatch, uri: str, *options: str) -> int:
    """Run a command in this process and return its exit code."""
    monkeypatch.setattr("sys.argv", ["command", *options, "--tracking-uri", uri])
    with pytest.raises(SystemExit) as end:
        sys.exit(program.main())
    return int(str(end.value.code))


def id_of(uri: str, index: int = 0) -> str:
    return str(children_of(uri)[index].info.run_id)


# Again


def test_a_trial_trained_again_has_the_same_digits(
    trained: SweepState,
    uri: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = sorted(path for path in trained.plan.storage.rglob("*"))
    assert run(repeat, monkeypatch, uri, id_of(uri)) == 0
    said = capsys.readouterr().out.splitlines()[-1]
    assert said.startswith("the same digits: ")
    # Eight final numbers, three losses, curves, IoU per class twice, and more.
    assert int(said.split()[3]) > 40
    assert sorted(path for path in trained.plan.storage.rglob("*")) == before


def test_a_digit_that_differs_is_named(
    trained: SweepState,
    uri: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from mlflow import MlflowClient

    run_id = id_of(uri)
    MlflowClient(uri).log_metric(run_id, "swa/miou", 0.125, step=12)
    assert run(repeat, monkeypatch, uri, run_id) == 1
    said = capsys.readouterr().out.splitlines()
    assert said[-2].startswith("swa/miou after 12 iterations was 0.125, is ")
    assert said[-1].startswith("1 of ")


def tagged(uri: str, **tags: str) -> str:
    """A child with other tags than it was written with."""
    from mlflow import MlflowClient

    for name, text in tags.items():
        MlflowClient(uri).set_tag(id_of(uri), name, text)
    return id_of(uri)


def noted(uri: str, **facts: str) -> str:
    """A child that was made from something else than was written."""
    (child,) = children_of(uri)
    origin = Origin.of_run(child)
    other = dataclasses.replace(origin, facts={**origin.facts, **facts})
    return tagged(uri, **{TAG: other.tag(child.data.params)})


CASES: dict[str, tuple[Callable[[str], str], str]] = {
    "unknown": (lambda uri: "0" * 32, "RUN_ID must be one of MLflow's"),
    "parent": (lambda uri: str(parent_of(uri).info.run_id), "is a whole sweep"),
    "code": (lambda uri: noted(uri, code_version="0123456789ab"), "check out commit"),
    "data": (lambda uri: noted(uri, data_fingerprint="0123456789abcdef"), "on its own data"),
    "schema": (lambda uri: tagged(uri, schema="3"), "must name a run of schema 2"),
}


@pytest.mark.parametrize("case", CASES)
def test_what_cannot_be_repeated_is_refused_in_one_line(
    case: str,
    tmp_path: Path,
    uri: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    state = sweep_state(tmp_path / "runs", grid([0.01]))
    finish(state, state.runs[0])
    publish(state, uri)
    choose, words = CASES[case]
    assert run(repeat, monkeypatch, uri, choose(uri)) == 2
    said = capsys.readouterr().err
    assert words in said
    assert said.count("\n") == 1


def test_a_failed_trial_and_other_fields_are_refused(
    tmp_path: Path, uri: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    state = sweep_state(tmp_path / "runs", grid([0.01]))
    fail(state, state.runs[0], "train/loss_adv must stay finite")
    publish(state, uri)
    assert run(repeat, monkeypatch, uri, id_of(uri)) == 2
    assert "is FAILED (train/loss_adv must stay finite)" in capsys.readouterr().err
    finish(state, state.runs[0])
    publish(sweep_state(tmp_path / "runs", grid([0.01])), uri)
    assert run(repeat, monkeypatch, uri, id_of(uri), "--set", "seed=1") == 2
    assert "but got 'seed'" in capsys.readouterr().err
    assert run(repeat, monkeypatch, "sqlite:///nowhere.db", "0" * 32) == 2
    assert "there is no file nowhere.db" in capsys.readouterr().err
    assert not Path("nowhere.db").exists()


# As a model


def test_a_sweep_that_wants_no_model_is_complete_without_one(trained: SweepState, uri: str) -> None:
    assert trained.pending() == []
    tags = parent_of(uri).data.tags
    assert tags["state"] == "complete"
    assert "best_model" not in tags


def network_of(state: SweepState, trial: Trial) -> torch.nn.Module:
    """The network that `trainable.predict` would use for a trial."""
    model = load_model(state.plan.storage / trial.training_key)
    network = model.network(readout_key(trial.config.readout))
    Numerics.of(model.config, torch.device("cpu")).place(network)
    return network


@pytest.mark.filterwarnings("ignore")  # torch's own, as it exports
def test_the_logged_model_gives_the_bits_of_the_averaged_network_at_any_size(
    trained: SweepState,
    uri: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    import mlflow

    (child,) = [one for one in children_of(uri) if one.data.params["swa_n"] == "3"]
    before = mlflow.get_tracking_uri()
    options = (child.info.run_id, "--storage", str(trained.plan.storage))
    assert run(log_model, monkeypatch, uri, *options) == 0
    model = mlflow.pytorch.load_model(capsys.readouterr().out.splitlines()[-1])
    mlflow.set_tracking_uri(before)
    (trial,) = [one for one in trained.trials if one.config.swa_n == 3]
    network = network_of(trained, trial)
    for size in ((1, 3, 24, 24), (2, 3, 48, 64), (3, 3, 33, 101), (1, 3, 16, 17), (1, 3, 21, 65)):
        images = torch.randint(0, 256, size, dtype=torch.uint8)
        with torch.inference_mode():
            wanted = network(normalise(images, caffe=trial.config.is_caffe))
        assert torch.equal(model(images), wanted)
    status = [one.info.status for one in children_of(uri)]
    assert status == ["FINISHED", "FINISHED"]


def test_a_model_whose_run_folder_is_elsewhere_is_refused_in_one_line(
    trained: SweepState,
    uri: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(log_model, monkeypatch, uri, id_of(uri), "--storage", "elsewhere") == 2
    said = capsys.readouterr().err
    assert "(--storage) must hold the trial's run folder" in said
    assert said.count("\n") == 1


def test_a_sweep_begins_with_the_averaged_weights_of_a_recorded_trial(
    trained: SweepState, uri: str
) -> None:
    (run_folder,) = (trained.plan.storage / one.spec.training_key for one in trained.runs)
    for child in children_of(uri):
        config = small_config(weights=f"run:{child.info.run_id}")
        named = with_weights_of_trial(config, uri, trained.plan.storage)
        average = load_model(run_folder).states[named.weights.rpartition("#")[2]]
        network = build_generator(named, 7)
        load_pretrained(network, pin(named))
        assert all(torch.equal(one, average[name]) for name, one in network.named_parameters())
    assert with_weights_of_trial(small_config(), uri, trained.plan.storage) == small_config()
    with pytest.raises(ConfigError, match="RUN_ID must be one of MLflow's"):
        with_weights_of_trial(small_config(weights="run:none"), uri, trained.plan.storage)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("generator", EVERY_GENERATOR)
def test_every_generator_is_exported_for_any_size(generator: str) -> None:
    torch.manual_seed(0)
    config = config_with(generator, image_px=32, crop_px=32)
    network = build_generator(config, 3).eval().requires_grad_(False)
    module = Segmenter(network, caffe=config.is_caffe)
    example = torch.zeros(EXAMPLE, dtype=torch.uint8)
    module(example)
    auto = torch.export.Dim.AUTO  # what MLflow takes for the sizes that a signature leaves open
    sizes = ({0: auto, 2: auto, 3: auto},)
    program = torch.export.export(module, (example,), dynamic_shapes=sizes).module()
    for size in ((1, 3, config.generator_spec.least_px, 40), (3, 3, 65, 33)):
        images = torch.randint(0, 256, size, dtype=torch.uint8)
        assert torch.equal(program(images), module(images))


@pytest.mark.slow
def test_a_complete_sweep_logs_its_best_model_once_and_it_loads_without_our_code(
    trained: SweepState, uri: str, tmp_path: Path
) -> None:
    from mlflow import MlflowClient

    assert publish(trained, uri) == []
    tags = parent_of(uri).data.tags
    best = {one.info.run_id: one.data.metrics["swa/miou"] for one in children_of(uri)}
    assert best[tags["best_run"]] == max(best.values())
    assert publish(trained, uri) == []
    assert parent_of(uri).data.tags["best_model"] == tags["best_model"]
    model = MlflowClient(uri).get_logged_model(tags["best_model"].rpartition("/")[2])
    assert model.tags["mlflow.source.git.commit"] == git_commit()
    assert model.tags["mlflow.source.git.repoURL"] == ""
    program = f"""
import sys, mlflow, numpy, torch
mlflow.set_tracking_uri({uri!r})
images = numpy.zeros((1, 3, 24, 40), dtype=numpy.uint8)
logits = mlflow.pytorch.load_model({tags["best_model"]!r})(torch.from_numpy(images))
told = mlflow.pyfunc.load_model({tags["best_model"]!r}).predict(images)
assert numpy.array_equal(told, logits.detach().numpy())
print(tuple(logits.shape), sorted({{"trainable", "sweeps"}} & set(sys.modules)))
"""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program],
        cwd=tmp_path,
        env=os.environ | {"MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    classes = len(trained.plan.data.classes)
    assert done.stdout.splitlines()[-1] == f"(1, {classes}, 24, 40) []"
