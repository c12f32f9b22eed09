"""Presets, what a config refuses, and which of its fields name a training run and a trial."""

from __future__ import annotations

import ast
import dataclasses
import os
import re
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import trainable
from analysis.record.artifacts import read_artifact
from analysis.record.schema import RecordError
from trainable.config import choices
from trainable.config.loading import load_config, presets, read_yaml
from trainable.config.schema import DEFAULTS, ConfigError, TrialConfig
from trainable.data.sources.images import read_content
from trainable.networks import pretrained
from trainable.runs import keys
from trainable.runs.keys import training_key, trial_key

FIELDS = {field.name: str(field.type) for field in dataclasses.fields(TrialConfig)}
NUMBERS = [name for name, kind in FIELDS.items() if kind in ("int", "float")]
READOUT = [name for name in FIELDS if name.startswith("swa_")]
EXECUTION = [
    "data_root", "weights", "checkpoint_every", "device", "data_device", "averages_on", "cache_dir",
]  # fmt: skip
NOT_ZERO = (
    "image_px", "train_images", "val_images", "scale_min", "crop_px", "generator_width",
    "output_stride", "discriminator_width", "accumulate",
    "iterations", "batch_size", "lr_generator", "lr_discriminator",
    "lr_trunk_multiplier", "lr_head_multiplier", "loss_disc_weight", "aspp_branches",
    "swa_n", "swa_decay", "swa_batch_norm_batches", "eval_every",
    "log_every", "checkpoint_every",
)  # fmt: skip
OF_OWN_NETWORKS = ("generator_args", "generator_code", "discriminator_args", "discriminator_code")
BELOW_ONE = ("momentum", "adam_beta1", "adam_beta2", "swa_threshold", "swa_decay")
ANOTHER_NAME = {
    "dataset": "segtrackv2",
    "data_root": "elsewhere",
    "segtrack_classes": "separate17",
    "segtrack_split": "block",
    "generator": "deeplab_small",
    "discriminator": "encoder_decoder_skips",
    **{f"{network}_args": '{"width": 4}' for network in ("generator", "discriminator")},
    **{f"{network}_code": "0" * 12 for network in ("generator", "discriminator")},
    "adversarial": "standard",
    "generator_loss": "focal",
    "class_weights": "inverse_frequency",
    "swa_rule": "uniform",
    "swa_batch_norm": "average",
    "device": "cpu",
    "voc_train": "train",
    "weights": "weights.pth",
    "weights_sha256": "0" * 64,
    "trunk_layout": "torchvision",
    "trunk_batch_norm": "train",
    "precision": "fp32",
    "memory_format": "contiguous",
    "optimizer_kernels": "plain",
    "data_device": "host",
    "averages_on": "host",
    "cache_dir": "elsewhere",
}
LESS = {"output_stride": 16, "aspp_branches": 2}  # the defaults are the largest or the smallest


def changed(config: TrialConfig, name: str) -> TrialConfig:
    """Return the config with another value in the field `name`."""
    value = getattr(config, name)
    if isinstance(value, bool):
        another: Any = not value
    elif isinstance(value, int):
        another = LESS.get(name, value + 1)
    else:
        another = (value / 2 or 0.5) if isinstance(value, float) else ANOTHER_NAME[name]
    changes: dict[str, Any] = {name: another}
    if name == "weights_sha256":
        changes["weights"] = "weights.pth"
    return dataclasses.replace(config, **changes)


def refusal(*overrides: str, file: Path | None = None) -> str:
    """Return the rule by which the values are refused, one line; test_places.py has the place."""
    with pytest.raises(ConfigError) as caught:
        load_config(file=None if file is None else str(file), overrides=overrides)
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    return re.sub(r"^--set .*?: ", "", message)


@pytest.mark.parametrize("name", presets())
def test_every_preset_loads_and_names_its_data_set(name: str) -> None:
    assert load_config(preset=name).dataset == {"demo": "shapes"}.get(name, name)


