"""The commands that README and pages print run as they stand: see tests/test_documentation.py.

They run in a folder with a space in its name, from a wheel that the Dockerfile's own line installs.
Those that name a file of the source tree run in a copy of it, the others in a folder without one.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import time
import urllib.error
import urllib.request
import venv
from dataclasses import dataclass
from pathlib import Path

import documents
import pytest
from paths import ROOT
from PIL import Image

pytestmark = pytest.mark.slow

RUN = [block for block in documents.blocks() if not block.needs]
DEADLINE_S = 600
IN_THE_TREE = re.compile(r"(?m)^python (?:sweeps|analysis|examples)/")
# A twin of the README's command that trains four runs, and so has a record of every kind.
TWIN = (
    "python sweeps/lambda_grid.py --seeds 2 --lambdas 0 0.05 --set iterations=20 --set swa_n=5 "
    "--set eval_every=20 --set log_every=10 --set swa_batch_norm_batches=1 --no-model --no-figures"
)
ALONE = (
    "python -m trainable.train --set lambda_adv=0.1 --set iterations=20 --set swa_n=5 "
    "--set eval_every=20 --set log_every=10 --set swa_batch_norm_batches=1 --storage runs/"
)
# Later, so that the sweep has one before it; nothing of it is trained anew.
TWIN_AGAIN = f"{TWIN} --set swa_n=10"


@dataclass(frozen=True)
class Place:
    """Where the commands run.

    Attributes:
        tree: A copy of the source tree.
        elsewhere: A folder with the same record and no source tree.
        environment: Of the processes; the wheel's commands come first.
        words: What a reader puts in place of words in capitals.
    """

    tree: Path
    elsewhere: Path
    environment: dict[str, str]
    words: dict[str, str]

    def folder(self, block: documents.Block) -> Path:
        return self.tree if IN_THE_TREE.search(block.text) else self.elsewhere

    def text(self, block: documents.Block) -> str:
        return re.sub("|".join(self.words), lambda hit: self.words[hit[0]], block.text)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    top = tmp_path_factory.mktemp("a stranger's folder")
    tree, elsewhere = top / "the clone", top / "else where"
    copy_tracked_files(tree)
    environment = install(tree, top / "venv")
    for command in (TWIN, TWIN_AGAIN):
        run(command, tree, environment)
    elsewhere.mkdir()
    for name in ("runs", "mlruns"):
        shutil.copytree(tree / name, elsewhere / name)
    shutil.copy(tree / "mlflow.db", elsewhere)
    Image.new("RGB", (64, 48), (200, 80, 40)).save(elsewhere / "photo.png")
    (run_id, *_) = trial_ids(elsewhere)
    before = {*elsewhere.glob("runs/*/result.json")}
    run(ALONE, elsewhere, environment)  # a run with one readout, which no option has to name
    (result,) = {*elsewhere.glob("runs/*/result.json")} - before
    key = result.parent.name
    words = {"RUN_ID": run_id, "TRAINING_KEY": key, "IMAGE": "photo.png"}
    return Place(tree, elsewhere, environment, words)


def copy_tracked_files(tree: Path) -> None:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True)
    for name in listed.stdout.decode().rstrip("\0").split("\0"):
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tree / name)


def install(tree: Path, folder: Path) -> dict[str, str]:
    """Install the tree by the Dockerfile's line, and return the environment of commands.

    What the package requires is that of this Python, without its link to the sources.
    """
    venv.create(folder)
    python = folder / "bin" / "python"
    pip = folder / "bin" / "pip"
    pip.write_text(f'#!/bin/sh\nexec {sys.executable} -m pip --python "{python}" "$@"\n')
    pip.chmod(0o755)
    packages = Path(sysconfig.get_path("purelib", vars={"base": str(folder)}))
    (packages / "required.pth").write_text(sysconfig.get_path("purelib"))
    (line,) = re.findall(r"(?m)^RUN (pip .*)$", (tree / "Dockerfile").read_text("utf-8"))
    path = os.pathsep.join([str(folder / "bin"), str(Path(sys.executable).parent), os.defpath])
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "PYTEST"))}
    environment["PATH"] = path
    # Without a package index: no other package is taken, none is made anew to build the wheel.
    offline = {"PIP_NO_INDEX": "1", "PIP_NO_DEPS": "1", "PIP_NO_BUILD_ISOLATION": "0"}
    run(line, tree, environment | offline)
    return environment


def run(command: str, folder: Path, environment: dict[str, str]) -> str:
    """Run commands as one pastes them, the first that fails ends them, and return what they say."""
    shell = ["bash", "-euo", "pipefail", "-c", command]
    done = subprocess.run(
        shell,
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def trial_ids(folder: Path) -> list[str]:
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{folder}/mlflow.db")
    (experiment,) = client.search_experiments(filter_string="name = 'pixelwise-adversarial'")
    runs = client.search_runs([experiment.experiment_id], "tags.kind = 'trial'")
    return [run.info.run_id for run in runs]


def test_the_wheel_is_what_the_commands_find(place: Place) -> None:
    found = run(
        "python -c 'import sweeps; print(sweeps.__file__)'", place.elsewhere, place.environment
    )
    assert Path(found.strip()).is_relative_to(place.elsewhere.parent / "venv")


@pytest.mark.parametrize("block", [b for b in RUN if not b.serves], ids=lambda block: block.place)
def test_it_runs(place: Place, block: documents.Block) -> None:
    run(place.text(block), place.folder(block), place.environment)


@pytest.mark.parametrize("block", [b for b in RUN if b.serves], ids=lambda block: block.place)
def test_it_serves(place: Place, block: documents.Block) -> None:
    address = f"http://127.0.0.1:{block.serves}/"
    if answers(address):
        pytest.skip(f"something else listens on port {block.serves}")
    shell = ["bash", "-c", f"exec {place.text(block)}"]
    server = subprocess.Popen(
        shell, cwd=place.folder(block), env=place.environment, start_new_session=True
    )
    try:
        while not answers(address):
            assert server.poll() is None
            time.sleep(0.2)
    finally:
        os.killpg(server.pid, 15)
        server.wait()


def answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(address) as page:
            return bool(page.status == 200)
    except (urllib.error.URLError, ConnectionError):
        return False


def test_the_images_command_works_where_the_wheel_is(place: Place) -> None:
    (command,) = re.findall(r"(?m)^CMD \[(.*)\]$", (place.tree / "Dockerfile").read_text("utf-8"))
    words = command.replace('"', "").replace(",", "")
    said = run(f"{words} --plan", place.elsewhere, place.environment)
    assert "36 training runs" in said
