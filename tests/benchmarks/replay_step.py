"""Time one HPCR training step: the library's form against a plain one, in one run. Run by hand.

python tests/benchmarks/replay_step.py [--data FOLDER] [--seeds 3] [--repeats 20] [--clock cpu]
"""

import contextlib
import datetime
import itertools
import statistics
from collections import defaultdict
from unittest import mock

import torch
from benchmarking import CLOCKS, in_turn, options
from gratings import gratings
from naive_replay import NaiveStep, pcd_loss, pcr_loss, scd_loss
from peak import peak_mib

from relcl_lib.data.images import load_images
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
#: Split CIFAR-10: steps of a run, and test images seen when task i is followed by i + 1 test sets.
RUN_STEPS, RUN_TEST_IMAGES = 5000, 2000 * (1 + 2 + 3 + 4 + 5)


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


@contextlib.contextmanager
def timed_parts(run, clock):
    """Inside the block the seconds of each part of the library's step are added up."""
    totals = defaultdict(float)

    def timer(function, label):
        def call(*given, **named):
            start = clock()
            result = function(*given, **named)
            totals[label] += clock() - start
            return result

        return call

    places = {
        "retrieval": (run.strategy, "retrieve"),
        "loss": (run.strategy, "loss"),
        "augmentation": (replay, "two_views"),
        "forward": (run.network, "forward"),
        "backward": (torch.Tensor, "backward"),
        "update": (run.optimizer, "step"),
        "memory write": (run.memory, "add"),
    }
    with contextlib.ExitStack() as stack:
        for label, (owner, name) in places.items():
            timed = timer(getattr(owner, name), label)
            stack.enter_context(mock.patch.object(owner, name, timed))
        yield totals


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


def print_peak(label):
    print(f"peak memory, {label}: {peak_mib():.0f} MB")


def evaluation_ms(ours, clock, images=500):
    """Return milliseconds a test image and seed, on ``images`` of the first task's."""
    run, seeds = ours.run, len(ours.run.seeds)
    counted = min(images, run.streams[0].sizes()[0][1])
    for stream in run.streams:
        object.__setattr__(stream[0], "test_indices", stream[0].test_indices[:counted])
    times = in_turn({"": lambda: run.hits(0)}, 3, clock)[""]
    return 1000 * statistics.median(times) / (counted * seeds)


def main():
    parser = options(__doc__, repeats=20)
    parser.add_argument("--data", help="folder with CIFAR-10; gratings without it")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument(
        "--clock",
        choices=CLOCKS,
        default="wall",
        help="cpu: time on the processor, for a machine others use too (with --threads 1)",
    )
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    clock = CLOCKS[chosen.clock]
    check_same_losses()

    if chosen.data:
        data = load_images("cifar10", chosen.data, download=False)
    else:  # what they show changes nothing in the cost of a step
        data = gratings(400, 50, classes=10, side=32)
    fast = "bfloat16" if has_fast_bfloat16(CPU) else "float32"
    print(f"{datetime.date.today()}, {device_name(CPU)}, torch {torch.__version__}")
    print(f"{data.source} images, 10 + 10 images a step, two views, 32x32, width 20, ", end="")
    print(f"{chosen.clock} time")

    def medians(forms):
        times = in_turn(forms, chosen.repeats, clock, WARM_UP)
        return {name: 1000 * statistics.median(found) for name, found in times.items()}

    ours = Ours(data, chosen.seeds, fast)
    for _ in range(WARM_UP):
        ours()
    print_peak(f"ours ({chosen.seeds} seeds, {fast})")

    naive, steps = NaiveStep(data.n_classes), itertools.count()
    images, labels = data.train_images.float() / 255, data.train_labels
    order = torch.randperm(len(labels))

    def naive_step():
        step = next(steps)
        batch = order[10 * step % (len(order) - 10) :][:10]
        naive(images[batch], labels[batch], step)

    plain_ms, ours_ms = medians({"plain": naive_step, "ours": ours}).values()
    ours_ms /= chosen.seeds
    print(f"\nplain form          {plain_ms:8.1f} ms a seed-step")
    print(f"ours, {chosen.seeds} seeds, {fast:9}{ours_ms:8.1f} ms a seed-step")
    print(f"plain / ours        {plain_ms / ours_ms:8.2f}")

    with timed_parts(ours.run, clock) as parts:
        total = sum(in_turn({"": ours}, chosen.repeats, clock, warm=0)[""])
    parts["data and the rest"] = total - sum(parts.values())  # what lies between the parts
    print("\nshare of each part of ours, per cent")
    for label, seconds in sorted(parts.items(), key=lambda item: -item[1]):
        print(f"  {label:20}{100 * seconds / total:6.1f}")

    test_ms = evaluation_ms(ours, clock)
    evaluation, training = RUN_TEST_IMAGES * test_ms, RUN_STEPS * ours_ms
    print(f"\nevaluation {test_ms:.3f} ms an image and seed: of a whole Split CIFAR-10 run")
    print(f"  {100 * evaluation / (evaluation + training):.1f} per cent of the time,", end=" ")
    print(f"{(evaluation + training) / 60_000:.1f} minutes a seed in all")

    print("\nms a seed-step      seeds 1   seeds 3   seeds 4")
    for precision in dict.fromkeys(["float32", fast]):
        found = medians({seeds: Ours(data, seeds, precision) for seeds in (1, 3, 4)})
        print(f"{precision:17}" + "".join(f"{ms / seeds:10.1f}" for seeds, ms in found.items()))
    print_peak("everything")


if __name__ == "__main__":
    main()
