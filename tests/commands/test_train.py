"""The command that trains one trial: what it writes and says, Ctrl-C, and exact repetition."""

from __future__ import annotations

import dataclasses
import io
import json
import re
import shlex
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sealing
import torch
from rich.console import Console
from small import SMALL, small_config, spec_of
from trees import VOC, voc_name, write_voc_tree

from trainable import train
from trainable.cli import progress, reproduce
from trainable.cli.progress import Progress
from trainable.cli.reproduce import differences
from trainable.data import datasets
from trainable.networks.build import build_generator
from trainable.runs import folder as folder_module
from trainable.runs.folder import RunFolder
from trainable.runs.keys import readout_key, trial_key
from trainable.runs.results import Result, outcome
from trainable.runs.training_run import TrainingRun
from trainable.training.trainer import Trainer

pytestmark = pytest.mark.trains

CONFIG = small_config()
KEY = spec_of(CONFIG).training_key
READOUT = readout_key(CONFIG.readout)
SETTINGS = shlex.join(f"--set={setting}" for setting in SMALL)

Run = Callable[[str], tuple[int, str, str]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Return what runs the command in an empty folder: exit code, standard output and error."""
    monkeypatch.chdir(tmp_path)

    def run(arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["train.py", *shlex.split(arguments)])
        try:
            code: Any = train.main()
        except SystemExit as ended:
            code = ended.code
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The storage of a run that was trained without the command, straight to its end."""
    storage = tmp_path_factory.mktemp("trained")
    run = TrainingRun(spec_of(CONFIG), storage)
    while not run.complete:
        run.advance()
    run.close()
    return storage


@pytest.fixture
def copy(trained: Path, tmp_path: Path) -> Path:
    """A run folder that may be spoiled."""
    folder = tmp_path / "copy"
    folder.mkdir()
    for path in (trained / KEY).glob("*.json"):
        (folder / path.name).write_bytes(path.read_bytes())
    return folder


@pytest.fixture
def no_training(monkeypatch: pytest.MonkeyPatch) -> None:
    forbid_training(monkeypatch)


def forbid_training(monkeypatch: pytest.MonkeyPatch) -> None:
    def step(trainer: Trainer) -> None:
        pytest.fail("a step was trained")

    monkeypatch.setattr(Trainer, "step", step)


def interrupt_after(steps: set[int], monkeypatch: pytest.MonkeyPatch) -> None:
    """Send SIGINT in the middle of the iterations of these numbers, counted from 1."""
    take = Trainer.step

    def step(trainer: Trainer) -> dict[str, torch.Tensor]:
        if trainer.iteration + 1 in steps:
            signal.raise_signal(signal.SIGINT)
        return take(trainer)

    monkeypatch.setattr(Trainer, "step", step)


def numbers(folder: Path) -> tuple[int, dict[str, Any]]:
    result = json.loads((folder / "result.json").read_text())
    return result["iterations"], {name: result[name] for name in ("val", "readouts", "train")}


def one_line(stderr: str) -> str:
    assert re.fullmatch(r"error: \S[^\n]*\n", stderr), stderr
    return stderr


def change(path: Path, *keys: str | int, value: Any) -> None:
    """Set one value of a JSON file, whose checksum holds all the same."""

    def edit(inner: Any) -> None:
        for key in keys[:-1]:
            inner = inner[key]
        inner[keys[-1]] = value

    sealing.change(path, edit)


# Training


def test_it_trains_what_a_sweep_would_and_says_what_came_out(run: Run, trained: Path) -> None:
    code, out, err = run(SETTINGS)
    assert code == 0
    assert numbers(Path("runs") / KEY) == numbers(trained / KEY)
    result = json.loads((Path("runs") / KEY / "result.json").read_text())
    swa = result["readouts"][READOUT]["swa"]
    absent = {
        which: [n for n, iou in zip(result["classes"], of["iou"], strict=True) if iou is None]
        for which, of in (("val", result["val"]), ("swa", swa))
    }
    said = out.splitlines()
    assert re.fullmatch(r"12 iterations in \d+\.\d s, \d+\.\d images/s", said[0])
    assert f"val/miou {result['val']['miou']:.4f}  val/acc {result['val']['acc']:.4f}" in out
    assert f"swa/miou {swa['miou']:.4f}  swa/acc {swa['acc']:.4f}" in out
    assert ("left out of the mean" in out) == bool(absent["val"] + absent["swa"])
    assert said[-1] == f"run folder: runs/{KEY}"
    lines = err.splitlines()
    assert lines[0].startswith("deeplab_small on shapes, adversarial=pixelwise lambda_adv=0.01 ")
    assert [line.partition("  ")[0] for line in lines[1:]] == [
        f"iteration {n}/12" for n in (3, 4, 6, 8, 9, 12)
    ]
    assert re.search(r"iteration 3/12  loss_mce \d\.\d{4}  .*  \d+\.\d images/s$", lines[1])
    assert "loss_mce" not in lines[2]
    assert re.search(r"val/miou \d\.\d{4}  \d+\.\d images/s$", lines[2])


def test_json_is_one_object_on_standard_output_and_the_rest_on_standard_error(run: Run) -> None:
    # One image lacks some of the seven classes, and so does the prediction.
    config = small_config(val_images=1, precision="fp32")
    code, out, err = run(f"{SETTINGS} --set val_images=1 --json")
    assert (code, out.count("\n")) == (0, 1)
    said = json.loads(out)
    key = spec_of(config).training_key
    result = json.loads((Path("runs") / key / "result.json").read_text())
    swa = result["readouts"][READOUT]["swa"]
    assert said["training_key"] == key
    assert said["trial_key"] == trial_key(config, spec_of(config).data_fingerprint)
    assert (said["run_folder"], said["failure"]) == (f"runs/{key}", None)
    assert (said["val"], said["swa"]) == (result["val"], swa)
    for which, metrics in (("val", result["val"]), ("swa", swa)):
        present = [name for name in said["classes"] if name not in said["left_out"][which]]
        ious = [iou for iou in metrics["iou"] if iou is not None]
        assert len(ious) == len(present)
        assert sum(ious) / len(ious) == pytest.approx(metrics["miou"])
    absent = said["left_out"]["val"]
    assert absent
    assert f"left out of the mean of val/miou: {', '.join(absent)}\n" in err
    assert "iteration 12/12" in err


def test_what_is_there_is_said_and_not_trained(run: Run, trained: Path, no_training: None) -> None:
    code, out, err = run(f"{SETTINGS} --storage {trained}")
    assert (code, err) == (0, "")
    folder = trained / KEY
    assert out.startswith(f"{folder} holds the result already; --no-reuse trains again\n")
    miou = json.loads((folder / "result.json").read_text())["val"]["miou"]
    assert f"val/miou {miou:.4f}" in out


def test_what_another_process_finishes_while_its_lock_is_waited_for_is_not_trained_again(
    run: Run, trained: Path, no_training: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers: list[Any] = [None]  # at the first look there is nothing

    def look(*given: Any) -> Any:
        return answers.pop() if answers else outcome(*given)

    monkeypatch.setattr(train, "outcome", look)
    code, out, err = run(f"{SETTINGS} --storage {trained}")
    assert (code, err) == (0, "")
    assert "holds the result already" not in out
    assert "val/miou" in out


def test_no_reuse_trains_again_and_a_named_attempt_is_not_repeated(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(SETTINGS)
    result = Path("runs") / KEY / "result.json"
    change(result, "val", "miou", value=0.123)
    assert run(f"{SETTINGS} --no-reuse")[1].count("holds the result already") == 0
    assert json.loads(result.read_text())["val"]["miou"] != 0.123
    attempt = json.loads(result.read_text())["attempt"]
    assert run(f"{SETTINGS} --no-reuse={attempt}")[1].count("holds the result already") == 1


def test_another_readout_is_trained_beside_the_one_that_is_there(run: Run) -> None:
    run(SETTINGS)
    run(f"{SETTINGS} --set swa_n=3")
    result = json.loads((Path("runs") / KEY / "result.json").read_text())
    assert set(result["readouts"]) == {READOUT, readout_key(small_config(swa_n=3).readout)}


def test_images_that_are_left_out_are_named(run: Run) -> None:
    root = write_voc_tree(Path("data"), aug=False)
    broken = f"{VOC}/JPEGImages/{voc_name(1)}.jpg"
    (root / broken).write_bytes(b"no image")
    command = (
        f"{SETTINGS} --data-root data --set dataset=voc2012 --set voc_train=train "
        "--set iterations=2 --set skip_bad_images=true"
    )
    code, out, _ = run(command)
    assert code == 0
    assert out.startswith(f"left out 1 images that cannot be decoded: {broken}\n")
    assert json.loads(run(f"{command} --json")[1])["skipped"] == [broken]


def test_the_threads_asked_for_are_used(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    monkeypatch.setattr(torch, "set_num_threads", asked.append)
    run(f"{SETTINGS} --threads 3")
    assert asked == [3]


def test_a_run_that_diverges_is_an_outcome(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    diverging = f"{SETTINGS} --set lr_generator=1e30"
    code, out, err = run(diverging)
    assert code == 1
    assert re.fullmatch(
        r"error: train/loss_mce must stay finite, but is \w+ at iteration \d+; lower .*",
        err.splitlines()[-1],
    )
    assert out.startswith("run folder: runs/")
    forbid_training(monkeypatch)
    code, out, err = run(f"{diverging} --json")
    assert code == 1
    assert "holds the failure already; --no-reuse trains again\n" in err
    assert f"error: {json.loads(out)['failure']}\n" in err


def test_a_folder_that_another_process_writes_is_refused(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder_module, "LOCK_WAIT_S", 0.1)
    with RunFolder(Path("runs"), KEY):
        code, _, err = run(SETTINGS)
    assert code == 2
    assert "is being written by another process" in one_line(err)


def write_weights(path: Path) -> Path:
    """Write pretrained weights of the small trunk, without a head."""
    torch.manual_seed(1)
    state = build_generator(CONFIG, 7).get_submodule("trunk").state_dict()
    torch.save(state, path)
    return path


def test_pretrained_weights_are_known_by_their_content(run: Run, trained: Path) -> None:
    file = write_weights(Path("weights.pth"))
    code, out, _ = run(f"{SETTINGS} --set weights=weights.pth")
    assert code == 0
    assert out.startswith(f"{file.resolve()}: ")
    assert "of the trunk; the head stays as initialised" in out.splitlines()[0]
    folder = next(Path("runs").iterdir())
    assert folder.name != KEY
    assert numbers(folder) != numbers(trained / KEY)
    moved = file.rename("moved.pth")
    _, out, _ = run(f"{SETTINGS} --set weights=moved.pth")
    assert f"{folder} holds the result already" in out
    assert run(f"--run-folder {folder}")[0] == 2
    assert run(f"--run-folder {folder} --set weights={moved}")[0] == 0


def test_weights_of_another_network_are_refused_before_anything_is_written(run: Run) -> None:
    write_weights(Path("weights.pth"))
    code, _, err = run(f"{SETTINGS} --set weights=weights.pth --set generator_width=5")
    assert code == 2
    assert "the trunk of generator=deeplab_small must find" in one_line(err)
    assert [path.name for path in Path.cwd().iterdir()] == ["weights.pth"]


# Ctrl-C


def command_that_goes_on(err: str) -> str:
    said = err.splitlines()[-1]
    start = "interrupted; resume from the last checkpoint with: "
    assert said.startswith(start)
    command = shlex.split(said.removeprefix(start))
    assert command[1:3] == ["-m", "trainable.train"]
    return shlex.join(command[3:])


@pytest.mark.parametrize("options", ["", "--no-reuse"])
def test_ctrl_c_saves_and_the_command_that_is_said_goes_on_to_the_same_bits(
    options: str, run: Run, trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        interrupt_after({5}, patch)
        code, out, err = run(f"{SETTINGS} {options}")
    assert (code, out) == (130, "")
    assert RunFolder(Path("runs"), KEY).read("result") is None
    # Iteration 5 is finished, and so are those up to the next recorded one.
    saved = RunFolder(Path("runs"), KEY).load_checkpoint()
    assert saved is not None
    assert saved["iteration"] == 6
    begun: list[int] = []
    take = Trainer.step

    def step(trainer: Trainer) -> dict[str, torch.Tensor]:
        begun.append(trainer.iteration)
        return take(trainer)

    monkeypatch.setattr(Trainer, "step", step)
    assert run(command_that_goes_on(err))[0] == 0
    assert begun == list(range(6, 12))
    assert numbers(Path("runs") / KEY) == numbers(trained / KEY)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_ctrl_c_again_stops_at_once_and_saves_no_half_iteration(
    run: Run, trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        interrupt_after({9, 10}, patch)
        code, _, err = run(f"{SETTINGS} --set log_every=4")
    key = spec_of(small_config(log_every=4)).training_key
    saved = RunFolder(Path("runs"), key).load_checkpoint()
    assert code == 130
    assert saved is not None
    assert saved["iteration"] == 8
    assert run(command_that_goes_on(err))[0] == 0


def test_ctrl_c_before_the_training_ends_in_one_line(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def inspect(config: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(datasets, "inspect", inspect)
    code, out, err = run("")
    assert (code, out, err.count("\n")) == (130, "", 1)
    assert list(Path.cwd().iterdir()) == []


# Repetition


def test_a_repetition_gives_the_same_digits_and_writes_nothing(
    run: Run, trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {path: path.stat().st_mtime_ns for path in trained.rglob("*")}
    asked: list[int] = []
    monkeypatch.setattr(torch, "set_num_threads", asked.append)
    code, out, err = run(f"--run-folder {trained / KEY}")
    # 4 + 7 + 1 numbers of val and of swa, how often was averaged, 5 losses.
    count = re.fullmatch(r"the same digits: (\d+) numbers\n", out)
    assert code == 0
    assert count is not None
    val, swa = val_and_swa(trained / KEY)
    absent = sum(iou is None for iou in val["iou"] + swa["iou"])
    assert int(count[1]) == 12 + 12 + 1 + 5 - absent
    assert "iteration 12/12" in err
    assert asked == [1]
    assert {path: path.stat().st_mtime_ns for path in trained.rglob("*")} == before
    assert list(Path.cwd().iterdir()) == []


def val_and_swa(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    result = json.loads((folder / "result.json").read_text())
    return result["val"], result["readouts"][READOUT]["swa"]


def test_each_number_that_is_another_is_named_with_both_values(run: Run, copy: Path) -> None:
    val, swa = val_and_swa(copy)
    tampered = val["acc"] - 2**-40
    change(copy / "result.json", "val", "acc", value=tampered)
    change(copy / "result.json", "readouts", READOUT, "swa", "iou", 0, value=None)
    change(copy / "result.json", "train_s", value=1.0)
    code, out, _ = run(f"--run-folder {copy}")
    assert code == 1
    said = out.splitlines()
    assert said[0] == f"val.acc was {tampered}, is {val['acc']}, +9.09e-13"
    assert said[1] == f"readouts.{READOUT}.swa.iou.0 was None, is {swa['iou'][0]}"
    assert re.fullmatch(r"2 of \d+ numbers differ", said[2])
    assert len(said) == 3


def result_of(content: dict[str, Any]) -> Result:
    rest: dict[str, Any] = {"attempt": "", "code_version": "", "setting": {}}
    return Result(**content, **rest, classes=[], iterations=1, finished_at=0.0)


def test_differences_look_at_every_number_of_val_readouts_and_losses() -> None:
    past: dict[str, Any] = {
        "val": {"miou": 0.5, "iou": [0.25, None]},
        "readouts": {"a": {"readout": {"swa_n": 1}, "averaged": 3, "swa": {"miou": 0.5}}},
        "train": {"train/loss_mce": 1.5},
        "train_s": 1.0,
        "images_per_s": 2.0,
    }
    now = json.loads(json.dumps(past)) | {"train_s": 9.0, "images_per_s": 9.0}
    assert differences(result_of(past), result_of(now)) == (5, [])
    now["val"]["iou"] = [None, 0.25]
    now["readouts"]["a"]["averaged"] = 4
    now["train"]["train/loss_mce"] = 1.25
    assert differences(result_of(past), result_of(now)) == (
        6,
        [
            "val.iou.0 was 0.25, is None",
            "readouts.a.averaged was 3, is 4, +1",
            "train.train/loss_mce was 1.5, is 1.25, -0.25",
            "val.iou.1 was None, is 0.25",
        ],
    )


def test_why_the_digits_may_differ_is_said_before(
    run: Run, copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    change(copy / "result.json", "code_version", value="another code_version")
    for name in ("torch", "device"):
        change(copy / "result.json", "setting", name, value=f"another {name}")
    code, out, err = run(f"--run-folder {copy} --json")
    assert code == 0
    assert json.loads(out)["differ"] == []
    said = err.splitlines()
    assert [line.partition(" was ")[0] for line in said[:3]] == [
        "the digits may differ: the code that trains",
        "the digits may differ: torch",
        "the digits may differ: the device",
    ]
    assert said[1].endswith(f" was another torch, is {torch.__version__}")
    assert said[-1].startswith("the same digits: ")


def test_a_gpu_is_doubted_unless_it_is_deterministic() -> None:
    now = {"code_version": "c", "torch": "2", "device": "NVIDIA", "cpu": "x86_64 AVX2"}
    was = now | {"cpu": "x86_64 AVX512"}  # which trained nothing
    doubt = {
        "a GPU that is not deterministic": "a GPU repeats its digits only where deterministic is "
        "true"
    }
    for deterministic in (False, True):
        config = small_config(deterministic=deterministic)
        assert reproduce.doubts(was, now, config) == ({} if deterministic else doubt)


def test_digits_that_differ_on_another_kind_of_cpu_are_said_to_prove_nothing(
    run: Run, copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "sse41")  # too late for this process: a name alone
    code, out, _ = run(f"--run-folder {copy}")
    assert code == 0
    assert "the kind of CPU was " in out
    assert out.splitlines()[-1].startswith("the same digits: ")
    change(copy / "result.json", "val", "acc", value=0.5)
    code, out, _ = run(f"--run-folder {copy} --json")
    assert code == 1
    told = json.loads(out)
    assert list(told["doubts"]) == ["another kind of CPU"]
    code, out, _ = run(f"--run-folder {copy}")
    assert code == 1
    assert re.search(
        r"^1 of \d+ numbers differ, as they may with another kind of CPU: that", out, re.M
    )


def test_ctrl_c_ends_a_repetition(run: Run, copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    interrupt_after({5}, monkeypatch)
    code, out, err = run(f"--run-folder {copy}")
    assert (code, out) == (130, "")
    assert err.endswith("interrupted; a repetition keeps nothing\n")


def lacks_result(folder: Path) -> None:
    (folder / "result.json").unlink()


def other_data(folder: Path) -> None:
    change(folder / "config.json", "data_fingerprint", value="0" * 16)


def unknown_field(folder: Path) -> None:
    change(folder / "config.json", "config", "iteratons", value=3)


def no_json(folder: Path) -> None:
    (folder / "config.json").write_text("{")


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lacks_result, ("copy: a run folder must hold", "result.json is missing")),
        (other_data, ("must have fingerprint 0000000000000000, but has",)),
        (unknown_field, ("copy: a run folder must hold", "did you mean 'iterations'?")),
        (no_json, ("copy: a run folder must hold",)),
    ],
)
def test_a_folder_that_cannot_be_repeated_is_refused(
    spoil: Callable[[Path], None],
    words: tuple[str, ...],
    run: Run,
    copy: Path,
    no_training: None,
) -> None:
    spoil(copy)
    code, out, err = run("--run-folder copy")
    assert (code, out) == (2, "")
    assert [word for word in words if word not in one_line(err)] == []


def test_the_readouts_of_the_result_are_repeated_not_those_of_a_later_attempt(
    run: Run, copy: Path
) -> None:
    later = [dataclasses.asdict(small_config(swa_n=n).readout) for n in (3, 4)]
    change(copy / "config.json", "readouts", value=later)
    assert run(f"--run-folder {copy}")[0] == 0


def test_a_key_in_a_file_decides_no_path(run: Run, copy: Path, tmp_path: Path) -> None:
    for name in ("config.json", "result.json"):
        change(copy / name, "training_key", value=str(tmp_path / "elsewhere"))
    assert run(f"--run-folder {copy}")[0] == 0
    assert not (tmp_path / "elsewhere").exists()


def test_where_the_data_lies_may_be_said_anew(
    run: Run, copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []

    def stop(spec: Any, storage: Path) -> None:
        seen.append(spec.config)
        raise KeyboardInterrupt

    monkeypatch.setattr(reproduce, "TrainingRun", stop)
    run(f"--run-folder {copy} --data-root data --set device=cpu --set checkpoint_every=7")
    expected = json.loads((copy / "config.json").read_text())["config"]
    expected |= {"data_root": str(Path("data").resolve()), "device": "cpu", "checkpoint_every": 7}
    assert dataclasses.asdict(seen[0]) == expected


# Bad input


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("--set lamda_adv=1", ("unknown key 'lamda_adv'", "did you mean 'lambda_adv'?")),
        ("--threads 0", ("--threads", "from 1 to 4096", "'0'")),
        ("--threads 99999999999", ("--threads", "from 1 to 4096")),
        ("--storage file", ("(--storage) must lie in a folder", "file is a file")),
        ("--preset voc2012", ("dataset=voc2012", "--data-root DIR")),
        ("--set device=cuda", ("device=cuda", "device=auto")),
        ("--run-folder nowhere", ("nowhere: a run folder must hold", "config.json is missing")),
        ("--run-folder copy --preset demo", ("--run-folder", "got --preset", "leave it out")),
        ("--run-folder copy --config a.yaml", ("--run-folder", "got --config")),
        ("--run-folder copy --storage runs", ("--run-folder", "got --storage")),
        ("--run-folder copy --threads 2", ("--run-folder", "got --threads")),
        ("--run-folder copy --no-reuse", ("--run-folder", "got --no-reuse")),
        ("--run-folder copy --set seed=3", ("--run-folder", "data_root", "got 'seed'")),
        ("--run-folder copy --set sed=3", ("unknown key 'sed'", "did you mean 'seed'?")),
    ],
)  # fmt: skip
def test_bad_input_is_refused_in_one_line_and_nothing_is_written(
    arguments: str,
    words: tuple[str, ...],
    run: Run,
    copy: Path,
    no_training: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    Path("file").write_text("mine")
    before = {path: path.stat().st_mtime_ns for path in Path.cwd().rglob("*")}
    code, out, err = run(arguments)
    assert (code, out) == (2, "")
    assert [word for word in words if word not in one_line(err)] == []
    assert {path: path.stat().st_mtime_ns for path in Path.cwd().rglob("*")} == before


# The live screen


def shown(screen: Progress) -> str:
    console = Console(file=io.StringIO(), width=120)
    console.print(screen.render())
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_the_screen_shows_losses_speed_miou_and_the_time_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    run = TrainingRun(spec_of(CONFIG), tmp_path)
    run.advance()
    screen = Progress(run.trainer, "a title")  # what was trained before counts for no speed
    assert "3/12\n" in re.sub(" *\n", "\n", shown(screen))
    train_s = run.trainer.train_s
    run.advance()
    clock[0] = 160.0
    run.trainer.train_s = train_s + 2.0
    screen.update()
    text = shown(screen)
    miou = run.trainer.history[-1]["val/miou"]
    assert text.startswith("a title")
    assert "4/12  2.0 images/s  about 00:08:00 left" in text  # one iteration, batch 4, 60 s
    assert text.count("━") == progress.BAR // 3
    assert f"val/miou {miou:.4f}" in text
    clock[0] = 175.0
    run.advance()
    screen.stopping = True
    assert "6/12  2.0 images/s  about 00:07:45 left" in shown(screen)
    assert "stops at the next recorded iteration" in shown(screen)
    screen.update()
    assert f"loss_mce {run.trainer.history[-1]['train/loss_mce']:.4f}" in shown(screen)
    assert f"val/miou {miou:.4f}" in shown(screen)
    run.close()


def test_a_terminal_gets_the_screen_and_no_lines(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    code, _, err = run(SETTINGS)
    assert code == 0
    assert "12/12" in err
    assert "iteration 12" not in err
