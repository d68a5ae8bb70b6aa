"""Inference, a sentence: FastRE against CasRel with a BERT-base-sized encoder, decoding included.

Run by hand, on a machine that does nothing else:

    python tests/benchmarks/fastre_speed.py [--threads 2] [--sentences 256] [--layers 12]

Both networks have random weights whose taggers' biases are set so that a sentence has about as many
entities as real ones; weights do not change what a pass costs. Times are wall seconds a sentence
over whole passes, warm, best of the repeats. `network` starts at tensors of ids and ends at spans,
`with host` starts at texts and ends at strings. What counts is the ratio of the two columns of one
run. The paper (one RTX 2080Ti): 12.9 / 5.9 / 4.6 ms at batch 1 / 8 / 128, CasRel 66.2 ms at batch 1.
"""

from __future__ import annotations

import timeit

import torch
from benchmarking import options
from fastre_data import FASTRE_HEADS, FASTRE_TAILS
from torch.utils.flop_counter import FlopCounterMode

from relcl_lib.data.triples import load_triples
from relcl_lib.lab.runtime import device_name
from relcl_lib.models.casrel import CasRel, CasRelConfig, PieceReader, PretrainedEncoder
from relcl_lib.models.tagger import FastRE, TaggerConfig
from relcl_lib.papers.fastre.extract import Extractor
from relcl_lib.text.decode import CASREL, pair_spans
from relcl_lib.text.schema import Schema, any_schema, paper_schema
from relcl_lib.text.words import WordReader, count_words, random_vectors
from relcl_lib.worlds.encoder import build_tokenizer

EXCESS = 2  # tags a wanted span: random starts and ends do not always meet


def texts_of_length(count: int, words: int) -> list[str]:
    """Cut the generated corpus into texts about as long as NYT's sentences."""
    pool = [sentence.text for sentence in load_triples("synthetic").train]
    stream = [word for text in pool for word in text.split()]
    found, at = [], 0
    for i in range(count):
        # Lengths from half to one and a half times the mean, about as unlike as NYT's are.
        length = round(words * (0.5 + (i % 11) / 10))
        found.append(" ".join(stream[(at + k) % len(stream)] for k in range(length)))
        at += length
    return found


def build_fastre(texts: list[str], schema: Schema) -> Extractor:
    """Return FastRE in its released size."""
    vectors = random_vectors(count_words(texts), 300, 0)
    config = TaggerConfig(n_types=len(schema.types), n_relations=len(schema.relations))
    model = FastRE(config, vectors.matrix)
    return Extractor(
        model, WordReader(vectors.words, config.max_tokens), schema, FASTRE_HEADS, FASTRE_TAILS
    )


def build_casrel(texts: list[str], relations: tuple[str, ...], layers: int) -> Extractor:
    """Return CasRel on a BERT of the base model's width and `layers` layers."""
    from transformers import BertConfig, BertModel

    tokenizer = build_tokenizer(texts)
    config = BertConfig(vocab_size=max(28_996, len(tokenizer)), num_hidden_layers=layers)
    model = CasRel(CasRelConfig(len(relations)), PretrainedEncoder(BertModel(config)))
    return Extractor(model, PieceReader(tokenizer), any_schema(relations), CASREL, CASREL)


@torch.inference_mode()
def calm(extractor: Extractor, texts: list[str], heads: float = 1.5, tails: float = 1.5) -> None:
    """Shift biases so that a sentence gets about `heads` heads, and a head about `tails` tails."""
    model = extractor.model.eval()
    inputs = extractor.reader.read([text.split() for text in texts[:16]])
    hidden, mask = model.encode(inputs)
    real = mask[..., 0].bool()
    some = torch.tensor([[row, 1, 1, 0] for row in range(len(real))])
    taggers = (model.heads, model.tails) if isinstance(model, FastRE) else None
    for which, (logits, wanted) in enumerate(
        (
            (model.head_logits(hidden, mask), heads),
            (model.tail_logits(hidden, mask, some, inputs["lengths"]), tails),
        )
    ):
        for part, name in zip(logits, ("start", "end"), strict=True):
            if taggers:
                gap, layer = part[..., 1:] - part[..., :1], getattr(taggers[which], name)
            else:
                gap, layer = part, getattr(model, f"{('head', 'tail')[which]}_{name}")
            values = gap[real].flatten().sort(descending=True).values
            # Starts and ends fall on unlike words here, so more of them are let through than pair.
            cut = values[min(int(EXCESS * wanted * len(real)), len(values) - 1)]
            layer.bias[1 if taggers else 0 :] -= cut


