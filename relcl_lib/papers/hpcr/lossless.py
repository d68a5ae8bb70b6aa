"""Accuracy on lossless test images, estimated for a recorded run whose test images are JPEG copies.

    python -m relcl_lib hpcr lossless --images FILE --work-dir FOLDER method=HPCR dataset=cifar10 seeds=0 [NAME=VALUE ...]

FILE holds official test images without loss, from the first on, in the hub's parquet layout. The
network comes from the checkpoint of a sweep with this `--work-dir`; nothing is trained. It classifies
these images and their copies, and A_T moves by the mean of lossless - copy (a control variate). The
record gets the metrics `A_T_lossless`, `A_T_lossless_change` and, of that mean, the standard error
`A_T_lossless_error`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from relcl_lib.data.download import DataFormatError
from relcl_lib.lab.command_line import parse
from relcl_lib.lab.records import Record
from relcl_lib.papers.hpcr.recorded_run import add_metrics, command_line, finished_run, recorded
from relcl_lib.papers.hpcr.tables import LOSSLESS

if TYPE_CHECKING:
    from torch import Tensor

    from relcl_lib.papers.hpcr.run import ReplayRun

#: grey levels by which an image and its copy differ in the mean at most; two images differ by more
FARTHEST = 25.0


def read_lossless(path: Path, run: ReplayRun) -> tuple[Tensor, Tensor]:
    """Lossless test images (n, 3, H, W) uint8, and the places (n,) of their copies in the run's.

    A copy may list its images class by class: the k-th official image of a class is its k-th there.

    Raises:
        DataFormatError: the file cannot be read, or a copy is another image.
    """
    import torch

    from relcl_lib.data.image_files import read_parquet

    copies, n_classes = run.test_images.cpu(), run.data.n_classes
    columns = ("label", "fine_label")
    found = read_parquet([path], tuple(copies.shape[1:]), columns, n_classes, path.name)
    images, labels = torch.from_numpy(found[0]), torch.from_numpy(found[1])
    places = torch.empty_like(labels)
    for c in range(n_classes):
        own, there = (labels == c).nonzero()[:, 0], (run.test_labels.cpu() == c).nonzero()[:, 0]
        if len(own) > len(there):
            problem = f"{len(own)} images of class {c}, and the test set has {len(there)}"
            raise DataFormatError(path, problem, "Take the first images of the same test set")
        places[own] = there[: len(own)]
    apart = (images.float() - copies[places].float()).abs().mean((1, 2, 3))
    if (apart > FARTHEST).any():
        first = int((apart > FARTHEST).nonzero()[0, 0])
        problem = f"record {first} is no other encoding of test image {int(places[first])}"
        raise DataFormatError(path, problem, "Take the first images of the same test set, in order")
    return images, places


def right(run: ReplayRun, images: Tensor, labels: Tensor) -> Tensor:
    """Whether a finished run's networks name the labels (n,) of images (n, 3, H, W): (S, n)."""
    import torch

    from relcl_lib.models.resnet import fold_batch_norm
    from relcl_lib.papers.hpcr.run import TEST_BATCH

    with torch.inference_mode():
        score = run.strategy.scorer(fold_batch_norm(run.network))
        unseen = ~run.seen(run.total - 1).unsqueeze(1)
        named = []
        for batch in images.to(run.device).split(TEST_BATCH[run.device.type]):
            scores = score((batch.float() / 255).expand(len(run.seeds), -1, -1, -1, -1))
            named.append(scores.masked_fill(unseen, -torch.inf).argmax(-1))
        return torch.cat(named, 1).cpu() == labels.cpu()


def estimates(run: ReplayRun, images: Tensor, places: Tensor) -> list[tuple[float, float]]:
    """For each seed the change of A_T in per cent on lossless images, and its standard error."""
    labels = run.test_labels[places.to(run.device)]
    copies = run.test_images[places.to(run.device)]
    change = 100 * (right(run, images, labels).double() - right(run, copies, labels).double())
    error = change.std(1) / len(labels) ** 0.5
    return list(zip(change.mean(1).tolist(), error.tolist(), strict=True))


def keep_estimates(run: ReplayRun, path: Path, results: str | Path | None = None) -> list[Record]:
    """Write the estimate into the record of each seed of a finished run.

    Raises:
        RecordError: a record is missing, or of another training than this network.
    """
    images, places = read_lossless(path, run)
    known, found = recorded(run, results), []
    for record, (change, error) in zip(known, estimates(run, images, places), strict=True):
        values = (record.metrics["A_T"] + change, change, error)
        found.append({n: round(v, 4) for n, v in zip(LOSSLESS, values, strict=True)})
    said = f"A_T_lossless by the first {len(places):,} test images"
    return add_metrics(known, found, "A_T_lossless", said, results)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command `lossless`; return 0."""
    line = command_line("lossless", __doc__, checkpoints=True)
    images = "the first official test images without loss, a parquet file"
    line.add_argument("--images", type=Path, required=True, metavar="FILE", help=images)
    options = parse(line, arguments)
    for record in keep_estimates(finished_run(options), options.images, options.results):
        number, change, error = (record.metrics[name] for name in LOSSLESS)
        print(f"seed {record.seed}: {number:.2f}, change {change:+.2f}, error {error:.2f}")
    return 0
