"""Do this machine's convolutions compute what they should, and write only where they may?

    python tests/helpers/kernel_sweep.py                      # the layers of our networks
    python tests/helpers/kernel_sweep.py --as-torch-has-them  # torch's, also where we avoid them
    python tests/helpers/kernel_sweep.py --most 16 --threads 1 2 4 --isa AVX2 DEFAULT --valgrind

Each shape goes forward and backward under glibc's checks of the heap, and is held beside the same
in float64. A group of shapes whose process dies is halved until each that does it stands alone.
valgrind sees every wrong write, also one that does no harm, and is far slower.
Exit code: 0 if every shape is right, else 1.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
import os
import random
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from paths import ROOT
from torch import nn

from trainable.networks.convolutions import without_strided_1x1

LAYERS: dict[str, type[nn.Conv2d] | type[nn.ConvTranspose2d]] = {
    "conv": nn.Conv2d,
    "transposed": nn.ConvTranspose2d,
}
# Kernel, stride, dilation and padding; ours are among them, at whatever width.
GEOMETRIES = (
    *((1, stride, 1, 0) for stride in (1, 2, 3)),
    *((3, stride, dilation, dilation) for stride in (1, 2) for dilation in (1, 2, 4)),
    (4, 2, 1, 1),
    (7, 2, 1, 3),
)
REPEATS = 10  # a wrong write does harm after some
TOLERANCE = 1e-5  # of the largest number: float32 against float64


@dataclasses.dataclass(frozen=True, kw_only=True)
class Shape:
    """A layer, its input, and how the machine is to compute it."""

    layer: str
    channels_in: int
    channels_out: int
    kernel: int
    stride: int
    dilation: int
    padding: int
    channels_last: bool
    threads: int
    isa: str
    height: int = 12
    width: int = 12

    def __str__(self) -> str:
        return " ".join(f"{name}={value}" for name, value in dataclasses.asdict(self).items())


def fault_of(shape: Shape, *, as_torch_has_it: bool) -> str:
    """Return what is wrong with a layer's outputs and gradients, empty if they are right."""
    torch.manual_seed(0)
    torch.set_num_threads(shape.threads)
    exact = LAYERS[shape.layer](
        shape.channels_in,
        shape.channels_out,
        shape.kernel,
        stride=shape.stride,
        dilation=shape.dilation,
        padding=shape.padding,
        dtype=torch.float64,
    )
    images = torch.rand(2, shape.channels_in, shape.height, shape.width, dtype=torch.float64)
    wanted = passed(exact, images)
    layer = nn.Sequential(exact.float())
    if not as_torch_has_it:
        layer = without_strided_1x1(layer)
    layout = torch.channels_last if shape.channels_last else torch.contiguous_format
    layer.to(memory_format=layout)
    images = images.float().contiguous(memory_format=layout)
    for _ in range(REPEATS):
        for name, found in passed(layer, images).items():
            error = (found - wanted[name]).abs().max() / wanted[name].abs().max()
            if not error <= TOLERANCE:
                return f"{name} is wrong by {error:.1g} of its largest number"
    return ""


def passed(layer: nn.Module, images: torch.Tensor) -> dict[str, torch.Tensor]:
    """Return a layer's output and all gradients; positive slopes, so that no sum cancels out."""
    images = images.detach().requires_grad_()
    output = layer(images)
    slopes = torch.linspace(0.5, 1, output.numel(), dtype=torch.float64).view_as(output)
    wanted = (images, *layer.parameters())
    gradients = torch.autograd.grad(output, wanted, slopes.to(output.dtype))
    names = ("gradient of the images", "gradient of the weights", "gradient of the bias")
    return {"output": output.detach(), **dict(zip(names, gradients, strict=True))}


def work(as_torch_has_it: bool) -> None:
    """Try the shapes on standard input; say each before it is tried, and what is wrong with it."""
    for index, values in enumerate(json.load(sys.stdin)):
        print(f"shape {index}", file=sys.stderr, flush=True)
        print(fault_of(Shape(**values), as_torch_has_it=as_torch_has_it), flush=True)


