"""DRL: replay with the discriminative representation loss on the tracks of the CLVision challenge.

parameters = DrlParameters.create(profile="quick")
run = DrlRun(parameters, load_sessions("digits"), seed=0)
run.train()
run.valid         # (E, V): after each experience, on each validation set
run.test_accuracy()
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from relcl_lib.continual.gradients import flatten_gradients, write_gradient
from relcl_lib.continual.memory import ExperienceMemory, GradientMemory, Memory
from relcl_lib.continual.tracks import domain_stream, padded_batches
from relcl_lib.data.core50 import VIDEO_LENGTH, SessionData
from relcl_lib.data.images import as_rgb, rgb_of_side
from relcl_lib.lab import checkpoints
from relcl_lib.lab.runtime import make_generator, precision_name, resolve_device, resolve_precision
from relcl_lib.losses import cross_entropy_loss, discriminative_loss
from relcl_lib.models.taps import TappedNetwork, save_head, set_head, tapped_network
from relcl_lib.papers.drl.divergence import DivergenceError, check_growth, mean_lengths
from relcl_lib.papers.drl.evaluation import correct
from relcl_lib.papers.drl.methods import METHODS
from relcl_lib.papers.drl.parameters import DrlParameters

PROGRESS = ("experiences_done", "step", "seconds", "first_lengths", "losses")
PURPOSES = ("data order", "replay", "reference", "memory")
#: mean and deviation of ImageNet's pixels, for the convolutional networks
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
#: steps between two looks at the length of the representations, each of which waits for a GPU
CHECK_EVERY = 50


class DrlRun:
    """One run of one seed: images on the device, stream, network, memory, the loop over experiences.

    Args:
        parameters: what to run; None fields take the track's, variant's and data set's values.
        data: the data set that ``parameters.dataset`` names, loaded with ``parameters.order``.
        seed: of initialisation, data order, replay and memory.
        work_dir: where checkpoints go (a folder for this configuration is made below it); None keeps
            none, so a killed run starts over.
    """

    def __init__(
        self,
        parameters: DrlParameters,
        data: SessionData,
        seed: int = 0,
        work_dir: str | Path | None = None,
    ) -> None:
        self.given, self.data, self.seed = parameters, data, seed
        self.device = resolve_device(parameters.device)
        self.settings = parameters.resolved()
        self._choose_precision()
        self.method = METHODS[self.settings.method]
        self.folder = checkpoints.run_folder(work_dir, self.settings.dataset, self._identity)
        self.stream = domain_stream(
            self.settings.track, data, self.settings.order, limit=self.settings.limit
        )
        self._place_data()
        self.network = self._build_network()
        self.parameters = [p for p in self.network.parameters() if p.requires_grad]
        kind = torch.optim.SGD if self.settings.optimizer == "sgd" else torch.optim.Adam
        self.optimizer = kind(self.parameters, lr=self.settings.learning_rate)
        self.memory = self._build_memory()
        self.heads: list[dict[str, Tensor]] = []
        self.valid = torch.zeros(len(self.stream), len(self.stream.tests))
        self.experiences_done, self.step, self.seconds = 0, 0, 0.0
        self.first_lengths: list[float] = []
        self.losses: list[float] = []

    # ---------------------------------------------------------------- set-up

    def _choose_precision(self) -> None:
        """Keep small fully connected networks in float32: they gain nothing and lose digits."""
        wanted = "float32" if self.settings.backbone == "mlp" else self.settings.precision
        self.precision = resolve_precision(wanted, self.device)
        number_format = {"precision": precision_name(self.precision)}
        self.settings = self.settings.model_copy(update=number_format)

    def _place_data(self) -> None:
        images, side = self.data.images, self.settings.image_size
        convolutional = self.settings.backbone != "mlp"
        if side is not None and images.shape[-2:] != (side, side):
            images = rgb_of_side(images, side)
        self.images = (as_rgb(images) if convolutional else images).to(self.device)
        self.labels = self.stream.labels.to(self.device)
        mean, deviation = IMAGENET if convolutional else ((0.0,), (1.0,))
        self._mean = torch.tensor(mean, device=self.device).view(-1, 1, 1)
        self._deviation = torch.tensor(deviation, device=self.device).view(-1, 1, 1)

    def _build_network(self) -> TappedNetwork:
        network = tapped_network(
            self.settings.backbone,
            self.data.n_classes,
            tuple(self.images.shape[1:]),
            seed=self.seed,
            taps=self.settings.taps,
            width=self.settings.width,
            precision=self.precision,
        )
        network.freeze(self.settings.freeze_stages)
        return network.to(self.device)

    def _build_memory(self) -> Memory:
        each = max(1, round(self.settings.memory_size * self.data.video_length / VIDEO_LENGTH))
        budget = self.settings.memory_budget
        total = budget or each * len(self.stream)
        if self.method.offer is not None:
            return GradientMemory(total)
        return ExperienceMemory(total, per_experience=None if budget else each)

    # -------------------------------------------------------------- training

    def train(self, on_experience: Callable[[DrlRun], Any] | None = None) -> DrlRun:
        """Train the experiences that are not done, resuming from the last checkpoint.

        Killed at any moment and started again, a run ends with the same numbers; on the CPU bit for
        bit. ``on_experience(run)`` is called after each, when ``run.experiences_done`` has moved on.

        Raises:
            DivergenceError: representations have grown 100-fold, or the loss is not finite.
        """
        self._resume()
        while self.experiences_done < len(self.stream):
            started = time.perf_counter()
            index = self.experiences_done
            self.losses.append(self.train_experience(index))
            self.valid[index] = self._end_experience(index)
            self.experiences_done += 1
            self.seconds += time.perf_counter() - started
            self._save()
            if on_experience is not None:
                on_experience(self)
        return self

    def draws(self, index: int) -> dict[str, list[torch.Generator]]:
        """Return the generators of an experience, one a purpose."""
        return {purpose: [make_generator(self.seed, purpose, index)] for purpose in PURPOSES}

    def train_experience(
        self, index: int, on_step: Callable[[int, int], Any] | None = None
    ) -> float:
        """Make the passes over one experience; returns the mean loss of a step."""
        draws, positions = self.draws(index), self.stream[index].train_indices
        if self.method.shuffle and len(self.memory):
            positions = torch.cat([positions, self.memory.contents()["position"][0]])
        batches = torch.cat(
            [
                padded_batches(positions, self.settings.batch_size, draws["data order"][0])
                for _ in range(self.settings.epochs)
            ]
        )
        self.network.train()
        total = torch.zeros((), device=self.device)
        for number, current in enumerate(batches):
            total += self.training_step(current, draws)
            if on_step is not None:
                on_step(number, len(batches))
        mean = float(total) / len(batches)
        if not math.isfinite(mean):
            raise DivergenceError(
                f"the loss is {mean} in experience {index}; use a smaller learning_rate or drl_weight"
            )
        if self.method.memory and self.method.offer is None:
            self.memory.add(draws["memory"], position=self.stream[index].train_indices[None])
        return mean

    def training_step(self, current: Tensor, draws: dict[str, list[torch.Generator]]) -> Tensor:
        """One update on current and replayed images (Eq. 4); returns the loss, detached.

        Args:
            current: (B,) positions of images of the experience.
            draws: purpose -> one generator.
        """
        positions = current
        if self.method.draw is not None:
            stored = self.method.draw(
                self.memory, self.settings.batch_size, self.settings.er, draws["replay"]
            )
            if stored is not None:
                positions = torch.cat([current, stored["position"][0]])
        self.optimizer.zero_grad(set_to_none=True)
        loss = self.loss(positions)
        loss.backward()
        if self.method.project is not None and len(self.memory):
            gradient = flatten_gradients([p.grad for p in self.parameters], self.parameters)
            bent = self.method.project(self, gradient, draws["reference"])
            write_gradient(self.parameters, bent)
        self.optimizer.step()
        if self.method.offer is not None:
            self.method.offer(self, current, draws["memory"])
        self.step += 1
        return loss.detach()

    def loss(self, positions: Tensor) -> Tensor:
        """Cross-entropy plus lambda times the discriminative loss (Eq. 4) of the images at (n,)."""
        logits, representations = self.network(self.pixels(positions))
        labels = self.labels_of(positions)
        loss = cross_entropy_loss(logits, labels)
        if not self.settings.drl_weight:
            return loss
        self._check_lengths(representations)
        return loss + self.settings.drl_weight * discriminative_loss(
            representations, labels, variant=self.settings.loss, alpha=self.settings.alpha
        )

    def gradient(self, positions: Tensor) -> Tensor:
        """Return the gradient of the loss of the images at (n,), as one vector; changes none."""
        found = torch.autograd.grad(self.loss(positions), self.parameters, allow_unused=True)
        return flatten_gradients(found, self.parameters)

    def _check_lengths(self, representations: list[Tensor]) -> None:
        if self.step % CHECK_EVERY and self.first_lengths:
            return
        lengths = mean_lengths(representations)
        self.first_lengths = self.first_lengths or lengths
        advice = (
            f"loss={self.settings.loss!r} rewards length without bound: use a smaller drl_weight than "
            f"{self.settings.drl_weight}, or loss='paper_cos'"
        )
        check_growth(lengths, self.first_lengths, f"step {self.step}", advice)

    def pixels(self, positions: Tensor) -> Tensor:
        """Return the images at (...,) as the network takes them: (..., C, H, W) float32."""
        images = self.images[positions.to(self.device, non_blocking=True)].float() / 255
        return (images - self._mean) / self._deviation

    def labels_of(self, positions: Tensor) -> Tensor:
        """Return the labels of the images at (...,), as the track numbers classes."""
        return self.labels[positions.to(self.device, non_blocking=True)]

    # ------------------------------------------------------------ evaluation

    def _end_experience(self, index: int) -> Tensor:
        """Validate; with several heads keep this task's first, and start the next from zeros."""
        if self.stream.multi_head:
            self.heads.append(save_head(self.network))
        found = correct(self, self.stream.validation)
        scores = torch.stack([right.float().mean() for right in found])
        if self.stream.multi_head:
            set_head(self.network)
        return scores

    def test_accuracy(self) -> float:
        """Return the share of all test images that are told right, in [0, 1]."""
        return float(torch.cat(correct(self, self.stream.tests)).float().mean())

    # ----------------------------------------------------------- checkpoints

    def _identity(self) -> dict[str, Any]:
        hidden = {"profile", "data_root", "device", "seeds"}
        settings = self.settings.model_dump(exclude=hidden)
        return {"settings": settings, "data": self.data.fingerprint, "seed": self.seed}

    def _save(self) -> None:
        if self.folder is None:
            return
        heads = {f"{i}.{name}": v for i, head in enumerate(self.heads) for name, v in head.items()}
        state = checkpoints.join(
            network=self.network.state_dict(),
            memory=self.memory.state_dict(),
            optimizer=checkpoints.optimizer_state(self.optimizer),
            heads=heads,
            run={"valid": self.valid},
        )
        progress = {name: getattr(self, name) for name in PROGRESS}
        checkpoints.save(self.folder / "checkpoint", state, progress)

    def _resume(self) -> None:
        state = checkpoints.resume(self.folder, self, "experiences_done", PROGRESS)
        if state is None:
            return
        self.network.load_state_dict(checkpoints.part(state, "network."))
        self.memory.load_state_dict(checkpoints.part(state, "memory."), torch.device("cpu"))
        checkpoints.restore_optimizer(self.optimizer, checkpoints.part(state, "optimizer."))
        heads = checkpoints.part(state, "heads.")
        numbers = sorted({int(name.split(".")[0]) for name in heads})
        self.heads = [
            {k: v.to(self.device) for k, v in checkpoints.part(heads, f"{i}.").items()}
            for i in numbers
        ]
        self.valid = state["run.valid"]
