"""Names of tensors in files of weights, and those of a generator that they stand for.

Names understood: torchvision's ResNet (conv1, bn1, layer1..4), the base code's file with its head
(layer5.conv2d_list), torchvision's DeepLabv3 (backbone.*, classifier.*), this package's, and those
of a network of one's own; each behind any depth of wrappers, and a trunk behind any prefix at all.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

WRAPPERS = ("module.", "_orig_mod.", "model.", "net.", "network.", "generator.", "Scale.")
TRUNKS = ("trunk.", "backbone.", "encoder.")
HEADS = ("head.", "classifier.", "layer5.")
LEFT_OUT = ("fc.", "aux_classifier.")  # no generator has them


def unwrapped(name: str, wrappers: Iterable[str] = WRAPPERS) -> str:
    """Return a name without the wrappers before it, however many there are."""
    while outer := next((one for one in wrappers if name.startswith(one)), ""):
        name = name.removeprefix(outer)
    return name


def common(name: str) -> str:
    """Return what a tensor is called here, by its name in a file or in a network of any kind."""
    bare = unwrapped(name)
    for names, ours in ((TRUNKS, "trunk."), (HEADS, "head.")):
        for theirs in names:
            if bare.startswith(theirs):
                return ours + unwrapped(bare.removeprefix(theirs))
    return bare


def counts(name: str) -> bool:
    """Whether a tensor is a weight or a statistic; old files lack batch norm's counters."""
    return not name.endswith("num_batches_tracked")


def translated(names: Iterable[str], wanted: Iterable[str]) -> dict[str, str]:
    """Return a file's names by what a generator calls them, without what none ever has.

    Args:
        names: The names in the file.
        wanted: The names of the generator's tensors.
    """
    ours = {common(name): name for name in wanted}
    counted = [name for name in names if counts(name)]
    found = _matched({name: common(name) for name in counted}, ours)
    trunk = [name for name in ours if name.startswith("trunk.")]
    if any(ours[name] not in found for name in trunk):
        prefix = _prefix_of(counted, trunk)
        if prefix is not None:
            behind = {name: common(name.removeprefix(prefix)) for name in counted if prefix in name}
            other = _matched(behind | {n: n for n in counted if n not in behind}, ours)
            found = max(found, other, key=lambda one: sum(ours[name] in one for name in trunk))
    return found


def _matched(names: Mapping[str, str], ours: Mapping[str, str]) -> dict[str, str]:
    """Return a file's names by the generator's, from what both are called in common."""
    found: dict[str, str] = {}
    for theirs, name in names.items():
        left_out = name.startswith(LEFT_OUT) or unwrapped(theirs).startswith(LEFT_OUT)
        if left_out and name not in ours:
            continue
        # A ResNet by itself has no name for what it is a trunk of.
        known = ours.get(name) or ours.get(f"trunk.{name}") or f"trunk.{name}"
        found.setdefault(known, theirs)
    return found


def _prefix_of(names: Iterable[str], trunk: Iterable[str]) -> str | None:
    """Return what stands before most of a trunk's tensors in a file, None where none is there."""
    bare = [name.removeprefix("trunk.") for name in trunk]
    there = set(names)
    first = next(iter(bare), "")
    prefixes = {name.removesuffix(first) for name in there if name.endswith(f".{first}")}
    best = max(
        prefixes, key=lambda one: (sum(one + name in there for name in bare), one), default=""
    )
    return best or None