def faults(
    shapes: Sequence[Shape], *, as_torch_has_it: bool = False, valgrind: bool = False
) -> Iterator[tuple[Shape, str]]:
    """Yield the shapes of one instruction set that are wrong, and what is wrong with each."""
    command = [sys.executable, str(Path(__file__)), "--work"]
    if as_torch_has_it:
        command.append("--as-torch-has-them")
    if valgrind:
        command = ["valgrind", "--quiet", "--smc-check=all-non-file", *command]
    done = subprocess.run(
        command,
        env=environment(shapes[0].isa, valgrind=valgrind),
        input=json.dumps([dataclasses.asdict(shape) for shape in shapes]),
        capture_output=True,
        text=True,
        check=False,
    )
    fault = _fault(done)
    if fault and len(shapes) == 1:
        yield shapes[0], fault
    elif fault:  # whatever a shape wrote where it may not, another may have suffered
        middle = len(shapes) // 2
        for half in (shapes[:middle], shapes[middle:]):
            yield from faults(half, as_torch_has_it=as_torch_has_it, valgrind=valgrind)


def _fault(done: subprocess.CompletedProcess[str]) -> str:
    """Return what was wrong with a group of shapes, empty if nothing was."""
    _, _, after = done.stderr.partition("shape 0\n")  # what the interpreter itself does is no fault
    if written := re.search(r"Invalid (read|write) of size \d+", after):
        return written[0]
    if done.returncode:
        return f"exit code {done.returncode}, {(done.stderr.splitlines() or [''])[-1]}"
    return " ".join(done.stdout.split("\n")).strip()


def environment(isa: str, *, valgrind: bool) -> dict[str, str]:
    """Return the variables that choose oneDNN's kernels and have the heap checked."""
    checks = {"LD_PRELOAD": "libc_malloc_debug.so.0", "MALLOC_CHECK_": "3"}
    if valgrind:
        checks = {"PYTHONMALLOC": "malloc"}
    checks["MALLOC_PERTURB_"] = "165"
    return {**os.environ, **checks, "ONEDNN_MAX_CPU_ISA": isa, "PYTHONPATH": str(ROOT)}


def grid(options: argparse.Namespace) -> list[Shape]:
    """Return the shapes of a sweep, in an order that spreads like ones over the groups."""
    widths = range(1, options.most + 1)
    shapes = [
        Shape(
            layer=layer,
            channels_in=channels_in,
            channels_out=channels_out,
            kernel=kernel,
            stride=stride,
            dilation=dilation,
            padding=padding,
            channels_last=channels_last,
            threads=threads,
            isa=isa,
            height=height,
            width=width,
        )
        for layer, channels_in, channels_out, geometry, channels_last, threads, isa, size in (
            itertools.product(
                LAYERS, widths, widths, GEOMETRIES, (True, False), options.threads, options.isa,
                ((12, 12), (13, 9)),
            )
        )
        for kernel, stride, dilation, padding in [geometry]
        for height, width in [size]
    ]  # fmt: skip
    random.Random(0).shuffle(shapes)
    return shapes[: options.shapes]


def main() -> int:
    """Sweep, and print what is wrong."""
    options = _parser().parse_args()
    if options.work:
        work(options.as_torch_has_them)
        return 0
    shapes, wrong = grid(options), 0
    for isa in options.isa:
        of_isa = [shape for shape in shapes if shape.isa == isa]
        for start in range(0, len(of_isa), options.group):
            group = of_isa[start : start + options.group]
            for shape, fault in faults(
                group, as_torch_has_it=options.as_torch_has_them, valgrind=options.valgrind
            ):
                wrong += 1
                print(f"{shape}: {fault}", flush=True)
    print(f"{wrong} of {len(shapes)} shapes are wrong")
    return int(wrong > 0)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--most", type=int, default=8, help="channels (default: 8)")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="default: 1 2")
    parser.add_argument("--isa", nargs="+", default=["AVX2", "DEFAULT"], help="oneDNN's most")
    parser.add_argument("--shapes", type=int, help="as many, drawn at random (default: all)")
    parser.add_argument("--group", type=int, default=200, help="shapes of one process at first")
    parser.add_argument("--as-torch-has-them", action="store_true")
    parser.add_argument("--valgrind", action="store_true")
    parser.add_argument("--work", action="store_true", help=argparse.SUPPRESS)
    return parser


if __name__ == "__main__":
    sys.exit(main())
