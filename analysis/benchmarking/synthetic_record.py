"""Make a record of many trials quickly: what ten thousand of them look like to the analysis.

Rows go straight into MLflow's own tables, since its client takes about 35 ms per trial; the values
are those of no training, but plausible in size and number.
"""

from __future__ import annotations

import io
import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from analysis.record.mlflow_calls import set_up_mlflow
from analysis.record.origin import TAG, Origin
from analysis.record.schema import CURVES, DETAIL_FILE, EXPERIMENT, MASKS_FILE, METRICS, SCHEMA
from trainable.storage.json_files import dumps, seal_zip

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

# Share of the trials and axes of each sweep; what grows with the trials is seeds and suggestions.
SHARES = {"swa_grid": 0.5, "joint_search": 0.3, "lambda_grid": 0.15, "ablation": 0.05}
AXES = {
    "swa_grid": ("swa_n", "swa_threshold", "swa_rule"),
    "joint_search": ("lambda_adv", "swa_n", "swa_threshold", "lr_generator", "lr_discriminator"),
    "lambda_grid": ("lambda_adv",),
    "ablation": ("adversarial", "lambda_adv", "generator"),
}
RULES = ("eq7", "uniform", "ema")
INTERVALS = (1, 2, 5, 10, 20, 50)
SWA_GRID = [*itertools.product(RULES, INTERVALS, (0.0, 0.3, 0.6, 0.75))]
READOUTS = [*itertools.product(INTERVALS, (0.0, 0.15, 0.3, 0.45, 0.6, 0.75))]  # of a suggestion
LEAST_ASKS = 12  # of a small record, whose suggestions have fewer readouts
CONFIRMED, FRESH_SEEDS = 3, 3
LAMBDAS = (0.0, *(float(value) for value in np.geomspace(0.001, 1.0, 24)))
ARMS = (("none", 0.0), ("standard", 0.01), ("pixelwise", 0.01))
# The demo preset's fields, without those of its execution.
FIELDS = """
dataset=shapes image_px=48 train_images=240 val_images=96 data_seed=0
voc_train=train_aug skip_bad_images=False segtrack_classes=merged16
segtrack_split=interleave scale_min=0.8 scale_max=1.2 mirror=True crop_px=48
generator=deeplab_small weights_sha256= trunk_layout=auto trunk_batch_norm=train
aspp_branches=4 discriminator=encoder_decoder output_stride=8 generator_width=12
discriminator_width=8 adversarial=pixelwise lambda_adv=0.01 loss_disc_weight=1.0
iterations=240 batch_size=8 lr_generator=0.02 lr_discriminator=0.0005
lr_trunk_multiplier=1.0 lr_head_multiplier=1.0 momentum=0.9 weight_decay=5e-05
adam_beta1=0.9 adam_beta2=0.99 poly_power=0.9 seed=0 precision=auto
memory_format=channels_last optimizer_kernels=fused compile=False deterministic=False
swa_rule=eq7 swa_n=5 swa_threshold=0.0 swa_decay=0.99 swa_batch_norm=recompute
swa_batch_norm_batches=20 eval_every=60 log_every=20
"""
BASE = dict(pair.split("=") for pair in FIELDS.split())
# Those that the preset sets, which the record has as params; it keeps the others out of sight.
PRESET = """
dataset image_px train_images val_images scale_min scale_max mirror crop_px generator
generator_width trunk_batch_norm discriminator discriminator_width iterations batch_size
lr_generator lr_head_multiplier lr_discriminator poly_power lambda_adv swa_rule swa_n swa_threshold
swa_batch_norm_batches eval_every log_every seed
"""
GIVEN = frozenset(PRESET.split())
CLASSES = ("background", "disc", "ring", "square")
ITERATIONS = range(20, 241, 20)
BEGUN_AT = 1_700_000_000_000  # milliseconds since the epoch
CHUNK = 500  # trials whose rows are held at once


@dataclass
class _Rows:
    """Rows of MLflow's tables, by the model's name."""

    tables: dict[str, list[dict[str, object]]] = field(default_factory=dict)

    def add(self, table: str, **values: object) -> None:
        self.tables.setdefault(table, []).append(values)

    def write(self, session: Session) -> None:
        from mlflow.store.tracking.dbmodels import models
        from sqlalchemy import insert

        for table in sorted(self.tables, key=lambda name: name != "SqlRun"):  # others point to it
            session.execute(insert(getattr(models, table)), self.tables[table])
        session.commit()
        self.tables.clear()


