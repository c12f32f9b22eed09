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


def test_the_job_for_slurm_is_a_script() -> None:
    subprocess.run(["bash", "-n", CLUSTER / "slurm.sh"], check=True)


def test_the_manifest_for_kuberay_asks_for_a_token_and_shares_a_folder() -> None:
    manifest = yaml.safe_load((CLUSTER / "kuberay.yaml").read_text())
    assert manifest["kind"] == "RayCluster"
    assert manifest["spec"]["authOptions"] == {"mode": "token"}
    groups = [manifest["spec"]["headGroupSpec"], *manifest["spec"]["workerGroupSpecs"]]
    for group in groups:
        mounts = group["template"]["spec"]["containers"][0]["volumeMounts"]
        assert {"name": "shared", "mountPath": "/shared"} in mounts