@torch.inference_mode()
def heads_found(extractor: Extractor, texts: list[str]) -> float:
    """Return head entities a sentence: each is a pass of the tail tagger."""
    inputs = extractor.reader.read([text.split() for text in texts])
    logits = extractor.model.head_logits(*extractor.model.encode(inputs))
    on = (extractor._margins(part) > 0 for part in logits)
    return len(pair_spans(*on, extractor.head_rules, inputs["lengths"])) / len(texts)


def measure(
    extractor: Extractor, texts: list[str], batch: int, repeats: int
) -> tuple[float, float]:
    """Return milliseconds a sentence: the network with decoding, and with texts and strings."""
    words = [text.split() for text in texts]
    extractor.batch_size = batch
    chunks = [extractor.reader.read(words[i : i + batch]) for i in range(0, len(words), batch)]
    parts = [texts[i : i + batch] for i in range(0, len(texts), batch)]
    with extractor.ready():
        for chunk in chunks[:2]:
            extractor.predict(chunk)
        network, host = (
            min(timeit.repeat(work, number=1, repeat=repeats))
            for work in (
                lambda: [extractor.predict(chunk) for chunk in chunks],
                lambda: [extractor.extract(part) for part in parts],
            )
        )
    return 1000 * network / len(texts), 1000 * host / len(texts)


def floor(extractor: Extractor, texts: list[str], batch: int) -> tuple[float, float]:
    """Return a sentence's arithmetic: millions of operations, and ms at the core's matrix rate.

    The rate is that of a product of two large square matrices in the same number format; pads count,
    as they are computed.
    """
    words = [text.split() for text in texts]
    chunks = [extractor.reader.read(words[i : i + batch]) for i in range(0, len(words), batch)]
    with extractor.ready(), FlopCounterMode(display=False) as counted:
        for chunk in chunks:
            extractor.predict(chunk)
    operations = counted.get_total_flops() / len(texts)
    side = 2048
    a, b = (torch.randn(side, side, dtype=extractor.precision) for _ in range(2))
    torch.mm(a, b)
    rate = 2 * side**3 / min(timeit.repeat(lambda: torch.mm(a, b), number=1, repeat=5))
    return operations / 1e6, 1000 * operations / rate


def show_floor(fastre: Extractor, texts: list[str], batch: int, repeats: int) -> None:
    """Print what bounds FastRE at the largest batch, in float32 and in bfloat16."""
    for precision in (torch.float32, torch.bfloat16):
        fastre.precision = precision
        operations, least = floor(fastre, texts, batch)
        network, host = measure(fastre, texts, batch, repeats)
        print(
            f"{precision}: {operations:.1f} million operations per sentence, {least:.3f} ms at the "
            f"matrix rate; network {network:.3f} ms, with host {host:.3f} ms",
            flush=True,
        )
    fastre.precision = torch.float32


def main() -> None:
    """Measure and print the table."""
    parser = options(__doc__)
    parser.add_argument("--sentences", type=int, default=256, help="for FastRE alone")
    both = "for the two side by side, at most 16 batches"
    parser.add_argument("--casrel-sentences", type=int, default=128, help=both)
    parser.add_argument("--words", type=int, default=38, help="mean length; NYT10's is 38.5")
    parser.add_argument("--layers", type=int, default=12, help="of the BERT")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8, 128])
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    torch.manual_seed(0)
    texts = texts_of_length(chosen.sentences, chosen.words)
    schema = paper_schema("nyt10")
    fastre = build_fastre(texts, schema)
    casrel = build_casrel(texts, schema.relations, chosen.layers)
    for extractor in (fastre, casrel):
        calm(extractor, texts)
    few = texts[: chosen.casrel_sentences]
    print(
        f"{device_name(torch.device('cpu'))}; mean words {sum(len(t.split()) for t in texts) / len(texts):.1f}"
    )
    found = [heads_found(extractor, few[:32]) for extractor in (fastre, casrel)]
    print(f"head entities a sentence: FastRE {found[0]:.2f}, CasRel {found[1]:.2f}")
    show_floor(fastre, texts, chosen.batches[-1], chosen.repeats)
    print(
        "batch | FastRE ms: network, with host | CasRel ms: network, with host | ratio: network, with host"
    )
    for batch in chosen.batches:
        same = few[: 16 * batch]
        ours, theirs = (measure(form, same, batch, chosen.repeats) for form in (fastre, casrel))
        ratios = [b / a for a, b in zip(ours, theirs, strict=True)]
        print(
            f"{batch:5d} | {ours[0]:8.3f} {ours[1]:8.3f} | {theirs[0]:8.2f} {theirs[1]:8.2f} | "
            f"{ratios[0]:6.1f} {ratios[1]:6.1f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