@dataclass(frozen=True, kw_only=True)
class _Trial:
    """What one trial has that others of its sweep have not."""

    seed: int
    params: dict[str, object]  # those that the sweep changes, besides the seed
    ask: int = 0
    tags: dict[str, object] = field(default_factory=dict)


def make_record(folder: Path, trials: int) -> str:
    """Write a record into an empty folder and return its tracking URI.

    Args:
        folder: Gets `mlflow.db` and the artifacts.
        trials: How many, shared out over the four sweeps; one in fifty has failed.
    """
    set_up_mlflow()
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
    from sqlalchemy.orm import Session

    uri = f"sqlite:///{folder / 'mlflow.db'}"
    store = SqlAlchemyStore(uri, str(folder / "artifacts"))
    place = store.create_experiment(EXPERIMENT)
    random, rows = np.random.default_rng(0), _Rows()
    with Session(store.engine) as session:
        for k, (sweep, share) in enumerate(SHARES.items()):
            planned = list(_plan(sweep, max(1, round(trials * share)), random))
            parent = _add_parent(rows, folder, place, sweep, len(planned), k)
            for i, trial in enumerate(planned):
                _add_trial(rows, folder, parent, i, trial, random)
                if i % CHUNK == 0:
                    rows.write(session)
            rows.write(session)
    store.engine.dispose()
    return uri


def _plan(sweep: str, trials: int, random: np.random.Generator) -> Iterable[_Trial]:
    if sweep == "joint_search":
        return _searched(trials, random)
    grids: dict[str, list[dict[str, object]]] = {
        "swa_grid": [{"swa_rule": r, "swa_n": n, "swa_threshold": t} for r, n, t in SWA_GRID],
        "lambda_grid": [{"lambda_adv": value} for value in LAMBDAS],
        "ablation": [{"adversarial": kind, "lambda_adv": value} for kind, value in ARMS],
    }
    points = grids[sweep]
    numbered = (divmod(i, len(points)) for i in range(trials))
    return (_Trial(seed=seed, params=points[point]) for seed, point in numbered)


