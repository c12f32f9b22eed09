"""A cluster before a sweep joins it: does it answer, has it room, do its nodes see the storage?"""

from __future__ import annotations

import os
import socket
import subprocess  # nosec B404  # words, no shell
import sys
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from trainable.storage.redaction import first_line, redact_uri
from trainable.storage.remote import is_uri

CONNECT_S = 4.0
GREETING_S = 14.0  # what listens is a server that lives if it answers by then
HEALTH_S = 120.0  # a process that imports Ray and asks; Ray itself would ask for ever
NODES_S = 300.0  # a node that is alive may be busy: it imports torch before it answers
SAY_EVERY_S = 15.0

# How HTTP/2, which gRPC speaks, begins: a preface and empty settings. A server answers at once.
HELLO = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))

Answer = TypeVar("Answer")
Door = tuple[str, int]


class ClusterError(RuntimeError):
    """A cluster cannot do what was asked of it."""


def check_answers(address: str, say: Callable[[str], None]) -> None:
    """Ask a cluster for a sign of life; within 20 s it is clear whether there is one.

    One that lives and is slow is waited for.

    Args:
        address: Of the cluster.
        say: Is told that it is waited for.

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
    if not answers((host, int(port)), GREETING_S):
        raise _silent(address, f"what listens there says nothing for {GREETING_S:g} s")
    command = [sys.executable, "-m", "ray.scripts.scripts", "health-check", "--address", address]
    started = time.monotonic()
    with subprocess.Popen(  # nosec B603  # words, no shell
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as asked:
        while True:
            try:
                said, _ = asked.communicate(timeout=SAY_EVERY_S)
                break
            except subprocess.TimeoutExpired:
                waited = time.monotonic() - started
                if waited >= HEALTH_S:
                    asked.kill()
                    raise ClusterError(
                        f"the cluster at {address} answers too slowly: its health is not known "
                        f"after {waited:.0f} s; try again when it is less busy"
                    ) from None
                say(f"waiting for the cluster at {address} ({waited:.0f} s): it answers, slowly")
            except BaseException:  # an interrupt
                asked.kill()
                raise
    if asked.returncode:
        raise _silent(address, (said.strip().splitlines() or ["it is not healthy"])[-1])


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


def check_storage(storage: str, say: Callable[[str], None]) -> None:
    """Let every node that may train look for a file that was just written, and write one.

    Of an object store it is enough that each node may write.

    Args:
        storage: The folder or store.
        say: Is told of nodes that are waited for.

    Raises:
        ClusterError: A node does not see it, or may not write.
    """
    if is_uri(storage):
        if faults := _faults(_try_out, storage, say):
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
        faults = _faults(_look, str(token), say)
    finally:
        token.unlink()
    if faults:
        raise ClusterError(
            f"--storage must be a folder that every node sees and may write, but of {storage} "
            f"{faults}; mount it there, or name another"
        )


def _faults(look: Callable[[str], str | None], what: str, say: Callable[[str], None]) -> str:
    """Return in words what the nodes find wrong, empty if nothing."""
    answers, faults = ask_nodes(look, what, say)
    return "; ".join(sorted(faults + [f"{name} {fault}" for name, fault in answers if fault]))


def ask_nodes(
    question: Callable[[str], Answer], what: str, say: Callable[[str], None]
) -> tuple[list[tuple[str, Answer]], list[str]]:
    """Put a question to every node that may train.

    Args:
        question: Runs there.
        what: Its argument.
        say: Is told of nodes that are waited for, as they are while they live.

    Returns:
        The answers by the node's name, and in words why nodes gave none.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    task = ray.remote(num_cpus=0, max_retries=0)(question)
    asked = {
        task.options(
            scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        ).remote(what): node
        for node in training_nodes()
    }
    started, silent = time.monotonic(), list(asked)
    while True:
        _, silent = ray.wait(silent, num_returns=len(silent), timeout=SAY_EVERY_S)
        waited = time.monotonic() - started
        alive = {node["NodeID"] for node in training_nodes()}
        waiting = [_name(asked[one]) for one in silent if asked[one]["NodeID"] in alive]
        if not waiting or waited >= NODES_S:
            break
        say(f"waiting for {', '.join(waiting)} ({waited:.0f} s): alive, and has not answered")
    answers, faults = [], []
    for one, node in asked.items():
        name = _name(node)
        if one in silent:
            faults.append(f"{name} says nothing for {waited:.0f} s")
            continue
        try:
            answers.append((name, ray.get(one)))
        except ray.exceptions.RayError as error:  # the package is not there, or the node is gone
            faults.append(f"{name} fails with {str(error).strip().splitlines()[-1]}")
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
    from trainable.storage.object_store import ObjectStore

    try:
        ObjectStore(uri).try_out()
    except (OSError, ValueError, ImportError) as error:
        return f"says: {first_line(error, uri)}"
    return None