@pytest.mark.parametrize(("name", "iterations"), [("voc2012", 20000), ("segtrackv2", 5000)])
def test_presets_of_the_paper_hold_its_section_4(name: str, iterations: int) -> None:
    config = load_config(preset=name)
    paper = {
        "generator": "deeplabv2_resnet101",
        "adversarial": "pixelwise",
        "lambda_adv": 0.01,
        "iterations": iterations,
        "batch_size": 10,
        "crop_px": 321,
        "lr_generator": 2.5e-4,
        "lr_discriminator": 1e-4,
        "momentum": 0.9,
        "weight_decay": 5e-5,
        "adam_beta1": 0.9,
        "adam_beta2": 0.99,
        "poly_power": 0.9,
        "swa_rule": "eq7",
        "swa_n": 100,
        "swa_threshold": 0.0,
    }
    assert {field: getattr(config, field) for field in paper} == paper
    assert (config == TrialConfig()) == (name == "voc2012")


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("lr_generator: 1e-3", 0.001),  # YAML 1.1 reads 1e-3, which has no point, as text
        ("iterations: 2e4", 20000),
        ("lambda_adv: 0", 0.0),
        ("swa_threshold: 0", 0.0),
        ("mirror: no", False),
    ],
)
def test_values_of_a_file_get_the_type_of_their_field(
    tmp_path: Path, line: str, value: object
) -> None:
    file = tmp_path / "trial.yaml"
    file.write_text(line)
    found = getattr(load_config(file=str(file)), line.partition(":")[0])
    assert found == value
    assert type(found) is type(value)


def test_a_file_changes_the_defaults_and_overrides_change_the_file(tmp_path: Path) -> None:
    file = tmp_path / "trial.yaml"
    file.write_text("seed: 3\nswa_n: 7\n")
    config = load_config(file=str(file), overrides=["swa_n=8", "swa_n=9", "data_root=a=b"])
    assert config == TrialConfig(seed=3, swa_n=9, data_root="a=b")
    file.write_bytes(b"#" * 64 * 1024)  # the largest file that is read
    assert load_config(file=str(file)) == TrialConfig()


@pytest.mark.parametrize("name", FIELDS)
def test_a_list_is_no_value_of_any_field(name: str) -> None:
    message = refusal(f"{name}=[1]")
    assert message.startswith(f"{name} must be ")
    assert message.endswith("but got [1] (a list)")


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("value", [".nan", ".inf", "-.inf", "nan", "1e999"])
def test_no_number_may_be_nan_or_infinite(name: str, value: str) -> None:
    rule = "must be finite" if FIELDS[name] == "float" else "must be a whole number"
    assert refusal(f"{name}={value}").startswith(f"{name} {rule}, but got ")


@pytest.mark.parametrize(
    ("name", "value"),
    [(name, "-1") for name in NUMBERS]
    + [(name, "0") for name in NOT_ZERO]
    + [(name, "1") for name in BELOW_ONE]
    + [("seed", str(2**31)), ("image_px", "15"), ("image_px", "4097")],
)
def test_a_number_out_of_its_range_is_refused_with_the_rule(name: str, value: str) -> None:
    message = refusal(f"{name}={value}")
    assert "` must hold" in message
    assert f"{name}={float(value) if FIELDS[name] == 'float' else value}" in message


