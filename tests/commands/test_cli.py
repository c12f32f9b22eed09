"""The command line: bad input is one clear line and no trace, and a plan trains nothing."""

import dataclasses
import json
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from driver_helpers import read
from PIL import Image
from record_helpers import finish, grid, sweep_state
from refusals import one_line, refused
from trees import write_voc_tree

from sweeps import ablation, lambda_grid
from sweeps.driver import session, sweep
from sweeps.planning.state import SweepState
from trainable.config.loading import PRESET_DIR, load_config
from trainable.data import datasets
from trainable.networks.deeplab import deeplab_small

SCRIPT = Path(lambda_grid.__file__)

pytestmark = pytest.mark.trains

BAD_MASK_LABEL = 77

# Command line, and what its refusal must name: the rule or the nearest key, and the value.
BAD_INPUT = {
    "--preset voc2102": ("unknown preset 'voc2102'", "did you mean 'voc2012'?"),
    "--preset ../presets/demo": ("unknown preset '../presets/demo'",),
    "--set lamda_adv=0.1": ("unknown key 'lamda_adv'", "did you mean 'lambda_adv'?"),
    "--set generator=deeplab_smal": ("generator 'deeplab_smal'", "did you mean 'deeplab_small'?"),
    "--set adversarial=both": ("unknown adversarial 'both'", "none, standard, pixelwise"),
    "--set iterations=many": ("iterations must be a whole number", "'many'"),
    "--set iterations=1.5": ("iterations must be a whole number", "1.5"),
    "--set mirror=1": ("mirror must be true or false", "1"),
    "--set generator=3": ("generator must be text", "3"),
    "--set iterations": ("`--set key=value`", "'iterations'"),
    "--set lambda_adv=[": ("lambda_adv='['", "YAML"),
    "--set lambda_adv=-1": ("`lambda_adv >= 0`", "lambda_adv=-1.0"),
    "--lambdas 0 -1": ("`lambda_adv >= 0`", "lambda_adv=-1.0"),
    "--lambdas nan": ("lambda_adv must be finite", "nan"),
    "--lambdas many": ("--lambdas", "'many'"),
    "--set iterations=1.0e+300": ("iterations must lie within 64 bits", "997"),
    "--set lr_generator=nan": ("lr_generator must be finite", "nan"),
    "--set lr_generator=.inf": ("lr_generator must be finite", "inf"),
    "--set swa_n=0": ("`swa_n >= 1`", "swa_n=0"),
    "--set swa_threshold=1.0": ("`0 <= swa_threshold < 1`", "swa_threshold=1.0"),
    "--set swa_threshold=-0.1": ("`0 <= swa_threshold < 1`", "swa_threshold=-0.1"),
    "--set crop_px=15": ("`crop_px >= 32`", "crop_px=15"),
    "--set image_px=8": ("`image_px >= 16`", "image_px=8"),
    "--set scale_min=3": ("`scale_min <= scale_max`", "scale_min=3.0"),
    "--seeds 0": ("--seeds", "from 1 to 10000", "'0'"),
    "--seeds 1.5": ("--seeds", "whole number", "'1.5'"),
    "--set seed=2147483647": ("`0 <= seed < 2**31`", "seed=2147483648"),
    "--lambda 0.1 --frobnicate": ("unrecognized arguments", "--frobnicate", "--help"),
    "'two\nlines'": ("unrecognized arguments", "two lines"),
    "--config a.yaml --preset demo": ("--preset", "not allowed with", "--config"),
    "--config missing.yaml": ("missing.yaml", "No such file"),
    "--config .": ("cannot read .", "directory"),
    "--tracking-uri mlruns": ("--tracking-uri", "sqlite", "'mlruns'"),
    "--tracking-uri file:///mlruns": ("--tracking-uri", "sqlite", "'file:///mlruns'"),
    "--tracking-uri sqlite://": ("(--tracking-uri) must name a file", "sqlite:///mlflow.db"),
    "--tracking-uri sqlite:///.": ("(--tracking-uri) must name a file", "is a folder"),
    "--tracking-uri sqlite+pysqlite:///no/x.db": ("in a folder that exists", "/no does not"),
    "--tracking-uri http://": ("(--tracking-uri) must name a store", "no host"),
    "--tracking-uri http://h:99999": ("(--tracking-uri) must name a store", "Port out of range"),
    "--tracking-uri postgresql://h:x/db": ("--tracking-uri: must say where", "%25, %40"),
    "--tracking-uri postgresql+nosuch://me:secret@h/db": (
        "postgresql+nosuch://***@h/db",
        "dialects",
    ),
    "--max-concurrent 0": ("--max-concurrent", "from 1 to", "'0'"),
    "--time-budget 0": ("--time-budget", "above 0", "'0'"),
    "--cpus-per-trial 0": ("--cpus-per-trial", "above 0", "'0'"),
    "--cpus-per-trial nan": ("--cpus-per-trial", "above 0", "'nan'"),
    "--gpus-per-trial -1": ("--gpus-per-trial", "at least 0", "'-1'"),
    "--storage nosuch://bucket/runs": ("--storage", "object store that pyarrow", "nosuch://bucket"),
    "--gpus-per-trial 3": ("3 GPUs", "--gpus-per-trial"),
    "--set weights=nowhere.pth": ("nowhere.pth", "weights=FILE"),
    "--set weights=torchvision": ("deeplab_small", "weights=torchvision", "resnet101"),
    "--set trunk_batch_norm=frozen": ("trunk_batch_norm=frozen", "weights=FILE"),
    "--preset voc2012": ("dataset=voc2012", "--data-root DIR", "VOCdevkit/VOC2012"),
    "--preset voc2012 --data-root nowhere": ("nowhere/VOCdevkit/VOC2012", "--data-root DIR"),
}


