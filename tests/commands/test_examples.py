"""What a stranger copies to start a cluster is at least of the right form."""

import json
import subprocess
from pathlib import Path

import jsonschema
import ray
import yaml
from paths import ROOT

CLUSTER = ROOT / "examples" / "cluster"


def test_the_file_for_ray_up_follows_rays_own_schema() -> None:
    schema = json.loads((Path(ray.__file__).parent / "autoscaler/ray-schema.json").read_text())
    config = yaml.safe_load((CLUSTER / "ray-up.yaml").read_text())
    jsonschema.validate(config, schema)
    starts = [*config["head_start_ray_commands"], *config["worker_start_ray_commands"]]
    assert all("RAY_AUTH_MODE=token" in line for line in starts if "ray start" in line)


STANDS_IN = """#!/bin/bash
echo "${0##*/} $*" >> "$CALLS"
[ "${0##*/}" != scontrol ] || printf 'node1\\nnode2\\n'
"""


def slurm_job(folder: Path, activate: str) -> subprocess.CompletedProcess[str]:
    """Run the job with stand-ins for SLURM, and for Ray in an environment to be activated."""
    for name in ("slurm/srun", "slurm/scontrol", "my env/ray"):
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(STANDS_IN)
        path.chmod(0o755)
    environment = {
        "PATH": f"{folder / 'slurm'}:/usr/bin:/bin",
        "CALLS": str(folder / "calls"),
        "SLURM_SUBMIT_DIR": str(folder),
        "SLURM_JOB_NODELIST": "node[1-2]",
        "SLURM_NNODES": "2",
        "ACTIVATE": activate,
    }
    command = ["bash", str(CLUSTER / "slurm.sh"), "lambda_grid", "--set", "weights=a b.pth"]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_the_job_for_slurm_starts_ray_of_the_environment_that_it_is_told(tmp_path: Path) -> None:
    assert slurm_job(tmp_path, f'PATH="{tmp_path}/my env:$PATH"').returncode == 0
    token, nodes, start = (tmp_path / "calls").read_text().splitlines()
    assert token == "ray get-auth-token --generate"
    assert nodes == "scontrol show hostnames node[1-2]"
    assert start.startswith("srun --nodes=2 --ntasks=2 ray symmetric-run --address node1:6379")
    assert start.endswith("--time-budget 84600 --set weights=a b.pth")


def test_the_job_for_slurm_says_what_it_lacks_where_it_finds_no_ray(tmp_path: Path) -> None:
    ended = slurm_job(tmp_path, "")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.splitlines() == ["no ray on the PATH: set ACTIVATE as this script says"]
    assert not (tmp_path / "calls").exists()


def test_the_manifest_for_kuberay_asks_for_a_token_and_shares_a_folder() -> None:
    manifest = yaml.safe_load((CLUSTER / "kuberay.yaml").read_text())
    assert manifest["kind"] == "RayCluster"
    assert manifest["spec"]["authOptions"] == {"mode": "token"}
    groups = [manifest["spec"]["headGroupSpec"], *manifest["spec"]["workerGroupSpecs"]]
    for group in groups:
        mounts = group["template"]["spec"]["containers"][0]["volumeMounts"]
        assert {"name": "shared", "mountPath": "/shared"} in mounts
