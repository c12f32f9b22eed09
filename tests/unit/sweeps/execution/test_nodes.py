"""One code for all numbers: other code is refused, other machines are named, on every node."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from own_nets import PLAIN, config_with
from paths import ROOT
from record_helpers import SETTING, fail, finish, grid, origin_of, sweep_state
from small import small_config, spec_of
from store_helpers import children_of, parent_of, publish
from training_helpers import run_to_end, train, tune_config
from whole_sweeps import DEADLINE_S, LONG, command, finished_trials, results, sweep

from analysis.record.origin import Origin
from analysis.record.trials import load_trials
from analysis.record.version_mix import describe_mixtures
from sweeps.driver.summary import SweepSummary
from sweeps.execution import nodes as nodes_module
from sweeps.execution import tune_hooks
from sweeps.execution.cluster import ClusterError
from sweeps.execution.executor import RAY_SETTINGS
from sweeps.execution.in_flight import RunsInFlight
from sweeps.execution.nodes import (
    NodeFacts,
    ask_what_they_train_with,
    check_networks_of_nodes,
    codes_here,
    differences,
    facts_here,
)
from sweeps.execution.progress import ExecutionStats
from sweeps.execution.tune_hooks import REFUSAL, TuneCallback
from sweeps.planning.state import SweepState
from sweeps.planning.version_mix import mixtures_among
from sweeps.search.source import FixedRuns
from trainable.networks.custom_code import pinned
from trainable.ray_trainable import SegmentationTrainable
from trainable.runs import keys, machine
from trainable.runs.folder import CRASH_LOG, RunFolder
from trainable.runs.keys import OtherCodeError, RunSpec, code_version
from trainable.runs.results import outcome
from trainable.runs.training_run import TrainingRun

pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated")


OTHER = "0123456789ab"


def content_of(folder: Path) -> dict[str, bytes]:
    """What a folder holds, but for who held its lock."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "lock"}


# The code that trains


def test_the_version_is_that_of_the_code_imported_whatever_becomes_of_the_files(
    tmp_path: Path,
) -> None:
    package = shutil.copytree(ROOT / "trainable", tmp_path / "trainable")
    program = """
import sys
from pathlib import Path
from trainable.runs.keys import code_version, version_on_disk
before = code_version()
with Path(sys.argv[1]).open("a") as file:
    file.write("# edited")
print(before == code_version(), before == version_on_disk())
"""
    ran = [sys.executable, "-c", program, str(package / "training" / "losses.py")]
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        ran, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.stdout.split() == ["True", "False"], done.stderr


