"""CRECL's training against plain forms of the same work, on FewRel-length sentences.

Run by hand, on a machine that does nothing else:

    python tests/benchmarks/crecl_speed.py [--threads 2] [--encoder minilm] [--data FOLDER]

Ratios, each of two forms alternating in one run: CL2 with M = 10 dropout passes against the same
step with one pass (should be near 1: the BERT sees a sentence once) and against M passes of the
whole network; classification, and a whole task (classification, memory, prototypes, CL1, CL2),
against the same padded to 256 tokens; encoding the memory for the prototypes in large batches
against one sentence at a time. Then the shares of a step and the cost of a whole run. `--data` holds FewRel (fewrel80_subset.json will do); without it the
generated corpus stands in, whose sentences are about as long. `--encoder` is a folder or hub name,
`tiny` (the default, over in a few minutes on one core), or `minilm`: a BERT of MiniLM's size with
random weights, which cost the same as trained ones.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import tempfile
from collections.abc import Callable
from functools import partial
from unittest import mock

import torch
from benchmarking import CLOCKS, in_turn, options

from relcl_lib.data.sentences import RelationSentences, load_sentences
from relcl_lib.lab.runtime import device_name
from relcl_lib.models import marker_encoder
from relcl_lib.papers.crecl import learner
from relcl_lib.papers.crecl.methods import classify, contrast
from relcl_lib.papers.crecl.parameters import CreclParameters
from relcl_lib.papers.crecl.run import CreclRun
from relcl_lib.worlds.encoder import build_tokenizer

EPOCHS = ("epochs_classification", "epochs_current")


def minilm_sized(folder: str, texts: list[str]) -> str:
    """Save a BERT of MiniLM-L6's size with random weights, and a tokenizer built from texts."""
    from transformers import BertConfig, BertModel

    tokenizer = build_tokenizer(texts)
    tokenizer.save_pretrained(folder)
    size = {"hidden_size": 384, "num_hidden_layers": 6, "intermediate_size": 1536}
    config = BertConfig(vocab_size=30522, num_attention_heads=12, **size)
    BertModel(config).save_pretrained(folder)
    return folder


def trained(run: CreclRun, train: Callable[[], None], **changes: object) -> None:
    """Train with other settings."""
    encoder, attend = run.network.encoder, bool(changes.get("attend_pads"))
    chosen = mock.patch.object(run, "settings", run.settings.model_copy(update=changes))
    with chosen, mock.patch.object(encoder, "attend_pads", attend):
        train()


def training(run: CreclRun, phase: str, sentences: torch.Tensor, task: int, **changes: object):
    """Return an action that trains one epoch of a phase on some sentences."""
    prototypes = run.prototypes()

    def epoch() -> None:
        if phase == "CL2":
            with mock.patch.object(run, "remembered", lambda: sentences):
                contrast(run, "CL2", task, prototypes)
        else:
            classify(run, task, sentences, 1)

    return partial(trained, run, epoch, **changes)


def repeated_network(run: CreclRun, sentences: torch.Tensor, task: int, passes: int):
    """Return CL2 in the plain form: every sentence of an old relation M times through the BERT."""
    columns = run.column[run.tokens.labels[sentences]]
    old = columns < len(run.prototypes()) - len(run.stream[task].classes)
    many = sentences.repeat_interleave(torch.where(old, passes, 1).cpu())
    return training(run, "CL2", many, task, epochs_memory=1, memory_passes=1)


