"""Online continual learning by replay: the training loop that HPCR and its baselines share.

run = ReplayRun(ReplayParameters.create(profile="quick"), load_images("digits"))
run.train()
run.accuracy  # (S, T, T): after training task i, on the test set of task j
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from relcl_lib.continual.augment import Augmentation, two_views
from relcl_lib.continual.memory import ReservoirMemory
from relcl_lib.continual.streams import class_incremental_stream, hold_out
from relcl_lib.data.images import ImageData, rgb_of_side
from relcl_lib.lab import checkpoints
from relcl_lib.lab.runtime import make_generator, precision_name, resolve_device, resolve_precision
from relcl_lib.models.resnet import ReplayNetwork, build_network
from relcl_lib.papers.hpcr.evaluation import features_and_proxies, task_accuracies
from relcl_lib.papers.hpcr.methods import METHODS, Rows, Step
from relcl_lib.papers.hpcr.parameters import ReplayParameters

PROGRESS = ("tasks_done", "total_step", "seconds")


class ReplayRun:
    """S runs of one method, side by side: data, streams, network, memory, and the loop over tasks.

    Args:
        parameters: what to run; None fields take the method's, variant's and data set's values.
        data: the data set that ``parameters.dataset`` names.
        work_dir: where checkpoints go (a folder for this configuration is made below it); None keeps
            none, so a killed run starts over.
    """

    def __init__(
        self,
        parameters: ReplayParameters,
        data: ImageData,
        work_dir: str | Path | None = None,
    ) -> None:
        self.given, self.data = parameters, data
        self.device = resolve_device(parameters.device)
        self.precision = resolve_precision(parameters.precision, self.device)
        number_format = {"precision": precision_name(self.precision)}
        self.settings = parameters.resolved().model_copy(update=number_format)
        self.seeds = list(parameters.seeds)
        self.method = METHODS[parameters.method]
        self.folder = checkpoints.run_folder(work_dir, self.settings.dataset, self._identity)
        self._place_data()
        self.network = self._build_network()
        kind = torch.optim.SGD if self.settings.optimizer == "sgd" else torch.optim.Adam
        self.optimizer = kind(self.network.parameters(), lr=self.settings.learning_rate)
        self.memory = ReservoirMemory(self.settings.buffer_size, len(self.seeds))
        self.augmentation = Augmentation(flip=0.5 if self.settings.flip else 0.0)
        self.accuracy = torch.zeros(len(self.seeds), *2 * (len(self.streams[0]),))
        self.tasks_done, self.total_step, self.seconds = 0, 0, 0.0

    def _place_data(self) -> None:
        """Put images and labels on the device (uint8: CIFAR-10 takes 184 MB) and split the tasks."""
        data, side = self.data, self.settings.image_size
        self.images = rgb_of_side(data.train_images, side).to(self.device)
        self.labels = data.train_labels.to(self.device)
        train = torch.arange(len(data.train_labels))
        if (
            self.settings.hold_out
        ):  # for tuning: part of the training set stands in for the test set
            train, test = hold_out(
                data.train_labels, self.settings.hold_out, make_generator(0, "hold out")
            )
            test_labels = data.train_labels[test]
            self.test_images = self.images[test.to(self.device)]
        else:
            test_labels = data.test_labels
            self.test_images = rgb_of_side(data.test_images, side).to(self.device)
        self.test_labels = test_labels.to(self.device)
        self.streams = [
            class_incremental_stream(
                data.train_labels[train],
                test_labels,
                self.settings.n_tasks,
                make_generator(seed, "class order"),
            ).over(train)
            for seed in self.seeds
        ]
        if len({tuple(stream.sizes()) for stream in self.streams}) > 1:
            raise ValueError(
                "the seeds' tasks differ in size (the data set's classes do), so the seeds cannot "
                "run side by side; run one at a time: seeds=[0], then seeds=[1], ..."
            )

    def _build_network(self) -> ReplayNetwork:
        return build_network(
            self.seeds,
            self.data.n_classes,
            tuple(self.images.shape[-2:]),
            width=self.settings.width,
            head=self.settings.head,
            temperature=self.settings.temperature,
            precision=self.precision,
        ).to(self.device)

    # -------------------------------------------------------------- training

    def train(self, on_task: Callable[[ReplayRun], Any] | None = None) -> ReplayRun:
        """Train the tasks that are not done, resuming from the last checkpoint.

        Killed at any moment and started again, a run ends with the same numbers; on the CPU bit for
        bit. ``on_task(run)`` is called after each task, when ``run.tasks_done`` has moved on.
        """
        self._resume()
        while self.tasks_done < len(self.streams[0]):
            started = time.perf_counter()
            self.train_task(self.tasks_done)
            self.accuracy[:, self.tasks_done] = self.evaluate(self.tasks_done)
            self.tasks_done += 1
            self.seconds += time.perf_counter() - started
            self._save()
            if on_task is not None:
                on_task(self)
        return self

    def train_task(self, task: int, on_step: Callable[[int, int], Any] | None = None) -> None:
        """Make one pass over the samples of a task, ``stream_batch`` a step."""
        order = [make_generator(seed, "data order", task) for seed in self.seeds]
        batches = torch.stack(
            [
                stream[task].batches(self.settings.stream_batch, generator)
                for stream, generator in zip(self.streams, order, strict=True)
            ]
        ).to(self.device)  # (S, steps, b)
        draws = {
            purpose: [make_generator(seed, purpose, task) for seed in self.seeds]
            for purpose in ("retrieval", "reservoir", "stream views", "memory views")
        }
        seen = self.seen(task)
        self.network.train()
        for step in range(batches.shape[1]):
            self.training_step(batches[:, step], task, step, seen, draws)
            self.total_step += 1
            if on_step is not None:
                on_step(step, batches.shape[1])

    def training_step(
        self,
        indices: Tensor,
        task: int,
        step: int,
        seen: Tensor,
        draws: dict[str, list[torch.Generator]],
    ) -> Tensor | None:
        """One step: retrieve, forward both groups, one update, then offer the batch to the memory.

        Args:
            indices: (S, b) positions of the incoming images.
            task, step: index of the task, and of the step in it.
            seen: (S, C) bool, classes of the tasks up to this one.
            draws: purpose -> one generator a seed.

        Returns:
            The losses (S,), detached; None if the step trained nothing.
        """
        images, labels = self.images[indices], self.labels[indices]
        stored = self._retrieve(draws["retrieval"]) or {}
        stream, memory = self._forward_groups(images, labels, stored, draws)
        loss = self.method.loss(
            Step(
                stream=stream,
                memory=memory,
                stored=stored,
                task=task,
                step=step,
                total_step=self.total_step,
                images=indices.shape[1] + (stored["label"].shape[1] if stored else 0),
                seen=seen,
                switches=self.settings,
            )
        )
        if loss is not None:
            self.optimizer.zero_grad(set_to_none=True)
            loss.sum().backward()  # the seeds share no weight: each gets its own gradient
            self.optimizer.step()
        if self.method.replay == "memory":
            # Stored once, as they were before the update, clean views only; never refreshed.
            clean = indices.shape[1]
            self.memory.add(
                draws["reservoir"],
                image=images,
                label=labels,
                logits=stream.logits[:, :clean],
                features=stream.features[:, :clean],
            )
        return None if loss is None else loss.detach()

    def _retrieve(self, generators: list[torch.Generator]) -> dict[str, Tensor] | None:
        if self.method.replay == "memory":
            return self.memory.sample(self.settings.memory_batch, generators)
        if self.method.replay == "none":
            return None
        pool, size = self.streams[0][0].train_indices, (self.settings.memory_batch,)
        draws = [torch.randint(len(pool), size, generator=g) for g in generators]
        chosen = pool[torch.stack(draws)].to(self.device)
        return {"image": self.images[chosen], "label": self.labels[chosen]}

    def _forward_groups(
        self,
        images: Tensor,
        labels: Tensor,
        stored: dict[str, Tensor],
        draws: dict[str, list[torch.Generator]],
    ) -> tuple[Rows, Rows | None]:
        """Forward the stream's rows, then the memory's, apart: batch norm sees each group alone."""
        groups = [(images, labels, draws["stream views"])]
        if stored:
            groups.append((stored["image"], stored["label"], draws["memory views"]))
        clean = [batch.float() / 255 for batch, _, _ in groups]
        views = clean
        if self.settings.views == 2:
            views = two_views(self.augmentation, clean, [generators for *_, generators in groups])
        if self.settings.joint_forward and stored:
            sizes = [batch.shape[1] for batch in views]
            logits, features = self.network(torch.cat(views, dim=1))
            outputs = list(zip(logits.split(sizes, 1), features.split(sizes, 1), strict=True))
        else:
            outputs = [self.network(batch) for batch in views]
        rows = [
            Rows(logits, features, label.repeat(1, self.settings.views))
            for (logits, features), (_, label, _) in zip(outputs, groups, strict=True)
        ]
        return rows[0], rows[1] if stored else None

    # ------------------------------------------------------------ evaluation

    def seen(self, task: int) -> Tensor:
        """Return (S, C) bool: the classes of tasks 0 .. ``task``."""
        mask = torch.zeros(len(self.seeds), self.data.n_classes, dtype=torch.bool)
        for row, stream in zip(mask, self.streams, strict=True):
            row[stream.classes_seen(task)] = True
        return mask.to(self.device)

    def evaluate(self, task: int) -> Tensor:
        """Return (S, T): accuracy in [0, 1] on every task's test set after training ``task``.

        Tasks to come score 0 without being run: their classes are outside the argmax.
        """
        tests = [[task.test_indices for task in stream] for stream in self.streams]
        met = [torch.stack(column) for column in list(zip(*tests, strict=True))[: task + 1]]
        scores = torch.zeros(len(self.seeds), len(self.streams[0]))
        scores[:, : task + 1] = task_accuracies(
            self.network, self.test_images, self.test_labels, met, self.seen(task)
        )
        return scores

    def test_features(self, seed_index: int = 0, per_class: int | None = None) -> tuple:
        """Return features (n, D), labels (n,) and proxies (C, D) of one seed's network, on the CPU."""
        classes = range(self.data.n_classes)
        chosen = torch.cat([(self.test_labels == c).nonzero()[:per_class, 0] for c in classes])
        images = self.test_images[chosen]
        features, proxies = features_and_proxies(self.network, images, seed_index)
        return features, self.test_labels[chosen].cpu(), proxies

    # ----------------------------------------------------------- checkpoints

    def _identity(self) -> dict:
        settings = self.settings.model_dump(exclude={"profile", "data_root", "device"})
        return {"settings": settings, "data": self.data.fingerprint}

    def _save(self) -> None:
        if self.folder is None:
            return
        state = checkpoints.join(
            network=self.network.state_dict(),
            memory=self.memory.state_dict(),
            optimizer=checkpoints.optimizer_state(self.optimizer),
            run={"accuracy": self.accuracy},
        )
        progress = {name: getattr(self, name) for name in PROGRESS}
        checkpoints.save(self.folder / "checkpoint", state, progress)

    def _resume(self) -> None:
        state = checkpoints.resume(self.folder, self, "tasks_done", PROGRESS)
        if state is None:
            return
        self.network.load_state_dict(checkpoints.part(state, "network."))
        self.memory.load_state_dict(checkpoints.part(state, "memory."), self.device)
        checkpoints.restore_optimizer(self.optimizer, checkpoints.part(state, "optimizer."))
        self.accuracy = state["run.accuracy"]
