"""What HPCR's analyses measure: Figures 2, 5, 6, 7 and 8, Tables II, VIII and XII.

Values are per seed (S, ...), or of the seed `index`. Where the paper leaves open how a number was
measured, the docstring says what is done here.
"""

from __future__ import annotations

import copy
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from relcl_lib.lab.metrics import (
    LEAST_SEEDS,
    final_accuracy,
    new_task_accuracy,
    old_task_accuracy,
)
from relcl_lib.lab.records import Record, most_seeds
from relcl_lib.lab.runtime import make_generator
from relcl_lib.losses.basic import cross_entropies
from relcl_lib.models.resnet import ReducedResNet18, select_seed
from relcl_lib.papers.hpcr.run import TEST_BATCH, ReplayRun
from relcl_lib.papers.hpcr.tables import USUAL, as_usual

#: name -> what is varied -> one value per seed, for `lab.plots.plot_against`
Curves = dict[str, dict[float, list[float]]]

# --- classes as they are met -------------------------------------------------------------------------


def in_class_order(run: ReplayRun, values: Tensor) -> Tensor:
    """Values by class (S, ..., C) with the classes as each seed meets them: old ones first."""
    order = torch.tensor([stream.class_order for stream in run.streams], device=values.device)
    order = order.view(len(order), *[1] * (values.dim() - 2), -1)
    return values.take_along_dim(order, -1)


# --- from the records of a sweep (Fig. 2, Fig. 5, Table II) -------------------------------


def temperature_parts(records: Iterable[Record]) -> Curves:
    """Fig. 2b: final accuracy by the temperature of PCR's part G alone, and of its part P alone.

    Of both at once it is `all` of `temperature_of_classes`.
    `records` are those of `sweep hpcr figure2` on one data set.
    """
    curves: Curves = {"G": {}, "P": {}}
    for gradient, softmax, record in _by_temperature(records):
        final = record.metrics["A_T"]
        if softmax == USUAL["temperature"]:
            curves["G"].setdefault(gradient, []).append(final)
        if gradient == USUAL["temperature"]:
            curves["P"].setdefault(softmax, []).append(final)
    return curves


def temperature_of_classes(records: Iterable[Record]) -> Curves:
    """Fig. 2a: final accuracy on all classes, on the last task's (new) and on the others' (old)."""
    curves: Curves = {"all": {}, "old": {}, "new": {}}
    for gradient, softmax, record in _by_temperature(records):
        if gradient == softmax:
            matrix = record.accuracy_matrix
            curves["all"].setdefault(softmax, []).append(float(final_accuracy(matrix)))
            curves["old"].setdefault(softmax, []).append(float(old_task_accuracy(matrix)[-1]))
            curves["new"].setdefault(softmax, []).append(float(new_task_accuracy(matrix)[-1]))
    return curves


def best_temperatures(records: Iterable[Record]) -> list[float]:
    """Table II: for each class, in the order met, the temperature in P with the best mean over seeds.

    At a tie the lowest is taken. [] where fewer than two temperatures have accuracy by class.
    """
    found: dict[float, list[Any]] = {}
    for gradient, softmax, record in _by_temperature(records):
        by_class = (record.curves or {}).get("class_accuracy")
        if gradient == USUAL["temperature"] and by_class is not None:
            found.setdefault(softmax, []).append(by_class)
    tried = sorted(found)
    if len(tried) < 2:
        return []
    means = [torch.tensor(found[t], dtype=torch.float64).mean(0) for t in tried]
    return [tried[place] for place in torch.stack(means).argmax(0).tolist()]


def _by_temperature(records: Iterable[Record]) -> Iterator[tuple[float, float, Record]]:
    """Temperature of the gradient, of the softmax, and the record, of each finished run of PCR."""
    for record in records:
        if record.method == "PCR" and not record.failed:
            softmax = record.parameters["temperature"]
            rate = record.parameters["learning_rate"] / USUAL["learning_rate"]
            yield round(softmax / rate, 6), softmax, record


