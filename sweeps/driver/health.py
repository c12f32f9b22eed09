"""What a sweep needs of this machine, looked at before one is started, with what mends it."""

from __future__ import annotations

import os
import platform
import re
import resource
import shutil
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from analysis.record.schema import EXPERIMENT
from analysis.record.tracking_uri import describe_choice, sqlite_file
from sweeps.execution.executor import ray_slots
from sweeps.execution.ray_folder import RayFolderError, ray_folder
from sweeps.execution.resources import ExecutorError, Resources
from sweeps.record.environment import gpus
from sweeps.record.mlflow_store import STORE_ERRORS, check_store, open_store
from sweeps.record.store_check import lasting_fault
from sweeps.storage.mirror import open_storage
from trainable.cli.options import check_writable
from trainable.config.schema import ConfigError, TrialConfig
from trainable.data.decoded_cache import cache_folder
from trainable.data.sources.source import file_sources
from trainable.storage.redaction import first_line, redact_uri
from trainable.storage.remote import is_uri

LEAST_MEMORY, LEAST_DISK = 2e9, 2e9  # bytes: Ray and two workers of the demo; a few checkpoints
LEAST_FILES = 1024  # that a process may have open: Ray's sockets and logs take some hundred
DRIVER = Path("/proc/driver/nvidia/version")
PAIR = "install the two of one release: `pip install --upgrade torch torchvision`"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What one look found.

    Attributes:
        what: What was looked at.
        said: What was found.
        advice: What mends it, empty where nothing is wrong.
    """

    what: str
    said: str
    advice: str = ""


def look(
    *,
    tracking_uri: str,
    experiment: str,
    storage: str,
    cache_dir: str,
    data_roots: Iterable[str],
    start_ray: bool,
) -> Iterator[Finding]:
    """Look at everything in turn.

    Args:
        tracking_uri: MLflow store.
        experiment: MLflow's experiment in it.
        storage: Folder or object store of run folders.
        cache_dir: Folder of decoded data, empty for the user's own.
        data_roots: Folders of real data.
        start_ray: Whether Ray is started, which takes some seconds.
    """
    yield Finding(what="python", said=f"{platform.python_version()}, {sys.executable}")
    yield of_torch()
    yield of_gpus()
    yield of_memory()
    yield of_open_files()
    yield of_home()
    yield of_ray(start=start_ray)
    yield of_store(tracking_uri, experiment)
    yield of_storage(storage)
    yield of_room("cache", cache_folder(TrialConfig(cache_dir=cache_dir)), "--cache-dir")
    yield from map(of_data, data_roots)


def of_torch() -> Finding:
    """Look whether torch and torchvision are made for each other: a kernel of the latter runs."""
    import torch

    pair = f"torch {version('torch')} with torchvision {version('torchvision')}"
    try:
        from torchvision.ops import nms

        nms(torch.zeros(1, 4), torch.zeros(1), 0.5)
    except (ImportError, RuntimeError, AttributeError, OSError) as error:
        return Finding(what="torch", said=f"{pair}: {first_line(error)}", advice=PAIR)
    return Finding(what="torch", said=pair)


def of_gpus() -> Finding:
    """Look whether torch can use the GPUs that are there."""
    import torch

    there = [name for name, _ in gpus()]
    built = torch.version.cuda
    if torch.cuda.is_available():
        said = f"{', '.join(there) or torch.cuda.device_count()}; driver {_driver()}, CUDA {built}"
        return Finding(what="cuda", said=said)
    if not there:
        return Finding(what="cuda", said="no GPU: training runs on the CPU")
    if built is None:
        said = f"{there[0]} is there, but torch is built without CUDA"
        way = "install torch for CUDA as https://pytorch.org/get-started says"
        return Finding(what="cuda", said=said, advice=way)
    said = f"{there[0]} is there, but torch cannot use it: driver {_driver()}, CUDA {built}"
    way = f"update the driver, or install torch for a CUDA before {built}"
    return Finding(what="cuda", said=said, advice=way)


def of_memory() -> Finding:
    """Look whether there is memory for Ray and a few workers."""
    found = re.search(r"^MemAvailable: *(\d+) kB", Path("/proc/meminfo").read_text(), re.M)
    free = int(found[1]) * 1024 if found else 0
    said = f"{free / 1e9:.1f} GB available, {len(os.sched_getaffinity(0))} CPU cores"
    way = "end other programs, or train fewer runs at a time with --max-concurrent 1"
    return Finding(what="memory", said=said, advice=way if free < LEAST_MEMORY else "")


def of_open_files() -> Finding:
    """Look how many files a process may have open."""
    most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    way = f"`ulimit -n {4 * LEAST_FILES}` in the shell that starts sweeps"
    few = most != resource.RLIM_INFINITY and most < LEAST_FILES
    return Finding(what="files", said=f"{most} may be open at once", advice=way if few else "")


def of_home() -> Finding:
    """Look whether the home folder can be written, where caches and tokens lie."""
    home = os.environ.get("HOME", "")
    writable = bool(home) and os.access(home, os.W_OK | os.X_OK)
    said = f"{home} is writable" if writable else f"{home or 'HOME'} is not writable"
    way = "set HOME to a folder of yours, such as `export HOME=/scratch/$USER`"
    return Finding(what="home", said=said, advice="" if writable else way)


def of_ray(*, start: bool) -> Finding:
    """Look whether Ray finds a folder that is short, writable and has room, and starts."""
    said = f"ray {version('ray')}"
    one = Resources(
        address=None, cpus_per_trial=1, gpus_per_trial=0, max_concurrent=1, time_budget_s=None
    )
    try:
        if start:
            with ray_slots(one, 1):
                return Finding(what="ray", said=f"{said} starts")
        with ray_folder() as folder:
            return Finding(what="ray", said=f"{said}, its files in {folder.parent}")
    except (ExecutorError, RayFolderError) as error:
        return Finding(what="ray", said=said, advice=str(error))


def of_store(tracking_uri: str, experiment: str = EXPERIMENT) -> Finding:
    """Look whether the MLflow store answers and takes a record."""
    shown = describe_choice(tracking_uri, experiment) or redact_uri(tracking_uri)
    try:
        check_store(tracking_uri)
        if fault := lasting_fault(tracking_uri, experiment):
            return Finding(what="store", said=shown, advice=fault)
        path = sqlite_file(tracking_uri)
        if path is not None and not path.exists():
            return Finding(what="store", said=f"{shown}: no file yet, the first sweep makes it")
        open_store(tracking_uri, create=False).search_experiments(max_results=1)
    except ConfigError as error:
        return Finding(what="store", said=shown, advice=str(error))
    except STORE_ERRORS as error:
        cause = first_line(error, tracking_uri)
        way = f"start it, or name another with --tracking-uri; it says: {cause}"
        return Finding(what="store", said=f"{shown} does not answer", advice=way)
    return Finding(what="store", said=f"{shown} answers")


def of_storage(storage: str) -> Finding:
    """Look whether run folders can be written, and whether there is room for them."""
    if not is_uri(storage):
        return of_room("storage", Path(storage).resolve(), "--storage")
    try:
        open_storage(storage, with_samples=False)
    except ConfigError as error:
        return Finding(what="storage", said=redact_uri(storage), advice=str(error))
    return Finding(what="storage", said=f"{redact_uri(storage)} can be written")


def of_room(what: str, folder: Path, option: str) -> Finding:
    """Look whether a folder can be made or written, and how much room there is."""
    try:
        check_writable(option, folder)
    except ConfigError as error:
        return Finding(what=what, said=str(folder), advice=str(error))
    there = next(parent for parent in (folder, *folder.parents) if parent.exists())
    free = shutil.disk_usage(there).free
    way = f"make room, or name a folder on another disk with {option}"
    said = f"{folder}: {free / 1e9:.1f} GB free"
    return Finding(what=what, said=said, advice=way if free < LEAST_DISK else "")


def of_data(root: str) -> Finding:
    """Look what a folder of real data is; its lists are read, and no image."""
    faults: list[ConfigError] = []
    folder = Path(root).expanduser().resolve()
    for name, source in file_sources().items():
        if source.is_root(folder):
            config = TrialConfig(dataset=name, data_root=str(folder))
            kind, splits = source.survey(config, faults.append)
            counts = ", ".join(f"{split} {len(images):,}" for split, (_, images) in splits.items())
            said = f"{folder}: {kind}; {counts}"
            return Finding(what="data", said=said, advice=str(faults[0]) if faults else "")
    known = " or ".join(f"{source.holds} ({source.title})" for source in file_sources().values())
    return Finding(
        what="data", said=f"{folder} is no data set that is known", advice=f"it must hold {known}"
    )


def _driver() -> str:
    """Return the version of NVIDIA's driver."""
    text = DRIVER.read_text() if DRIVER.exists() else ""
    found = re.search(r"Kernel Module.*? (\d+\.[\d.]+)", text)
    return found[1] if found else "unknown"
