"""Extended cross attention by products of lines against gathered keys, and documents a second.

Run by hand, on a machine that does nothing else:

    python tests/benchmarks/docre_speed.py [--threads 2] [--entities 20 42 60] [--documents 4]

The gathered form is the one the release is described with: for each pair, the keys and values of its
four lines and of its own cell are copied into tensors (L, 4, N + 1, d / 4), and each head is a
product of one query with its own keys. Both forms have the same weights and give the same numbers
(asserted before anything is timed). Times are processor seconds of one layer's forward and backward
pass, best of the repeats; memory is the highest resident set of a process of its own above that of
the same process before the pass. What counts is the ratio of the two forms in one run.

The largest training step, one document of 60 entities, is made with crossed attention and with that
over all pairs ("w/o ECA"); a process that needs more than 6 GiB for it ends the script with an error.

Training and inference: whole documents a second with an encoder of random weights (they do not
change what a pass costs), on the generated documents, or with `--encoder` on one's own.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import time

import torch
from benchmarking import in_turn, options
from pair_matrices import pair_matrix
from peak import peak_mib
from torch import Tensor

from relcl_lib.lab.runtime import device_name
from relcl_lib.models.atlop import Atlop, AtlopConfig
from relcl_lib.models.pair_attention import CrossedAttention, PairMatrix
from relcl_lib.models.pair_inference import ATTENTIONS, InferenceConfig, PairInference
from relcl_lib.models.window_encoder import WindowEncoder
from relcl_lib.papers.docre_ii.network import DocreNetwork, stage_loss
from relcl_lib.papers.docre_ii.parameters import DocreParameters
from relcl_lib.papers.docre_ii.run import DocreRun, load_data
from relcl_lib.text.document_tokens import DocumentBatch

SIZE = 512
#: what a training step on one document of 60 entities may take, the whole process, in GiB
MOST_GIB = 6.0


class GatheredAttention(CrossedAttention):
    """The same attention with keys and values copied for each pair."""

    def forward(self, queries: Tensor, memory: Tensor, cells: PairMatrix) -> Tensor:
        """Return (p, size), as the form it is compared with."""
        n, p = cells.n, len(cells.pairs)
        document, s, o = cells.pairs.unbind(1)
        valid = cells.valid()
        m = torch.arange(n, device=s.device).expand(p, n)
        d, a, b = (x.unsqueeze(1).expand(p, n) for x in (document, s, o))
        lines = torch.stack(
            [
                torch.stack([d, x, y], -1)
                for x, y in ((a, m), (m, b), (m, a), (b, m))  # heads 1 to 4
            ],
            dim=1,
        )  # (p, 4, n, 3)
        own = torch.stack([document, s, o], -1)[:, None, None].expand(p, 4, 1, 3)
        where = torch.cat([own, lines], dim=2).unbind(-1)  # each (p, 4, n + 1)
        seen = valid[where]
        itself = (lines == own).all(-1)
        itself[:, 2:] = False
        seen[..., 1:] &= ~itself
        head = torch.arange(4, device=s.device).view(1, 4, 1)
        k, v = (
            cells.fill(layer(memory).unflatten(-1, (4, -1)))[(*where, head)]
            for layer in (self.key, self.value)
        )  # (p, 4, n + 1, d / 4)
        q = self.query(queries).unflatten(-1, (4, -1)) * self.scale
        scores = (k @ q.unsqueeze(-1)).squeeze(-1)
        scores[..., 0] += self.own_bonus
        weights = self.dropout(scores.masked_fill(~seen, -math.inf).softmax(-1))
        return self.dropout(self.out((weights.unsqueeze(2) @ v).flatten(1)))


FORMS = {"lines": CrossedAttention, "gathered": GatheredAttention}


def build(form: str, cells: PairMatrix) -> tuple[CrossedAttention, Tensor, Tensor]:
    """Return a layer with the same weights in every form, queries and memory."""
    torch.manual_seed(0)
    layer = FORMS[form](SIZE, SIZE, dropout=0.0)
    queries, memory = (torch.randn(len(cells.pairs), SIZE, requires_grad=True) for _ in range(2))
    return layer, queries, memory


def attention_cost(form: str, documents: int, n: int, repeats: int) -> dict[str, float]:
    """Measure one form in this process: best seconds, and the growth of the peak in MiB."""
    cells = pair_matrix([n] * documents)
    layer, queries, memory = build(form, cells)
    # Warm: thread pools, libraries.
    layer(queries[:2], memory[:2], pair_matrix([2])).sum().backward()
    before = peak_mib()
    once = {form: lambda: layer(queries, memory, cells).square().sum().backward()}
    times = in_turn(once, repeats, time.process_time, warm=0)[form]
    return {"seconds": min(times), "MiB": peak_mib() - before}


def check_forms(n: int = 7) -> None:
    """Stop unless both forms give the same numbers and gradients, holes and padding included."""
    holes = torch.rand(2, n, n, generator=torch.manual_seed(1)) < 0.7
    cells = pair_matrix([n, 4], keep=holes)
    found = []
    for form in FORMS:
        layer, queries, memory = build(form, cells)
        out = layer(queries, memory, cells)
        out.square().sum().backward()
        found.append((out, queries.grad, memory.grad, layer.key.weight.grad))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)


def in_a_process(*words: str) -> dict[str, float]:
    """Return what this script prints as JSON when it is called with these words."""
    command = [sys.executable, __file__, *words]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def largest_document(attention: str, entities: int, pieces: int) -> dict[str, float]:
    """Train one step of both stages' network on one document; peak of the whole process in GiB."""
    from transformers import BertConfig, BertModel

    torch.manual_seed(0)
    network = BertModel(BertConfig(attn_implementation="eager"))
    base = Atlop(AtlopConfig(96), WindowEncoder(network, (101, 102)))
    inference = PairInference(InferenceConfig(96, 768, attention=attention))
    optimizer = torch.optim.AdamW([*base.parameters(), *inference.parameters()], lr=1e-5)
    cells = pair_matrix([entities])
    ids = torch.randint(1000, 20000, (1, pieces))
    place = torch.arange(2 * entities) * (pieces // (2 * entities + 1)) + 1
    mentions = torch.stack(
        [torch.zeros_like(place), torch.arange(2 * entities) % entities, place, place + 2], 1
    )
    labels = torch.rand(len(cells.pairs), 96) < 0.001
    batch = DocumentBatch(ids, torch.tensor([pieces]), mentions, cells.pairs, labels, entities)
    started = time.process_time()
    settings = DocreParameters().resolved()
    whole = DocreNetwork(base, inference).train()
    stage_loss(whole, batch, settings, 2, torch.Generator().manual_seed(0)).backward()
    optimizer.step()
    return {
        "seconds": time.process_time() - started,
        "GiB": peak_mib() / 1024,
    }


def check_memory(attention: str, found: dict[str, float]) -> None:
    """Stop with an error where a step took more than `MOST_GIB`."""
    if found["GiB"] > MOST_GIB:
        raise SystemExit(
            f"a training step with attention={attention} took {found['GiB']:.2f} GiB; it may take "
            f"{MOST_GIB:.0f}"
        )


def throughput(chosen: argparse.Namespace) -> None:
    """Print documents a second of training steps and of prediction at K = 3."""
    given = {"dataset": chosen.dataset, "data_root": chosen.data, "encoder": chosen.encoder}
    given = {name: value for name, value in given.items() if value is not None}
    profile = "quick" if chosen.dataset in (None, "synthetic") else "reduced"
    parameters = DocreParameters.create(profile=profile, precision=chosen.precision, **given)
    run = DocreRun(parameters, load_data(parameters))
    tokens, size = run.tokens("train"), run.settings.batch_size
    order = tokens.lengths.argsort()
    middle = order[len(order) // 2 - 4 * size : len(order) // 2 + 4 * size]
    batches = [tokens.batch(rows) for rows in middle.split(size)]
    noise = torch.Generator()
    print(f"{run.data.name}, {tokens.lengths[middle].float().mean():.0f} pieces a document")
    for stage in (1, 2):
        run.stage, run.step = stage, 1
        run.renew_optimizer()
        run.model.train()
        run.training_step(batches[0], 100, noise)
        started = time.perf_counter()
        for batch in batches:
            run.training_step(batch, 100, noise)
        print(f"stage {stage}: {len(middle) / (time.perf_counter() - started):.2f} documents/s")
    started = time.perf_counter()
    run.predict("dev", 3)
    seconds = time.perf_counter() - started
    print(f"prediction, K = 3: {len(run.data.dev) / seconds:.2f} documents/s")


def main() -> None:
    """Measure and print the tables."""
    parser = options(__doc__)
    parser.add_argument("--entities", type=int, nargs="+", default=[20, 42, 60])
    parser.add_argument("--documents", type=int, default=4, help="of attention; 1 at 60 entities")
    parser.add_argument("--dataset", help="of the throughput (default: the generated documents)")
    parser.add_argument("--data", help="folder that holds the data set")
    parser.add_argument("--encoder", help="name or folder")
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--skip", nargs="*", default=[], choices=["attention", "memory", "speed"])
    parser.add_argument("--one", nargs=3, metavar=("FORM", "DOCUMENTS", "N"), help="for itself")
    parser.add_argument("--largest", nargs=3, metavar=("FORM", "N", "PIECES"), help="for itself")
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    if chosen.one:
        form, documents, n = chosen.one
        print(json.dumps(attention_cost(form, int(documents), int(n), chosen.repeats)))
        return
    if chosen.largest:
        attention, entities, pieces = chosen.largest
        print(json.dumps(largest_document(attention, int(entities), int(pieces))))
        return
    print(device_name(torch.device("cpu")))
    more = ("--threads", str(chosen.threads), "--repeats", str(chosen.repeats))
    if "attention" not in chosen.skip:
        check_forms()
        print("entities | documents | lines: s, MiB | gathered: s, MiB | ratio: time, memory")
        for n in chosen.entities:
            documents = 1 if n >= 60 else chosen.documents
            ours, theirs = (in_a_process("--one", f, str(documents), str(n), *more) for f in FORMS)
            print(
                f"{n:8d} | {documents:9d} | {ours['seconds']:6.3f} {ours['MiB']:7.0f} | "
                f"{theirs['seconds']:6.3f} {theirs['MiB']:7.0f} | "
                f"{theirs['seconds'] / ours['seconds']:5.2f} {theirs['MiB'] / ours['MiB']:5.2f}",
                flush=True,
            )
    if "memory" not in chosen.skip:
        print("one training step, BERT-base size, 60 entities, 1,000 pieces")
        for attention in ATTENTIONS:
            found = in_a_process("--largest", attention, "60", "1000", *more)
            print(
                f"attention={attention}: {found['GiB']:.2f} GiB, {found['seconds']:.0f} s",
                flush=True,
            )
            check_memory(attention, found)
    if "speed" not in chosen.skip:
        throughput(chosen)


if __name__ == "__main__":
    main()