@pytest.mark.parametrize("name", sorted({*NUMBERS} - {*NOT_ZERO, "scale_max"}))
def test_zero_is_allowed_where_nothing_forbids_it(name: str) -> None:
    assert getattr(load_config(overrides=[f"{name}=0"]), name) == 0


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("swa_threshold=1.0", "`0 <= swa_threshold < 1` must hold, but got swa_threshold=1.0"),
        ("swa_threshold=-0.1", "`0 <= swa_threshold < 1` must hold, but got swa_threshold=-0.1"),
        ("scale_min=2", "`scale_min <= scale_max` must hold, but got scale_min=2.0, scale_max=1.0"),
        ("iterations=2.5", "iterations must be a whole number, but got 2.5"),
        ("iterations=true", "iterations must be a whole number, but got True (true or false)"),
        ("lr_generator=fast", "lr_generator must be a number, but got 'fast' (text)"),
        ("mirror=1", "mirror must be true or false, but got 1"),
        ("dataset=1", "dataset must be text, but got 1"),
        ("seed=", "seed must be a whole number, but got None (nothing)"),
        ("seed=1" + "0" * 400, "seed must lie within 64 bits, but has 1329"),
        ("swa_n", "`--set key=value` must hold, but got 'swa_n'"),
        ("swa_n=[1", "swa_n='[1' is not a value that YAML can read"),
        ("lamda_adv=0", "unknown key 'lamda_adv'; did you mean 'lambda_adv'?"),
        ("generator=deeplab_smal", "unknown generator 'deeplab_smal'; did you mean 'deeplab_sm"),
        ("swa_rule=mean", "unknown swa_rule 'mean'; one of eq7, uniform, ema"),
    ],
)
def test_a_refusal_names_the_rule_and_the_value(override: str, message: str) -> None:
    assert refusal(override).startswith(message)
    with pytest.raises(ConfigError, match=r"^unknown preset 'voc'; did you mean 'voc2012'\?$"):
        load_config(preset="voc")


@pytest.mark.parametrize(
    ("name", "adversarial", "least"),
    [
        ("deeplab_small", "none", 16),
        ("deeplabv2_resnet101", "none", 32),
        ("deeplab_small", "standard", 24),
        ("deeplabv2_resnet101", "pixelwise", 32),
    ],
)
def test_a_crop_holds_what_generator_and_discriminator_need(
    monkeypatch: pytest.MonkeyPatch, name: str, adversarial: str, least: int
) -> None:
    standard = choices.ADVERSARIAL["standard"]
    assert standard is not None
    assert standard.discriminator is not None
    judge = dataclasses.replace(standard.discriminator, least_px=24)
    changed = dataclasses.replace(standard, discriminator=judge)
    monkeypatch.setitem(choices.ADVERSARIAL, "standard", changed)
    values = [f"generator={name}", f"adversarial={adversarial}"]
    assert load_config(overrides=[*values, f"crop_px={least}"]).crop_px == least
    message = refusal(*values, f"crop_px={least - 1}")
    assert message.startswith(f"`crop_px >= {least}` must hold")
    assert message.endswith(f"but got crop_px={least - 1}")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"seed: 1\nswa_n: 2\nseed: 1\n", "key 'seed' stands twice"),
        (b"swa_n: &n 5\nseed: *n\n", "aliases are not allowed"),
        (b"data_root: \xff\n", "must be UTF-8, but byte 11 is not"),
        (b"#" * (64 * 1024 + 1), "it has more than 65536 bytes"),
        (b"- seed\n- 1\n", "must hold `key: value` lines, but holds a list"),
        (b"seed\n", "must hold `key: value` lines, but holds text"),
        (b"seed: [1\n", "is not usable YAML"),
        (b"seed: !!python/name:os.system\n", "is not usable YAML"),
        (b"seed: !!bool maybe\n", "tags are not allowed"),
        (b"seed: 2020-13-45\n", "is not usable YAML"),
        (b"seed: 1" + b"0" * 5000, "is not usable YAML"),
        (b"seed: " + b"[" * 20000, "is not usable YAML"),
        (None, "cannot read"),
    ],
)
def test_an_unusable_file_is_refused_by_name(
    tmp_path: Path, content: bytes | None, message: str
) -> None:
    file = tmp_path / "trial.yaml"
    if content is not None:
        file.write_bytes(content)
    said = refusal(file=file)
    assert message in said
    assert str(file) in said


@pytest.mark.parametrize("name", [name for name in FIELDS if name not in READOUT + EXECUTION])
def test_a_field_of_the_training_changes_its_key(name: str) -> None:
    config = TrialConfig()
    if name in OF_OWN_NETWORKS:
        config = TrialConfig(generator="nets:unet", discriminator="nets:judge")
    assert training_key(changed(config, name), "data") != training_key(config, "data")


