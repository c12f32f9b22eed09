"""What a folder of real data is, what it holds, and everything that is wrong with it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from trainable.config.schema import ConfigError, TrialConfig
from trainable.data.sources import file_tree
from trainable.data.sources.label_check import LabelCheck, warnings_of
from trainable.data.sources.labels import VOID
from trainable.data.sources.parallel import in_order
from trainable.data.sources.source import file_sources


def check(root: Path) -> tuple[list[str], list[str]]:
    """Read every file of a data set once.

    Returns:
        Lines that say what the folder is and holds, and one line for each finding.

    Raises:
        ConfigError: The folder is no data set that we know, or lacks a folder of it.
    """
    faults: list[ConfigError] = []
    checks: dict[str, LabelCheck] = {}
    kind, splits = _recognise(root, faults.append)
    findings = _list_findings(tree for tree, _ in splits.values())
    about = [f"{root}: {kind}"]
    for name, (tree, samples) in splits.items():
        checks[name] = LabelCheck(tree=tree, split=name)
        about += _examine(checks[name], samples, faults.append)
    about += _unlisted(root, splits)
    # The way out that ends a message helps with one fault; here many stand below each other.
    findings += [str(fault).rpartition("; ")[0] for fault in faults]
    warnings = [
        warning
        for name, one in checks.items()
        if name != "val"
        for warning in warnings_of(one, checks["val"])
    ]
    about += [f"warning: {line}" for line in dict.fromkeys(warnings)]
    return about, [line.removeprefix(f"{root}/") for line in dict.fromkeys(findings)]


def _recognise(root: Path, report: file_tree.FaultHandler) -> tuple[str, file_tree.Splits]:
    """Return what a folder is and its splits, and report what is wrong with their lists."""
    sources = file_sources()
    for name, source in sources.items():
        if source.is_root(root):
            return source.survey(TrialConfig(dataset=name, data_root=str(root)), report)
    *others, last = (f"{source.holds} ({source.title})" for source in sources.values())
    raise ConfigError(
        f"{root}: must hold {', '.join(others)}, or {last}, but does not; name the folder that does"
    )


def _list_findings(trees: Iterable[file_tree.FileTree]) -> list[str]:
    """Return what training overlooks in a list: blank lines, and names that stand there again."""
    findings = []
    for path in dict.fromkeys(path for tree in trees for path in tree.lists):
        # That a list cannot be read was reported by the index.
        lines = Counter(file_tree.read_lines(path, lambda fault: None))
        if blank := lines.pop("", 0):
            findings.append(f"{path}: a list must have no blank lines, but has {blank}")
        findings += [
            f"{path}: a list must name an image once, but names {name} {count} times"
            for name, count in lines.items()
            if count > 1
        ]
    return findings


def _examine(
    check: LabelCheck, samples: Sequence[file_tree.Sample], report: file_tree.FaultHandler
) -> list[str]:
    """Decode a split, report its faults, and return what its faultless images hold."""
    name, tree, counts = check.split, check.tree, check.counts

    def examine(sample: file_tree.Sample) -> tuple[file_tree.Decoded | None, list[ConfigError]]:
        faults: list[ConfigError] = []
        return file_tree.decode(tree, sample, faults.append), faults

    sizes: list[tuple[int, int]] = []
    with in_order(examine, samples, f"reading {name}") as results:
        for sample, (decoded, faults) in zip(samples, results, strict=True):
            for fault in faults:
                report(fault)
            if decoded is not None:
                check.add(sample, decoded.counts)
                height, width = decoded.labels.shape
                sizes.append((width, height))
    check.check(report)
    if not sizes:
        return [f"{name}: {len(samples):,} images, none of them usable"]
    smallest, largest = (pick(sizes, key=lambda size: size[0] * size[1]) for pick in (min, max))
    shares = counts / counts.sum()
    held = [f"{label} {shares[k]:.2%}" for k, label in enumerate(tree.classes) if counts[k]]
    held += [f"void {shares[VOID]:.2%}"]
    return [
        f"{name}: {len(samples):,} images, {len(samples) - len(sizes):,} of them with findings, "
        f"from {'x'.join(map(str, smallest))} to {'x'.join(map(str, largest))} pixels",
        f"{name}: {len(held) - 1} of {len(tree.classes)} classes, by pixels: {', '.join(held)}",
    ]


def _unlisted(root: Path, splits: file_tree.Splits) -> list[str]:
    """Return how many files lie beside those that the lists name, folder by folder."""
    named = {
        path
        for _, samples in splits.values()
        for sample in samples
        for path in (sample.image, *sample.masks)
    }
    beside = Counter(
        folder
        for folder in {path.parent for path in named}
        if folder.is_dir()
        for path in folder.iterdir()
        if path.is_file() and path not in named
    )
    return [
        f"{folder.relative_to(root)}: files that no list names: {count:,}"
        for folder, count in sorted(beside.items())
    ]