def test_code_that_changes_while_it_is_imported_is_not_trained_with() -> None:
    program = """
from trainable.runs import keys
keys.version_on_disk = lambda: "another"
import trainable.runs.training_run
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("ImportError: the code that trains changed")


def test_a_run_of_other_code_is_refused_by_host_and_versions_and_nothing_is_written(
    tmp_path: Path,
) -> None:
    spec = dataclasses.replace(spec_of(small_config()), code_version=OTHER)
    with pytest.raises(OtherCodeError) as refused:
        TrainingRun(spec, tmp_path)
    for part in (OTHER, code_version(), os.uname().nodename, "install the same code on every node"):
        assert part in str(refused.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("change", [{"code_version": OTHER}, {"training_key": "0" * 16}])
def test_a_worker_that_refuses_touches_nothing_and_says_so_instead_of_failing(
    change: dict[str, str], tmp_path: Path
) -> None:
    spec = RunSpec.from_primitives(spec_of(small_config()).to_primitives() | change)
    folder = tmp_path / spec.training_key
    folder.mkdir()
    for name in ("config.json", "metrics.json"):
        (folder / name).write_text("of the right run")
    before = content_of(folder)
    actor = SegmentationTrainable(tune_config(spec, tmp_path))
    report = actor.step()
    assert report["done"]
    assert "code on every node" in report["refused"]
    assert content_of(folder) == before
    # The worker itself is whole, and takes the next run.
    right = spec_of(small_config())
    actor.reset_config(tune_config(right, tmp_path))
    assert "refused" not in run_to_end(actor)


def test_a_spec_is_sent_with_the_version_it_was_planned_with() -> None:
    spec = dataclasses.replace(spec_of(small_config()), code_version=OTHER)
    values = json.loads(json.dumps(spec.to_primitives()))
    assert values["code_version"] == OTHER
    assert RunSpec.from_primitives(values) == spec


# Outcomes


def test_an_outcome_says_itself_by_which_code_and_on_what_it_was_made(tmp_path: Path) -> None:
    done, diverged = spec_of(small_config()), spec_of(small_config(lr_generator=1e30))
    for spec, name in ((done, "result"), (diverged, "failure")):
        run_to_end(SegmentationTrainable(tune_config(spec, tmp_path)))
        found = RunFolder(tmp_path, spec.training_key).read(name)
        assert found is not None
        assert found["code_version"] == code_version()
        assert found["setting"] == machine.setting(torch.device("cpu"))
        assert tuple(found["setting"]) == machine.SETTING


@pytest.mark.parametrize("end", [finish, lambda state, run: fail(state, run, "nan")])
def test_an_outcome_of_other_code_is_not_done(end: Callable[..., None], tmp_path: Path) -> None:
    state = sweep_state(tmp_path, grid([0.01]))
    end(state, state.runs[0])
    folder = RunFolder(tmp_path, state.runs[0].spec.training_key)
    assert sweep_state(tmp_path, grid([0.01])).pending() == []
    for name in ("result", "failure"):
        if (content := folder.read(name)) is not None:
            folder.write(name, content | {"code_version": OTHER})
    assert outcome(folder, state.runs[0].spec) is None
    assert len(sweep_state(tmp_path, grid([0.01])).pending()) == 1


def test_a_run_that_goes_on_elsewhere_says_on_what_it_was_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = spec_of(small_config())
    kinds = ["x86_64 AVX512", "x86_64 AVX2", "x86_64 AVX2"]
    for kind, calls in zip(kinds, (2, 1, 99), strict=True):
        monkeypatch.setattr(machine, "cpu_kind", lambda kind=kind: kind)
        run = TrainingRun(spec, tmp_path)
        for _ in range(calls):
            if not run.complete:
                run.advance()
        run.save()
        run.close()
    result = run.folder.read("result")
    assert result is not None
    assert result["setting"]["cpu"] == "x86_64 AVX512, then x86_64 AVX2"
    assert result["setting"]["torch"] == torch.__version__


# A lock that was waited for


@pytest.mark.parametrize("settings", [{}, {"lr_generator": 1e30}], ids=["result", "failure"])
def test_who_waited_for_the_lock_finds_the_outcome_and_does_not_train_again(
    settings: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = spec_of(small_config(**settings))
    run_to_end(SegmentationTrainable(tune_config(spec, tmp_path / "other")))
    theirs, ours = (tmp_path / name / spec.training_key for name in ("other", "ours"))
    monkeypatch.setattr(TrainingRun, "_build", _trained_again)
    reports = []

    def work() -> None:
        reports.append(SegmentationTrainable(tune_config(spec, tmp_path / "ours")).step())

    with RunFolder(ours.parent, ours.name):
        waiting = threading.Thread(target=work)
        waiting.start()
        time.sleep(0.3)
        for path in theirs.iterdir():
            shutil.copy(path, ours / path.name) if path.name != "lock" else None
    waiting.join(120)
    before = content_of(ours)
    (report,) = reports
    assert report["done"]
    history = json.loads(before["metrics.json"])["history"]
    assert report["run_iteration"] == (history[-1]["iteration"] if history else 0)
    # A search is told of its validations.
    seen = [[row["iteration"], row["val/miou"]] for row in history if "val/miou" in row]
    assert report["validations"] == seen
    assert before == content_of(ours)


def _trained_again(_: object) -> None:
    raise AssertionError


def test_who_waited_for_the_lock_trains_what_the_other_did_not_with_what_it_did(
    tmp_path: Path,
) -> None:
    one, other = small_config(), small_config(swa_n=3)
    train(spec_of(other), tmp_path)
    assert train(spec_of(one), tmp_path)["readouts"].keys() == {
        keys.readout_key(config.readout) for config in (one, other)
    }


# Kinds of machines


def test_a_cpu_is_named_with_what_limits_its_libraries(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in machine.LIMITS:
        monkeypatch.delenv(name, raising=False)
    whole = machine.cpu_kind()
    assert whole == f"{os.uname().machine} {torch.backends.cpu.get_cpu_capability()}"
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "avx2")
    monkeypatch.setenv("MKL_CBWR", "COMPATIBLE")
    assert machine.cpu_kind() == f"{whole} ONEDNN_MAX_CPU_ISA=AVX2 MKL_CBWR=COMPATIBLE"


def made_on(**changes: str) -> dict[str, Any]:
    return SETTING | changes


def counted(*settings: Mapping[str, object]) -> list[str]:
    return [mix.counted for mix in mixtures_among(settings)]


def test_what_trials_do_not_share_is_counted_by_what_trained() -> None:
    avx2, gpu = made_on(cpu="x86_64 AVX2"), made_on(device="NVIDIA H100", cpu="x86_64 AVX2")
    assert counted(SETTING, SETTING) == []
    assert counted(SETTING, {}) == []
    assert counted(gpu, made_on(device="NVIDIA H100")) == []
    assert counted(SETTING, avx2, SETTING) == [
        "2 kinds of processor (x86_64 AVX2: 1, x86_64 AVX512: 2)"
    ]
    assert counted(made_on(torch="2.11.0"), gpu) == [
        "2 versions of torch (2.11.0: 1, 2.15.0: 1)",
        "2 kinds of processor (NVIDIA H100: 1, x86_64 AVX512: 1)",
    ]


def test_a_sweep_on_two_kinds_of_cpu_says_so_on_the_screen_and_in_the_record(
    tmp_path: Path, uri: str
) -> None:
    state = sweep_state(tmp_path / "runs", grid())
    for run in state.runs:
        finish(state, run)
    folder = RunFolder(state.plan.storage, state.runs[0].spec.training_key)
    result = folder.read("result")
    assert result is not None
    # What another worker wrote of itself in config.json is not what made these numbers.
    folder.write("config", (folder.read("config") or {}) | {"cpu": "x86_64 DEFAULT"})
    folder.write("result", result | {"setting": made_on(cpu="x86_64 AVX2")})
    told = "2 kinds of processor (x86_64 AVX2: 1, x86_64 AVX512: 1)"
    summary = SweepSummary.of(state, ExecutionStats())
    assert summary.as_primitives()["mixed"] == [told]
    sentence = (
        "the trials come from 2 kinds of processor (x86_64 AVX2, x86_64 AVX512) and may differ in "
        "digits for that alone"
    )
    assert sentence in [line for line in summary.lines() if isinstance(line, str)]
    publish(state, uri)
    assert parent_of(uri).data.tags["mixed"] == told
    assert describe_mixtures(load_trials(uri, cache=False)) == [sentence]
    kinds = {child.data.tags["cpu"] for child in children_of(uri)}
    assert kinds == {"x86_64 AVX2", "x86_64 AVX512"}
    folder.write("result", result)
    publish(sweep_state(tmp_path / "runs", grid()), uri)
    assert "mixed" not in parent_of(uri).data.tags


def test_a_trial_is_recorded_with_the_code_that_its_worker_wrote(tmp_path: Path, uri: str) -> None:
    planned = sweep_state(tmp_path / "runs", grid([0.01]))
    spec = dataclasses.replace(planned.runs[0].spec, code_version=OTHER)
    state = SweepState(planned.plan)
    state.add_runs([dataclasses.replace(planned.runs[0], spec=spec)])
    finish(state, state.runs[0])
    publish(state, uri)
    assert origin_of(spec)["code_version"] == OTHER
    assert [Origin.of_run(one).facts["code_version"] for one in children_of(uri)] == [OTHER]


# Before a sweep begins


HERE = facts_here("here")


def answering(
    monkeypatch: pytest.MonkeyPatch, nodes: list[NodeFacts], faults: tuple[str, ...] = ()
) -> None:
    """Let these nodes answer instead of a cluster's."""
    told = [(node.name, dataclasses.replace(node, name="")) for node in nodes]
    monkeypatch.setattr(nodes_module, "ask_nodes", lambda *_: (told, list(faults)))