@pytest.mark.parametrize("name", READOUT + EXECUTION)
def test_readout_and_execution_leave_the_training_as_it_is(name: str) -> None:
    config, other = TrialConfig(), changed(TrialConfig(), name)
    assert other != config
    assert other.training_identity() == config.training_identity()
    assert training_key(other, "data") == training_key(config, "data")
    if name in EXECUTION:
        assert trial_key(other, "data") == trial_key(config, "data")


@pytest.mark.parametrize("name", READOUT)
@pytest.mark.parametrize(
    ("rule", "batch_norm", "unread"),
    [
        ("ema", "recompute", ()),
        ("eq7", "recompute", ("swa_decay",)),
        ("ema", "copy", ("swa_batch_norm_batches",)),
    ],
)
def test_a_trial_is_named_by_its_readout_less_what_its_rule_does_not_read(
    name: str, rule: str, batch_norm: str, unread: tuple[str, ...]
) -> None:
    config = TrialConfig(swa_rule=rule, swa_batch_norm=batch_norm)
    same = trial_key(changed(config, name), "data") == trial_key(config, "data")
    assert same == (name in unread)


def test_keys_depend_on_data_and_code(monkeypatch: pytest.MonkeyPatch) -> None:
    config = TrialConfig()
    here = training_key(config, "data"), trial_key(config, "data")
    there = training_key(config, "other"), trial_key(config, "other")
    monkeypatch.setattr(keys, "code_version", lambda: "later")
    later = training_key(config, "data"), trial_key(config, "data")
    assert len({*here, *there, *later}) == 6


@pytest.mark.parametrize(
    "name",
    [
        "adversarial",
        "discriminator",
        "discriminator_width",
        "loss_disc_weight",
        "lr_discriminator",
        "adam_beta1",
        "adam_beta2",
    ],
)
def test_lambda_zero_is_the_baseline_whatever_its_discriminator(name: str) -> None:
    none = TrialConfig(adversarial="none")
    zero = changed(TrialConfig(lambda_adv=0), name)
    assert zero.training_identity() == none.training_identity()
    assert zero.canonical() == none.canonical()
    adversarial = changed(TrialConfig(trunk_layout="caffe"), name)
    assert adversarial.canonical() == adversarial


WIDE = "fully_convolutional"


def test_a_discriminator_of_images_has_one_architecture() -> None:
    standard = TrialConfig(adversarial="standard")
    other = dataclasses.replace(standard, discriminator="encoder_decoder_skips")
    assert other.training_identity() == standard.training_identity()
    # 32 is the least crop of the fully convolutional one, which is not read.
    load_config(
        overrides=["adversarial=standard", "discriminator=fully_convolutional", "crop_px=16"]
    )


def test_the_code_version_covers_every_module_that_training_reaches() -> None:
    # What fields of a config mean counts by their values, and storage keeps bytes as they are.
    folder = Path(trainable.__file__).parent
    reached = set[str]()
    builders = (reference.partition(":")[0] for reference in choices.references())
    left = ["training.build", "data.datasets", "networks.pretrained"]
    left += [module.removeprefix("trainable.") for module in builders]
    while left:
        name = left.pop()
        path = folder / f"{name.replace('.', '/')}.py"
        if name in reached or not path.exists():
            continue
        reached.add(name)
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = [f"{node.module}.{alias.name}" for alias in node.names]
                names.append(str(node.module))
            left += [name.partition(".")[2] for name in names if name.startswith("trainable.")]
    folders = {name.partition(".")[0] for name in reached}
    assert folders - {"config", "storage"} == set(keys.TRAINING_FOLDERS)


def test_a_generator_that_pools_a_whole_image_wants_two_images_in_a_batch() -> None:
    message = refusal("generator=deeplabv3_resnet18", "crop_px=32", "batch_size=1")
    assert message.startswith("`batch_size >= 2` must hold for generator=deeplabv3_resnet18")


