"""Time one HPCR training step: the library's form against a plain one, in one run. Run by hand.

python tests/benchmarks/replay_step.py [--data FOLDER] [--seeds 3] [--steps 20] [--clock cpu]
"""
# ruff: noqa: E402 - the checkout is put on the path first, so that it need not be installed

import argparse
import dataclasses
import datetime
import statistics
import sys
import time
from collections import defaultdict
from pathlib import Path

import torch

sys.path[:0] = [str(Path(__file__).resolve().parents[2])]

from naive_replay import NaiveStep, pcd_loss, pcr_loss, scd_loss

from relcl_lib.data.images import ImageData, load_images
from relcl_lib.lab.runtime import device_name, has_fast_bfloat16, make_generator
from relcl_lib.losses import (
    class_counts,
    cosine_similarity,
    proxy_contrastive_distillation_loss,
    proxy_contrastive_loss,
    sample_contrastive_distillation_loss,
)
from relcl_lib.papers.hpcr import run as replay
from relcl_lib.papers.hpcr.parameters import ReplayParameters
from relcl_lib.papers.hpcr.run import ReplayRun

CPU = torch.device("cpu")
WARM_UP = 5
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
CLOCK = "wall"
#: Split CIFAR-10: steps of a run, and test images seen when task i is followed by i + 1 test sets.
RUN_STEPS, RUN_TEST_IMAGES = 5000, 2000 * (1 + 2 + 3 + 4 + 5)


def random_images(n_train=4000, n_test=500):
    generator = torch.Generator().manual_seed(0)

    def split(n):
        images = torch.randint(256, (n, 3, 32, 32), generator=generator).byte()
        return images, torch.arange(n) % 10

    names = tuple(map(str, range(10)))
    return ImageData("cifar10", *split(n_train), *split(n_test), names, "random")


class Ours:
    """A library run whose steps are made one by one, in the second task (distillation is on)."""

    def __init__(self, data, seeds, precision):
        parameters = ReplayParameters.create(
            profile="full", seeds=list(range(seeds)), precision=precision, device="cpu"
        )
        self.run = ReplayRun(parameters, data)
        purposes = ("retrieval", "reservoir", "stream views", "memory views")
        seeds = self.run.seeds
        self.draws = {p: [make_generator(s, p, 1) for s in seeds] for p in purposes}
        self.batches = torch.stack(
            [
                stream[1].batches(10, make_generator(seed, "data order", 1))
                for seed, stream in zip(seeds, self.run.streams, strict=True)
            ]
        )
        self.seen, self.step = self.run.seen(1), 0
        self.run.network.train()

    def __call__(self):
        indices = self.batches[:, self.step % self.batches.shape[1]]
        self.run.training_step(indices, 1, self.step, self.seen, self.draws)
        self.step += 1


def clock():
    return CLOCKS[CLOCK]()


def timed(function):
    """Return milliseconds of one call."""
    start = clock()
    function()
    return 1000 * (clock() - start)


class Parts:
    """Timers around the parts of the library's step, put in from outside and taken out again."""

    def __init__(self, run):
        self.totals, self.undo = defaultdict(float), []
        self.wrap(run, "_retrieve", "retrieval")
        self.wrap(replay, "two_views", "augmentation")
        self.wrap(run.network, "forward", "forward")
        self.wrap(torch.Tensor, "backward", "backward")
        self.wrap(run.optimizer, "step", "update")
        self.wrap(run.memory, "add", "memory write")
        method = run.method
        run.method = dataclasses.replace(method, loss=self.timer(method.loss, "loss"))
        self.undo.append(lambda: setattr(run, "method", method))

    def timer(self, function, label):
        def call(*given, **named):
            start = clock()
            result = function(*given, **named)
            self.totals[label] += 1000 * (clock() - start)
            return result

        return call

    def wrap(self, owner, name, label):
        original, own = getattr(owner, name), name in vars(owner)
        setattr(owner, name, self.timer(original, label))
        self.undo.append(lambda: setattr(owner, name, original) if own else delattr(owner, name))

    def shares(self, total):
        """Return the per cent of each part; what lies between the parts is data and the rest."""
        found = {label: 100 * value / total for label, value in self.totals.items()}
        return {"data and the rest": 100 - sum(found.values()), **found}


