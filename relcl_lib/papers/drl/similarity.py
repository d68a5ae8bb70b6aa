"""DRL's Figures 1 and 2: how alike samples are in gradients, in pixels and in representations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from relcl_lib.continual.gradients import Loss, cosines, per_sample_gradients
from relcl_lib.data.core50 import SessionData
from relcl_lib.data.images import ImageData
from relcl_lib.lab.records import Record
from relcl_lib.lab.runtime import make_generator
from relcl_lib.losses import cross_entropy_loss
from relcl_lib.models.taps import TappedNetwork, tapped_network
from relcl_lib.papers.drl.parameters import DrlParameters
from relcl_lib.papers.drl.run import DrlRun

#: the pairs of digits of Figure 1
FIGURE1_PAIRS = ((7, 9), (0, 1))
KINDS = ("features", "representations")
#: pairs of samples of which a record keeps the cosines, of different classes and of one
PAIRS_KEPT = 250


def pair_name(kind: str, same: bool) -> str:
    """What the cosines of a kind are called in records."""
    return f"{kind}_{'same' if same else 'different'}"


def sigmoid_cross_entropy_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean binary cross-entropy over all outputs: (..., B, C), (..., B) to (...)."""
    columns = torch.arange(logits.shape[-1], device=logits.device)
    targets = (labels.unsqueeze(-1) == columns).to(logits.dtype)
    each = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    return each.mean((-2, -1))


#: how the classifiers of Figure 1 are trained, which the paper does not say: `written` takes "binary
#: classifiers" at its word, `closest` is nearer to the accuracies printed (all ten outputs, as in
#: the author's earlier code)
CLASSIFIERS: dict[str, tuple[int, Loss]] = {
    "written": (2, cross_entropy_loss),
    "closest": (10, sigmoid_cross_entropy_loss),
}


@dataclass(frozen=True)
class Similarities:
    """Cosines between n samples: gradients, features (pixels) and representations, each (n, n).

    `same` (n, n) says which pairs are of one class. A pair counts once, i < j.
    """

    gradients: Tensor
    features: Tensor
    representations: Tensor
    same: Tensor

    def pairs(self, kind: str, same: bool) -> Tensor:
        """The cosines (pairs,) of a kind (a field) of the pairs of one class, or of different ones."""
        return getattr(self, kind)[(self.same == same).triu(1)]

    def sample(self, kinds: Sequence[str]) -> dict[str, list[float]]:
        """Of each kind the cosines of some pairs, the same ones of all kinds: what a record keeps.

        At most `PAIRS_KEPT` of different classes and as many of one, evenly spaced, by names such as
        `gradients_same`.
        """
        found = {}
        for same in (False, True):
            count = int((self.same == same).triu(1).sum())
            chosen = torch.linspace(0, count - 1, min(count, PAIRS_KEPT)).long()
            for kind in kinds:
                values = self.pairs(kind, same)[chosen].double()
                found[pair_name(kind, same)] = [round(value, 3) for value in values.tolist()]
        return found

    def correlation(self, kind: str, same: bool) -> float:
        """Pearson's r of gradient cosines and those of `kind`; NaN without spread."""
        both = torch.stack([self.pairs("gradients", same), self.pairs(kind, same)]).double()
        return float(torch.corrcoef(both)[0, 1])


@torch.no_grad()
def joined_representations(network: TappedNetwork, images: Tensor) -> Tensor:
    """All representations of a network, concatenated: images (n, C, H, W) to (n, sum of D_l).

    Computed in float32 and in evaluation mode; the network is left as it was.
    """
    was_training = network.training
    network.eval()
    with network.in_float32():
        _, representations = network(images)
    network.train(was_training)
    return torch.cat(representations, dim=1)


def similarities(
    network: TappedNetwork,
    images: Tensor,
    labels: Tensor,
    *,
    loss: Loss = cross_entropy_loss,
) -> Similarities:
    """Compare samples by the gradients of their losses, by their pixels and by their representations.

    A sample's representation is all of the network's, concatenated as they are (not brought to one
    length each), so the longest ones weigh most. `images` (n, C, H, W) are as the network takes them.
    Everything is computed in float32 and in evaluation mode, however the network was trained.
    """
    with network.in_float32():
        gradients = per_sample_gradients(network, images, labels, loss=loss)
    joined = joined_representations(network, images)
    parts = (cosines(v).cpu() for v in (gradients, images.flatten(1), joined))
    return Similarities(*parts, (labels.unsqueeze(0) == labels.unsqueeze(1)).cpu())


@dataclass(frozen=True)
class RecordedSimilarities:
    """The cosines that records keep, those of several seeds together, drawn as `Similarities` are."""

    records: tuple[Record, ...]

    def pairs(self, kind: str, same: bool) -> Tensor:
        """The cosines (pairs,) of a kind of the pairs of one class, or of different ones."""
        return torch.tensor([v for r in self.records for v in r.curves[pair_name(kind, same)]])

    def correlation(self, kind: str, same: bool) -> float:
        """Pearson's r over all pairs, the mean over seeds."""
        values = [record.metrics[f"r_{pair_name(kind, same)}"] for record in self.records]
        return sum(values) / len(values)


def separable(found: Similarities | RecordedSimilarities, kind: str) -> bool:
    """Whether every pair of one class is more alike than every pair of different ones."""
    return bool(found.pairs(kind, True).min() > found.pairs(kind, False).max())


