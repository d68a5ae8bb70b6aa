"""Flatness and principal components of a recorded run's final network (Table VIII, Figures 6 and 7).

    python -m relcl_lib hpcr measure --work-dir FOLDER method=PCR dataset=cifar10 seeds=0 [NAME=VALUE ...]

The network comes from the checkpoint of a sweep with this `--work-dir`; nothing is trained. The record
gets `train_loss`, `loss_difference_all_classes` and `loss_difference_new_classes` as `studies.flatness`
measures them, by `noise_draws` draws of noise. They depend on the run's seed alone, so runs of one seed
and as many draws are paired. It also gets `components_kept`, the least number of leading components
that keep 99 % of the accuracy, and `A_T_components_5` and `_10`, the accuracy with the leading 5 % and
10 % of them.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from relcl_lib.lab.command_line import parse, positive
from relcl_lib.lab.records import Record
from relcl_lib.papers.hpcr.recorded_run import add_metrics, command_line, finished_run, recorded

if TYPE_CHECKING:
    from relcl_lib.papers.hpcr.run import ReplayRun

#: share of the whole accuracy that counts as kept
KEPT = 0.99
#: shares (%) of the components, of Figure 6
SHARES = (5, 10)


def measures(
    run: ReplayRun, draws: int, on_draw: Callable[[int], Any] = lambda done: None
) -> list[dict[str, float]]:
    """For each seed of a finished run the metrics of this command; `draws` of noise on the weights.

    Raises:
        ValueError: the method does not name classes by its head's logits.
    """
    from relcl_lib.papers.hpcr.strategy import Strategy
    from relcl_lib.papers.hpcr.studies import flatness, keep_components

    if type(run.strategy).scorer is not Strategy.scorer:
        method = run.settings.method
        raise ValueError(f"{method} does not score images by its head, which is measured here")
    features = run.network.head.weight.shape[-1]  # (S, C, D)
    flat, found = flatness(run, draws=draws, on_draw=on_draw), []
    for index in range(len(run.seeds)):
        every = keep_components(run, [n / features for n in range(1, features + 1)], index)
        enough = (every >= KEPT * every[-1]).nonzero()[0, 0] + 1
        shares = {f"A_T_components_{s}": math.ceil(s * features / 100) - 1 for s in SHARES}
        found.append(
            {
                "train_loss": float(flat.loss[index]),
                "loss_difference_all_classes": float(flat.all_classes[index]),
                "loss_difference_new_classes": float(flat.new_classes[index]),
                "noise_draws": draws,
                "components_kept": int(enough),
                **{name: 100 * float(every[place]) for name, place in shares.items()},
            }
        )
    return found


def keep_measures(
    run: ReplayRun,
    draws: int,
    results: str | Path | None = None,
    on_draw: Callable[[int], Any] = lambda done: None,
) -> list[Record]:
    """Write `measures` into the record of each seed of a finished run.

    Raises:
        RecordError: a record is missing, or of another training than this network.
    """
    known = recorded(run, results)  # before minutes are spent
    found = [{n: round(v, 6) for n, v in one.items()} for one in measures(run, draws, on_draw)]
    said = f"flatness by {draws:,} draws of noise"
    return add_metrics(known, found, "flatness by", said, results)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command `measure`; return 0."""
    line = command_line("measure", __doc__, checkpoints=True)
    line.add_argument("--draws", type=positive, default=1000, help="of noise on the weights (1000)")
    options = parse(line, arguments)
    run = finished_run(options)

    def tell(done: int) -> None:
        if done % max(1, options.draws // 10) == 0:
            print(f"noise on the weights: {done:,} of {options.draws:,} draws", file=sys.stderr)

    for record in keep_measures(run, options.draws, options.results, tell):
        shown = ("train_loss", "loss_difference_all_classes", "components_kept")
        print(f"seed {record.seed}:", ", ".join(f"{n} {record.metrics[n]:.4g}" for n in shown))
    return 0
