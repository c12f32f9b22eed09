"""Checks of a cluster before a sweep joins it: does it answer, has it room, is the storage seen?"""

from __future__ import annotations

import os
import socket
import subprocess  # nosec B404  # words, no shell
import sys
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from trainable.storage.redaction import first_line, redact_uri
from trainable.storage.remote import is_uri

if TYPE_CHECKING:
    import ray

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
    """Check that a cluster answers; within 20 s it is clear whether one is there.

    A cluster that is there and answers slowly is waited for.

    Args:
        address: The address of the cluster, as HOST:PORT, or `auto`.
        say: Called with a line while the cluster is waited for.

    Raises:
        ClusterError: The address is none, or nothing healthy answers there.
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
    _check_health(address, say)


def _check_health(address: str, say: Callable[[str], None]) -> None:
    """Ask Ray in a process of its own whether a cluster is healthy; see `check_answers`."""
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
    """Return whether a gRPC server answers a greeting in time.

    That it takes a connection proves nothing: for a stopped process the kernel does.

    Args:
        door: The host and the port of the server.
        within_s: How many seconds it may take to connect, and then to answer.

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
    """Return the host and port of each program of Ray that this process depends on, by its name.

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
        nodes: The resources of each node, as Ray names them.
        cpus: How many CPUs a training run takes.
        gpus: How many GPUs, or which share of one, a training run takes.
    """
    return sum(
        min(
            int(node.get("CPU", 0.0) / cpus + 1e-9),
            int(node.get("GPU", 0.0) / gpus + 1e-9) if gpus else sys.maxsize,
        )
        for node in nodes
    )


def check_storage(storage: str, say: Callable[[str], None]) -> None:
    """Check that every node that may train sees the storage and may write it.

    Each node looks in the folder for a file that was just written, and writes one. In an object
    store it is enough that each node may write.

    Args:
        storage: The folder, or the URI of the object store.
        say: Called with a line while nodes are waited for.

    Raises:
        ClusterError: A node does not see the storage, or may not write it.
    """
    if is_uri(storage):
        if faults := _faults(_try_out, storage, say):
            raise ClusterError(
                "the storage (--storage) must be an object store that every node may write, but of "
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
            f"the storage (--storage) must be a folder that every node sees and may write, "
            f"but of {storage} {faults}; mount it there, or name another"
        )


def _faults(look: Callable[[str], str | None], what: str, say: Callable[[str], None]) -> str:
    """Return what the nodes find wrong, with their names, empty if nothing."""
    answers, faults = ask_nodes(look, what, say)
    return "; ".join(sorted(faults + [f"{name} {fault}" for name, fault in answers if fault]))


def ask_nodes(
    question: Callable[[str], Answer], what: str, say: Callable[[str], None]
) -> tuple[list[tuple[str, Answer]], list[str]]:
    """Run a function on every node that may train.

    A node that lives and does not answer is waited for, up to NODES_S.

    Args:
        question: The function, which runs once on each node.
        what: The argument of the function.
        say: Called with a line while nodes are waited for.

    Returns:
        The name and the answer of each node that answered, and why each of the others did not.
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
    silent, waited = _wait_for(asked, say)
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


def _wait_for(
    asked: Mapping[ray.ObjectRef[Answer], Mapping[str, Any]], say: Callable[[str], None]
) -> tuple[list[ray.ObjectRef[Answer]], float]:
    """Wait for the answers of nodes, and return those that are missing and the seconds it took."""
    import ray

    started, silent = time.monotonic(), list(asked)
    while True:
        _, silent = ray.wait(silent, num_returns=len(silent), timeout=SAY_EVERY_S)
        waited = time.monotonic() - started
        alive = {node["NodeID"] for node in training_nodes()}
        waiting = [_name(asked[one]) for one in silent if asked[one]["NodeID"] in alive]
        if not waiting or waited >= NODES_S:
            return silent, waited
        say(f"waiting for {', '.join(waiting)} ({waited:.0f} s): alive, and has not answered")


def training_nodes() -> list[dict[str, Any]]:
    """Return the nodes that are alive and have CPUs, as `ray.nodes()` describes them."""
    import ray

    return [node for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU")]


def _name(node: Mapping[str, Any]) -> str:
    """Return the host of a node and the name that it was given, which by default is its address."""
    return f"{node['NodeManagerHostname']} ({node['NodeName']})"


def _look(token: str) -> str | None:
    """Return why a node cannot use a folder, None if it can; this runs on the node."""
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
    """Return why a node cannot write an object store, None if it can; this runs on the node."""
    from trainable.storage.object_store import ObjectStore

    try:
        ObjectStore(uri).try_out()
    except (OSError, ValueError, ImportError) as error:
        return f"says: {first_line(error, uri)}"
    return None
