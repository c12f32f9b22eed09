"""A cluster before a sweep joins it: does it answer, has it room, do its nodes see the storage?"""

from __future__ import annotations

import os
import socket
import subprocess  # nosec B404  # words, no shell
import sys
import uuid
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from sweeps._store import first_line
from trainable.redaction import redact_uri
from trainable.remote_folder import is_uri

CONNECT_S = 4.0
ANSWER_S = 12.0  # a process that imports Ray and asks; Ray itself would ask for ever
NODES_S = 30.0

# How HTTP/2, which gRPC speaks, begins: a preface and empty settings. A server answers at once.
HELLO = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))

Answer = TypeVar("Answer")
Door = tuple[str, int]


class ClusterError(RuntimeError):
    """A cluster cannot do what was asked of it."""


def check_answers(address: str) -> None:
    """Ask a cluster for a sign of life; within 20 s it is clear whether there is one.

    Raises:
        ClusterError: There is none.
    """
    if address == "auto":
        return
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or "/" in host:
        raise ClusterError(f"--address must be HOST:PORT or auto, but got {address!r}")
    try:
        socket.create_connection((host, int(port)), CONNECT_S).close()
    except (OSError, OverflowError) as error:
        raise _silent(address, getattr(error, "strerror", None) or str(error)) from error
    command = [sys.executable, "-m", "ray.scripts.scripts", "health-check", "--address", address]
    try:
        asked = subprocess.run(  # nosec B603  # words, no shell
            command, capture_output=True, text=True, timeout=ANSWER_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise _silent(address, f"what listens there says nothing for {ANSWER_S:g} s") from error
    if asked.returncode:
        lines = (asked.stderr + asked.stdout).strip().splitlines() or ["it is not healthy"]
        raise _silent(address, lines[-1])


def answers(door: Door, within_s: float) -> bool:
    """Return whether a gRPC server at host and port answers a greeting in time.

    A process that is stopped still takes connections: the kernel does, for it.

    Raises:
        ConnectionRefusedError: Nothing listens there.
    """
    try:
        with socket.create_connection(door, within_s) as connection:
            connection.sendall(HELLO)
            connection.recv(1)
    except ConnectionRefusedError:
        raise
    except (OSError, OverflowError) as error:
        return isinstance(error, ConnectionResetError)
    return True


def doors_of_ray() -> dict[str, Door]:
    """Return where what this process cannot do without listens, by the program's name.

    Those are the raylet of this machine and the GCS of the Ray that it is connected to.
    """
    import ray

    context = ray.get_runtime_context()
    own = next(node for node in ray.nodes() if node["NodeID"] == context.get_node_id())
    host, _, port = context.gcs_address.rpartition(":")
    return {
        "raylet": (own["NodeManagerAddress"], own["NodeManagerPort"]),
        "gcs_server": (host.strip("[]"), int(port)),
    }


def _silent(address: str, reason: str) -> ClusterError:
    return ClusterError(
        f"--address must be that of a running Ray cluster, but {address} does not answer: "
        f"{reason}; start one with `ray start --head`, or leave the option out"
    )


def room(nodes: Iterable[Mapping[str, float]], cpus: float, gpus: float) -> int:
    """Return how many training runs fit at a time, each on one node.

    Args:
        nodes: Resources of each node.
        cpus: Of a training run.
        gpus: Of a training run.
    """
    return sum(
        min(
            int(node.get("CPU", 0.0) / cpus + 1e-9),
            int(node.get("GPU", 0.0) / gpus + 1e-9) if gpus else sys.maxsize,
        )
        for node in nodes
    )


def check_storage(storage: str) -> None:
    """Let every node that may train look for a file that was just written, and write one.

    Of an object store it is enough that each node may write.

    Raises:
        ClusterError: A node does not see it, or may not write.
    """
    if is_uri(storage):
        if faults := _faults(_try_out, storage):
            raise ClusterError(
                "--storage must be an object store that every node may write, but of "
                f"{redact_uri(storage)} {faults}; give the nodes access, or name another"
            )
        return
    folder = Path(storage)
    folder.mkdir(parents=True, exist_ok=True)
    token = folder / f".seen-{uuid.uuid4().hex}"
    token.write_text(token.name)
    try:
        faults = _faults(_look, str(token))
    finally:
        token.unlink()
    if faults:
        raise ClusterError(
            f"--storage must be a folder that every node sees and may write, but of {storage} "
            f"{faults}; mount it there, or name another"
        )


def _faults(look: Callable[[str], str | None], what: str) -> str:
    """Return in words what the nodes find wrong, empty if nothing."""
    answers, faults = ask_nodes(look, what)
    return "; ".join(sorted(faults + [f"{name} {fault}" for name, fault in answers if fault]))


def ask_nodes(
    question: Callable[[str], Answer], what: str
) -> tuple[list[tuple[str, Answer]], list[str]]:
    """Put a question to every node that may train.

    Args:
        question: Runs there.
        what: Its argument.

    Returns:
        The answers by the node's name, and in words why nodes gave none.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    task = ray.remote(num_cpus=0, max_retries=0)(question)
    asked = {
        task.options(
            scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        ).remote(what): _name(node)
        for node in training_nodes()
    }
    answered, silent = ray.wait(list(asked), num_returns=len(asked), timeout=NODES_S)
    answers, faults = [], [f"{asked[one]} says nothing for {NODES_S:g} s" for one in silent]
    for one in answered:
        try:
            answers.append((asked[one], ray.get(one)))
        except ray.exceptions.RayError as error:  # the package is not there, or the node is gone
            faults.append(f"{asked[one]} fails with {str(error).strip().splitlines()[-1]}")
    return answers, faults


def training_nodes() -> list[dict[str, Any]]:
    """Return the living nodes that have CPUs to train with."""
    import ray

    return [node for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU")]


def _name(node: Mapping[str, Any]) -> str:
    """Return host and address; in place of the address the name that a node was given, if any."""
    return f"{node['NodeManagerHostname']} ({node['NodeName']})"


def _look(token: str) -> str | None:
    """Return in words why a node cannot use the storage; runs there."""
    path = Path(token)
    try:
        if path.read_text() != path.name:
            return "sees another file"
        beside = path.with_name(f"{path.name}-{os.getpid()}")
        beside.write_text("")
        beside.unlink()
    except OSError as error:
        return f"says: {error.strerror}"
    return None


def _try_out(uri: str) -> str | None:
    """Return in words why a node cannot write to an object store; runs there."""
    from trainable.object_store import ObjectStore

    try:
        ObjectStore(uri).try_out()
    except (OSError, ValueError, ImportError) as error:
        return f"says: {first_line(error, uri)}"
    return None
