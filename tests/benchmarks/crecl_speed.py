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

# ruff: noqa: E402 - the checkout is put on the path first, so that it need not be installed
import argparse
import contextlib
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

sys.path[:0] = [str(Path(__file__).resolve().parents[2])]

from relcl_lib.data.sentences import RelationSentences, load_sentences
from relcl_lib.lab.runtime import device_name
from relcl_lib.models import marker_encoder
from relcl_lib.papers.crecl import run as crecl
from relcl_lib.papers.crecl.methods import classify, contrast
from relcl_lib.papers.crecl.parameters import CreclParameters
from relcl_lib.papers.crecl.run import CreclRun
from relcl_lib.worlds.encoder import build_tokenizer

CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}


def minilm_sized(folder: str, texts: list[str]) -> str:
    """Save a BERT of MiniLM-L6's size with random weights, and a tokenizer built from texts."""
    from transformers import BertConfig, BertModel

    tokenizer = build_tokenizer(texts)
    tokenizer.save_pretrained(folder)
    size = {"hidden_size": 384, "num_hidden_layers": 6, "intermediate_size": 1536}
    config = BertConfig(vocab_size=30522, num_attention_heads=12, **size)
    BertModel(config).save_pretrained(folder)
    return folder


def alternate(
    forms: dict[str, Callable[[], None]], repeats: int, clock: Callable[[], float]
) -> dict[str, float]:
    """Return the median seconds of each form, run in turn after one warm-up each."""
    times: dict[str, list[float]] = {name: [] for name in forms}
    for turn in range(repeats + 1):
        for name, form in forms.items():
            start = clock()
            form()
            if turn:
                times[name].append(clock() - start)
    return {name: statistics.median(found) for name, found in times.items()}


@contextlib.contextmanager
def changed(run: CreclRun, changes: dict[str, object]):
    """Inside the block the run has other settings."""
    plain = run.settings
    run.settings = plain.model_copy(update=changes)
    run.network.encoder.attend_pads = bool(changes.get("attend_pads"))
    yield
    run.settings = plain
    run.network.encoder.attend_pads = False


def training(run: CreclRun, phase: str, sentences: torch.Tensor, task: int, **changes: object):
    """Return an action that trains one epoch of a phase on some sentences."""

    def action() -> None:
        with changed(run, changes):
            kept, run.remembered = run.remembered, lambda: sentences
            if phase == "CL2":
                contrast(run, "CL2", task, prototypes)
            else:
                classify(run, task, sentences, 1)
            run.remembered = kept

    prototypes = run.prototypes()
    return action


def whole_task(run: CreclRun, task: int, **changes: object):
    """Return an action that trains a task from beginning to end, one epoch a phase."""

    def action() -> None:
        with changed(run, changes):
            run.procedure.train(run, task)

    return action


def repeated_network(run: CreclRun, sentences: torch.Tensor, task: int, passes: int):
    """Return CL2 in the plain form: every sentence of an old relation M times through the BERT."""
    columns = run.column[run.tokens.labels[sentences]]
    old = columns < len(run.prototypes()) - len(run.stream[task].classes)
    many = sentences.repeat_interleave(torch.where(old, passes, 1).cpu())
    return training(run, "CL2", many, task, epochs_memory=1, memory_passes=1)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--threads", type=int, default=min(2, os.cpu_count() or 1))
    parser.add_argument("--data", help="folder of FewRel; None: the generated corpus")
    parser.add_argument("--encoder", default="tiny", help="tiny, minilm, a folder or a hub name")
    parser.add_argument("--precision", default="auto", help="auto, float32 or bfloat16")
    parser.add_argument("--sentences", type=int, default=128, help="of an epoch")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--clock", choices=CLOCKS, default="wall", help="cpu: on a shared machine")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    data = load_sentences("fewrel" if options.data else "synthetic", options.data)
    clock = CLOCKS[options.clock]
    with tempfile.TemporaryDirectory() as folder:
        encoder = options.encoder
        if encoder == "minilm":
            encoder = minilm_sized(folder, [" ".join(s.tokens) for s in data.sentences])
        chosen = CreclParameters.create(
            profile="full",
            dataset=data.name,
            encoder=encoder,
            precision=options.precision,
            epochs_memory=1,
        )
        report(CreclRun(chosen, data, 2021), options, clock)
        report_task(chosen, data, options, clock)


