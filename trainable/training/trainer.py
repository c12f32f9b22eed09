"""Algorithm 1: the training of generator and discriminator, with any number of averages.

The trainer takes built objects and returns numbers; it neither logs nor reads or writes files.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from trainable.config.schema import Readout, TrialConfig
from trainable.data.augmentation import normalise
from trainable.data.batches import Batches, stream_seed
from trainable.data.datasets import DataSet
from trainable.training.adversary import Adversary
from trainable.training.averaging import Average, Averages
from trainable.training.gradients import add_up, clip
from trainable.training.losses import counted, label_maps, probability_maps
from trainable.training.metrics import SegmentationMetrics, confusion_matrices, segmentation_metrics
from trainable.training.numerics import Numerics
from trainable.training.segmentation_loss import SegmentationLoss

EVAL_BATCH = 32  # images of equal size that are validated at once
# Of fp16's gradients. It begins at 2**16 and halves with each step that is left out: below this no
# step has been made for long, and none would be.
LEAST_SCALE = 2.0**-8


class NonFiniteLossError(ArithmeticError):
    """A training loss, or fp16's gradients at any scale, became NaN or infinite.

    The message names which, and the iteration.
    """


class PendingLosses:
    """One iteration's losses, copied to the host while the device works on.

    Args:
        iteration: The iteration whose step gave the losses, counted from 1.
        losses: The losses by name, scalars on the training device.
        scales: The scales of fp16's gradients after the step, by network; empty in other
            precisions.
    """

    def __init__(
        self, iteration: int, losses: dict[str, Tensor], scales: dict[str, Tensor]
    ) -> None:
        self.iteration = iteration
        self._names, self._networks = tuple(losses), tuple(scales)
        stacked = torch.stack((*losses.values(), *scales.values()))
        self._values = stacked.to("cpu", non_blocking=True)
        self._arrival: torch.cuda.Event | None = None
        if stacked.is_cuda:
            self._arrival = torch.cuda.current_stream().record_event()

    def read(self) -> dict[str, float]:
        """Wait for the losses and return them.

        Raises:
            NonFiniteLossError: One of them is not finite, or no scale is small enough.
        """
        if self._arrival is not None:
            self._arrival.synchronize()
        values = self._values.tolist()
        losses = dict(zip(self._names, values, strict=False))
        for name, value in losses.items():
            if not math.isfinite(value):
                raise NonFiniteLossError(
                    f"{name} must stay finite, but is {value} at iteration {self.iteration}; "
                    "lower the learning rates or lambda_adv"
                )
        for network, scale in zip(self._networks, values[len(losses) :], strict=True):
            if scale < LEAST_SCALE:
                raise NonFiniteLossError(
                    f"the {network}'s gradients must stay finite, but overflow in fp16 at any "
                    f"scale at iteration {self.iteration}; lower the learning rates or lambda_adv, "
                    "or set precision=fp32"
                )
        return losses


class Trainer:
    """One training run, to be advanced step by step.

    Args:
        config: The trial; its readout is not read.
        data: The training and validation images.
        readouts: The averages to carry.
        numerics: The settings of the arithmetic, and the device that does it.
        generator: The segmentation network, on that device.
        optimizer: The optimizer of the generator; `initial_lr` of each of its groups is the
            learning rate at iteration 0.
        adversary: The adversary that judges the generator's maps, or None for the baseline.
    """

    def __init__(
        self,
        config: TrialConfig,
        data: DataSet,
        readouts: Sequence[Readout],
        numerics: Numerics,
        *,
        generator: nn.Module,
        optimizer: torch.optim.Optimizer,
        adversary: Adversary | None,
    ) -> None:
        self.config = config
        self.data = data
        self.generator = generator
        self.optimizer = optimizer
        self.adversary = adversary
        self.averages = Averages(
            readouts, config.iterations, generator, on_host=config.averages_on == "host"
        )
        self.numerics = numerics
        self.device = numerics.device
        self.batches = Batches(data.train, config, self.device)
        self.iteration = 0
        self.train_s = 0.0
        self.history: list[dict[str, float]] = []
        self.scaler = numerics.scaler()
        self.loss = SegmentationLoss(config, data.train.labels, len(data.classes), self.device)
        self._predict = numerics.forward_of(generator)
        self._pending: list[PendingLosses] = []
        self._sums: dict[str, float] = {}

    @property
    def finished(self) -> bool:
        """Whether all iterations are done."""
        return self.iteration >= self.config.iterations

    @property
    def last_miou(self) -> float | None:
        """The newest validation mIoU of the raw weights, None before the first."""
        rows = (row["val/miou"] for row in reversed(self.history) if "val/miou" in row)
        return next(rows, None)

    def step(self) -> dict[str, Tensor]:
        """Do one iteration of Algorithm 1 and return its losses, still on the device."""
        i = self.iteration
        self._decay_learning_rates(i)
        torch.manual_seed(stream_seed(self.config.seed, "dropout", i))
        self.generator.train()
        images, labels = self.batches.draw(i)
        mask = counted(labels)

        # Train generator G: Eq. 2.
        parts, losses, fakes = self.config.accumulate, dict[str, Tensor](), list[Tensor]()
        self.optimizer.zero_grad(set_to_none=True)
        whole = (labels, mask) if parts > 1 else (None, None)
        for some in zip(images.chunk(parts), labels.chunk(parts), mask.chunk(parts), strict=True):
            part, fake = self._part(*some, *whole)
            add_up(losses, part)
            fakes += fake
        if self.config.clip_norm:
            clip(self.generator, self.optimizer, self.scaler, self.config.clip_norm)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.averages.update(i, self.generator)

        # Train discriminator D: Eq. 5, with the prediction of the generator's step.
        if self.adversary is not None:
            real = label_maps(labels, len(self.data.classes), mask)
            losses |= self.adversary.step(torch.cat(fakes), real, mask, parts)
        self.iteration = i + 1
        return losses

    def _part(
        self,
        images: Tensor,
        labels: Tensor,
        mask: Tensor,
        whole: Tensor | None,
        whole_mask: Tensor | None,
    ) -> tuple[dict[str, Tensor], list[Tensor]]:
        """Add the generator's gradients of a part of a batch.

        Returns:
            The part's share of the batch's losses, and its maps, where an adversary judges them.
        """
        logits, fakes = self._predict(images), list[Tensor]()
        loss_gen, losses = self.loss(logits, labels, whole)
        if self.adversary is not None:
            fake = probability_maps(logits, mask)
            losses["train/loss_adv"] = self.adversary.loss_adv(fake, mask, whole_mask)
            loss_gen = loss_gen + self.adversary.lambda_adv * losses["train/loss_adv"]
            fakes = [fake.detach()]
        torch.autograd.backward(self.scaler.scale(loss_gen))
        return {name: loss.detach() for name, loss in losses.items()}, fakes

    def advance(self) -> None:
        """Train to the next recorded iteration and append what was measured to the history.

        Raises:
            NonFiniteLossError: A loss is not finite; on a GPU that is seen while the next
                iteration already runs, so that no iteration waits for the one before.
        """
        config, started = self.config, time.perf_counter()
        in_flight = 1 if self.device.type == "cuda" else 0
        while True:
            losses = self.step()
            self._pending.append(PendingLosses(self.iteration, losses, self._scales()))
            logs = self.iteration % config.log_every == 0 or self.finished
            evaluates = self.iteration % config.eval_every == 0 or self.finished
            self._take_losses(leave=0 if logs or evaluates else in_flight)
            if logs or evaluates:
                break
        row: dict[str, float] = {"iteration": self.iteration}
        if logs:
            row |= self._mean_losses()
        self.train_s += time.perf_counter() - started
        if evaluates:
            row["val/miou"] = self.evaluate(self.generator)["miou"]
        # A clock that is set back stands still until it is as late again.
        before = self.history[-1]["time"] if self.history else 0.0
        self.history.append(row | {"time": max(time.time(), before)})

    def _take_losses(self, *, leave: int) -> None:
        while len(self._pending) > leave:
            for name, loss in self._pending.pop(0).read().items():
                self._sums[name] = self._sums.get(name, 0.0) + loss

    def _scales(self) -> dict[str, Tensor]:
        """Return the scales of fp16's gradients by network, still on the device."""
        scalers = {"generator": self.scaler}
        if self.adversary is not None:
            scalers["discriminator"] = self.adversary.scaler
        return {
            network: scaler.scale(torch.ones((), device=self.device))
            for network, scaler in scalers.items()
            if scaler.is_enabled()
        }

    def _mean_losses(self) -> dict[str, float]:
        count = (self.iteration - 1) % self.config.log_every + 1
        means = {name: total / count for name, total in self._sums.items()}
        self._sums = {}
        return means

    def _decay_learning_rates(self, iteration: int) -> None:
        """Set lr = lr0 * (1 - k / max_iter) ** p in both optimizers (section 4.2).

        In the first `warmup` iterations a share of that, (k + 1) / warmup.
        """
        decay = (1 - iteration / self.config.iterations) ** self.config.poly_power
        if iteration < self.config.warmup:
            decay *= (iteration + 1) / self.config.warmup
        optimizers = [self.optimizer]
        if self.adversary is not None:
            optimizers.append(self.adversary.optimizer)
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group["initial_lr"] * decay

    @torch.no_grad()
    def evaluate(self, network: nn.Module) -> SegmentationMetrics:
        """Validate a network at each image's own size; see `segmentation_metrics`."""
        network.eval()
        classes = len(self.data.classes)
        matrices = []
        with self.numerics.without_search():
            for images, labels in self.data.val.equal_sized(EVAL_BATCH):
                pixels = normalise(images.to(self.device), caffe=self.config.is_caffe)
                predicted = network(pixels).argmax(dim=1)
                true = labels.to(self.device).long()
                matrices.append(confusion_matrices(predicted, true, classes))
        return segmentation_metrics(torch.cat(matrices).cpu())

    def averaged(self, average: Average) -> nn.Module:
        """Return the network of an average, its batch norm treated as its readout says."""
        count = average.readout.swa_batch_norm_batches
        batches = (self.batches.draw(i)[0] for i in range(count))
        return self.averages.network(average, self.generator, batches)

    def state_dict(self) -> dict[str, Any]:
        """Return everything that `load_state_dict` needs to resume, tensors and primitives only."""
        return {
            "iteration": self.iteration,
            "train_s": self.train_s,
            "history": self.history,
            "sums": self._sums,
            "generator": self.generator.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "adversary": None if self.adversary is None else self.adversary.state_dict(),
            "averages": self.averages.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Resume from a `state_dict` of a trainer with the same config and readouts."""
        self.iteration = state["iteration"]
        self.train_s = state["train_s"]
        self.history = list(state["history"])
        self._sums = dict(state["sums"])
        self.generator.load_state_dict(state["generator"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
        if self.adversary is not None:
            self.adversary.load_state_dict(state["adversary"])
        self.averages.load_state_dict(state["averages"])
