"""The benchmark's command: its options, what it prints, and what it refuses."""

from __future__ import annotations

import json
import sys

import pytest
import torch
from small import SMALL

from trainable.benchmark import main
from trainable.benchmarking import timing

pytestmark = pytest.mark.trains


def options(*more: str) -> list[str]:
    fields = [*SMALL, "device=cpu"]
    return ["--preset", "demo", *(word for field in fields for word in ("--set", field)), *more]


def run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *more: str
) -> tuple[str, str]:
    monkeypatch.setattr(timing, "MATMUL_SIDES", {"cpu": (64,)})
    monkeypatch.setattr(sys, "argv", ["benchmark", *options(*more)])
    assert main() == 0
    return capsys.readouterr()


def test_the_command_prints_one_json_object(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    more = "--classes 3 --rounds 2 --warmup 1 --readouts 2 --baseline --against adversarial=none"
    out, err = run(monkeypatch, capsys, *more.split())
    found = json.loads(out)
    assert err == ""
    assert {name: found[name] for name in ("device", "threads", "classes", "readouts")} == {
        "device": "cpu",
        "threads": torch.get_num_threads(),
        "classes": 3,
        "readouts": 2,
    }
    assert found["config"]["crop_px"] == 24
    assert found["config"]["precision"] == "fp32"  # what `auto` means on a CPU
    assert (found["rounds"], found["iterations_per_round"]) == (2, 2)  # swa_n = 2
    ms = found["ms_per_iteration"]
    assert 0 < ms["min"] <= ms["q1"] <= ms["median"] <= ms["q3"]
    assert found["images_per_s"] == pytest.approx(4 * 1000 / ms["median"], rel=1e-3)
    flop_per_s = found["flop_per_iteration"] * 1000 / ms["median"]
    assert found["flop_per_s"] == pytest.approx(flop_per_s, rel=1e-3)
    assert found["share"] == pytest.approx(flop_per_s / found["matmul_flop_per_s"], rel=1e-3)
    assert (found["peak_memory_gb"] > 0.1, found["peak_memory_kind"]) == (True, "whole process")
    compared = found["compared"]
    assert set(compared) == {"adversarial=none", "without_readouts", "baseline"}
    for each in compared.values():
        expected = each["ms_per_iteration"]["median"] / ms["median"]
        assert each["ratio"] == pytest.approx(expected, rel=1e-3)
        assert each["interval"][0] <= each["ratio"] <= each["interval"][1]
    assert found["speedup"] == compared["baseline"]["ratio"]
    cost = 1 / compared["without_readouts"]["ratio"] - 1
    assert found["readouts_cost"] == pytest.approx(cost, abs=1e-3)


def test_without_comparisons_their_numbers_are_null(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = json.loads(run(monkeypatch, capsys, "--rounds", "1", "--warmup", "1")[0])
    assert (found["compared"], found["speedup"], found["readouts_cost"]) == ({}, None, None)
    assert found["iterations_per_round"] == 1


def test_short_options_set_their_fields(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    short = "--device cpu --generator deeplabv3_resnet18 --crop 33 --batch 2 --precision bf16"
    config = json.loads(run(monkeypatch, capsys, *short.split(), "--rounds", "1")[0])["config"]
    assert (config["generator"], config["crop_px"], config["batch_size"], config["precision"]) == (
        "deeplabv3_resnet18", 33, 2, "bf16"
    )  # fmt: skip
    assert config["compile"] is False


@pytest.mark.parametrize(
    ("more", "named"),
    [
        ("--rounds 0", "rounds=0"),
        ("--crop 8", "crop_px=8"),
        ("--compile --precision fp8", "'fp8'"),
        ("--classes 1", "classes=1"),
        ("--threads many", "many"),
        ("--set crop_px=8", "crop_px=8"),
        ("--set device=tpu", "'tpu'"),
        ("--against precision=fp64", "'fp64'"),
        ("--against precison=fp32", "did you mean 'precision'"),
        ("--against deterministic=true", "deterministic=true"),
        ("--against device=auto", "device=auto"),
        ("--images 3", "--images"),
    ],
)
def test_bad_input_is_one_line_that_names_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], more: str, named: str
) -> None:
    monkeypatch.setattr(sys, "argv", ["benchmark", *options(*more.split())])
    with pytest.raises(SystemExit) as refused:
        main()
    out, err = capsys.readouterr()
    assert (refused.value.code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("error: ")
    assert named in err
