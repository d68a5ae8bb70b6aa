"""Online continual learning by replay: the training loop that HPCR and its baselines share.

run = ReplayRun(ReplayParameters.create(profile="quick"), load_images("digits"))
run.train()
run.accuracy  # (S, T, T): after training task i, on the test set of task j
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from relcl_lib.continual.augment import Augmentation, two_views
from relcl_lib.continual.streams import class_incremental_stream, hold_out
from relcl_lib.data.images import ImageData, as_jpeg, as_rgb, load_images, rgb_of_side
from relcl_lib.lab import metrics
from relcl_lib.lab.checkpoints import optimizer_state, restore_optimizer
from relcl_lib.lab.parameters import ParameterError
from relcl_lib.lab.protocol import protocol
from relcl_lib.lab.run import Run, State
from relcl_lib.lab.runtime import keep_freed_memory, make_generator
from relcl_lib.models.resnet import ReplayNetwork, build_network, fold_batch_norm, select_seed
from relcl_lib.papers.hpcr import tables
from relcl_lib.papers.hpcr.captured import NOT_CAPTURED, CapturedStep
from relcl_lib.papers.hpcr.methods import METHODS
from relcl_lib.papers.hpcr.parameters import PAPER_STREAMS, STAND_INS, STREAMS, ReplayParameters
from relcl_lib.papers.hpcr.strategy import Batch, Draws, Group, Rows, Step

#: images per test pass; no effect on the numbers. Small batches stay in a CPU's cache, large fill a GPU.
TEST_BATCH = {"cpu": 50, "cuda": 500}
#: what a prediction may be: a class seen so far, or any; the release's PCR of 2023 has the second
MASKS = ("seen", "all")


class ReplayRun(Run):
    """S runs of one method, side by side: data, streams, network, memory, and the step.

    The seeds are those of the parameters.

    Attributes:
        accuracies: (2, S, T, T) in [0, 1]: after task i, on the test set of task j, under each mask.
        class_accuracy: (S, C) in [0, 1]: on each class after the tasks so far, under the run's mask;
            0 for classes to come.
        proxy_gradients: (S, T, C), of methods whose loss is on proxies: the cumulative gradient of
            each (Fig. 8, Table VIII), -dL/d<z_i, w_c> summed over the steps and rows of a task, L the
            step's loss; positive where the class is pulled to the features, as the paper says it. It
            does not define its own sum. PCR's is 0 over the proxies by Theorem 1. SCD holds the
            features alone: it has no gradient of its own here, and changes what the other terms find.
    """

    paper = "hpcr"
    counter = "tasks_done"
    progress = ("total_step",)
    side_by_side = True

    def __init__(
        self, parameters: ReplayParameters, data: ImageData, work_dir: str | Path | None = None
    ) -> None:
        super().__init__(parameters, data, parameters.seeds, work_dir)
        self.elsewhere = (*self.settings.as_before, "cuda_graph")
        if self.settings.cuda_graph and parameters.method in NOT_CAPTURED:
            raise ParameterError(f"a step of {parameters.method} cannot be captured: no cuda_graph")
        keep_freed_memory()  # every step needs blocks of the same sizes
        self._place_data()
        self.network = self._build_network()
        self.strategy = METHODS[parameters.method](self).to(self.device)
        trained = [p for p in self.strategy.parameters() if p.requires_grad]
        trained = [*self.network.parameters(), *trained]
        rate, graph = self.settings.learning_rate, self.settings.cuda_graph
        self.optimizer = (
            torch.optim.SGD(trained, lr=rate)
            if self.settings.optimizer == "sgd"
            else torch.optim.Adam(trained, lr=rate, capturable=graph)
        )
        self.memory = self.strategy.make_memory()
        self.augmentation = Augmentation(flip=0.5 if self.settings.flip else 0.0)
        self.accuracies = torch.zeros(len(MASKS), len(self.seeds), self.total, self.total)
        self.class_accuracy = torch.zeros(len(self.seeds), self.data.n_classes)
        shape = len(self.seeds), self.total, self.data.n_classes
        self.proxy_gradients = torch.zeros(shape, device=self.device)
        self.total_step = 0

    @classmethod
    def of(
        cls, parameters: ReplayParameters, data: ImageData, seeds: list[int], work_dir: Any
    ) -> ReplayRun:
        """The run of these seeds, whatever seeds the parameters have."""
        return cls(parameters.model_copy(update={"seeds": seeds}), data, work_dir)

    @classmethod
    def load_data(cls, parameters: ReplayParameters) -> ImageData:
        """The images that parameters name."""
        return load_images(parameters.dataset, parameters.data_root)

    @property
    def total(self) -> int:
        """Tasks of the stream."""
        return len(self.streams[0])

    @property
    def accuracy(self) -> Tensor:
        """(S, T, T): after training task i, on the test set of task j, under the run's mask."""
        return self.accuracies[MASKS.index(self.settings.mask)]

    @property
    def score(self) -> float:
        """Accuracy on the tasks so far in per cent, the mean of the seeds."""
        return 100 * float(metrics.average_accuracy(self.accuracy)[:, self.done - 1].mean())

    def _place_data(self) -> None:
        """Put images and labels on the device (uint8: CIFAR-10 takes 184 MB) and split the tasks."""
        data, side = self.data, self.settings.image_size
        images = as_rgb(data.train_images)
        if self.settings.reencode == "jpeg75":
            images = as_jpeg(images)
        self.images = rgb_of_side(images, side).to(self.device)
        self.labels = data.train_labels.to(self.device)
        train = torch.arange(len(data.train_labels))
        share = self.settings.hold_out
        if share:  # for tuning: part of the training set stands in for the test set
            train, test = hold_out(data.train_labels, share, make_generator(0, "hold out"))
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

    def advance(self) -> None:
        """Train a task, then test on all tasks so far."""
        self.train_task(self.tasks_done)
        hits = self.hits(self.tasks_done)
        self.accuracies[:, :, self.tasks_done] = self.of_tasks(hits)
        of_class = self.test_labels.bincount(minlength=self.data.n_classes).cpu()
        self.class_accuracy = hits[MASKS.index(self.settings.mask)] / of_class

    def train_task(self, task: int) -> None:
        """Make one pass over the samples of a task, `stream_batch` per step."""
        order = [make_generator(seed, "data order", task) for seed in self.seeds]
        batches = torch.stack(
            [
                stream[task].batches(self.settings.stream_batch, generator)
                for stream, generator in zip(self.streams, order, strict=True)
            ]
        ).to(self.device)  # (S, steps, b)
        draws = {
            purpose: [make_generator(seed, purpose, task) for seed in self.seeds]
            for purpose in self.strategy.purposes
        }
        seen = self.seen(task)
        self.network.train()
        captured = None
        if self.settings.cuda_graph:
            captured = CapturedStep(self, task, seen, draws)
        for step in range(batches.shape[1]):
            if captured:
                captured(batches[:, step], step)
            else:
                self.training_step(batches[:, step], task, step, seen, draws)
            self.total_step += 1
            self.on_step(self, step + 1, batches.shape[1])
        self.strategy.end_task(task, seen)

    def training_step(
        self,
        indices: Tensor,
        task: int,
        step: int | Tensor,
        seen: Tensor,
        draws: Draws,
        total_step: int | Tensor | None = None,
    ) -> Tensor | None:
        """One step: retrieve, forward both groups, one update, then offer the batch to the memory.

        Args:
            indices: (S, b) positions of the incoming images.
            task, step: index of the task, and of the step in it.
            seen: (S, C) bool, classes of the tasks up to this one.
            draws: purpose -> one generator per seed.
            total_step: index of the step in the run, if not the run's own count.

        Returns:
            The losses (S,), detached; None if the step trained nothing.
        """
        images, labels = self.images[indices], self.labels[indices]
        total_step = self.total_step if total_step is None else total_step
        batch = Batch(images, labels, task, step, total_step, seen, draws)
        stored = self.strategy.retrieve(batch) or {}
        done = Step(batch, *self.strategy.rows(batch, stored), stored)
        if self.strategy.has_proxies:
            self._follow_proxies(done)
        loss = self.strategy.loss(done)
        if loss is not None and loss.shape != (len(self.seeds),):
            raise ValueError(
                f"the loss of {self.settings.method} has the shape {tuple(loss.shape)}; "
                f"it is one value per seed, ({len(self.seeds)},): a mean over seeds trains each less"
            )
        if loss is not None:
            self.strategy.update(done, loss)
        self.strategy.store(done)
        return None if loss is None else loss.detach()

    def _follow_proxies(self, step: Step) -> None:
        """Have the step's backward pass take from `proxy_gradients` what it brings to the logits."""

        def take(gradient: Tensor) -> None:  # d logit / d cosine = 1 / temperature
            found = gradient.float().sum(1) / self.settings.temperature
            self.proxy_gradients[:, step.batch.task] -= found

        for rows in (step.stream, step.memory):
            if rows is not None and rows.logits.requires_grad:
                rows.logits.register_hook(take)

    def old_and_new(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """Sums of values (S, T, C) over the classes of earlier tasks, and over each task's own: (S, T)."""
        met = torch.stack([self.seen(task) for task in range(self.total)], 1).to(values.device)
        old = torch.cat([torch.zeros_like(met[:, :1]), met[:, :-1]], 1)
        return (values * old).sum(-1), (values * (met & ~old)).sum(-1)

    def views(self, groups: Sequence[Group]) -> list[Tensor]:
        """The views of each group's images: (S, views * n, 3, H, W) in [0, 1], clean ones first."""
        clean = [group.images.float() / 255 for group in groups]
        if self.settings.views == 1:
            return clean
        return two_views(self.augmentation, clean, [group.draws for group in groups])

    def forward(self, groups: Sequence[Group], views: Sequence[Tensor] | None = None) -> list[Rows]:
        """Forward the views of each group (None: made here).

        Apart unless the settings join them: batch norm sees each group alone.
        """
        views = self.views(groups) if views is None else views
        if self.settings.joint_forward:
            sizes = [batch.shape[1] for batch in views]
            logits, features = self.network(torch.cat(views, dim=1))
            outputs = list(zip(logits.split(sizes, 1), features.split(sizes, 1), strict=True))
        else:
            with self.network.autocast(self.device):
                outputs = [self.network(batch) for batch in views]
        return [
            Rows(logits, features, group.labels.repeat(1, self.settings.views))
            for (logits, features), group in zip(outputs, groups, strict=True)
        ]

    # ------------------------------------------------------------ evaluation

    def seen(self, task: int) -> Tensor:
        """The classes of tasks 0 .. `task`: (S, C) bool."""
        mask = torch.zeros(len(self.seeds), self.data.n_classes, dtype=torch.bool)
        for row, stream in zip(mask, self.streams, strict=True):
            row[stream.classes_seen(task)] = True
        return mask.to(self.device)

    @torch.inference_mode()
    def hits(self, task: int) -> Tensor:
        """Test images of each class named right after training `task`: (2, S, C), under each mask.

        Batch norm is folded away. Classes to come have 0 without being run.
        """
        scorer = self.strategy.scorer(fold_batch_norm(self.network))
        unseen = ~self.seen(task).unsqueeze(1)  # (S, 1, C)
        shape = len(MASKS), len(self.seeds), self.data.n_classes
        hits = torch.zeros(shape, device=self.device)
        for index in range(task + 1):
            tests = torch.stack([stream[index].test_indices for stream in self.streams])  # (S, n)
            for batch in tests.to(self.device).split(TEST_BATCH[self.device.type], dim=1):
                scores = scorer(self.test_images[batch].float() / 255)  # (S, b, C)
                masked = torch.stack([scores.masked_fill(unseen, -torch.inf), scores])
                labels = self.test_labels[batch].expand(len(MASKS), -1, -1)
                hits.scatter_add_(2, labels, (masked.argmax(-1) == labels).float())
        return hits.cpu()

    def of_tasks(self, hits: Tensor) -> Tensor:
        """Accuracy in [0, 1] on each task's test set, from the `hits` (2, S, C): (2, S, T)."""
        accuracy = torch.zeros(len(MASKS), len(self.seeds), self.total)
        for seed, stream in enumerate(self.streams):
            for index, task in enumerate(stream.tasks):
                found = hits[:, seed, list(task.classes)].sum(-1)
                accuracy[:, seed, index] = found / len(task.test_indices)
        return accuracy

    @torch.inference_mode()
    def test_features(self, seed_index: int = 0, per_class: int | None = None) -> tuple:
        """Features (n, D), labels (n,) and proxies (C, D) of one seed's network, on the CPU."""
        classes = range(self.data.n_classes)
        chosen = torch.cat([(self.test_labels == c).nonzero()[:per_class, 0] for c in classes])
        alone = fold_batch_norm(select_seed(self.network, seed_index))
        batches = self.test_images[chosen].split(TEST_BATCH[self.device.type])
        features = [alone(batch.unsqueeze(0).float() / 255)[1][0] for batch in batches]
        proxies = alone.head.weight[0].cpu()
        return torch.cat(features).cpu(), self.test_labels[chosen].cpu(), proxies

    # ----------------------------------------------------------- checkpoints

    def identity(self) -> dict[str, Any]:
        """As of any run; all the seeds train in one network."""
        identity = super().identity()
        del identity["seed"], identity["settings"]["cuda_graph"]  # which changes no number
        if self.settings.reencode == "none":  # earlier checkpoints do not name it
            del identity["settings"]["reencode"]
        return {**identity, "seeds": self.seeds}

    def state(self) -> State:
        """Network, what the strategy keeps, memory, optimizer and accuracies."""
        return {
            "network": self.network.state_dict(),
            "strategy": self.strategy.state_dict(),
            "memory": self.memory.state_dict(),
            "optimizer": optimizer_state(self.optimizer),
            "run": {
                "accuracies": self.accuracies,
                "class_accuracy": self.class_accuracy,
                "proxy_gradients": self.proxy_gradients,
            },
        }

    def load(self, state: State) -> None:
        """Put them back."""
        self.network.load_state_dict(state["network"])
        self.strategy.load_state_dict(state["strategy"])
        self.memory.load_state_dict(state["memory"], self.device)
        restore_optimizer(self.optimizer, state["optimizer"])
        self.accuracies = state["run"]["accuracies"]
        unknown = torch.full_like(self.class_accuracy, torch.nan)  # in checkpoints of before
        self.class_accuracy = state["run"].get("class_accuracy", unknown)
        # They have no gradients, too: what was not followed from the start is not a sum.
        unknown = torch.full_like(self.proxy_gradients, torch.nan)
        self.proxy_gradients = state["run"].get("proxy_gradients", unknown).to(self.device)

    # ---------------------------------------------------------------- record

    def describe(self) -> dict[str, Any]:
        """The stream, and what of its data set the paper's tables tell apart."""
        stream = STREAMS[self.settings.dataset][0]
        whole = self.data.published and self.settings.dataset in PAPER_STREAMS
        stand_in = self.settings.dataset in STAND_INS
        kind = "stand-in" if stand_in else "paper" if whole else "reduced"
        return {
            "experiment": stream.lower().replace(" ", "_"),
            "dataset": {
                "stream": stream,
                "sizes": self.data.sizes,
                "classes": self.data.n_classes,
                "note": self.data.note,
            },
            "protocol": protocol(self.given, kind, tables),
            "backbone": f"Reduced ResNet-18, width {self.settings.width}",
        }

    def outcome(self, seed: int) -> dict[str, Any]:
        """Metrics and accuracy matrix of a seed, its class order, and the last task's proxy gradients.

        `curves` have accuracy and gradients by class, in the order the classes were met.
        """
        index, count = self.seeds.index(seed), len(self.seeds)
        chosen = MASKS.index(self.settings.mask)
        matrices = (100 * self.accuracies[:, index].double()).numpy().round(4)
        matrix, other = matrices[chosen], matrices[1 - chosen]
        side_by_side = f"{count} seeds side by side: seconds are the run's divided by {count}"
        order = self.streams[index].class_order
        curves = {f"average_accuracy_{MASKS[1 - chosen]}": metrics.average_accuracy(other)}
        found = run_metrics(matrix) | run_metrics(other, f"_{MASKS[1 - chosen]}")
        if self.class_accuracy.isfinite().all():
            of_class = 100 * self.class_accuracy[index, order].double()
            curves["class_accuracy"] = of_class.numpy().round(4)
        gradients = self.proxy_gradients.cpu()
        if self.strategy.has_proxies and gradients.isfinite().all():
            old, new = (sums[index, -1] for sums in self.old_and_new(gradients))
            found["cumulative_gradient_old_classes"] = round(float(old), 4)
            found["cumulative_gradient_new_classes"] = round(float(new), 4)
            curves["cumulative_gradient"] = gradients[index, -1, order].numpy().round(4)
        return {
            "metrics": found,
            "accuracy_matrix": matrix,
            "curves": curves,
            "notes": [
                side_by_side if count > 1 else "",
                f"class order {' '.join(map(str, order))}",
            ],
        }


def run_metrics(accuracy: Any, suffix: str = "") -> dict[str, float]:
    """A_T, AAA, both forgettings and more of one accuracy matrix (T, T), in the matrix's unit.

    `A_1` is after the first task, `A_change` how much more A_T is; `A_new` the mean over the later
    tasks of the accuracy on each right after it, `A_old` that of the mean over the tasks before it
    (Fig. 4); `spread_old` the standard deviation over all tasks but the last at the end (Table XI).
    """
    new, old = metrics.new_task_accuracy(accuracy), metrics.old_task_accuracy(accuracy)
    later = {}
    if len(new) > 1:
        spread = torch.as_tensor(accuracy, dtype=torch.float64)[-1, :-1].std(correction=0)
        later = {
            "A_change": metrics.final_accuracy(accuracy) - new[0],
            "A_new": new[1:].mean(),
            "A_old": old[1:].mean(),
            "spread_old": spread,
        }
    found = {
        "A_T": metrics.final_accuracy(accuracy),
        "AAA": metrics.average_anytime_accuracy(accuracy),
        "F_T": metrics.forgetting(accuracy, "paper"),
        "F_T_released": metrics.forgetting(accuracy, "released"),
        "A_1": new[0],
        **later,
    }
    return {name + suffix: float(value) for name, value in found.items()}


load_data, train_or_read = ReplayRun.load_data, ReplayRun.train_or_read
