"""Accuracy and features of trained networks: batch norm folded away, classes unseen left out."""

from __future__ import annotations

import torch
from torch import Tensor

from relcl_lib.models.resnet import ReplayNetwork, fold_batch_norm, select_seed

#: images a pass; no effect on the numbers. Small batches stay in a CPU's cache, large fill a GPU.
TEST_BATCH = {"cpu": 50, "cuda": 500}


@torch.inference_mode()
def task_accuracies(
    network: ReplayNetwork,
    images: Tensor,
    labels: Tensor,
    tasks: list[Tensor],
    seen: Tensor,
) -> Tensor:
    """Return the accuracy on each task's test set: argmax over the classes seen.

    Args:
        network: S networks as one; stays as it is, in training mode too.
        images: (N, 3, H, W) uint8; labels: (N,) int64, on the network's device.
        tasks: for each task, the positions of its test images (S, n), one row a seed.
        seen: (S, C) bool.

    Returns:
        (S, len(tasks)) in [0, 1], on the CPU.
    """
    folded = fold_batch_norm(network)
    scores = []
    for positions in tasks:
        positions = positions.to(images.device)
        correct = torch.zeros(len(seen), device=images.device)
        for batch in positions.split(TEST_BATCH[images.device.type], dim=1):
            logits, _ = folded(images[batch].float() / 255)
            predicted = logits.masked_fill(~seen.unsqueeze(1), -torch.inf).argmax(-1)
            correct += (predicted == labels[batch]).sum(1)
        scores.append(correct / positions.shape[1])
    return torch.stack(scores, dim=1).cpu()


@torch.inference_mode()
def features_and_proxies(
    network: ReplayNetwork, images: Tensor, seed_index: int = 0
) -> tuple[Tensor, Tensor]:
    """Return features (n, D) of uint8 images (n, 3, H, W) and the head's rows (C, D), on the CPU."""
    alone = fold_batch_norm(select_seed(network, seed_index))
    batches = images.split(TEST_BATCH[images.device.type])
    found = [alone(batch.unsqueeze(0).float() / 255)[1][0] for batch in batches]
    return torch.cat(found).cpu(), alone.head.weight[0].cpu()
