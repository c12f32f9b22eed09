"""Frames, masks and curves as a record gives them, with numbers that look like real ones."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

LAMBDAS = (0.0, 0.0005, 0.002, 0.01, 0.05, 0.2, 1.0)
NS = (1, 2, 5, 10, 20, 50)
THRESHOLDS = (0.0, 0.15, 0.3, 0.5, 0.7, 0.9)
RULES = ("eq7", "uniform")
ITERATIONS = 240
CLASSES = ("background", "disc", "ring", "square")
VOC_CLASSES = (
    *("background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat"),
    *("chair", "cow", "dining table", "dog", "horse", "motorbike", "person", "potted plant"),
    *("sheep", "sofa", "train", "tv monitor"),
)
Masks = dict[str, dict[str, NDArray[np.uint8]]]


def frame(
    rows: Iterable[Mapping[str, Any]],
    *,
    dataset: str = "shapes",
    asked: int | None = None,
    mixed: bool = False,
) -> pd.DataFrame:
    """Return trials as `load_trials` does.

    Args:
        rows: What is special about each trial.
        dataset: Name of the data set.
        asked: Number of trials that the sweep wanted, as many as there are by default.
        mixed: whether the last trial comes from another version of the code.
    """
    common: dict[str, Any] = {
        "generator": "deeplab_small",
        "adversarial": "pixelwise",
        "lambda_adv": 0.01,
        "lr_generator": 0.02,
        "lr_discriminator": 5e-4,
        "loss_disc_weight": 1.0,
        "iterations": ITERATIONS,
        "swa_rule": "eq7",
        "swa_n": 5,
        "swa_threshold": 0.0,
        "swa_decay": 0.99,
        "seed": 0,
        "status": "FINISHED",
        "code_version": "c1",
        "data_fingerprint": "d1",
    }
    given = list(rows)
    own = [{"run_id": f"run{i}", "trial_key": f"{i:016x}"} for i in range(len(given))]
    made = pd.DataFrame([common | one | dict(row) for one, row in zip(own, given, strict=True)])
    if "training_key" not in made:
        made["training_key"] = made["trial_key"]
    for name in ("acc", "macc", "fwiou"):
        for kind in ("val", "swa"):
            made[f"{kind}/{name}"] = made[f"{kind}/miou"] + 0.1
    if mixed:
        made.loc[made.index[-1], "code_version"] = "c2"
    made.attrs = {
        "sweep": "some",
        "sweep_key": "a" * 16,
        "dataset": dataset,
        "trials_total": asked or len(made),
        "parent_run_id": "0" * 32,
    }
    return made


def lambda_grid(*, seeds: int = 3, lambdas: Sequence[float] = LAMBDAS, **made: Any) -> pd.DataFrame:
    """Return a sweep over lambda."""
    random = np.random.default_rng(0)
    rows = []
    for value, seed in itertools.product(lambdas, range(seeds)):
        raw = 0.62 - 0.05 * value + random.normal(0, 0.008)
        rows.append({"lambda_adv": value, "seed": seed, "val/miou": raw, "swa/miou": raw + 0.012})
    return frame(rows, **made)


def swa_grid(
    *,
    seeds: int = 3,
    rules: Sequence[str] = RULES,
    ns: Sequence[int] = NS,
    thresholds: Sequence[float] = THRESHOLDS,
    **made: Any,
) -> pd.DataFrame:
    """Return an SWA study: all readouts of a training run per seed."""
    random = np.random.default_rng(1)
    raws = 0.62 + random.normal(0, 0.006, seeds)
    rows = []
    for rule, n, threshold, seed in itertools.product(rules, ns, thresholds, range(seeds)):
        kept = 0.0
        if rule == "eq7":
            kept = (n / (n + 1)) ** math.ceil(ITERATIONS * (1 - threshold) / n)
        gain = 0.02 - 0.03 * (threshold - 0.3) ** 2 - 0.1 * kept * (1 - threshold)
        rows.append(
            {
                "swa_rule": rule,
                "swa_n": n,
                "swa_threshold": threshold,
                "seed": seed,
                "training_key": f"training{seed}",
                "adversarial": "none",
                "lambda_adv": 0.0,
                "val/miou": raws[seed],
                "swa/miou": raws[seed] + gain + random.normal(0, 0.002),
            }
        )
    return frame(rows, **made)


ARMS = {"none": (0.0, 0.70), "standard": (0.01, 0.715), "pixelwise": (0.01, 0.73)}


def ablation(
    *, seeds: int = 3, generators: Sequence[str] = ("deeplab_small",), **made: Any
) -> pd.DataFrame:
    """Return baseline, standard and pixel-wise loss for each generator."""
    random = np.random.default_rng(2)
    rows = []
    for (i, generator), arm, seed in itertools.product(enumerate(generators), ARMS, range(seeds)):
        lambda_adv, level = ARMS[arm]
        raw = level + 0.02 * i + random.normal(0, 0.006)
        rows.append(
            {
                "generator": generator,
                "adversarial": arm,
                "lambda_adv": lambda_adv,
                "seed": seed,
                "val/miou": raw,
                "swa/miou": raw + 0.01,
            }
        )
    return frame(rows, **made)


def curves_of(trials: pd.DataFrame, *, every: int = 20) -> pd.DataFrame:
    """Return validations and losses over the iterations of each trial's training run."""
    random = np.random.default_rng(3)
    rows = []
    for trial in trials.to_dict("records"):
        for iteration in range(every, ITERATIONS + 1, every):
            done = iteration / ITERATIONS
            values = {"val/miou": trial["val/miou"] * (1 - 0.6 * (1 - done) ** 2)}
            values["val/miou"] += 0 if done == 1 else random.normal(0, 0.008)
            values["train/loss_mce"] = 1.5 * (1 - done) + 0.2
            if trial["adversarial"] != "none" and trial["lambda_adv"] > 0:
                values["train/loss_disc"] = 1.4 - done + random.normal(0, 0.05)
                values["train/d_real"] = 0.5 + 0.3 * done + random.normal(0, 0.02)
                values["train/d_fake"] = 0.5 - 0.3 * done + random.normal(0, 0.02)
            own = {name: trial[name] for name in ("run_id", "seed", "adversarial")}
            rows += [
                own | {"iteration": iteration, "metric": metric, "value": value}
                for metric, value in values.items()
            ]
    return pd.DataFrame(rows)


