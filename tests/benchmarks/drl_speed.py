"""The discriminative loss against its pairwise form, in a training step, and gradients of samples.

Run by hand, on a machine that does nothing else:

    python tests/benchmarks/drl_speed.py [--threads 1] [--device cpu] [--network reduced|resnet50]

Times are processor seconds on the CPU (wall seconds on a GPU), warm, the best of the repeats; every
ratio is of two figures of one run. `loss`: value and gradient on the representations of the network,
O(N D) against the N x N inner products, and the bytes held at most at once (both hold the gradients
of the maps, which are far larger than N x N). `step`: a whole training step with the loss over one
without. `gradients`: the cosines of per-sample gradients by vmap against one backward pass a sample.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import torch
from benchmarking import in_turn, options
from torch import Tensor

from relcl_lib.continual.gradients import cosines, per_sample_gradients
from relcl_lib.lab.runtime import device_name, resolve_device, resolve_precision
from relcl_lib.losses import cross_entropy_loss, discriminative_loss
from relcl_lib.models.taps import RESNET50, TappedNetwork, tapped_network


def pairwise_loss(representations: Sequence[Tensor], labels: Tensor, variant: str) -> Tensor:
    """The loss by its N x N products, one representation after the other."""
    same = (labels.unsqueeze(0) == labels.unsqueeze(1)).float()
    eye, total = torch.eye(len(labels), device=labels.device), 0.0
    for h in representations:
        products = h.float() @ h.float().T
        if variant == "released":
            total = total + (products * (1 - same) - products * (eye - same)).mean() / 2
        else:
            unlike, like = products * (1 - same), products * (same - eye)
            total = total + unlike.sum() / (1 - same).sum() - like.sum() / (same - eye).sum()
    return total


FORMS = (discriminative_loss, pairwise_loss)


def best(
    forms: Mapping[str, Callable[[], object]], repeats: int, device: torch.device
) -> list[float]:
    """Return the least milliseconds of each form."""

    def on_the_gpu() -> float:
        torch.cuda.synchronize()
        return time.perf_counter()

    clock = on_the_gpu if device.type == "cuda" else time.process_time
    return [1000 * min(times) for times in in_turn(forms, repeats, clock).values()]


def peak_bytes(action: Callable[[], object], device: torch.device) -> int:
    """Return the bytes an action holds at most at once, beyond what is there before."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        action()
        return torch.cuda.max_memory_allocated() - before
    with torch.profiler.profile(profile_memory=True) as profile:
        action()
    held = peak = 0
    for event in profile.profiler.kineto_results.events():
        if event.name() == "[memory]":
            held += event.nbytes()
            peak = max(peak, held)
    return peak


def network_of(kind: str, taps: str, precision: torch.dtype) -> tuple[TappedNetwork, int]:
    """Return the network and the side of its images."""
    if kind == "reduced":
        return tapped_network(
            "reduced_resnet18", 10, (3, 32, 32), taps=taps, precision=precision
        ), 32
    from transformers import ResNetConfig, ResNetForImageClassification

    network = ResNetForImageClassification(ResNetConfig(num_labels=50))
    return TappedNetwork(network, RESNET50, taps, precision), 128


def loss_table(chosen: argparse.Namespace, device: torch.device) -> None:
    """Print the loss alone, on all representations."""
    network, side = network_of(chosen.network, "all", torch.float32)
    network = network.to(device).eval()
    print("variant   batch | fast ms | pairwise ms | ratio | fast MiB | pairwise MiB")
    for batch in chosen.batches:
        labels = torch.arange(batch, device=device) % 10
        with torch.no_grad():
            _, found = network(torch.rand(batch, 3, side, side, device=device))
        maps = [h.contiguous().requires_grad_() for h in found]
        for variant in ("released", "paper"):

            def run(form: Callable, maps=maps, labels=labels, variant=variant) -> None:
                torch.autograd.grad(form(maps, labels, variant=variant), maps)

            forms = {form.__name__: partial(run, form) for form in FORMS}
            times = best(forms, chosen.repeats, device)
            peaks = [peak_bytes(form, device) / 2**20 for form in forms.values()]
            print(
                f"{variant:9s} {batch:5d} | {times[0]:7.2f} | {times[1]:11.2f} | "
                f"{times[1] / times[0]:5.2f} | {peaks[0]:8.1f} | {peaks[1]:8.1f}",
                flush=True,
            )


def training_step(
    network: TappedNetwork,
    optimizer: torch.optim.Optimizer,
    images: Tensor,
    labels: Tensor,
    weight: float,
    variant: str,
) -> None:
    """Make one update, with the loss or (weight 0) without it."""
    logits, found = network(images)
    loss = cross_entropy_loss(logits, labels)
    if weight:
        loss = loss + weight * discriminative_loss(found, labels, variant=variant)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()


def step_table(chosen: argparse.Namespace, device: torch.device) -> None:
    """Print a training step with the loss over one without, on the logits and on all taps."""
    precision = resolve_precision(chosen.precision, device)
    print(f"network in {precision}")
    print("taps   variant   batch | plain ms | with DRL ms | ratio")
    for taps in ("logits", "all"):
        network, side = network_of(chosen.network, taps, precision)
        network = network.to(device).train()
        optimizer = torch.optim.SGD(network.parameters(), lr=1e-3)
        for batch in chosen.step_batches:
            images = torch.rand(batch, 3, side, side, device=device)
            labels = torch.arange(batch, device=device) % 10
            step = partial(training_step, network, optimizer, images, labels)
            for variant in ("released", "paper"):
                forms = {str(weight): partial(step, weight, variant) for weight in (0.0, 1e-9)}
                plain, with_loss = best(forms, chosen.repeats, device)
                print(
                    f"{taps:6s} {variant:9s} {batch:5d} | {plain:8.1f} | {with_loss:11.1f} | "
                    f"{with_loss / plain:5.3f}",
                    flush=True,
                )


def gradient_table(chosen: argparse.Namespace, device: torch.device) -> None:
    """Print the cosines of the gradients of 200 samples of the MNIST network."""
    network = tapped_network("mlp", 10, (1, 28, 28)).to(device)
    images = torch.rand(200, 1, 28, 28, device=device)
    labels = torch.arange(200, device=device) % 10

    def one_by_one() -> Tensor:
        rows = []
        for image, label in zip(images, labels, strict=True):
            loss = cross_entropy_loss(network(image[None])[0], label[None])
            found = torch.autograd.grad(loss, list(network.parameters()))
            rows.append(torch.cat([g.ravel() for g in found]))
        return cosines(torch.stack(rows))

    def by_vmap() -> Tensor:
        return cosines(per_sample_gradients(network, images, labels))

    torch.testing.assert_close(by_vmap(), one_by_one(), rtol=1e-3, atol=1e-4)
    fast, slow = best({"vmap": by_vmap, "one by one": one_by_one}, chosen.repeats, device)
    print(
        f"gradients of 200 samples: vmap {fast:.0f} ms, one by one {slow:.0f} ms, {slow / fast:.1f} x"
    )


def main() -> None:
    """Measure and print the tables."""
    parser = options(__doc__, threads=1, repeats=7)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--network", choices=("reduced", "resnet50"), default="reduced")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--batches", type=int, nargs="+", default=[32, 64, 128, 256, 512])
    parser.add_argument("--step-batches", type=int, nargs="+", default=[16, 32, 128])
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    torch.manual_seed(0)
    device = resolve_device(chosen.device)
    print(device_name(device))
    gradient_table(chosen, device)
    step_table(chosen, device)
    loss_table(chosen, device)


if __name__ == "__main__":
    main()
