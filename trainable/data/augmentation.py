"""Random scale, crop and mirror as one resampling of a whole batch on the training device.

Shapes: N images, H x W the canvas, S the crop's side in pixels.
    images uint8 [N, 3, H, W], labels uint8 [N, H, W] -> images float32 [N, 3, S, S] normalised,
    labels int64 [N, S, S]
An image may be smaller than its canvas, at whose top left it lies.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor
from torch.nn import functional

from trainable.config.schema import TrialConfig
from trainable.data.sources.labels import VOID

MEAN_RGB = (0.485, 0.456, 0.406)  # ImageNet, scale 0 to 1
STD_RGB = (0.229, 0.224, 0.225)
MEAN_BGR = (104.00698793, 116.66876762, 122.67891434)  # Caffe's weights, scale 0 to 255
SCALE_STEP = 0.1  # base code


@dataclass(frozen=True, kw_only=True)
class Crops:
    """One random view per image: scale, mirroring, and the crop's corner in scaled pixels."""

    scale: Tensor  # [N]
    corner: Tensor  # [N, 2], row and column
    mirror: Tensor  # bool [N]
    sizes: Tensor  # int64 [N, 2], height and width of the image itself

    def to(self, device: torch.device) -> Crops:
        """Return the views on a device, without waiting for what it still works on."""
        moved = {name: value.to(device, non_blocking=True) for name, value in vars(self).items()}
        return Crops(**moved)


def draw_crops(config: TrialConfig, sizes: Tensor, generator: torch.Generator) -> Crops:
    """Draw the views of a batch of images with these heights and widths, int64 [N, 2], on the CPU.

    The crop lies inside the scaled image where that is larger, else at its corner with what is
    missing left as void.
    """
    count = len(sizes)
    steps = round((config.scale_max - config.scale_min) / SCALE_STEP)
    drawn = torch.rand(count, 4, generator=generator)
    step = (drawn[:, 0] * (steps + 1)).floor().clamp(max=steps)
    scale = (config.scale_min + step * SCALE_STEP).clamp(max=config.scale_max)
    room = (sizes * scale[:, None] - config.crop_px).clamp(min=0)
    corner = (drawn[:, 1:3] * (room.floor() + 1)).floor().minimum(room)
    mirror = (drawn[:, 3] < 0.5) & config.mirror
    return Crops(scale=scale, corner=corner, mirror=mirror, sizes=sizes)


def resample(
    images: Tensor, labels: Tensor, crops: Crops, crop_px: int, *, caffe: bool
) -> tuple[Tensor, Tensor]:
    """Cut the views out of a batch: bilinear images, nearest labels, mean colour and void outside.

    Args:
        images: uint8 [N, 3, H, W].
        labels: uint8 [N, H, W], VOID where an image does not reach.
        crops: The views, on the device of the images.
        crop_px: S.
        caffe: The layout of the pixels, as `normalise` takes it.

    Returns:
        Normalised images float32 [N, 3, S, S] and labels int64 [N, S, S].
    """
    height, width = labels.shape[-2:]
    pixel = torch.arange(crop_px, device=images.device) + 0.5
    columns = torch.where(crops.mirror[:, None], crop_px - pixel, pixel)
    rows = (pixel + crops.corner[:, :1]) / crops.scale[:, None]
    columns = (columns + crops.corner[:, 1:]) / crops.scale[:, None]
    x = (2 * columns / width - 1)[:, None, :].expand(-1, crop_px, -1)
    y = (2 * rows / height - 1)[:, :, None].expand(-1, -1, crop_px)
    grid = torch.stack((x, y), dim=-1)
    # grid_sample fills with 0 outside: so is the mean colour, and VOID travels as 0.
    canvas = normalise(images, caffe=caffe).masked_fill(_beyond(crops.sizes, height, width), 0)
    views = functional.grid_sample(canvas, grid, mode="bilinear", align_corners=False)
    shifted = (VOID - labels.float()).unsqueeze(1)
    nearest = functional.grid_sample(shifted, grid, mode="nearest", align_corners=False)
    return views, VOID - nearest.squeeze(1).round().long()


def _beyond(sizes: Tensor, height: int, width: int) -> Tensor:
    """Return where a canvas shows none of its image, bool [N, 1, H, W]."""
    below = torch.arange(height, device=sizes.device) >= sizes[:, :1]
    right = torch.arange(width, device=sizes.device) >= sizes[:, 1:]
    return (below[:, :, None] | right[:, None, :]).unsqueeze(1)


def normalise(images: Tensor, *, caffe: bool) -> Tensor:
    """Return uint8 images in RGB as the float32 that the weights in use were trained on.

    Args:
        images: uint8 [..., 3, H, W].
        caffe: BGR on a scale of 0 to 255 with the mean at 0, as Caffe's weights want it; else RGB
            with ImageNet's mean at 0 and its deviation at 1, as torchvision's do.
    """
    if caffe:
        return images.flip(-3).float() - _per_channel(MEAN_BGR, images.device)
    mean, std = (_per_channel(values, images.device) for values in (MEAN_RGB, STD_RGB))
    return (images.float() / 255 - mean) / std


@cache
def _per_channel(values: tuple[float, ...], device: torch.device) -> Tensor:
    """Return three constants as [3, 1, 1]; made anew each time they would make a GPU wait."""
    return torch.tensor(values, device=device)[:, None, None]
