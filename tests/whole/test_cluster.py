"""Clusters: refused in a line where they cannot do it; a node that dies changes no number."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tune_helpers import greeter
from whole_sweeps import sweep

from sweeps.execution import cluster as cluster_module
from sweeps.execution.cluster import ClusterError, _look, check_answers, room
from sweeps.execution.executor import RAY_SETTINGS


@pytest.mark.parametrize("address", ["nowhere", "ray://head:10001", "head:", "head:http"])
def test_an_address_of_another_form_is_refused(address: str) -> None:
    with pytest.raises(ClusterError, match="must be HOST:PORT or auto"):
        check_answers(address, print)


def test_an_address_where_nothing_listens_is_refused_in_one_line() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{unused.getsockname()[1]}"
    with pytest.raises(ClusterError, match=r"does not answer: .*refused; start one") as refused:
        check_answers(address, print)
    assert "\n" not in str(refused.value)


def test_an_address_where_something_else_listens_is_refused_in_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cluster_module, "GREETING_S", 0.5)
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        with pytest.raises(ClusterError, match="says nothing for"):
            check_answers(f"127.0.0.1:{mute.getsockname()[1]}", print)


def test_what_two_waits_take_in_all_is_below_20_seconds() -> None:
    assert cluster_module.CONNECT_S + cluster_module.GREETING_S < 20


def health_check(folder: Path, monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Let the check of health take its time, as on a busy machine."""
    program = folder / "python"
    program.write_text(f"#!/bin/sh\nexec sleep {seconds}\n")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    monkeypatch.setattr(cluster_module, "SAY_EVERY_S", 0.2)


def test_a_cluster_that_answers_slowly_is_waited_for_and_that_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    with greeter() as (host, port):
        address = f"{host}:{port}"
        health_check(tmp_path, monkeypatch, 0.5)
        check_answers(address, said.append)
        assert len(said) == 2
        assert said[0] == f"waiting for the cluster at {address} (0 s): it answers, slowly"
        health_check(tmp_path, monkeypatch, 60)
        monkeypatch.setattr(cluster_module, "HEALTH_S", 0.3)
        with pytest.raises(ClusterError, match="answers too slowly"):
            check_answers(address, said.append)


def test_nodes_are_waited_for_while_they_live(monkeypatch: pytest.MonkeyPatch) -> None:
    import ray

    class Task:
        def options(self, scheduling_strategy: Any) -> Task:
            self.node = names[scheduling_strategy.node_id]
            return self

        def remote(self, what: str) -> str:
            return f"{self.node}'s answer"

    names = {56 * "a": "fast", 56 * "b": "slow", 56 * "c": "lost"}
    nodes = [
        {"NodeID": node, "NodeManagerHostname": "host", "NodeName": name}
        for node, name in names.items()
    ]
    looks = iter([nodes, nodes, nodes, nodes[:2]])
    waits = iter([["slow's answer", "lost's answer"]] * 2 + [["lost's answer"]])
    monkeypatch.setattr(cluster_module, "training_nodes", lambda: next(looks))
    monkeypatch.setattr(ray, "remote", lambda **_: lambda question: Task())
    monkeypatch.setattr(ray, "wait", lambda *_, **__: ([], next(waits)))
    monkeypatch.setattr(ray, "get", str)
    said: list[str] = []
    told, faults = cluster_module.ask_nodes(str, "?", said.append)
    assert told == [("host (fast)", "fast's answer"), ("host (slow)", "slow's answer")]
    assert faults == ["host (lost) says nothing for 0 s"]
    waiting = "waiting for host (slow), host (lost) (0 s): alive, and has not answered"
    assert said == [waiting, waiting]


def test_room_is_counted_by_node_and_shares_lose_nothing_to_rounding() -> None:
    assert room([{"CPU": 1.0}, {"CPU": 1.0}], cpus=2, gpus=0) == 0
    assert room([{"CPU": 100.0, "GPU": 1.0}], cpus=1, gpus=0.1) == 10
    assert room([{"CPU": 3.0, "GPU": 8.0}, {"CPU": 64.0}], cpus=1, gpus=1) == 3


def test_a_node_says_why_it_cannot_use_the_storage(tmp_path: Path) -> None:
    token = tmp_path / ".seen-1"
    assert _look(str(token)) == "says: No such file or directory"
    token.write_text("another")
    assert _look(str(token)) == "sees another file"
    token.write_text(token.name)
    assert _look(str(token)) is None
    assert list(tmp_path.iterdir()) == [token]


@pytest.fixture
def cluster() -> Iterator[Any]:
    """Two nodes of one CPU each, on this machine."""
    environment = os.environ | RAY_SETTINGS
    token = [sys.executable, "-m", "ray.scripts.scripts", "get-auth-token", "--generate"]
    subprocess.run(token, env=environment, check=True, capture_output=True)
    os.environ.update(RAY_SETTINGS)
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    cluster.add_node(num_cpus=1)
    yield cluster
    cluster.shutdown()


@pytest.mark.slow
def test_a_cluster_without_the_room_asked_for_is_refused_at_once(
    cluster: Any, tmp_path: Path
) -> None:
    asked = sweep(tmp_path, "--address", cluster.address, "--cpus-per-trial", "2")
    assert asked.returncode == 2
    assert "the largest of 2 nodes has 1 and 0" in asked.stderr
    asked = sweep(tmp_path, "--address", cluster.address, "--gpus-per-trial", "1")
    assert asked.returncode == 2
    assert "needs 1 CPUs and 1 GPUs" in asked.stderr
    assert not (tmp_path / "runs").exists()