def test_nodes_with_this_code_are_taken_and_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    nodes = [dataclasses.replace(HERE, name=name) for name in ("one", "two")]
    answering(monkeypatch, nodes)
    assert ask_what_they_train_with(print) == tuple(nodes)
    assert list(differences(nodes)) == []


def test_nodes_without_a_network_of_ones_own_are_refused_by_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = pinned(config_with(PLAIN))
    has, lacks = ({PLAIN: code} for code in (config.generator_code, "none (no module)"))
    monkeypatch.setattr(nodes_module, "ask_nodes", lambda *_: ([("one", has)], []))
    check_networks_of_nodes([config, small_config()], print)
    monkeypatch.setattr(nodes_module, "ask_nodes", lambda *_: ([("one", has), ("two", lacks)], []))
    with pytest.raises(ClusterError) as refused:
        check_networks_of_nodes([config], print)
    assert f"but two has none (no module) of {PLAIN}; install" in str(refused.value)
    monkeypatch.setattr(nodes_module, "ask_nodes", lambda *_: pytest.fail("no node is asked"))
    check_networks_of_nodes([small_config()], print)


def test_a_node_answers_with_the_code_that_it_has() -> None:
    found = codes_here(f'["{PLAIN}", "no_such:net"]')
    assert found[PLAIN] == pinned(config_with(PLAIN)).generator_code
    assert "ModuleNotFoundError" in found["no_such:net"]