def main() -> None:
    """Measure and print."""
    parser = options(__doc__)
    parser.add_argument("--data", help="folder of FewRel; None: the generated corpus")
    parser.add_argument("--encoder", default="tiny", help="tiny, minilm, a folder or a hub name")
    parser.add_argument("--precision", default="auto", help="auto, float32 or bfloat16")
    parser.add_argument("--sentences", type=int, default=128, help="of an epoch")
    parser.add_argument("--clock", choices=CLOCKS, default="wall", help="cpu: on a shared machine")
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    data = load_sentences("fewrel" if chosen.data else "synthetic", chosen.data)
    with tempfile.TemporaryDirectory() as folder:
        encoder = chosen.encoder
        if encoder == "minilm":
            encoder = minilm_sized(folder, [" ".join(s.tokens) for s in data.sentences])
        parameters = CreclParameters.create(
            profile="full",
            dataset=data.name,
            encoder=encoder,
            precision=chosen.precision,
            epochs_memory=1,
        )
        report(prepared(parameters, data), chosen)
        each = max(1, chosen.sentences * parameters.resolved().n_tasks // len(data.relations))
        few = {"train_limit": each, "memory_size": 2} | dict.fromkeys(EPOCHS, 1)
        report_task(prepared(parameters.model_copy(update=few), data), each, chosen)


def prepared(parameters: CreclParameters, data: RelationSentences) -> CreclRun:
    """Return a run whose memory holds every relation."""
    run = CreclRun(parameters, data, 2021)
    for index in range(len(run.stream)):
        run.remember(index)
    return run


def report_task(run: CreclRun, each: int, chosen: argparse.Namespace) -> None:
    """Print the ratio of a whole task, one epoch a phase, of few sentences a relation."""
    last = len(run.stream) - 1
    task = partial(run.procedure.train, run, last)
    forms = {
        "without pads": partial(trained, run, task),
        "padded to 256 tokens": partial(trained, run, task, attend_pads=True, max_length=256),
    }
    count = 2 * len(run.stream[last].train_indices) + len(run.remembered())
    show(f"the whole last task, {each} sentences a relation", forms, count, chosen)


def show(
    title: str, forms: dict[str, Callable[[], None]], count: int, chosen: argparse.Namespace
) -> dict[str, float]:
    """Measure forms of the same work on `count` sentences, print and return their seconds."""
    times = in_turn(forms, chosen.repeats, CLOCKS[chosen.clock])
    found = {name: statistics.median(seconds) for name, seconds in times.items()}
    first = next(iter(found.values()))
    print(f"\n{title}")
    for name, seconds in found.items():
        ratio = f"{seconds / first:6.2f}"
        print(f"  {name:34s} {count / seconds:8.1f} sentences/s  {ratio} times the first")
    return found


def report(run: CreclRun, chosen: argparse.Namespace) -> None:
    """Print the ratios of one run."""
    task = len(run.stream) - 1
    lengths = run.tokens.lengths.float()
    print(f"{device_name(run.device)}, {run.settings.precision}")
    print(f"{len(run.data.sentences)} sentences, {lengths.mean():.1f} tokens, {lengths.max():.0f}")
    memory = run.remembered()
    every = torch.linspace(0, len(memory) - 1, chosen.sentences).long()
    some, new = memory[every], run.stream[task].train_indices[: chosen.sentences]
    epoch = training(run, "classification", new, task)
    padded = {"attend_pads": True, "max_length": 256}

    forms = {
        "one pass": training(run, "CL2", some, task, memory_passes=1),
        "M = 10 passes behind the BERT": training(run, "CL2", some, task, memory_passes=10),
        "M = 10 passes of the BERT": repeated_network(run, some, task, 10),
    }
    show("CL2, old and new relations, one epoch", forms, len(some), chosen)
    forms = {
        "without pads": epoch,
        "padded to 256 tokens": training(run, "classification", new, task, **padded),
    }
    found = show("classification, one epoch", forms, len(new), chosen)
    encoder, whole_layer = run.network.encoder, marker_encoder.apply_layer

    def one_by_one() -> None:
        encoder.eval()
        with torch.no_grad():
            for one in some:
                encoder(run.batch(one[None]))

    forms = {"large batches": lambda: run.embed(some), "one by one": one_by_one}
    show("prototypes: the memory encoded anew", forms, len(some), chosen)

    def everywhere(layer, x, packing, rows=None):
        states = whole_layer(layer, x, packing)
        return states if rows is None else states[rows]

    def without(owner: object, name: str, value: object) -> Callable[[], None]:
        def left_out() -> None:
            with mock.patch.object(owner, name, value):
                epoch()

        return left_out

    def plain_layers() -> None:
        layers, encoder.layers = encoder.layers, None
        encoder.network.encoder.layer = layers
        with mock.patch.object(learner, "fast_dropout", nothing):
            epoch()
        encoder.layers, encoder.network.encoder.layer = layers, torch.nn.ModuleList()

    def nothing(_: object) -> contextlib.AbstractContextManager:
        return contextlib.nullcontext()

    forms = {
        "all": epoch,
        "whole embedding table": without(encoder, "only_tokens", nothing),
        "last layer at every token": without(marker_encoder, "apply_layer", everywhere),
        "torch's own dropout": without(learner, "fast_dropout", nothing),
        "padded, as transformers runs it": plain_layers,
    }
    title = "the shortcuts, one left out at a time: classification, one epoch"
    show(title, forms, len(new), chosen)
    speed = len(new) / found["without pads"]
    usual = CreclParameters.create(profile="full", dataset=run.data.name).resolved()
    epochs = usual.epochs_classification + usual.epochs_current
    sentences = epochs * sum(n for n, _ in run.stream.sizes())
    sizes = [usual.memory_size * len(run.stream.classes_seen(t)) for t in range(len(run.stream))]
    sentences += usual.epochs_memory * sum(sizes)
    print(f"\na whole run trains on {sentences} sentences: {sentences / speed / 60:.0f} minutes")


if __name__ == "__main__":
    main()