def memory_batches(records: Iterable[Record]) -> Curves:
    """Fig. 5: final accuracy by the images replayed per step, without and with pairs of samples."""
    curves: Curves = {"PCR": {}, "PCR+HC": {}}
    for record in records:
        if record.method in curves and not record.failed:
            found = curves[record.method].setdefault(record.parameters["memory_batch"], [])
            found.append(record.metrics["A_T"])
    return curves


def split_cifar10(records: Iterable[Record], memory: int = 200) -> list[Record]:
    """Keep the records of Split CIFAR-10 at a memory size, in the released form; most is measured at 200.

    Runs with settings of their own, such as those that tune on a part of the training set, stand
    beside none of the paper's numbers and are left out.

    All on one content of the images, lossless ones or a copy: that with most methods of three seeds,
    of two alike the paper's.
    """
    found: dict[str, list[Record]] = {}
    for record in records:
        if (
            (record.paper, record.experiment) == ("hpcr", "split_cifar10")
            and record.variant == "released"
            and record.parameters["buffer_size"] == memory
            and not record.failed
            and as_usual(record)
        ):
            found.setdefault(str(record.dataset.get("fingerprint")), []).append(record)
    chosen = [most_seeds(alike) for _, alike in sorted(found.items())]

    def size(alike: list[Record]) -> tuple[int, bool, int]:
        seeds = Counter(record.method for record in alike)
        enough = sum(count >= LEAST_SEEDS for count in seeds.values())
        return enough, alike[0].protocol == "paper", len(alike)

    return max(chosen, key=size, default=[])


# --- principal components (Fig. 6) --------------------------------------------------------------


def keep_components(run: ReplayRun, shares: Sequence[float], index: int = 0) -> Tensor:
    """Fig. 6: accuracy on the tasks so far with the features' leading principal components alone.

    `shares` are R shares of the feature's D dimensions; the accuracies are (R,), in [0, 1].
    Test features are projected to the leading ceil(share * D) components of their own PCA and scored
    by the head as it is; with all components that is the average accuracy. What the paper fits its PCA
    on and how it scores is not stated. After each task (`on_unit` of `run.train`) it says how many
    dimensions the features use as training goes on.
    """
    if not run.done:
        raise ValueError("no task is done: call run.train() first")
    seen = run.seen(run.done - 1)[index].cpu()
    features, labels, _ = run.test_features(index)
    met, head = seen[labels], select_seed(run.network, index).head.cpu()
    values, labels = features[met].double(), labels[met]
    mean = values.mean(0)
    directions = torch.linalg.eigh(torch.cov(values.T)).eigenvectors.flip(1)  # largest first
    # Rounded first: 0.1 * 160 is a little more than 16.
    counts = torch.tensor([math.ceil(round(share * len(directions), 6)) for share in shares])
    kept = torch.arange(len(directions)) < counts.unsqueeze(1)  # (R, D)
    coordinates = (values - mean) @ directions  # (n, D)
    right = []  # one share after the other: all at once would be R times the features
    for part in kept:
        projected = (coordinates * part @ directions.T + mean).float()
        with torch.inference_mode():
            logits = head(projected.unsqueeze(0))[0]
        right.append(logits.masked_fill(~seen, -torch.inf).argmax(-1) == labels)
    right = torch.stack(right).double()  # (R, n)
    tasks = run.streams[index].tasks[: run.done]
    of_tasks = [right[:, torch.isin(labels, torch.tensor(t.classes))].mean(1) for t in tasks]
    return torch.stack(of_tasks).mean(0)


# --- loss and flatness (Table VIII, Fig. 7) -----------------------------------------------------


class Flatness(NamedTuple):
    """Training loss, and its mean change under noise on the weights over all and new classes: (S,)."""

    loss: Tensor
    all_classes: Tensor
    new_classes: Tensor