def masks_of(
    trials: pd.DataFrame,
    *,
    images: int = 3,
    classes: int = len(CLASSES),
    stages: Sequence[int] = (60, 120, 180, 240),
    sides: Sequence[tuple[int, int]] = ((48, 48),),
) -> Masks:
    """Return the samples of each trial: predictions that come nearer the truth at each stage."""
    return {
        run: _samples(images, classes, stages, [sides[k % len(sides)] for k in range(images)])
        for run in trials["run_id"]
    }


def _samples(
    images: int, classes: int, stages: Sequence[int], sides: Sequence[tuple[int, int]]
) -> dict[str, NDArray[np.uint8]]:
    random = np.random.default_rng(4)
    found: dict[str, NDArray[np.uint8]] = {}
    for k, (height, width) in enumerate(sides[:images]):
        ys, xs = np.mgrid[:height, :width]
        truth = np.zeros((height, width), dtype=np.uint8)
        for _ in range(4):
            y, x = random.uniform(0.2, 0.8, 2) * (height, width)
            distance = np.hypot(ys - y, xs - x)
            truth[distance < min(height, width) / 5] = 255
            truth[distance < min(height, width) / 5 - 1] = random.integers(1, classes)
        shade = np.where((truth > 0)[..., None], 190, 90) + 12 * (truth % 7)[..., None]
        noise = random.integers(0, 30, (height, width, 3))
        found[f"image-{k}"] = np.clip(shade + noise, 0, 255).astype(np.uint8)
        found[f"truth-{k}"] = truth
        for stage in stages:
            wrong = random.random((height, width)) < 0.3 * (1 - stage / max(stages)) + 0.02
            guess = np.where(truth == 255, 0, truth)
            found[f"raw-{stage}-{k}"] = np.where(wrong, 0, guess).astype(np.uint8)
        found[f"swa-{k}"] = np.where(truth == 255, 0, truth).astype(np.uint8)
    return found


def joint_search(
    *, asks: int = 24, siblings: Sequence[int] = (5, 20), confirmed: int = 3, **made: Any
) -> pd.DataFrame:
    """Return a search: an ask per training run, with a sibling per n; some asks pruned or failed.

    The best setting is then trained again with `confirmed` fresh seeds.
    """
    random = np.random.default_rng(5)
    rows: list[dict[str, Any]] = []
    for ask in range(asks):
        point = {
            "lambda_adv": float(10 ** random.uniform(-4, 0)),
            "lr_generator": float(10 ** random.uniform(-3, -1)),
            "lr_discriminator": float(10 ** random.uniform(-5, -3)),
            "swa_threshold": float(random.uniform(0, 0.9)),
        }
        state, status = "COMPLETE", "FINISHED"
        if ask % 7 == 5:
            state, status = "PRUNED", "KILLED"
        if ask % 19 == 11:
            state, status = "FAIL", "FAILED"
        level = 0.65 - 0.05 * (math.log10(point["lr_generator"]) + 1.7) ** 2
        level -= 0.01 * (math.log10(point["lambda_adv"]) + 2) ** 2
        level += random.normal(0, 0.004)
        known = level if state == "COMPLETE" else math.nan
        rows += [
            point
            | {
                "swa_n": n,
                "training_key": f"training{ask}",
                "ask": ask,
                "phase": "search",
                "search_state": state,
                "status": status,
                "val/miou": known - 0.01,
                "swa/miou": known - 0.0003 * n,
            }
            for n in siblings
        ]
    best = max(rows, key=lambda row: -1 if math.isnan(row["swa/miou"]) else row["swa/miou"])
    for seed in range(1, confirmed + 1):
        miou = best["swa/miou"] - 0.01 + random.normal(0, 0.004)
        again = {"phase": "confirm", "seed": seed, "training_key": f"confirm{seed}"}
        rows.append(best | again | {"val/miou": miou - 0.01, "swa/miou": miou})
    made_frame = frame(rows, **made)
    made_frame.attrs["axes"] = "lambda_adv,swa_n,swa_threshold,lr_generator,lr_discriminator"
    return made_frame
