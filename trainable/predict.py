"""Masks from a trained generator: images, or folders of them, to palette PNGs and overlays.

    python -m trainable.predict --run-folder runs/0123456789abcdef --out masks photos/

Each image gives `<stem>.png`, a mask of its width and height whose indices are the labels, in
Pascal VOC's colours, and `<stem>_overlay.png`, the image with the colours laid over all but the
background. An image is read as in training: as its pixels lie in the file, without its EXIF
rotation. One that is smaller than the generator's least crop gets the mean colour on its right and
below it.
"""

from __future__ import annotations

import argparse
import io
import math
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn

from trainable.cli.options import (
    INTERRUPTED,
    OK,
    SOME_FAILED,
    add_network,
    check_writable,
    command,
    ended_by_signals,
)
from trainable.cli.parsed_options import read_options
from trainable.cli.parser import Parser, refuse
from trainable.config.schema import ConfigError, Readout, TrialConfig
from trainable.data.sources.images import read_image
from trainable.data.sources.labels import lay_over, mask_image
from trainable.inference.multi_scale import predict_multi_scale
from trainable.inference.saved_model import SavedModel, load_model
from trainable.storage.faults import machine_fault
from trainable.storage.files import write_atomically
from trainable.training.devices import pick_device
from trainable.training.numerics import Numerics

Target = tuple[Path, list[Path]]  # an image, and the files to write for it

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp")


@dataclass(frozen=True, kw_only=True)
class PredictOptions:
    """The options of this command.

    Attributes:
        model: Run folder of a training run, or path of a `model.pt` or a checkpoint.
        out: Folder of the masks.
        weights: `averaged` or `raw`, None for averaged where there are averages.
        readout: Key of an average or the beginning of one, None for the only one.
        scales: Sizes of the image to average over, relative to its own.
        flip: Whether the mirrored images are averaged, too.
        overlay: Whether overlays are written.
        network: Networks of one's own that the model may name.
        device: `auto`, `cpu` or `cuda`.
        inputs: Images and folders of them.
    """

    model: str
    out: str
    weights: str | None
    readout: str | None
    scales: tuple[float, ...]
    flip: bool
    overlay: bool
    network: tuple[str, ...]
    device: str
    inputs: tuple[str, ...]


@ended_by_signals()
@command
def main() -> int:
    """Write the masks that the command line asks for, and return the exit code."""
    options = read_options(PredictOptions, parser().parse_args())
    out = Path(options.out)
    try:
        targets = _targets(_images(options.inputs), out, overlay=options.overlay)
        check_writable("--out", out)
        device = pick_device(options.device)
        model = load_model(Path(options.model), networks=options.network)
        readout_key = choose_weights(model, options.weights, options.readout)
    except ConfigError as error:
        refuse(str(error))
    network = model.network(readout_key)
    Numerics.of(model.config, device).place(network)
    out.mkdir(parents=True, exist_ok=True)
    done = failed = 0
    try:
        for image, paths in _shown(targets):
            try:
                _predict(network, model.config, image, paths, options.scales, flip=options.flip)
                done += 1
            except (ConfigError, OSError, torch.OutOfMemoryError) as error:
                if machine_fault(error) is not None:  # the other masks would fail as this one
                    raise
                failed += 1
                named = str(error) if isinstance(error, ConfigError) else f"{image}: {error}"
                print(f"error: {' '.join(named.split())}", file=sys.stderr)
    except KeyboardInterrupt:
        print(f"interrupted; {done} of {len(targets)} masks are in {out}", file=sys.stderr)
        return INTERRUPTED
    words = f"; {failed} of {len(targets)} images failed" if failed else ""
    print(f"{done} masks in {out} from {_describe_weights(model, readout_key)}{words}")
    return SOME_FAILED if failed else OK


def choose_weights(model: SavedModel, weights: str | None, readout: str | None) -> str | None:
    """Return the key of the readout to predict with, None for the raw weights.

    Args:
        model: The saved model.
        weights: `averaged`, `raw`, or None: averaged where the model has averages.
        readout: Key of an average or the beginning of one, or None: the only one.

    Raises:
        ConfigError: The model lacks what is asked for, or it is not clear which average is.
    """
    if weights == "raw" and readout is not None:
        raise ConfigError(
            f"--readout names averaged weights, but got --readout {readout} with --weights raw; "
            "leave one of them out"
        )
    asked = weights == "averaged" or readout is not None
    if weights == "raw" or (not model.readouts and not asked):
        return None
    if not model.readouts:
        raise ConfigError(
            f"{model.path} is a checkpoint, whose averages have no batch norm yet; "
            "use --weights raw, or the model.pt of a finished run"
        )
    matches = [key for key in model.readouts if key.startswith(readout or "")]
    if len(matches) != 1:
        known = "; ".join(
            f"{key} is {_describe_readout(one)}" for key, one in model.readouts.items()
        )
        got = "is not given" if readout is None else f"is {readout!r}, which fits {len(matches)}"
        raise ConfigError(f"--readout KEY must fit one average of {model.path}, but {got}: {known}")
    return matches[0]