def test_a_trunk_is_laid_out_as_its_weights_want_it() -> None:
    assert TrialConfig().is_caffe
    assert TrialConfig(weights="resnet101COCO.pth").is_caffe
    assert not TrialConfig(weights="torchvision").is_caffe
    assert not TrialConfig(generator="deeplabv3_resnet101").is_caffe
    assert TrialConfig(generator="deeplabv3_resnet101", trunk_layout="caffe").is_caffe
    # The same bytes, read through the cache or from a file of one's own, in two layouts.
    one, other = (TrialConfig(weights=name, weights_sha256="0") for name in ("torchvision", "a"))
    assert training_key(one, "data") != training_key(other, "data")


def test_frozen_statistics_and_checksums_want_weights() -> None:
    assert refusal("trunk_batch_norm=frozen").startswith("trunk_batch_norm=frozen needs")
    assert refusal("weights_sha256=abc").startswith("`weights` must name a file")


# What never ends, or is far too much


@pytest.mark.parametrize("file", ["/dev/zero", "/dev/urandom", "/dev/null", "/proc/self/mem", "."])
def test_what_is_no_file_is_refused_without_reading_it(file: str) -> None:
    assert "cannot read" in refusal(file=Path(file))


def test_a_pipe_that_no_one_writes_to_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert "it is a device or a pipe" in refusal(file=tmp_path / "pipe")


def test_a_file_that_is_far_too_large_is_not_read(tmp_path: Path) -> None:
    file = tmp_path / "trial.yaml"
    with file.open("wb") as hole:
        hole.truncate(2**40)
    assert "it has more than 65536 bytes" in refusal(file=file)


@pytest.mark.parametrize("name", [n for n, v in DEFAULTS.items() if type(v) in (int, float)])
@pytest.mark.parametrize("value", ["1e31", "9" * 31, "-1e12", "-7", ".inf", ".nan"])
def test_every_number_has_bounds(name: str, value: str) -> None:
    message = refusal(f"{name}={value}")
    assert name in message
    assert len(message) < 200


@pytest.mark.parametrize("name", [n for n, v in DEFAULTS.items() if type(v) is int])
def test_a_share_of_a_whole_number_is_refused(name: str) -> None:
    assert f"{name} must be a whole number" in refusal(f"{name}=2.5")


@pytest.mark.parametrize("name", [*DEFAULTS, "y" * 5000])
def test_a_long_value_is_cut_in_what_is_said(name: str) -> None:
    message = refusal(f"{name}={'x' * 5000}")
    assert "x" * 200 not in message
    assert "y" * 200 not in message
    assert "… (500" in message


@pytest.mark.parametrize("value", ["a\x1b[31mb", "a\nb", "a\x00b"])
def test_a_text_has_no_control_characters(value: str) -> None:
    with pytest.raises(ConfigError, match="printable") as refused:
        TrialConfig(dataset="shapes", cache_dir=value)
    assert value not in str(refused.value)


def test_many_keys_are_read_in_a_moment(tmp_path: Path) -> None:
    def seconds(count: int) -> float:
        file = tmp_path / "trial.yaml"
        file.write_text("".join(f"k{number}: 1\n" for number in range(count)))
        begun = time.process_time()
        assert len(read_yaml(file)) == count
        return time.process_time() - begun

    def least(count: int) -> float:  # of some: what disturbs one only adds to it
        return min(seconds(count) for _ in range(5))

    assert least(4000) < 10 * least(1000)


@pytest.mark.parametrize("name", ["/dev/zero", "/dev/full", "pipe", "."])
def test_weights_and_images_are_files(name: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    path = tmp_path / name
    config = TrialConfig(dataset="shapes", weights=str(path))
    for read in (partial(pretrained.pin, config), partial(read_content, path)):
        with pytest.raises(ConfigError, match=r"it is a device or a pipe|directory"):
            read()


def test_an_artifact_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "result.json").symlink_to("/dev/zero")
    with pytest.raises(RecordError, match="must be a file"):
        read_artifact("sqlite:///x.db", "result.json", str(tmp_path), "0", "1")
