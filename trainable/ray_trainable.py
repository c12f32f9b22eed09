"""The Ray Tune trainable: a thin shell round a training run. The only module here with Ray in it.

Actors are reused: a trial after another in one process gives the bits of a fresh process, since
every random number follows from seed and iteration and all state lives in the training run.
"""

from __future__ import annotations

import json
import platform
import resource
import time
import traceback
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from ray import tune

from trainable.runs.folder import CRASH_LOG, RunFolderLockedError
from trainable.runs.keys import OtherCodeError, RunSpec
from trainable.runs.machine_load import MachineLoad
from trainable.runs.remote_folder import RemoteFolder
from trainable.runs.training_run import TrainingRun
from trainable.storage.faults import machine_fault
from trainable.storage.files import write_atomically
from trainable.storage.object_store import ObjectStore
from trainable.storage.redaction import redact
from trainable.storage.remote import is_uri, local_folder
from trainable.training.trainer import NonFiniteLossError

REPORT_S = 1.0  # least time between two reports to the driver; `report_s` of the config may be more
LOAD = MachineLoad()  # of this process, which trains one run after another


class SegmentationTrainable(tune.Trainable):
    """Trains one `RunSpec` in its run folder, which alone holds the truth; Ray keeps no checkpoint.

    A retry is a fresh start that resumes from the run folder's last good checkpoint. The config
    has `spec`, a RunSpec as JSON, `storage`, the folder of run folders or the URI of an object
    store, `threads`, `gpu_share`, what of a GPU this process may fill, and `report_s`, how many
    seconds lie between two reports. With an object store it trains in a folder of this node and
    sends what is new there before each report.
    """

    def setup(self, config: dict[str, Any], uri: str | None = None) -> None:
        """Remember what to train; it is opened at the first step, where a fault is retried.

        Args:
            config: The values that the docstring of the class names.
            uri: The URI of a storage whose URI holds a secret; Ray would write the config to files.
        """
        self._spec = RunSpec.from_primitives(json.loads(config["spec"]))
        storage: str = uri or config["storage"]
        self._uri = storage if is_uri(storage) else None
        self._run_storage = local_folder(storage, "scratch") if self._uri else Path(storage)
        self._remote: RemoteFolder | None = None
        self._threads: int = config["threads"]
        self._gpu_share: float = config["gpu_share"]
        self._report_s: float = max(REPORT_S, config["report_s"])
        self._run: TrainingRun | None = None
        self._told = 0  # rows of the history that were looked through for a report
        self._kept_told = 0  # rows of those that no crash takes back
        self._whole = True  # whether the run stands between two iterations, fit to be saved

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Let go of the run at hand and take the next: what makes an actor reusable.

        A run that is still open was stopped because no more of it is wanted: it is not saved.
        """
        self._let_go()
        self.setup(new_config)
        return True

    def step(self) -> dict[str, Any]:
        """Train and validate until a report is due, or to the end of the training run; see `_step`.

        What the machine refuses no further try gets: a run that a full disk ends is left as it is,
        to resume from its last checkpoint, and the driver says so.
        """
        started = time.perf_counter()
        try:
            report = self._step(started)
        except Exception as error:
            self._whole = False
            fault = machine_fault(error)
            if fault is None:
                self._log_crash()
                if (safe := redact(str(error), self._uri or "")) != str(error):
                    # Ray writes what is raised to files of its own.
                    raise RuntimeError(f"{type(error).__name__}: {safe}") from None
                raise
            self._let_go()
            report = self._progress() | {"done": True, "fault": f"{fault} ({platform.node()})"}
        return {"busy_s": time.perf_counter() - started, "rss_gb": _peak_rss_gb()} | report

    def _step(self, started: float) -> dict[str, object]:
        """Return a step's report.

        A diverged run is an outcome, not a fault: it is recorded and not tried again. One that
        CUDA has no memory for is left as it is: the driver tries it again with more room. One that
        other code has planned is left as it is, too: the driver says so. One that another process
        trains is waited for, no longer than to the next report, so that the driver hears of it.
        """
        ended: dict[str, object] = {}
        try:
            run = self._opened()
            while not run.complete:
                run.advance()
                if self._is_due(run, time.perf_counter() - started):
                    break
            ended["done"] = run.complete
        except NonFiniteLossError as error:
            assert self._run is not None  # nosec B101  # cannot happen
            self._run.fail(str(error))
            self._whole, ended["done"] = False, True
        except RunFolderLockedError as error:
            return self._progress() | {"waits": str(error), "busy_s": 0.0}
        except torch.OutOfMemoryError as error:
            self._whole = False
            ended |= {"done": True, "out_of_memory": str(error)}
        except OtherCodeError as error:
            self._whole = False
            ended |= {"done": True, "refused": str(error)}
        report = self._progress() | ended
        self._push()
        if ended["done"]:
            self.cleanup()
        return report

    def _is_due(self, run: TrainingRun, took_s: float) -> bool:
        """Return whether to report: a validation, by which runs are stopped, waits for REPORT_S."""
        if took_s < REPORT_S:
            return False
        return took_s >= self._report_s or any("val/miou" in r for r in run.history[self._told :])

    def _log_crash(self) -> None:
        folder = self._run_storage / self._spec.training_key
        folder.mkdir(parents=True, exist_ok=True)
        said = redact(traceback.format_exc(), self._uri or "")
        write_atomically(folder / CRASH_LOG, said.encode())
        if self._remote is not None:
            with suppress(OSError):  # the store may be what failed
                self._remote.push_only(CRASH_LOG)

    def _opened(self) -> TrainingRun:
        if self._run is None:
            self._spec.check_code()  # before a store or a folder is touched
            torch.set_num_threads(self._threads)
            if torch.cuda.is_available() and self._gpu_share:
                torch.cuda.set_per_process_memory_fraction(min(1.0, self._gpu_share))
            if self._uri is not None:
                store, key = ObjectStore(self._uri), self._spec.training_key
                self._remote = RemoteFolder(store, self._run_storage, key)
                self._remote.fetch(wait_s=self._report_s)
            # Who waited for a copy once fetched might find it cleared.
            wait_s = self._report_s if self._remote is None else 0.0
            self._run = TrainingRun(self._spec, self._run_storage, wait_s=wait_s)
        return self._run

    def _push(self) -> None:
        if self._remote is not None and self._run is not None:
            self._remote.push()

    def _progress(self) -> dict[str, object]:
        """Return how far the run is, with the validations that were not yet reported.

        They are in the run folder, too, before anyone decides by them that it is to stop. The rows
        of the history, which the record shows while the run is trained, are reported only once no
        crash takes them back.
        """
        run = self._run
        if run is None:  # another process has it, there was no memory, or the code is another
            return {"run_iteration": 0, "val/miou": None, "validations": [], "rows": []}
        history = run.history
        rows, self._told = history[self._told :], len(history)
        validations = [[row["iteration"], row["val/miou"]] for row in rows if "val/miou" in row]
        if validations and not run.complete:
            run.write_history()
        if run.found:
            iteration = history[-1]["iteration"] if history else 0
            miou = validations[-1][1] if validations else None
        else:
            iteration, miou = run.trainer.iteration, run.trainer.last_miou
        kept = run.kept_history
        rows, self._kept_told = kept[self._kept_told :], len(kept)
        return {
            "run_iteration": iteration,
            "val/miou": miou,
            "validations": validations,
            "rows": rows,
            # As pairs: of every number in a report Tune keeps statistics.
            "load": LOAD.measured(),
        }

    def cleanup(self) -> None:
        """Give the run folder and the device's memory back; a run stopped half-way is saved."""
        try:
            if self._run is not None and self._whole:
                self._run.save()
                self._push()
        finally:
            self._let_go()

    def _let_go(self) -> None:
        if self._run is not None:
            if self._remote is not None:
                self._remote.clear()
            self._run.close()
            self._run = None
            if torch.cuda.is_available():
                torch.cuda.empty_cache()

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Save nothing: the run folder has the checkpoints."""

    def load_checkpoint(self, checkpoint: Any) -> None:
        """Load nothing: the run folder has the checkpoints."""


def _peak_rss_gb() -> float:
    """Return the largest resident memory this process had, in GB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
