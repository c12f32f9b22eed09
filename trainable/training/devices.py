"""Which device trains, and where its images lie."""

from __future__ import annotations

import torch

from trainable.config.schema import ConfigError


def pick_device(name: str) -> torch.device:
    """Return the device that a config's `device` means here.

    Raises:
        ConfigError: `cuda` is asked for and there is none.
    """
    has_cuda = torch.cuda.is_available()
    if name == "cuda" and not has_cuda:
        raise ConfigError("device=cuda needs a CUDA device, but torch finds none; use device=auto")
    return torch.device("cuda" if has_cuda and name != "cpu" else "cpu")


def lies_on(device: torch.device, data_device: str, nbytes: int) -> bool:
    """Return whether a data set of this size is to lie on the training device.

    With `auto` it does on a GPU that has twice as much memory free: the rest is for training.
    """
    if data_device != "auto" or device.type != "cuda":
        return data_device == "device"
    free, _ = torch.cuda.mem_get_info(device)
    return nbytes <= free / 2