@torch.inference_mode()
def flatness(
    run: ReplayRun,
    *,
    draws: int = 1000,
    amplitude: float = 0.005,
    per_class: int = 50,
    on_draw: Callable[[int], Any] = lambda done: None,
) -> Flatness:
    """Table VIII: how the training loss answers to uniform noise in [-amplitude, amplitude] on all weights.

    The loss is the mean of -log p_y over `per_class` training images of each class seen, p the softmax
    over the classes seen, batch norm as in a test. New classes are those of the last task trained.
    Neither the images, nor the loss, nor the noise's amplitude is stated in the paper. `on_draw` is
    told how many draws are done.
    """
    seen, before = run.seen(run.done - 1), torch.zeros_like(run.seen(0))
    if run.done > 1:
        before = run.seen(run.done - 2)
    wanted = seen.any(0).nonzero()[:, 0].tolist()
    pool = run.labels.cpu()
    chosen = torch.cat([(pool == c).nonzero()[:per_class, 0] for c in wanted]).to(run.device)
    labels = run.labels[chosen]
    members = torch.stack([seen[:, labels], (seen & ~before)[:, labels]])  # (2, S, n)
    network = copy.deepcopy(run.network).eval()
    weights = list(network.parameters())
    kept = [weight.clone() for weight in weights]
    noise = [make_generator(seed, "noise") for seed in run.seeds]

    def losses() -> Tensor:  # of all and of new classes: (2, S)
        found = []
        for batch in chosen.split(TEST_BATCH[run.device.type]):
            images = (run.images[batch].float() / 255).expand(len(run.seeds), -1, -1, -1, -1)
            logits = network(images)[0].masked_fill(~seen.unsqueeze(1), -torch.inf)
            found.append(cross_entropies(logits, run.labels[batch].expand(len(run.seeds), -1)))
        return torch.cat(found, 1).masked_fill(~members, 0).sum(-1).double() / members.sum(-1)

    start, change = losses(), torch.zeros(2, len(run.seeds), dtype=torch.float64)
    for done in range(1, draws + 1):
        for weight, value in zip(weights, kept, strict=True):
            size = (len(value) // len(noise), *value.shape[1:])  # of one seed
            moved = torch.cat([2 * torch.rand(size, generator=g) - 1 for g in noise])
            weight.copy_(value + amplitude * moved.to(value.device))
        change += (losses() - start).cpu() / draws
        on_draw(done)
    return Flatness(start[0].cpu(), *change)


def loss_and_gradients(run: ReplayRun, **noise: Any) -> dict[str, float]:
    """Table VIII's numbers of a finished run, means over its seeds, by the names they have in print.

    The gradients are `proxy_gradients` of the last task; `noise` is that of `flatness`.
    """
    old, new = (sums[:, -1] for sums in run.old_and_new(run.proxy_gradients))
    loss, everywhere, newest = flatness(run, **noise)
    found = {
        "A_T": 100 * torch.as_tensor(final_accuracy(run.accuracy)),
        "cumulative_gradient_old_classes": old,
        "cumulative_gradient_new_classes": new,
        "train_loss": loss,
        "loss_difference_all_classes": everywhere,
        "loss_difference_new_classes": newest,
    }
    return {name: float(values.double().mean()) for name, values in found.items()}


# --- compute and memory (Table XII) -------------------------------------------------------------


class Budget(NamedTuple):
    """Images that pass the backbone per step and seed, forward and back; numbers that a model keeps."""

    forward: int
    backward: int
    model: int

    @property
    def computation(self) -> int:
        """Forward passes that the step costs, a backward pass counted as two."""
        return self.forward + 2 * self.backward


def budget(run: ReplayRun) -> Budget:
    """Table XII: count the last step of a run's second task; the run is trained that far.

    Every backbone counts, that of a former model too; GSS's gradients per sample are not counted.
    """
    counts: dict[int, Counter[str]] = defaultdict(Counter)  # by the index of the step in the run

    def count(module: nn.Module, inputs: Any, features: Tensor) -> None:
        images, found = features.shape[1], counts[run.total_step]
        found["forward"] += images
        if features.requires_grad:
            features.register_hook(lambda _: found.update(backward=images))

    parts = [*run.network.modules(), *run.strategy.modules()]
    bodies = {part for part in parts if isinstance(part, ReducedResNet18)}
    hooks = [body.register_forward_hook(count) for body in bodies]

    run.train_task(0)
    run.train_task(1)
    for hook in hooks:
        hook.remove()
    kept = {**run.network.state_dict(), **run.strategy.state_dict(prefix="strategy.")}
    size = sum(value.numel() for value in kept.values()) // len(run.seeds)
    last = counts[run.total_step - 1]
    return Budget(last["forward"], last["backward"], size)
