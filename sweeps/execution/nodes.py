"""The code, the versions and the hardware that each node of a cluster trains with.

Other code than the driver's is refused; other versions are only pointed out.
"""

from __future__ import annotations

import dataclasses
import json
import platform
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import torch

from sweeps.execution.cluster import ClusterError, ask_nodes
from sweeps.record.environment import gpus
from trainable.config.schema import ConfigError, TrialConfig
from trainable.networks.custom_code import code_of
from trainable.runs.keys import code_version, package_version, version_on_disk
from trainable.runs.machine import cpu_kind, torchvision_version

AMPERE = 8  # its major CUDA compute capability


@dataclass(frozen=True, kw_only=True)
class NodeFacts:
    """The code, the versions and the hardware that a node trains with.

    Attributes:
        name: The host and the address of the node.
        code_version: The version of the code that trains, as a worker that starts now imports it.
        package: The version of the whole package `trainable`.
        torch: The version of torch.
        torchvision: The version of torchvision, or `none`.
        python: The version of Python.
        cpu: The kind of CPU, as `trainable.runs.machine.cpu_kind` returns it.
        gpus: The names of the machine's GPUs.
        capabilities: The CUDA compute capability of each GPU, such as `8.0`.
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
    """Return the facts of the machine that this is called on."""
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
    """Ask every node that may train what it trains with.

    Args:
        say: Called with a line while nodes are waited for.

    Raises:
        ClusterError: A node lacks the package, has it with other code, or does not answer.
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


def check_networks_of_nodes(configs: Iterable[TrialConfig], say: Callable[[str], None]) -> None:
    """Check that every node that may train has the networks of one's own, with the same code.

    Args:
        configs: What is to be trained, the code of its networks made definite.
        say: Called with a line while nodes are waited for.

    Raises:
        ClusterError: A node cannot import one, has it with other code, or does not answer.
    """
    wanted: dict[str, str] = {}
    for config in configs:
        wanted |= config.custom_codes
    if not wanted:
        return
    answers, faults = ask_nodes(codes_here, json.dumps(sorted(wanted)), say)
    faults += [
        f"{node} has {found.get(network)} of {network}"
        for node, found in answers
        for network, code in wanted.items()
        if found.get(network) != code
    ]
    if faults:
        raise ClusterError(
            f"every node must have this driver's {', '.join(sorted(wanted))}, but "
            f"{'; '.join(sorted(faults))}; install the same code there"
        )


def codes_here(networks: str) -> dict[str, str]:
    """Return what names the code of networks, or why it cannot be imported; runs on a node."""
    found = {}
    for network in json.loads(networks):
        try:
            found[network] = code_of(network)
        except ConfigError as error:
            found[network] = f"none ({error})"
    return found


def precisions(nodes: Iterable[NodeFacts]) -> dict[str, str]:
    """Return what `precision=auto` means on each GPU of some nodes, by the GPU's and node's name.

    It is what `auto_precision` returns there: GPUs compute in bf16 since Ampere.
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
    """Yield a line for each version other than the driver's, and for hardware that differs."""
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
