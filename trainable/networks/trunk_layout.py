"""In which layout the trunk of a file of weights was trained: Caffe's or torchvision's.

No name and no shape of a tensor differs between the two, but their inputs do: Caffe's trunks see
pixels of 0 to 255 less their mean, torchvision's the same in units of their deviation.
"""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor

LEVELS = 57.4  # deviation of a channel of ImageNet, 0.225 of 255 levels: torchvision divides by it
THEIRS = ("backbone.", "classifier.", "aux_classifier.")  # names in torchvision's DeepLabv3
BASE_CODES = ("layer5.", "Scale.")  # and in what was made of Caffe's DeepLabv2


def trained_layout(names: Iterable[str], convolution: Tensor, variance: Tensor) -> str | None:
    """Return `caffe` or `torchvision`, None where nothing tells which.

    Args:
        names: All names in the file.
        convolution: Weights of the first convolution, [channels, 3, k, k].
        variance: Running variance of the batch norm behind it, [channels].
    """
    bare = [name.removeprefix("module.") for name in names]
    if any(name.startswith(BASE_CODES) for name in bare):
        return "caffe"
    if any(name.startswith(THEIRS) for name in bare):
        return "torchvision"
    if variance.min() < variance.max():  # estimated, not as it was initialised
        return "caffe" if _input_deviation(convolution, variance) > LEVELS**0.5 else "torchvision"
    is_classifier = any(name.startswith("fc.") for name in bare)
    return "torchvision" if is_classifier else None


def _input_deviation(convolution: Tensor, variance: Tensor) -> float:
    """Return the deviation of the pixels that the batch norm saw: 1, or LEVELS, in magnitude.

    Of white pixels a filter's output has their variance times its squared norm; those of images
    are correlated, which weakens edges and strengthens blobs. The median lies between.
    """
    norms = convolution.double().square().sum(dim=(1, 2, 3))
    return float((variance.double() / norms.clamp(min=1e-30)).median().sqrt())
