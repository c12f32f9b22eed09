"""What each node of a cluster trains with: other code is refused, other versions are told."""

from __future__ import annotations

import dataclasses
import platform
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import torch

from sweeps.execution.cluster import ClusterError, ask_nodes
from sweeps.record.environment import gpus
from trainable.runs.keys import code_version, package_version, version_on_disk
from trainable.runs.machine import cpu_kind, torchvision_version

AMPERE = 8  # its major CUDA compute capability


@dataclass(frozen=True, kw_only=True)
class NodeFacts:
    """What a node trains with.

    Attributes:
        name: Host and address.
        code_version: Of the code that trains, as a worker that starts now imports it.
        package: Of the whole package `trainable`.
        torch: Its version.
        torchvision: Its version, or `none`.
        python: Its version.
        cpu: As `trainable.runs.machine.cpu_kind` has it.
        gpus: Names of the machine's.
        capabilities: CUDA compute capability of each, such as `8.0`.
    """

    name: str
    code_version: str
    package: str
    torch: str
    torchvision: str
    python: str
    cpu: str
    gpus: tuple[str, ...]
    capabilities: tuple[str, ...]


def facts_here(name: str) -> NodeFacts:
    """Return the facts of the machine that this runs on."""
    found = gpus()
    return NodeFacts(
        name=name,
        code_version=version_on_disk(),
        package=package_version(),
        torch=str(torch.__version__),
        torchvision=torchvision_version(),
        python=platform.python_version(),
        cpu=cpu_kind(),
        gpus=tuple(gpu for gpu, _ in found),
        capabilities=tuple(capability for _, capability in found),
    )


def ask_what_they_train_with(say: Callable[[str], None]) -> tuple[NodeFacts, ...]:
    """Ask every node that may train.

    Args:
        say: Is told of nodes that are waited for.

    Raises:
        ClusterError: A node lacks the package, has it with other code, or says nothing.
    """
    package = package_version()
    answers, faults = ask_nodes(facts_here, "", say)
    nodes = tuple(dataclasses.replace(facts, name=name) for name, facts in answers)
    faults += [
        f"{facts.name} has version {facts.code_version}"
        if facts.code_version != code_version()
        else f"{facts.name} has other code beside it"
        for facts in nodes
        if (facts.code_version, facts.package) != (code_version(), package)
    ]
    if faults:
        raise ClusterError(
            "every node must have this driver's package, whose training is of version "
            f"{code_version()}, but {'; '.join(sorted(faults))}; install the same package there"
        )
    return nodes


def precisions(nodes: Iterable[NodeFacts]) -> dict[str, str]:
    """Return what `precision=auto` means on each GPU of nodes, by the node's name and its own.

    It is what `auto_precision` says there: GPUs have bf16 of their own since Ampere.
    """
    return {
        f"{gpu} of {node.name}": "bf16" if _major(capability) >= AMPERE else "fp16"
        for node in nodes
        for gpu, capability in zip(node.gpus, node.capabilities, strict=True)
    }


def _major(capability: str) -> int:
    major = capability.partition(".")[0]
    return int(major) if major.isdecimal() else 0


def differences(nodes: Iterable[NodeFacts]) -> Iterator[str]:
    """Yield in a line each version that is not this driver's, and kinds that are several."""
    here, nodes = facts_here("this driver"), list(nodes)
    for name in ("torch", "torchvision", "python"):
        others = [
            f"{node.name} {getattr(node, name)}"
            for node in nodes
            if getattr(node, name) != getattr(here, name)
        ]
        if others:
            yield (
                f"another version of {name} than this driver's, {getattr(here, name)}: "
                f"{', '.join(others)}; digits may differ between nodes"
            )
    for what, kinds in (
        ("kinds of CPU", {node.cpu for node in nodes}),
        ("kinds of GPU", {gpu for node in nodes for gpu in node.gpus}),
    ):
        if len(kinds) > 1:
            yield (
                f"the nodes have {len(kinds)} {what}, {', '.join(sorted(kinds))}; digits may "
                "differ between them"
            )
