"""Gradients as vectors: of each sample, their cosines, and the projections of GEM and A-GEM."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from relcl_lib.losses.basic import cross_entropy_loss

Loss = Callable[[Tensor, Tensor], Tensor]

#: what GEM adds to the diagonal of G G^T, so that parallel gradients leave it invertible
GEM_RIDGE = 1e-3


def per_sample_gradients(
    network: nn.Module, images: Tensor, labels: Tensor, **options: Any
) -> Tensor:
    """The gradient of each sample's loss: images (n, ...) and labels (n,) to (n, P).

    P is the number of parameters that are trained; `options` are those of `group_gradients`.
    """
    return group_gradients(network, images.unsqueeze(1), labels.unsqueeze(1), **options)


def group_gradients(
    network: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    loss: Loss = cross_entropy_loss,
    chunk_size: int | None = None,
) -> Tensor:
    """The gradient of the mean loss of each group: images (G, n, ...), labels (G, n) to (G, P).

    The network is run in evaluation mode, so that batch norm leaves a sample's gradient to that
    sample, and left as it was. It maps a batch to logits (n, C), or to a tuple that starts with them,
    which `loss` takes with labels (n,). `chunk_size` groups go at a time (None: all), which has no
    effect on the numbers.
    """
    named = {name: p.detach() for name, p in network.named_parameters()}
    trained = {name: named[name] for name, p in network.named_parameters() if p.requires_grad}

    def mean_loss(values: dict[str, Tensor], batch: Tensor, targets: Tensor) -> Tensor:
        out = functional_call(network, {**named, **values}, (batch,))
        return loss(out[0] if isinstance(out, tuple) else out, targets)

    training = [module for module in network.modules() if module.training]
    network.eval()
    try:
        of_groups = vmap(grad(mean_loss), in_dims=(None, 0, 0), chunk_size=chunk_size)
        found = of_groups(trained, images, labels)
    finally:
        for module in training:
            module.training = True
    return torch.cat([found[name].flatten(1) for name in trained], dim=1)


def cosines(left: Tensor, right: Tensor | None = None) -> Tensor:
    """All cosines of gradients: (..., A, P) and (..., B, P) to (..., A, B); `right` is `left` if None.

    0 for a gradient that is 0 (a sample fitted perfectly). Gradients of well fitted samples are tiny,
    so the guard against a norm of 0 is far below the 1e-6 that features are normalised with.
    """
    unit = F.normalize(left, dim=-1)
    return unit @ (unit if right is None else F.normalize(right, dim=-1)).transpose(-1, -2)


def flatten_gradients(
    gradients: Iterable[Tensor | None], parameters: Iterable[nn.Parameter]
) -> Tensor:
    """Gradients as one vector (P,), with 0 for None (unused heads, layers not reached)."""
    pairs = zip(gradients, parameters, strict=True)
    return torch.cat([(torch.zeros_like(p) if g is None else g).ravel() for g, p in pairs])


def write_gradient(parameters: Iterable[nn.Parameter], gradient: Tensor) -> None:
    """Put a vector (P,) in the place of the gradients, as `flatten_gradients` laid them out."""
    parameters = list(parameters)
    parts = gradient.split([p.numel() for p in parameters])
    for parameter, part in zip(parameters, parts, strict=True):
        parameter.grad = part.view_as(parameter).clone()


def project_agem(gradient: Tensor, reference: Tensor) -> Tensor:
    """A-GEM: where g conflicts with the memory's mean gradient, take that part out of g.

    g - (<g, r> / <r, r>) r if <g, r> < 0, else g; (..., P) both, each by itself.
    """
    product = torch.linalg.vecdot(gradient, reference).unsqueeze(-1)
    # By choice, not by branch: a GPU need not be waited for.
    length = torch.linalg.vecdot(reference, reference).unsqueeze(-1)
    share = torch.where(product < 0, product / length, 0.0)
    return gradient - share * reference


def project_gem(gradient: Tensor, references: Tensor, *, margin: float = 0.0) -> Tensor:
    """GEM (Eq. 2): the vector closest to g whose products with all past tasks' gradients are >= 0.

    Solves the dual min_v v^T (G G^T) v / 2 + (G g)^T v, v >= margin, and returns G^T v + g; g itself
    if nothing conflicts. With v = margin + u and the Cholesky factor L of G G^T it is a non-negative
    least squares problem in u, as large as there are tasks. g is (P,), G (t, P), a row for each past
    task; the margin is GEM's memory strength gamma.

    As released, a ridge on the diagonal of G G^T keeps it invertible; here it is `GEM_RIDGE` times the
    square of the longest row. So a product may stay below 0 by about a thousandth of that square, which
    for much shorter rows is no small part of theirs.

    Raises:
        ValueError: a product is not finite.
    """
    from scipy.optimize import nnls

    products = references @ gradient
    if bool((products >= 0).all()):
        return gradient
    if not bool(torch.isfinite(products).all()):
        raise ValueError(
            "GEM cannot project: a gradient is not finite, the training has diverged; use a "
            "smaller learning_rate"
        )
    # Scaled to the largest row, so that the ridge means the same whatever the gradients' length.
    gram = (references @ references.T).double().cpu().numpy()
    scale = gram.diagonal().max()
    gram = gram / scale + GEM_RIDGE * np.eye(len(gram))
    linear = products.double().cpu().numpy() / scale + gram.sum(1) * margin
    upper = np.linalg.cholesky(gram).T
    solution = nnls(upper, -np.linalg.solve(upper.T, linear))[0] + margin
    return gradient + torch.from_numpy(solution).to(references) @ references
