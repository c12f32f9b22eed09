"""Batches of a training run: which images, and how each is cut, follow from seed and iteration.

No generator's state lives between iterations, so a resumed run and an uninterrupted one draw the
same batches, and so do paired trials that differ in their losses alone.
"""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor

from trainable.config.schema import TrialConfig
from trainable.data.augmentation import draw_crops, resample
from trainable.data.datasets import Split


def stream_seed(seed: int, stream: str, index: int = 0) -> int:
    """Return the seed of one purpose of a training run, independent of every other purpose's."""
    digest = hashlib.sha256(f"{seed}/{stream}/{index}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


class Batches:
    """The endless sequence of training batches: epoch after epoch, each in an order of its own.

    Args:
        split: The training images, on the CPU or on the training device.
        config: Batch size, crop and augmentation, and the seed.
        device: The device that the batches are wanted on.
    """

    def __init__(self, split: Split, config: TrialConfig, device: torch.device) -> None:
        self.split = split
        self.config = config
        self.device = device
        self._orders: dict[int, Tensor] = {}

    def draw(self, iteration: int) -> tuple[Tensor, Tensor]:
        """Return the batch of `iteration`: images float32 [N, 3, S, S], labels int64 [N, S, S]."""
        indices = self._indices(iteration)
        generator = torch.Generator().manual_seed(stream_seed(self.config.seed, "crops", iteration))
        crops = draw_crops(self.config, self.split.sizes[indices], generator)
        batch = self.split.batch(indices)
        images, labels = (part.to(self.device, non_blocking=True) for part in batch)
        return resample(
            images,
            labels,
            crops.to(self.device),
            self.config.crop_px,
            caffe=self.config.is_caffe,
        )

    def _indices(self, iteration: int) -> Tensor:
        """Return the batch's images, int64 [N]; after an epoch's last comes the next's first."""
        size, count = self.config.batch_size, len(self.split)
        places = range(iteration * size, (iteration + 1) * size)
        return torch.stack([self._order(place // count)[place % count] for place in places])

    def _order(self, epoch: int) -> Tensor:
        if epoch not in self._orders:
            seed = stream_seed(self.config.seed, "order", epoch)
            generator = torch.Generator().manual_seed(seed)
            self._orders = {
                known: order for known, order in self._orders.items() if known == epoch - 1
            }
            self._orders[epoch] = torch.randperm(len(self.split), generator=generator)
        return self._orders[epoch]
