"""One thread, as a slot of a sweep has it: the golden numbers are those of one thread."""

from __future__ import annotations

import torch

torch.set_num_threads(1)