def check_same_losses():
    """The plain form is a fair yardstick only if it computes the same numbers."""
    torch.manual_seed(0)
    features, proxies, stored = torch.rand(40, 16), torch.randn(10, 16), torch.randn(20, 10)
    labels, logits = torch.randint(4, (40,)), cosine_similarity(features, proxies) / 0.09
    pairs = [
        (pcr_loss(features, proxies, labels), proxy_contrastive_loss(logits, labels)),
        (
            pcd_loss(logits[:20], stored, labels),
            proxy_contrastive_distillation_loss(logits[:20], stored, class_counts(labels, 10)),
        ),
        (
            scd_loss(features[:20], features[20:]),
            sample_contrastive_distillation_loss(features[:20], features[20:]),
        ),
    ]
    for plain, ours in pairs:
        torch.testing.assert_close(plain, ours, rtol=1e-4, atol=1e-4)


def peak_megabytes():
    # Not getrusage: a child's maximum starts at its parent's.
    status = Path("/proc/self/status")
    if not status.exists():
        return None
    for line in status.read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
    return None


def print_peak(label):
    peak = peak_megabytes()
    if peak is not None:
        print(f"peak memory, {label}: {peak:.0f} MB")


def evaluation_ms(ours, images=500):
    """Return milliseconds a test image and seed, on ``images`` of the first task's."""
    run, seeds = ours.run, len(ours.run.seeds)
    counted = min(images, run.streams[0].sizes()[0][1])
    for stream in run.streams:
        object.__setattr__(stream[0], "test_indices", stream[0].test_indices[:counted])
    run.evaluate(0)
    found = statistics.median(timed(lambda: run.evaluate(0)) for _ in range(3))
    return found / (counted * seeds)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", help="folder with CIFAR-10; random images without it")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument(
        "--clock",
        choices=CLOCKS,
        default=CLOCK,
        help="cpu: time on the processor, for a machine others use too (set OMP_NUM_THREADS=1)",
    )
    chosen = parser.parse_args()
    globals()["CLOCK"] = chosen.clock
    check_same_losses()

    data = random_images()
    if chosen.data:
        data = load_images("cifar10", chosen.data, download=False)
    fast = "bfloat16" if has_fast_bfloat16(CPU) else "float32"
    print(f"{datetime.date.today()}, {device_name(CPU)}, torch {torch.__version__}")
    print(f"{data.source} images, 10 + 10 images a step, two views, 32x32, width 20, {CLOCK} time")

    ours = Ours(data, chosen.seeds, fast)
    for _ in range(WARM_UP):
        ours()
    print_peak(f"ours ({chosen.seeds} seeds, {fast})")

    naive = NaiveStep(data.n_classes)
    images, labels = data.train_images.float() / 255, data.train_labels
    order = torch.randperm(len(labels))

    def naive_step(step):
        batch = order[10 * step % (len(order) - 10) :][:10]
        naive(images[batch], labels[batch], step)

    for step in range(WARM_UP):
        naive_step(step)
    plain, grouped = [], []
    for step in range(chosen.steps):  # alternating: what disturbs the machine disturbs both
        plain.append(timed(lambda s=WARM_UP + step: naive_step(s)))
        grouped.append(timed(ours) / chosen.seeds)
    plain_ms, ours_ms = statistics.median(plain), statistics.median(grouped)
    print(f"\nplain form          {plain_ms:8.1f} ms a seed-step")
    print(f"ours, {chosen.seeds} seeds, {fast:9}{ours_ms:8.1f} ms a seed-step")
    print(f"plain / ours        {plain_ms / ours_ms:8.2f}")

    parts = Parts(ours.run)
    total = sum(timed(ours) for _ in range(chosen.steps))
    for undo in reversed(parts.undo):
        undo()
    print("\nshare of each part of ours, per cent")
    for label, share in sorted(parts.shares(total).items(), key=lambda item: -item[1]):
        print(f"  {label:20}{share:6.1f}")

    test_ms = evaluation_ms(ours)
    evaluation, training = RUN_TEST_IMAGES * test_ms, RUN_STEPS * ours_ms
    print(f"\nevaluation {test_ms:.3f} ms an image and seed: of a whole Split CIFAR-10 run")
    print(f"  {100 * evaluation / (evaluation + training):.1f} per cent of the time,", end=" ")
    print(f"{(evaluation + training) / 60_000:.1f} minutes a seed in all")

    print("\nms a seed-step      seeds 1   seeds 3   seeds 4")
    for precision in dict.fromkeys(["float32", fast]):
        variants = [Ours(data, seeds, precision) for seeds in (1, 3, 4)]
        times = [[] for _ in variants]
        for step in range(WARM_UP + chosen.steps):
            for variant, found in zip(variants, times, strict=True):
                took = timed(variant)
                if step >= WARM_UP:
                    found.append(took / len(variant.run.seeds))
        row = "".join(f"{statistics.median(found):10.1f}" for found in times)
        print(f"{precision:17}{row}")
    print_peak("everything")


if __name__ == "__main__":
    main()