def _predict(
    network: nn.Module,
    config: TrialConfig,
    path: Path,
    targets: Sequence[Path],
    scales: Sequence[float],
    *,
    flip: bool,
) -> None:
    """Write the mask of one image and, where there is a second target, the overlay."""
    image = read_image(path)
    device = next(network.parameters()).device
    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1).to(device)
    maps = predict_multi_scale(network, pixels, config=config, scales=scales, flip=flip)
    mask = mask_image(maps.argmax(dim=0).to("cpu", torch.uint8).numpy())
    _save(mask, targets[0])
    for target in targets[1:]:
        _save(lay_over(image, mask), target)


def _save(image: Image.Image, path: Path) -> None:
    """Write a PNG, whole or not at all."""
    content = io.BytesIO()
    image.save(content, "PNG")
    write_atomically(path, content.getvalue())


def _images(inputs: Iterable[str]) -> list[Path]:
    """Return the images that the inputs name, those of a folder in the order of their names."""
    images = []
    for path in map(Path, inputs):
        if not path.exists():
            raise ConfigError(f"{path}: the image or folder must exist; name another")
        if not path.is_dir():
            images.append(path)
            continue
        found = [one for one in sorted(path.iterdir()) if _is_image(one)]
        if not found:
            raise ConfigError(
                f"{path}: the folder must hold an image ({', '.join(SUFFIXES)}), but holds none; "
                "name another, or the images themselves"
            )
        images += found
    return images


def _is_image(path: Path) -> bool:
    # A hidden file may carry an image's name without being one: macOS writes `._photo.jpg`.
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()


def _targets(images: Sequence[Path], out: Path, *, overlay: bool) -> list[Target]:
    """Return each image with the files to write for it, which none of the others may touch."""
    endings = (".png", "_overlay.png") if overlay else (".png",)
    targets = [(image, [out / f"{image.stem}{end}" for end in endings]) for image in images]
    source: dict[Path, Path] = {}
    inputs = {image.resolve() for image in images}
    for image, paths in targets:
        for path in paths:
            if path in source:
                raise ConfigError(
                    f"each image must have a file of its own, but {source[path]} and {image} "
                    f"would both be {path}; rename one, or give it another --out"
                )
            if path.resolve() in inputs:
                raise ConfigError(
                    f"--out must not hold the images, but {path} would be overwritten; "
                    "give another folder"
                )
            source[path] = image
    return targets


def _shown(targets: Sequence[Target]) -> Iterable[Target]:
    """Return the targets to loop over; a terminal shows how many of them are done."""
    if not sys.stderr.isatty():
        return targets
    from rich.console import Console
    from rich.progress import track

    return track(targets, "predicting", console=Console(stderr=True), transient=True)


def _describe_weights(model: SavedModel, readout_key: str | None) -> str:
    which = "raw weights"
    if readout_key is not None:
        which = f"averaged weights ({_describe_readout(model.readouts[readout_key])})"
    return f"the {which} of {model.path} after {model.iteration} iterations"


def _describe_readout(readout: Readout) -> str:
    return " ".join(f"{name}={value}" for name, value in readout.identity().items())


def parser() -> Parser:
    """Return the options of this command."""
    options = Parser(
        description=__doc__,
        module="trainable.predict",
        example="--run-folder runs/KEY --out masks/ photos/",
    )
    model = options.add_mutually_exclusive_group(required=True)
    model.add_argument("--run-folder", dest="model", metavar="DIR", help="of a training run")
    model.add_argument(
        "--checkpoint", dest="model", metavar="FILE", help="a model.pt or checkpoint-*.pt"
    )
    options.add_argument("--out", required=True, metavar="DIR", help="folder of the masks")
    options.add_argument(
        "--weights",
        choices=("averaged", "raw"),
        help="default: averaged, but raw for a run that is not finished",
    )
    options.add_argument(
        "--readout", metavar="KEY", help="which average, where there are several; may be cut short"
    )
    options.add_argument(
        "--scales",
        type=_scales,
        default=(1.0,),
        metavar="X,...",
        help="mean of the probabilities at these sizes of the image (default: 1)",
    )
    options.add_argument("--flip", action="store_true", help="and of the mirrored image")
    options.add_argument(
        "--overlay",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="write the overlays, too (default)",
    )
    options.add_argument(
        "--device", choices=("auto", "cpu", "cuda"), default="auto", help="default: auto"
    )
    add_network(options)
    options.add_argument("inputs", nargs="+", metavar="INPUT", help="an image, or a folder of them")
    return options


def _scales(text: str) -> tuple[float, ...]:
    try:
        scales = tuple(float(part) for part in text.split(","))
    except ValueError:
        scales = (math.nan,)
    if not all(0.1 <= scale <= 10 for scale in scales):
        raise argparse.ArgumentTypeError(
            f"must be numbers from 0.1 to 10 with commas between them, but got {text!r}"
        )
    return scales


if __name__ == "__main__":
    sys.exit(main())
