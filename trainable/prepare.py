"""Make data ready: `init` describes your own, `check` looks a folder over, `voc-aug` joins two.

    python -m trainable.prepare init DIR
    python -m trainable.prepare check DIR
    python -m trainable.prepare voc-aug --voc DIR --sbd DIR --out DIR

`init` looks at a folder of images and masks and writes a draft of its `dataset.yaml`. `voc-aug`
builds train_aug from Pascal VOC and SBD.

`check` looks at what was decoded before, too, every byte of it.

Exit codes: 0 done, 1 `check` has findings, 2 bad input, 130 interrupted.
"""

from __future__ import annotations

import os
import shlex
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from trainable.cli.options import INTERRUPTED, OK, SOME_FAILED, command, ended_by_signals
from trainable.cli.parsed_options import read_options
from trainable.cli.parser import Parser, refuse
from trainable.config.schema import ConfigError, TrialConfig
from trainable.data.check import check
from trainable.data.decoded_cache import cache_folder, check_cache
from trainable.data.folders.draft import draft
from trainable.data.sources import file_tree, sbd, voc
from trainable.data.sources.images import read_content
from trainable.data.sources.labels import mask_image
from trainable.data.sources.parallel import in_order
from trainable.data.sources.source import file_sources

# Of VOC's 1,464 and 1,449, SBD's 8,498 and 2,857; the paper's 10,528 (section 4) is a misprint.
TRAIN_AUG_IMAGES = 10_582


@dataclass(frozen=True, kw_only=True)
class CheckOptions:
    """The options of `check`.

    Attributes:
        command: The name of the subcommand.
        folder: Root of a data set.
        cache_dir: The cache of decoded data, empty for the user's own.
    """

    command: str
    folder: str
    cache_dir: str


@dataclass(frozen=True, kw_only=True)
class InitOptions:
    """The options of `init`.

    Attributes:
        command: The name of the subcommand.
        folder: Of images and masks.
    """

    command: str
    folder: str


@dataclass(frozen=True, kw_only=True)
class VocAugOptions:
    """The options of `voc-aug`.

    Attributes:
        command: Its name.
        voc: Folder of Pascal VOC 2012.
        sbd: Folder of SBD.
        out: The new data root, or `voc`.
    """

    command: str
    voc: str
    sbd: str
    out: str


@ended_by_signals()
@command
def main() -> int:
    """Run the command that is named and return its exit code."""
    parsed = parser().parse_args()
    try:
        if parsed.command == "check":
            return _check(read_options(CheckOptions, parsed))
        if parsed.command == "init":
            return _init(read_options(InitOptions, parsed))
        return _voc_aug(read_options(VocAugOptions, parsed))
    except ConfigError as error:
        refuse(str(error))
    except KeyboardInterrupt:
        print("interrupted; nothing is left half-written", file=sys.stderr)
        return INTERRUPTED


def parser() -> Parser:
    """Return the options of this command."""
    options = Parser(description=__doc__, module="trainable.prepare", example="check data/")
    commands = options.add_subparsers(dest="command", required=True)
    aug = commands.add_parser("voc-aug", help="build train_aug from Pascal VOC 2012 and SBD")
    aug.add_argument("--voc", required=True, metavar="DIR", help=f"holds {voc.FOLDER}")
    aug.add_argument("--sbd", required=True, metavar="DIR", help="holds img, cls and two lists")
    aug.add_argument("--out", required=True, metavar="DIR", help="new data root, or --voc's")
    first = commands.add_parser("init", help="draft the dataset.yaml of your own images and masks")
    first.add_argument("folder", metavar="DIR", help="holds a folder of images and one of masks")
    titles = ", ".join(source.title for source in file_sources().values())
    look = commands.add_parser("check", help="say what a folder holds and all that is wrong")
    look.add_argument("folder", metavar="DIR", help=f"root of one of {titles}")
    look.add_argument(
        "--cache-dir", default="", metavar="DIR", help="of decoded data (default: the user's)"
    )
    return options


def _init(options: InitOptions) -> int:
    folder = Path(options.folder).expanduser()
    if not folder.is_dir():
        raise ConfigError(f"{folder}: must be a folder of images and masks, but is none; name one")
    path, about = draft(folder)
    print("\n".join([*about, f"{path}: a draft; complete it, then:"]))
    print(f"python -m trainable.prepare check {shlex.quote(str(folder))}")
    return OK


def _check(options: CheckOptions) -> int:
    about, findings = check(Path(options.folder).expanduser())
    cache = cache_folder(TrialConfig(cache_dir=options.cache_dir))
    entries, damaged = check_cache(cache)
    if entries:
        about.append(f"{cache}: {entries} decoded data sets, {len(damaged)} of them with findings")
    findings += damaged
    total = f"{len(findings) or 'no'} finding{'s' * (len(findings) != 1)}"
    print("\n".join([*about, *findings, total]))
    return SOME_FAILED if findings else OK