# --- Figure 1 ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class PairStudy:
    """One pair of classes of Figure 1: test accuracy in [0, 1] and the cosines of test samples."""

    accuracy: float
    similarities: Similarities

    def metrics(self) -> dict[str, float]:
        """The four correlations, and the accuracy in per cent."""
        found = {
            f"r_{pair_name(kind, same)}": self.similarities.correlation(kind, same)
            for kind in KINDS
            for same in (False, True)
        }
        return {**found, "test_acc": 100 * self.accuracy}

    def curves(self) -> dict[str, list[float]]:
        """Cosines of some pairs, for the scatter."""
        return self.similarities.sample(("gradients", *KINDS))


def pair_study(
    data: ImageData,
    classes: tuple[int, int],
    seed: int = 0,
    *,
    classifier: str = "closest",
    samples: int = 100,
    batch_size: int = 100,
    epochs: int = 1,
    learning_rate: float = 1e-3,
) -> PairStudy:
    """Train a small network to tell two classes apart, then compare test samples (Figure 1).

    Pixels are scaled to [0, 1] and not standardised. `classifier` is a key of `CLASSIFIERS`, `samples`
    counts both classes together. Adam's batch size, epochs and rate are not stated in the paper.
    """
    outputs, loss = CLASSIFIERS[classifier]
    outputs = max(outputs, data.n_classes if outputs > 2 else 2)
    splits = []
    for images, labels in (
        (data.train_images, data.train_labels),
        (data.test_images, data.test_labels),
    ):
        chosen = torch.isin(labels, torch.tensor(classes)).nonzero()[:, 0]
        targets = labels[chosen]
        # Two outputs are numbered 0 and 1, ten keep the digits' own places.
        targets = (targets == classes[1]).long() if outputs == 2 else targets
        splits += [images[chosen].float() / 255, targets]
    train_images, train_labels, test_images, test_labels = splits
    network = tapped_network("mlp", outputs, data.image_shape, seed=seed)
    optimizer = torch.optim.Adam(network.parameters(), lr=learning_rate)
    for epoch in range(epochs):
        generator = make_generator(seed, "data order", epoch)
        order = torch.randperm(len(train_labels), generator=generator)
        for batch in order.split(batch_size):
            optimizer.zero_grad(set_to_none=True)
            loss(network(train_images[batch])[0], train_labels[batch]).backward()
            optimizer.step()
    with torch.inference_mode():
        predicted = network(test_images)[0].argmax(1)
    accuracy = float((predicted == test_labels).float().mean())
    drawn = torch.randperm(len(test_labels), generator=make_generator(seed, "samples"))[:samples]
    found = similarities(network, test_images[drawn], test_labels[drawn], loss=loss)
    return PairStudy(accuracy, found)


# --- Figure 2 ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class DisjointStudy:
    """A network after the Disjoint stream: accuracy in [0, 1], cosines, length of representations.

    `length` is the mean over samples of the norm of all representations, concatenated.
    """

    accuracy: float
    similarities: Similarities
    length: float

    def metrics(self) -> dict[str, float]:
        """Means and standard deviations of the four distributions, and what else is kept."""
        found = {"test_acc": 100 * self.accuracy, "length": self.length}
        for kind in ("representations", "gradients"):
            for same in (False, True):
                values = self.similarities.pairs(kind, same)
                name = pair_name(kind, same)
                found |= {name: float(values.mean()), f"{name}_sd": float(values.std())}
        return found

    def curves(self) -> dict[str, list[float]]:
        """Cosines of some pairs, for the densities."""
        return self.similarities.sample(("gradients", "representations"))


def disjoint_run(data: SessionData, seed: int = 0, weight: float = 0.0, **changes: Any) -> DrlRun:
    """An untrained run of Figure 2: BER on the Disjoint stream, lambda = `weight`.

    The paper does not state the setting; see `parameters.TRACKS` for the one used. `changes` are
    parameters of the run: data other than MNIST, as its stand-in, needs its name as `dataset`.
    """
    given = {"dataset": "mnist", "track": "Disjoint", "method": "BER", **changes}
    parameters = DrlParameters.create({**given, "drl_weight": weight}, profile="full")
    return DrlRun(parameters, data, seed)


def disjoint_findings(run: DrlRun, samples: int = 150) -> DisjointStudy:
    """Train a run of `disjoint_run` and compare test samples of all classes.

    The samples depend on the run's seed alone.
    """
    run.train()
    test = run.stream.tests[0]
    drawn = torch.randperm(len(test), generator=make_generator(run.seed, "samples"))[:samples]
    images, labels = run.pixels(test[drawn]), run.labels_of(test[drawn])
    found = similarities(run.network, images, labels)
    length = float(joined_representations(run.network, images).norm(dim=1).mean())
    return DisjointStudy(run.test_accuracy(), found, length)


def disjoint_study(
    data: SessionData,
    seed: int = 0,
    *,
    weights: Sequence[float] = (0.0, 1e-3),
    samples: int = 150,
    **changes: Any,
) -> list[DisjointStudy]:
    """Train the Disjoint stream without and with the discriminative loss, and compare (Figure 2).

    `weights` are lambda of each run, `changes` as for `disjoint_run`; all share the test samples.
    """
    runs = (disjoint_run(data, seed, weight, **changes) for weight in weights)
    return [disjoint_findings(run, samples) for run in runs]