def report_task(
    chosen: CreclParameters,
    data: RelationSentences,
    options: argparse.Namespace,
    clock: Callable[[], float],
) -> None:
    """Print the ratio of a whole task, few sentences a relation, on a run of its own."""
    each = max(1, options.sentences * chosen.resolved().n_tasks // len(data.relations))
    few = {"train_limit": each, "memory_size": 2, "epochs_classification": 1, "epochs_current": 1}
    run = CreclRun(chosen.model_copy(update=few), data, 2021)
    last = len(run.stream) - 1
    for index in range(last + 1):
        run.remember(index)
    forms = {
        "without pads": whole_task(run, last),
        "padded to 256 tokens": whole_task(run, last, attend_pads=True, max_length=256),
    }
    count = 2 * len(run.stream[last].train_indices) + len(run.remembered())
    show(f"the whole last task, {each} sentences a relation", forms, count, options.repeats, clock)


def show(
    title: str,
    forms: dict[str, Callable[[], None]],
    count: int,
    repeats: int,
    clock: Callable[[], float],
) -> dict[str, float]:
    """Measure forms of the same work on `count` sentences, print and return their seconds."""
    found = alternate(forms, repeats, clock)
    first = next(iter(found.values()))
    print(f"\n{title}")
    for name, seconds in found.items():
        ratio = f"{seconds / first:6.2f}"
        print(f"  {name:34s} {count / seconds:8.1f} sentences/s  {ratio} times the first")
    return found


def report(run: CreclRun, options: argparse.Namespace, clock: Callable[[], float]) -> None:
    """Print the ratios of one run."""
    task = len(run.stream) - 1
    for index in range(len(run.stream)):
        run.remember(index)
    how = (options.repeats, clock)
    lengths = run.tokens.lengths.float()
    print(f"{device_name(run.device)}, {run.settings.precision}")
    print(f"{len(run.data.sentences)} sentences, {lengths.mean():.1f} tokens, {lengths.max():.0f}")
    memory = run.remembered()
    every = torch.linspace(0, len(memory) - 1, options.sentences).long()
    some, new = memory[every], run.stream[task].train_indices[: options.sentences]

    show(
        "CL2, old and new relations, one epoch",
        {
            "one pass": training(run, "CL2", some, task, memory_passes=1),
            "M = 10 passes behind the BERT": training(run, "CL2", some, task, memory_passes=10),
            "M = 10 passes of the BERT": repeated_network(run, some, task, 10),
        },
        len(some),
        *how,
    )
    found = show(
        "classification, one epoch",
        {
            "without pads": training(run, "classification", new, task),
            "padded to 256 tokens": training(
                run, "classification", new, task, attend_pads=True, max_length=256
            ),
        },
        len(new),
        *how,
    )
    encoder = run.network.encoder

    def one_by_one() -> None:
        encoder.eval()
        with torch.no_grad():
            for one in some:
                encoder(run.batch(one[None]))

    show(
        "prototypes: the memory encoded anew",
        {"large batches": lambda: run.embed(some), "one by one": one_by_one},
        len(some),
        *how,
    )
    epoch = training(run, "classification", new, task)

    def plain_layers() -> None:
        layers, encoder.layers = encoder.layers, None
        encoder.network.encoder.layer = layers
        epoch()
        encoder.layers, encoder.network.encoder.layer = layers, torch.nn.ModuleList()

    def whole_table() -> None:
        encoder.only_tokens = lambda ids: contextlib.nullcontext()
        epoch()
        del encoder.only_tokens

    def whole_layer() -> None:
        def everywhere(layer, x, packing, rows=None):
            states = kept(layer, x, packing)
            return states if rows is None else states[rows]

        marker_encoder.apply_layer, kept = everywhere, marker_encoder.apply_layer
        epoch()
        marker_encoder.apply_layer = kept

    def torch_dropout() -> None:
        crecl.fast_dropout, kept = (lambda device: contextlib.nullcontext()), crecl.fast_dropout
        epoch()
        crecl.fast_dropout = kept

    show(
        "the shortcuts, one left out at a time: classification, one epoch",
        {
            "all": epoch,
            "whole embedding table": whole_table,
            "last layer at every token": whole_layer,
            "torch's own dropout": torch_dropout,
            "padded, as transformers runs it": plain_layers,
        },
        len(new),
        *how,
    )
    speed = len(new) / found["without pads"]
    usual = CreclParameters.create(profile="full", dataset=run.data.name).resolved()
    epochs = usual.epochs_classification + usual.epochs_current
    sentences = epochs * sum(n for n, _ in run.stream.sizes())
    sizes = [usual.memory_size * len(run.stream.classes_seen(t)) for t in range(len(run.stream))]
    sentences += usual.epochs_memory * sum(sizes)
    print(f"\na whole run trains on {sentences} sentences: {sentences / speed / 60:.0f} minutes")


if __name__ == "__main__":
    main()