def run_script(folder: Path, *argv: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), *argv]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


# Bad input


def test_weights_of_another_network_are_refused_before_anything_starts(
    empty: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = empty.parent / "weights.pth"
    torch.save(deeplab_small(load_config(overrides=["generator_width=4"]), 7).state_dict(), file)
    said = refused(["--set", f"weights={file}"], monkeypatch, capsys)
    assert "the trunk of generator=deeplab_small must find all its" in said
    assert list(empty.iterdir()) == []


@pytest.mark.parametrize("command", BAD_INPUT)
def test_bad_input_is_one_line_that_names_rule_and_value_and_writes_nothing(
    command: str,
    empty: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    said = refused(shlex.split(command), monkeypatch, capsys)
    assert [word for word in BAD_INPUT[command] if word not in said] == []
    assert list(empty.iterdir()) == []


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("--preset demmo", ("unknown preset 'demmo'", "did you mean 'demo'?")),
        ("--cpus-per-trial 9999", ("9999 CPUs", "--cpus-per-trial")),
    ],
)
def test_bad_input_ends_the_process_with_2(
    command: str, words: tuple[str, ...], tmp_path: Path
) -> None:
    done = run_script(tmp_path, *shlex.split(command))
    assert done.returncode == 2
    said = one_line(done.stderr)
    assert [word for word in words if word not in said] == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"lamda_adv: 1\n", ("unknown key 'lamda_adv'", "did you mean 'lambda_adv'?")),
        (b"swa_n: 0\n", ("`swa_n >= 1`", "swa_n=0")),
        (b"swa_n: 1\nswa_n: 2\n", ("config.yaml", "'swa_n' stands twice")),
        (b"- swa_n\n", ("config.yaml", "a list")),
        (b"swa_n: [\n", ("config.yaml", "not usable YAML")),
        (b"generator: \xff\n", ("config.yaml", "UTF-8")),
    ],
)
def test_bad_config_file_is_refused_by_name(
    content: bytes,
    words: tuple[str, ...],
    empty: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = empty.with_name("config.yaml")
    path.write_bytes(content)
    said = refused(["--config", str(path)], monkeypatch, capsys)
    assert [word for word in words if word not in said] == []
    assert list(empty.iterdir()) == []


def drop_list(voc: Path) -> tuple[str, ...]:
    (voc / "ImageSets/Segmentation/val.txt").unlink()
    return ("val.txt", "list")


def drop_mask(voc: Path) -> tuple[str, ...]:
    mask = sorted((voc / "SegmentationClassAug").iterdir())[1]
    mask.unlink()
    return (str(mask), "must exist")


def spoil_mask(voc: Path) -> tuple[str, ...]:
    path = sorted((voc / "SegmentationClassAug").iterdir())[1]
    mask = Image.open(path)
    labels = np.array(mask)
    labels[3, 4] = BAD_MASK_LABEL
    changed = Image.fromarray(labels).convert("P")
    changed.putpalette(mask.getpalette() or [])
    changed.save(path)
    return (str(path), "labels must lie in 0..20 or be 255", f"got {BAD_MASK_LABEL}")


@pytest.mark.parametrize("spoil", [drop_list, drop_mask])
def test_bad_data_is_one_line_that_names_the_file(
    spoil: Callable[[Path], tuple[str, ...]],
    empty: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    root = write_voc_tree(empty.with_name("data"))
    words = spoil(root / "VOCdevkit/VOC2012")
    said = refused(["--preset", "voc2012", "--data-root", str(root)], monkeypatch, capsys)
    assert [word for word in words if word not in said] == []
    assert list(empty.iterdir()) == []


@pytest.mark.parametrize("more", [[], ["--plan"], ["--set", "trunk_batch_norm=frozen"]])
def test_the_papers_presets_want_weights_or_batch_norms_that_train(
    empty: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    more: list[str],
) -> None:
    root = empty.with_name("data")
    write_voc_tree(root)
    said = refused(["--preset", "voc2012", "--data-root", str(root), *more], monkeypatch, capsys)
    assert "weights=FILE" in said
    assert "trunk_batch_norm=train" in said
    assert list(empty.iterdir()) == []


def test_generators_from_scratch_want_no_weights(empty: Path) -> None:
    root = empty.with_name("data")
    write_voc_tree(root)
    argv = ["--preset", "voc2012", "--data-root", str(root), "--generators", "deeplabv3_resnet18"]
    state = sweep._plan(ablation.SWEEP, *read(ablation.parser(), *argv))
    assert {trial.config.trunk_batch_norm for trial in state.trials} == {"train"}


def test_mask_with_a_label_that_is_no_class_is_named_with_label_and_value(tmp_path: Path) -> None:
    root = write_voc_tree(tmp_path / "data")
    words = spoil_mask(root / "VOCdevkit/VOC2012")
    (tmp_path / "work").mkdir()
    options = ("--preset", "voc2012", "--data-root", str(root), "--plan")
    done = run_script(tmp_path / "work", *options)
    assert done.returncode == 2
    said = one_line(done.stderr)
    assert [word for word in words if word not in said] == []
    assert list((tmp_path / "work").iterdir()) == []


def test_storage_that_is_a_file_is_refused_and_left_alone(
    empty: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (empty / "runs").write_text("mine")
    for storage in ("runs", "runs/below"):
        said = refused(["--storage", storage], monkeypatch, capsys)
        assert f"(--storage) must lie in a folder, but {empty / 'runs'} is a file" in said
    assert [path.read_text() for path in empty.iterdir()] == ["mine"]


def test_a_database_in_a_folder_that_is_not_there_is_refused(
    empty: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    said = refused(["--tracking-uri", "sqlite:///there/mlflow.db"], monkeypatch, capsys)
    assert f"(--tracking-uri) must lie in a folder that exists, but {empty / 'there'} " in said
    assert list(empty.iterdir()) == []


# Plans


def test_plan_prints_the_plan_and_writes_nothing(tmp_path: Path) -> None:
    done = run_script(tmp_path, "--plan")
    assert (done.returncode, done.stderr) == (0, "")
    first, second, *_ = done.stdout.splitlines()
    assert first == "lambda_grid with preset demo: loading PyTorch"
    assert second == "checking data, run folders and record"
    assert "\nlambda_grid on shapes, sweep " in done.stdout
    assert re.search(r"^trials: +36$", done.stdout, re.MULTILINE)
    assert list(tmp_path.iterdir()) == []


def test_plan_as_json_is_one_object_on_standard_output(tmp_path: Path) -> None:
    done = run_script(tmp_path, "--plan", "--json", "--seeds", "2", "--lambdas", "0", "0.01")
    assert done.returncode == 0
    assert done.stderr.startswith("lambda_grid with preset demo: loading PyTorch\n")
    assert "\nlambda_grid on shapes, sweep " in done.stderr
    assert done.stdout.count("\n") == 1
    said = json.loads(done.stdout)
    assert (said["sweep"], said["dataset"]) == ("lambda_grid", "shapes")
    assert (said["trials"], said["training_runs"], said["training_runs_done"]) == (4, 4, 0)
    assert (said["best"], said["figure"], said["failed"]) == (None, None, [])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("has_bf16", "means"), [(True, "bf16"), (False, "fp16")])
def test_a_plan_settles_what_auto_precision_means(
    empty: Path, monkeypatch: pytest.MonkeyPatch, has_bf16: bool, means: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(
        torch.cuda, "is_bf16_supported", lambda including_emulation: including_emulation or has_bf16
    )
    own = dataclasses.replace(
        lambda_grid.SWEEP,
        axes=("precision",),
        trials=lambda base, seeds, options: [
            dataclasses.replace(base, precision=one, seed=seed)
            for one in ("auto", "fp32", base.precision)
            for seed in seeds
        ],
    )

    def state(*argv: str) -> SweepState:
        return sweep._plan(own, *read(lambda_grid.parser(), "--seeds", "1", *argv))

    here = state()
    assert [trial.config.precision for trial in here.trials] == [means, "fp32"]
    assert here.plan.base.precision == means
    (later,) = here.add_trials([dataclasses.replace(here.plan.base, precision="auto")])
    assert later.spec.training_key == here.runs[0].spec.training_key
    named = state("--set", f"precision={means}")
    assert named.plan.sweep_key == here.plan.sweep_key
    for other in (("--set", "device=cpu"), ("--gpus-per-trial", "0")):
        assert state(*other).plan.base.precision == "fp32"
    # A cluster's devices are not this machine's.
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert state("--set", "device=cuda", "--address", "auto").plan.base.precision == "fp32"


def test_options_reach_the_plan(
    empty: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Seeds count from the config's own; what the storage holds is done, but not with no-reuse."""
    file = empty.with_name("mine.yaml")
    demo = (PRESET_DIR / "demo.yaml").read_text()
    file.write_text(demo.replace("iterations: 240", "iterations: 16"))
    storage = empty.with_name("store")
    # The same data and seed, so that the run is known by its key.
    configs = grid([0.25], [5], iterations=16, swa_n=3, precision="fp32")
    facts = datasets.inspect(configs[0])
    state = sweep_state(storage, configs, data=facts, attempt="mine")
    finish(state, state.runs[0])
    argv = f"--config {file} --set seed=4 --set swa_n=3 --seeds 2 --lambdas 0.25"
    for more, done in (("", 1), ("--no-reuse", 0), ("--no-reuse=mine", 1), ("--no-reuse=other", 0)):
        command = f"{argv} --storage {storage} --plan --json {more}"
        monkeypatch.setattr(sys, "argv", [str(SCRIPT), *shlex.split(command)])
        assert lambda_grid.main() == 0
        said = json.loads(capsys.readouterr().out)
        assert (said["training_runs"], said["training_runs_done"]) == (2, done)
    assert list(empty.iterdir()) == []


def test_an_interrupted_sweep_names_the_command_that_goes_on_with_its_attempt(
    empty: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(session, "ray_slots", interrupted)
    said = []
    for more in ("", "--no-reuse"):
        monkeypatch.setattr(sys, "argv", ["lambda_grid.py", "--seeds", "1", *shlex.split(more)])
        assert lambda_grid.main() == 130
        said.append(capsys.readouterr().out.splitlines()[-1])
    assert said[0].endswith(f"resume with: {Path(sys.executable).name} lambda_grid.py --seeds 1")
    assert re.search(r"lambda_grid.py --seeds 1 --no-reuse --no-reuse=[0-9a-f]{32}$", said[1])


def test_the_default_grid_is_every_lambda_with_each_seed() -> None:
    options = lambda_grid.parser().parse_args([])
    base = grid([0.5])[0]
    found = {
        (t.lambda_adv, t.seed) for t in lambda_grid.trials(base, range(options.seeds), options)
    }
    assert found == {(value, seed) for value in lambda_grid.LAMBDAS for seed in range(6)}
    assert {0.0, 0.01} < set(lambda_grid.LAMBDAS)