def _searched(trials: int, random: np.random.Generator) -> Iterator[_Trial]:
    """Yield suggestions with all their readouts, then the first ones again with fresh seeds."""
    searched = max(1, trials - CONFIRMED * FRESH_SEEDS)
    asks = max(LEAST_ASKS, searched // len(READOUTS))
    rates = 10 ** random.uniform((-3, -2.3, -4), (0, -1.1, -2.7), (asks, 3))  # nosec B311  # no secret
    names = ("lambda_adv", "lr_generator", "lr_discriminator")
    for i in range(trials):
        phase, (readout, ask), seed = "search", divmod(i, asks), 0
        if i >= searched:
            phase, readout = "confirm", 0
            ask, seed = divmod(i - searched, FRESH_SEEDS)
        n, threshold = READOUTS[readout % len(READOUTS)]
        params = dict(zip(names, rates[ask].tolist(), strict=True))
        yield _Trial(
            seed=seed + (phase == "confirm"),
            params=params | {"swa_n": n, "swa_threshold": threshold},
            ask=ask,
            tags={"ask": ask, "phase": phase, "search_state": "COMPLETE"},
        )


@dataclass(frozen=True)
class _Parent:
    run_id: str
    sweep: str
    place: str
    tags: dict[str, str]
    facts: dict[str, str]


def _add_parent(
    rows: _Rows, folder: Path, place: str, sweep: str, trials: int, number: int
) -> _Parent:
    shared = {
        "schema": str(SCHEMA),
        "sweep": sweep,
        "sweep_key": f"{number:016x}",
        "dataset": "shapes",
    }
    facts = {
        "data_fingerprint": "0123456789abcdef",
        "code_version": "fedcba9876543210",
        "git_commit": "unknown",
    }
    own = {
        "kind": "sweep",
        "trials_total": str(trials),
        "question": "How fast is the analysis?",
        "axes": ",".join(AXES[sweep]),
        "state": "complete",
    }
    parent = _Parent(f"{number:08x}{0:024x}", sweep, place, shared, facts)
    origin = {TAG: Origin(facts=facts).tag({})}
    _add_run(rows, folder, parent, parent.run_id, "FINISHED", shared | own | origin)
    return parent


def _add_trial(
    rows: _Rows,
    folder: Path,
    parent: _Parent,
    number: int,
    trial: _Trial,
    random: np.random.Generator,
) -> None:
    run = f"{parent.run_id[:8]}{number + 1:024x}"
    key = run[4:8] + run[-12:]
    # A run carries all readouts of a seed of an SWA study, and of a suggestion of a search.
    shared = {
        "swa_grid": trial.seed,
        "joint_search": 1000 * trial.seed + trial.ask,
    }
    training = f"{shared[parent.sweep]:016x}" if parent.sweep in shared else key
    config = {k: str(x) for k, x in (BASE | trial.params | {"seed": trial.seed}).items()}
    params = {name: text for name, text in config.items() if name in GIVEN or name in trial.params}
    facts = parent.facts | {"training_key": training, "record_hash": key}
    failed = number % 50 == 49
    own = {
        "kind": "trial",
        "mlflow.parentRunId": parent.run_id,
        "trial_key": key,
        TAG: Origin(facts=facts, config=config).tag(params),
        **({"cause": "loss_mce is not finite at iteration 120"} if failed else {}),
    }
    status = "FAILED" if failed else "FINISHED"
    _add_run(rows, folder, parent, run, status, own | parent.tags | trial.tags)
    for name, text in params.items():
        rows.add("SqlParam", run_uuid=run, key=name, value=text)
    history = _history(random)
    points = [(name, row[name], int(row["iteration"])) for row in history for name in CURVES]
    for name, value, step in points[: len(points) // 2] if failed else points:
        rows.add("SqlMetric", **_point(run, name, value, step))
    last = {} if failed else {name: random.normal(0.6, 0.02) for name in METRICS}
    for name, value in last.items():
        rows.add("SqlLatestMetric", **_point(run, name, value, ITERATIONS[-1]))
    if not failed:
        masks = parent.sweep == "ablation"
        _write_artifacts(folder / run / "artifacts", key, history, masks=masks)


def _add_run(
    rows: _Rows, folder: Path, parent: _Parent, run: str, status: str, tags: Mapping[str, object]
) -> None:
    rows.add(
        "SqlRun",
        run_uuid=run,
        name=run,
        status=status,
        start_time=BEGUN_AT,
        end_time=BEGUN_AT + 60_000,
        lifecycle_stage="active",
        artifact_uri=str(folder / run / "artifacts"),
        experiment_id=int(parent.place),
        source_type="LOCAL",
        source_name="",
        entry_point_name="",
        user_id="",
        source_version="",
    )
    for name, value in tags.items():
        rows.add("SqlTag", run_uuid=run, key=name, value=str(value))


def _point(run: str, name: str, value: float, step: int) -> dict[str, object]:
    place = {"run_uuid": run, "key": name, "step": step, "timestamp": BEGUN_AT + step}
    return place | {"value": float(value), "is_nan": False}


def _history(random: np.random.Generator) -> list[dict[str, float]]:
    names = (*CURVES, "train/d_real", "train/d_fake")
    values = random.uniform(0.1, 0.9, (len(ITERATIONS), len(names))).tolist()  # nosec B311  # no secret
    return [
        {
            "iteration": iteration,
            "time": (BEGUN_AT + iteration) / 1000,
            **dict(zip(names, row, strict=True)),
        }
        for iteration, row in zip(ITERATIONS, values, strict=True)
    ]


def _write_artifacts(
    folder: Path, trial_key: str, history: list[dict[str, float]], *, masks: bool
) -> None:
    folder.mkdir(parents=True)
    iou = [0.9, 0.6, 0.5, None]
    detail = {
        "trial_key": trial_key,
        "classes": CLASSES,
        "val/iou": iou,
        "swa/iou": iou,
        "val/miou_per_image": 0.6,
        "swa/miou_per_image": 0.6,
        "averaged": 48,
        "history": history,
    }
    (folder / DETAIL_FILE).write_bytes(dumps(detail))
    if masks:
        names = [f"{kind}-{k}" for k in range(3) for kind in ("truth", "raw-60", "raw-240", "swa")]
        arrays: dict[str, Any] = {name: np.zeros((48, 48), np.uint8) for name in names}
        arrays |= {f"image-{k}": np.full((48, 48, 3), 99, np.uint8) for k in range(3)}
        packed = io.BytesIO()
        np.savez_compressed(packed, **arrays)
        sealed = seal_zip(packed.getvalue(), {"trial_key": trial_key})
        (folder / MASKS_FILE).write_bytes(sealed)