def _voc_aug(options: VocAugOptions) -> int:
    own_root = file_tree.folder("--voc", options.voc, voc.FOLDER)
    sbd_root = file_tree.folder("--sbd", options.sbd, "img", "cls", inside=sbd.UNPACKED)
    own = voc.index(TrialConfig(data_root=str(own_root), voc_train="train"))
    other = sbd.index(TrialConfig(dataset="sbd", data_root=str(sbd_root)))
    for tree in (own, other):
        file_tree.check_splits(tree)
    out = Path(options.out).expanduser()
    _check_out(out, own_root)
    samples = train_aug(own, other)
    try:
        _build(out, samples, own, other)
    except OSError as error:
        raise ConfigError(
            f"{out}: --out must be writable and have room, but {error.strerror}; name another"
        ) from error
    theirs = sum(sample.masks[0].suffix == ".mat" for sample in samples.values())
    print(
        f"VOC train {len(own.train):,}, VOC val {len(own.val):,}, SBD train {len(other.train):,}, "
        f"SBD val {len(other.val):,}"
    )
    print(f"train_aug {len(samples):,}: {len(samples) - theirs:,} masks of VOC, {theirs:,} of SBD")
    if len(samples) != TRAIN_AUG_IMAGES:
        print(f"the whole data sets give {TRAIN_AUG_IMAGES:,}: part of them is missing here")
    print(f"use it with --data-root {out}")
    return OK


def train_aug(own: file_tree.FileTree, other: file_tree.FileTree) -> dict[str, file_tree.Sample]:
    """Return (VOC train + SBD train + SBD val) - VOC val by name, in the order of the names.

    Where VOC has a mask it wins, and so does its image.
    """
    held_out = {sample.image.stem for sample in own.val}
    ours = {sample.image.stem: sample for sample in own.train}
    theirs = {sample.image.stem: sample for sample in (*other.train, *other.val)}
    samples = {}
    for name in sorted((ours.keys() | theirs.keys()) - held_out):
        image = own.root / voc.IMAGES / f"{name}.jpg"
        mask = own.root / voc.MASKS / f"{name}.png"
        if name not in ours:
            image = image if image.exists() else theirs[name].image
            mask = mask if mask.exists() else theirs[name].masks[0]
        samples[name] = file_tree.Sample(image=image, masks=(mask,))
    return samples


def _check_out(out: Path, own_root: Path) -> None:
    if (out / voc.MASKS_AUG).exists():
        raise ConfigError(
            f"{out / voc.MASKS_AUG}: --out must not hold the folder yet; take it away, or name "
            "another --out"
        )
    taken = out / voc.FOLDER
    if (out / "VOCdevkit").exists() and not (
        taken.exists() and taken.samefile(own_root / voc.FOLDER)
    ):
        raise ConfigError(
            f"{out / 'VOCdevkit'}: --out must be --voc's folder or hold no VOCdevkit; name another"
        )


def _build(
    out: Path,
    samples: dict[str, file_tree.Sample],
    own: file_tree.FileTree,
    other: file_tree.FileTree,
) -> None:
    """Write what `out` lacks of the data root, aside, and move it there when it is whole."""
    sources: dict[str, Path | file_tree.Sample] = {
        f"{voc.LISTS}/{path.name}": path for path in own.lists
    }
    for sample in (*own.train, *own.val):
        sources[f"{voc.MASKS}/{sample.masks[0].name}"] = sample.masks[0]
    for sample in (*samples.values(), *own.val):
        sources[f"{voc.IMAGES}/{sample.image.name}"] = sample.image
    for name, sample in samples.items():
        mask = sample.masks[0]
        sources[f"{voc.MASKS_AUG}/{name}.png"] = sample if mask.suffix == ".mat" else mask
    targets = [target for target in sources if not (out / target).exists()]

    with _aside(out) as stage:

        def write(target: str) -> None:
            source = sources[target]
            if isinstance(source, Path):
                _link(source, stage / target)
            else:
                _write_mask(file_tree.decode(other, source), stage / target)

        for folder in {(stage / target).parent for target in targets}:
            folder.mkdir(parents=True, exist_ok=True)
        with in_order(write, targets, "writing") as written:
            for _ in written:
                pass
        lists = stage / voc.LISTS
        lists.mkdir(parents=True, exist_ok=True)
        (lists / "train_aug.txt").write_text("".join(f"{name}\n" for name in samples))
        _move(stage, out)


@contextmanager
def _aside(out: Path) -> Iterator[Path]:
    """Give a folder in `out` to write in; after a fault neither it nor a new `out` is left."""
    new = [folder for folder in (out, *out.parents) if not folder.exists()]
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".voc-aug-", dir=out) as stage:
            yield Path(stage)
    finally:
        with suppress(OSError):  # they are not empty when all went well
            for folder in new:
                folder.rmdir()


def _link(source: Path, target: Path) -> None:
    """Hard-link a file, or copy it where that is not possible."""
    try:
        os.link(source.resolve(), target)
    except OSError:
        target.write_bytes(read_content(source))


def _write_mask(decoded: file_tree.Decoded | None, target: Path) -> None:
    assert decoded is not None  # nosec B101  # cannot happen
    mask_image(decoded.labels).save(target)


def _move(stage: Path, out: Path) -> None:
    """Move what was written, SegmentationClassAug last: what lacks it can be built again."""
    if not (out / "VOCdevkit").exists():
        (stage / "VOCdevkit").rename(out / "VOCdevkit")
        return
    for path in [path for path in stage.rglob("*") if path.is_file()]:
        target = path.relative_to(stage)
        if target.parent != Path(voc.MASKS_AUG):
            path.replace(out / target)
    (stage / voc.MASKS_AUG).rename(out / voc.MASKS_AUG)


if __name__ == "__main__":
    sys.exit(main())