def test_nodes_with_other_code_or_none_are_all_refused_by_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    other = dataclasses.replace(HERE, name="two", code_version=OTHER, package="else")
    beside = dataclasses.replace(HERE, name="three", package="else")
    fault = "four fails with ModuleNotFoundError: No module named 'trainable'"
    answering(monkeypatch, [HERE, other, beside], (fault,))
    with pytest.raises(ClusterError) as refused:
        ask_what_they_train_with(print)
    said = str(refused.value)
    assert f"version {code_version()}, but {fault}; three has other code beside it; " in said
    assert f"; two has version {OTHER}; install the same package there" in said
    assert "here has" not in said


def test_other_versions_and_kinds_are_told_in_a_line_each() -> None:
    other = dataclasses.replace(
        HERE, name="two", torch="2.11.0", cpu=f"not {HERE.cpu}", gpus=("NVIDIA A", "NVIDIA B")
    )
    said = list(differences([HERE, other]))
    assert len(said) == 3
    assert said[0].startswith(f"another version of torch than this driver's, {HERE.torch}: two 2.")
    assert "2 kinds of CPU" in said[1]
    assert "2 kinds of GPU, NVIDIA A, NVIDIA B" in said[2]


def test_gpus_are_named_with_their_compute_capability(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho 'NVIDIA A100-SXM4-80GB, 8.0'\necho 'NVIDIA T4, 7.5'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    facts = facts_here("one")
    assert facts.gpus == ("NVIDIA A100-SXM4-80GB", "NVIDIA T4")
    assert facts.capabilities == ("8.0", "7.5")


# In the midst of one


class _Trial:
    """As much of Tune's trial as a callback reads."""

    def __init__(self, key: str, report: dict[str, Any]) -> None:
        self.key = key
        self.last_result = report

    def __str__(self) -> str:
        return self.key


@pytest.mark.parametrize("on_disk", [code_version(), OTHER])
def test_a_refusal_ends_the_sweep_and_the_run_stays_to_be_trained(
    on_disk: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rich.console import Console

    from sweeps.execution.display import LiveDisplay

    monkeypatch.setattr(tune_hooks, "version_on_disk", lambda: on_disk)
    state = sweep_state(tmp_path, grid([0.01]))
    in_flight, execution = RunsInFlight(source=FixedRuns(state.runs)), ExecutionStats()
    ends: list[Any] = []
    callback = TuneCallback(
        state,
        in_flight,
        LiveDisplay(console=Console(), title="", total=1, done=0),
        execution,
        lambda run, cause: ends.append((run, cause)),
        gpus=0,
        hang_timeout_s=1,
    )
    assert in_flight.suggest() is not None
    trial: Any = _Trial(state.runs[0].spec.training_key, {"refused": "code of another version"})
    callback.on_trial_start(0, [], trial)
    callback.on_trial_complete(0, [], trial)
    assert execution.spent == REFUSAL
    assert execution.refused.startswith("code of another version")
    assert ("changed while the sweep ran" in execution.refused) == (on_disk == OTHER)
    assert execution.causes == {}
    assert ends == [(state.runs[0], None)]
    conclusion = SweepSummary.of(state, execution)
    assert (conclusion.left, conclusion.failures) == (1, [])
    assert f"refused: {execution.refused}" in list(conclusion.lines())


def package_in(folder: Path) -> Path:
    """A copy of what sweeps run on, to be put first on a path."""
    for name in ("trainable", "sweeps", "analysis"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def spoil(folder: Path) -> None:
    """Change one line of the code that trains, by which all numbers become others."""
    path = folder / "trainable" / "training" / "losses.py"
    text = path.read_text()
    spoilt = text.replace("return -(log_probability", "return -(1.5 * log_probability")
    assert spoilt != text
    path.write_text(spoilt)


@pytest.fixture
def two_nodes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., str]]:
    """Return what starts a cluster: a node as it is, and one with other variables, both one CPU."""
    os.environ.update(RAY_SETTINGS)
    token = [sys.executable, "-m", "ray.scripts.scripts", "get-auth-token", "--generate"]
    subprocess.run(token, check=True, capture_output=True)
    from ray.cluster_utils import Cluster

    clusters: list[Any] = []

    def start(**environment: str) -> str:
        clusters.append(Cluster(initialize_head=True, head_node_args={"num_cpus": 1}))
        with monkeypatch.context() as patch:
            for name, value in environment.items():
                patch.setenv(name, value)
            clusters[0].add_node(num_cpus=1, node_name="second")
        return str(clusters[0].address)

    yield start
    clusters[0].shutdown()


@pytest.mark.slow
def test_a_node_with_other_code_is_refused_by_name_and_nothing_is_trained(
    two_nodes: Callable[..., str], tmp_path: Path
) -> None:
    other = package_in(tmp_path / "other")
    spoil(other)
    asked = sweep(tmp_path, "--address", two_nodes(PYTHONPATH=str(other)))
    assert asked.returncode == 2, asked.stdout + asked.stderr
    assert "(second) has version " in asked.stderr
    assert asked.stderr.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["other"]


@pytest.mark.slow
def test_a_sweep_on_two_kinds_of_cpu_says_so_before_and_after(
    two_nodes: Callable[..., str], tmp_path: Path
) -> None:
    address = two_nodes(ATEN_CPU_CAPABILITY="avx2")
    done = sweep(tmp_path, "--no-figures", "--address", address)
    assert done.returncode == 0, done.stderr
    assert "the nodes have 2 kinds of CPU, " in done.stdout
    assert "the trials come from 2 kinds of processor (" in done.stdout


@pytest.mark.slow
def test_a_worker_that_starts_after_an_edit_refuses_and_nothing_wrong_is_recorded(
    tmp_path: Path, long_uninterrupted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As does one on a node that joins later with other code."""
    from faults.sweep import descendants, title

    folder = tmp_path / "edited"
    folder.mkdir()
    package = package_in(tmp_path / "package")
    good = (package / "trainable" / "training" / "losses.py").read_text()
    monkeypatch.setenv("PYTHONPATH", str(package))
    driver = subprocess.Popen(
        command("--no-figures", settings=LONG),
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    deadline = time.monotonic() + DEADLINE_S
    while not list(folder.glob("runs/*/checkpoint-*.pt")):
        assert driver.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    spoil(package)
    for pid in descendants(driver.pid):
        if "Trainable" in title(pid):
            os.kill(pid, 9)
    said, _ = driver.communicate(timeout=DEADLINE_S)
    assert driver.returncode == 1, said
    assert "refused: a run must be trained by the code that planned it" in said
    assert "the code on this machine changed while the sweep ran" in said
    assert "FAILED" not in said
    assert not list(folder.glob(f"runs/*/{CRASH_LOG}"))
    kept = results(folder)
    assert kept == {key: results(long_uninterrupted)[key] for key in kept}
    (package / "trainable" / "training" / "losses.py").write_text(good)
    assert sweep(folder, "--no-figures", settings=LONG).returncode == 0
    assert results(folder) == results(long_uninterrupted)
    assert finished_trials(folder).keys() == finished_trials(long_uninterrupted).keys()
