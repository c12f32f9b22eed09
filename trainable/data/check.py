"""What a folder of real data is, what it holds, and everything that is wrong with it."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from trainable.config.schema import ConfigError, TrialConfig
from trainable.data.sources import file_tree, sbd, segtrack, voc
from trainable.data.sources.label_check import LabelCheck, warnings_of
from trainable.data.sources.labels import VOID
from trainable.data.sources.parallel import in_order

# By its name, a split's samples and the tree that says how they are read.
Splits = dict[str, tuple[file_tree.FileTree, Sequence[file_tree.Sample]]]


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


def _recognise(root: Path, report: file_tree.Report) -> tuple[str, Splits]:
    """Return what a folder is and its splits, and report what is wrong with their lists."""
    if (root / voc.FOLDER).is_dir():
        return _voc(root, report)
    if (root / "cls").is_dir() or (root / sbd.UNPACKED).is_dir():
        tree = sbd.index(TrialConfig(dataset="sbd", data_root=str(root)), report)
        return "SBD", _splits(tree, report)
    if (root / "GroundTruth").is_dir():
        return _segtrack(root, report)
    raise ConfigError(
        f"{root}: must hold {voc.FOLDER} (Pascal VOC 2012), img and cls (SBD), or JPEGImages, "
        "GroundTruth and ImageSets (SegTrack-v2), but does not; name the folder that does"
    )


def _voc(root: Path, report: file_tree.Report) -> tuple[str, Splits]:
    own = voc.index(TrialConfig(data_root=str(root), voc_train="train"), report)
    splits = _splits(own, report)
    if not ((root / voc.MASKS_AUG).exists() or voc.list_aug(root).exists()):
        return "Pascal VOC 2012, without SBD's masks (train_aug)", splits
    with_sbd = voc.index(TrialConfig(data_root=str(root), voc_train="train_aug"), report)
    splits["train_aug"] = _splits(with_sbd, report)["train"]
    return "Pascal VOC 2012, with SBD's masks (train_aug)", splits


def _segtrack(root: Path, report: file_tree.Report) -> tuple[str, Splits]:
    """Index by every class table; what is read is the default's."""
    config = TrialConfig(dataset="segtrackv2", data_root=str(root))
    names = sorted(path.stem for path in segtrack.TABLE_DIR.glob("*.yaml"))
    trees = {
        name: segtrack.index(dataclasses.replace(config, segtrack_classes=name), report)
        for name in names
    }
    tables = ", ".join(f"{name} has {len(tree.classes)} classes" for name, tree in trees.items())
    kind = (
        f"SegTrack-v2 ({tables}); read as segtrack_classes={config.segtrack_classes}, "
        f"segtrack_split={config.segtrack_split}"
    )
    return kind, _splits(trees[config.segtrack_classes], report)


def _splits(tree: file_tree.FileTree, report: file_tree.Report) -> Splits:
    file_tree.check_splits(tree, report)
    return {name: (tree, samples) for name, samples in tree.splits.items()}


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
    check: LabelCheck, samples: Sequence[file_tree.Sample], report: file_tree.Report
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


def _unlisted(root: Path, splits: Splits) -> list[str]:
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
