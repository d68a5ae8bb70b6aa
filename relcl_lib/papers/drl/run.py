"""DRL: replay with the discriminative representation loss on the tracks of the CLVision challenge.

parameters = DrlParameters.create(profile="quick")
run = DrlRun(parameters, load_sessions("digits"), seed=0)
run.train()
run.valid         # (E, V): after each experience, on each validation set
run.test_accuracy()
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from relcl_lib.continual.gradients import flatten_gradients, write_gradient
from relcl_lib.continual.memory import ExperienceMemory, GradientMemory, Memory
from relcl_lib.continual.sessions import load_sessions
from relcl_lib.continual.tracks import domain_stream, padded_batches
from relcl_lib.data.core50 import VIDEO_LENGTH, SessionData
from relcl_lib.data.images import as_rgb, rgb_of_side
from relcl_lib.lab.checkpoints import optimizer_state, restore_optimizer, split
from relcl_lib.lab.protocol import protocol
from relcl_lib.lab.records import Record
from relcl_lib.lab.run import Run, State, check_loss
from relcl_lib.lab.runtime import make_generator, resident_memory_bytes
from relcl_lib.losses import cross_entropy_loss, discriminative_loss
from relcl_lib.models.taps import (
    TappedNetwork,
    heads_by_row,
    save_head,
    set_head,
    tapped_network,
    trunk_digest,
)
from relcl_lib.papers.drl import tables
from relcl_lib.papers.drl.divergence import check_growth, mean_lengths
from relcl_lib.papers.drl.methods import METHODS
from relcl_lib.papers.drl.parameters import FROM_SCRATCH, DrlParameters

PURPOSES = ("data order", "replay", "reference", "memory")
#: images per test pass; no effect on the numbers
TEST_BATCH = {"cpu": 100, "cuda": 500}
#: mean and deviation of ImageNet's pixels, for the convolutional networks
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
#: steps between two looks at the length of the representations, each of which waits for a GPU
CHECK_EVERY = 50


class DrlRun(Run):
    """One run of one seed: images on the device, stream, network, memory, and the step.

    The data are loaded with the `order` of the parameters.
    """

    paper = "drl"
    counter = "experiences_done"
    progress = ("step", "first_lengths", "shares")
    elsewhere = ("track", "backbone", "width")

    def __init__(
        self,
        parameters: DrlParameters,
        data: SessionData,
        seed: int = 0,
        work_dir: str | Path | None = None,
    ) -> None:
        super().__init__(parameters, data, [seed], work_dir)
        self.method = METHODS[self.settings.method]
        self.stream = domain_stream(
            self.settings.track, data, self.settings.order, limit=self.settings.limit
        )
        if self.method.joint:
            self.stream = self.stream.joined()
        self._place_data()
        self.network = self._build_network()
        self.parameters = [p for p in self.network.parameters() if p.requires_grad]
        kind = torch.optim.SGD if self.settings.optimizer == "sgd" else torch.optim.Adam
        self.optimizer = kind(self.parameters, lr=self.settings.learning_rate, fused=True)
        self.memory = self._build_memory()
        self.heads: list[dict[str, Tensor]] = []
        self.valid = torch.zeros(len(self.stream), len(self.stream.tests))
        self.step = 0
        self.first_lengths: list[float] = []
        self.resident: list[int] = []
        self.shares: list[float] = []
        self._shares_seen: list[Tensor] = []

    @classmethod
    def load_data(cls, parameters: DrlParameters) -> SessionData:
        """The images that parameters name, their sessions in the order asked for."""
        given = {"order": parameters.order, "side": parameters.image_size}
        return load_sessions(parameters.dataset, parameters.data_root, **given)

    @property
    def total(self) -> int:
        """Experiences of the stream."""
        return len(self.stream)

    @property
    def score(self) -> float:
        """Validation accuracy in per cent, the mean over the validation sets."""
        return 100 * float(self.valid[self.done - 1].mean())

    # ---------------------------------------------------------------- set-up

    def _place_data(self) -> None:
        images, side = self.data.images, self.settings.image_size
        convolutional = self.settings.backbone != "mlp"
        if side is not None and images.shape[-2:] != (side, side):
            images = rgb_of_side(images, side)[:, : images.shape[1]]
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
        if self.settings.backbone not in FROM_SCRATCH:
            self.inputs = {"backbone": trunk_digest(network)}  # as it was before training
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

    def advance(self) -> None:
        """Train an experience, then validate.

        Raises:
            DivergenceError: representations have grown 100-fold, or they, the loss or a gradient that
                GSS scores are not finite.
        """
        index = self.experiences_done
        self.resident.append(resident_memory_bytes())
        self.train_experience(index)
        if self._shares_seen:
            self.shares.append(float(torch.stack(self._shares_seen).mean()))
            self._shares_seen = []
        self.valid[index] = self._end_experience()

    def draws(self, index: int) -> dict[str, list[torch.Generator]]:
        """The generators of an experience, one per purpose."""
        return {purpose: [make_generator(self.seed, purpose, index)] for purpose in PURPOSES}

    def train_experience(self, index: int) -> None:
        """Make the passes over one experience."""
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
        for step, current in enumerate(batches, start=1):
            total += self.training_step(current, draws)
            self.on_step(self, step, len(batches))
        mean = float(total) / len(batches)
        check_loss(mean, f"experience {index}", "use a lower learning_rate or drl_weight")
        if self.method.memory and self.method.offer is None:
            self.memory.add(draws["memory"], position=self.stream[index].train_indices[None])

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
        loss = self.loss(positions, watched=self.step % CHECK_EVERY == 0)
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

    def loss(self, positions: Tensor, *, watched: bool = False) -> Tensor:
        """Cross-entropy plus lambda times the discriminative loss (Eq. 4) of the images at (n,).

        `watched`: representations that have grown without bound end the training, and the share of
        the gradient that is the discriminative loss's is kept.
        """
        logits, representations = self.network(self.pixels(positions))
        labels = self.labels_of(positions)
        loss = cross_entropy_loss(logits, labels)
        if not self.settings.drl_weight:
            return loss
        own = self.settings.drl_weight * discriminative_loss(
            representations, labels, variant=self.settings.loss, alpha=self.settings.alpha
        )
        if watched:
            self._check_lengths(representations)
            self._note_share(loss, own)
        return loss + own

    def _note_share(self, loss: Tensor, own: Tensor) -> None:
        """How long the gradient of lambda L_DR is beside the cross-entropy's, in per cent."""
        if not own.requires_grad:
            return
        wanted = {"retain_graph": True, "allow_unused": True}
        lengths = [
            flatten_gradients(
                torch.autograd.grad(term, self.parameters, **wanted), self.parameters
            ).norm()
            for term in (own, loss)
        ]
        self._shares_seen.append(100 * lengths[0] / lengths[1].clamp(min=1e-12))

    def gradient(self, positions: Tensor) -> Tensor:
        """The gradient of the loss of the images at (n,), as one vector; no parameter's `grad` changes.

        It is a pass in training: batch norm's running statistics take these images in.

        With `heads="task"` each image is told by the head kept for its task, which is not trained
        any more; else by the live head, which at a task's start is zero in Multi-Task-NC and lets
        no gradient through.
        """
        heads = contextlib.nullcontext()
        if self.stream.multi_head and self.settings.heads == "task":
            heads = heads_by_row(self.network, self.heads, self._task_of(positions))
        with heads:
            loss = self.loss(positions)
        found = torch.autograd.grad(loss, self.parameters, allow_unused=True)
        return flatten_gradients(found, self.parameters)

    def _task_of(self, positions: Tensor) -> Tensor:
        """Which task's classes the images at (n,) are of, where each class is of one task."""
        owner = torch.empty(self.data.n_classes, dtype=torch.int64, device=self.device)
        for index in range(len(self.stream)):
            owner[self.stream.task_classes(index)] = index
        return owner[self.labels_of(positions)]

    def _check_lengths(self, representations: list[Tensor]) -> None:
        lengths = mean_lengths(representations)
        self.first_lengths = self.first_lengths or lengths
        form = self.settings.loss
        advice = (
            "use a smaller learning_rate"  # cosines know no length
            if form == "paper_cos"
            else f"loss={form!r} rewards length without bound: use a smaller drl_weight than "
            f"{self.settings.drl_weight}, or loss='paper_cos'"
        )
        check_growth(lengths, self.first_lengths, f"step {self.step}", advice)

    def pixels(self, positions: Tensor) -> Tensor:
        """The images at (...,) as the network takes them: (..., C, H, W) float32."""
        images = self.images[positions.to(self.device, non_blocking=True)].float() / 255
        return (images - self._mean) / self._deviation

    def labels_of(self, positions: Tensor) -> Tensor:
        """The labels of the images at (...,), as the track numbers classes."""
        return self.labels[positions.to(self.device, non_blocking=True)]

    # ------------------------------------------------------------ evaluation

    def _end_experience(self) -> Tensor:
        """Validate; with several heads keep this task's first, and start the next from zeros."""
        if self.stream.multi_head:
            self.heads.append(save_head(self.network))
        found = self.correct(self.stream.validation)
        scores = torch.stack([right.float().mean() for right in found])
        if self.stream.multi_head:
            set_head(self.network)
        return scores

    def test_accuracy(self) -> float:
        """Share of all test images that are told right, in [0, 1]."""
        return float(torch.cat(self.correct(self.stream.tests)).float().mean())

    @torch.inference_mode()
    def correct(self, sets: Sequence[Tensor]) -> list[Tensor]:
        """Which images of each set are told right: (n,) bool each, on the CPU.

        One set: argmax over all classes, those to come among them. A set per task: by the head kept
        for it, over all its outputs or, with `heads="masked"`, over the task's classes; a task to
        come has the head loaded last, as released. Network and head are left as they were.
        """
        training, live = self.network.training, save_head(self.network)
        self.network.eval()
        found = []
        for task, positions in enumerate(sets):
            if len(sets) > 1 and task < len(self.heads):
                set_head(self.network, self.heads[task])
            out = torch.zeros(self.data.n_classes, dtype=torch.bool, device=self.device)
            if len(sets) > 1 and self.settings.heads == "masked":
                out[:] = True
                out[self.stream.task_classes(task)] = False
            hits = []
            for batch in positions.split(TEST_BATCH[self.device.type]):
                logits, _ = self.network(self.pixels(batch))
                hits.append(logits.masked_fill(out, -torch.inf).argmax(-1) == self.labels_of(batch))
            found.append(torch.cat(hits).cpu())
        set_head(self.network, live)
        self.network.train(training)
        return found

    # ----------------------------------------------------------- checkpoints

    def state(self) -> State:
        """Network, memory, optimizer, the tasks' heads and the scores."""
        heads = {f"{i}.{name}": v for i, head in enumerate(self.heads) for name, v in head.items()}
        return {
            "network": self.network.state_dict(),
            "memory": self.memory.state_dict(),
            "optimizer": optimizer_state(self.optimizer),
            "heads": heads,
            "run": {"valid": self.valid},
        }

    def load(self, state: State) -> None:
        """Put them back."""
        self.network.load_state_dict(state["network"])
        self.memory.load_state_dict(state["memory"], torch.device("cpu"))
        restore_optimizer(self.optimizer, state["optimizer"])
        heads = split(state["heads"])
        self.heads = [
            {name: value.to(self.device) for name, value in heads[str(i)].items()}
            for i in range(len(heads))
        ]
        self.valid = state["run"]["valid"]

    # ---------------------------------------------------------------- record

    def describe(self) -> dict[str, Any]:
        """Track, stream and network.

        A stand-in's dataset and experiment carry its name, so its numbers never share a column with
        CORe50's.
        """
        settings, data = self.settings, self.data
        layout, backbone = self.network.layout.name, Path(settings.backbone).name
        width = {"width": settings.width} if settings.backbone == "reduced_resnet18" else {}
        if width:
            backbone = f"{layout}, width {settings.width}"
        kind = {"core50": "paper" if data.published else "reduced", "mnist": "reduced"}
        # The hub's own weights, asked for by name: those in a folder may have been trained further.
        weights = layout in tables.NETWORKS and not Path(settings.backbone).exists()
        stand_in = "standin_" if data.name.startswith("CORe50-standin") else ""
        track = settings.track.lower().replace("-", "_")
        return {
            "experiment": f"{track}_{stand_in}{settings.dataset}",
            "dataset": {
                "track": settings.track,
                "stream": f"{data.name} {settings.track}",
                "sizes": data.sizes,
                "classes": data.n_classes,
                "experiences": len(self.stream),
                "note": data.note,
            },
            "protocol": protocol(
                self.given, kind.get(settings.dataset, "stand-in"), tables, weights=weights
            ),
            "backbone": backbone,
            "parameters": {"network": layout, **width},
        }

    def outcome(self, seed: int) -> dict[str, Any]:
        """What the tables report, and the validation accuracy after each experience.

        `ram_mb` is the largest resident memory of the process in MiB, read at the start of each
        experience as the release does (records of before 28 November 2026 have the process's peak);
        after a resume it is of the rest alone. `time_min` is the minutes of training and validation,
        without loading the data, which the runs of a process share. Both belong to a machine and are
        no measure of a method. With a head per task, the accuracy matrix holds the validation accuracy
        of each task after each, tasks to come among them, as the paper's averages do. A run with the
        loss keeps by experience how long its gradient is beside the cross-entropy's, in per cent, if
        each had a look at it, which is taken every `CHECK_EVERY` steps of the run.
        """
        valid = 100 * self.valid.double()
        curve = valid.mean(1)
        # None without the loss, and short where an experience had no look.
        whole = len(self.shares) == len(self.stream)
        shares = {tables.SHARE: [float(f"{v:.4g}") for v in self.shares]} if whole else {}
        multi_head, order = self.stream.multi_head, " ".join(map(str, self.stream.class_order))
        return {
            "metrics": {
                "avg_valid_acc": curve.mean(),
                "test_acc": 100 * self.test_accuracy(),
                "ram_mb": max(self.resident, default=resident_memory_bytes()) / 2**20,
                "time_min": self.seconds / 60,
            },
            # All experiences as one have a row of it alone, which is no matrix of tasks.
            "accuracy_matrix": valid.numpy().round(4)
            if multi_head and not self.method.joint
            else None,
            "curves": {"validation": curve.numpy().round(4), **shares},
            "notes": [self.data.note, f"class order {order}" if multi_head else ""],
        }


def validation_curve(record: Record) -> list[float]:
    """Validation accuracy after each experience, in per cent; early records have it in their note."""
    if record.curves is not None:
        return record.curves["validation"]
    found = re.search(r"validation by experience: ([\d. ]+)", record.note)
    return [float(value) for value in found[1].split()] if found else []


load_data, train_or_read = DrlRun.load_data, DrlRun.train_or_read
