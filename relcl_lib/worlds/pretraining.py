"""Pretrain the tiny BERT on generated texts, so that it stands in for a pretrained encoder.

The texts tell of other worlds than the corpus does (a name may recur by chance), in the paraphrases
of the training split alone: no held-out paraphrase of the test split is in them. Documents bring
pronouns and aliases. Retellings state each fact twice, in two paraphrases: to fill in a masked name
or verb the model must have read the other one, and so learns which words mean the same.

    python -m relcl_lib.worlds.pretraining --out data/synthetic/encoder
"""

from __future__ import annotations

import argparse
import copy
import json
import os
from collections import deque
from collections.abc import Iterator, Sequence
from random import Random
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional
from tqdm import tqdm

from relcl_lib.data.ragged import pad_rows
from relcl_lib.lab.files import atomic_directory
from relcl_lib.lab.runtime import is_watched, make_generator
from relcl_lib.worlds.documents import draw_documents
from relcl_lib.worlds.encoder import build_tokenizer, tiny_bert
from relcl_lib.worlds.sentences import Source
from relcl_lib.worlds.text import Clause, null_clause, sentence
from relcl_lib.worlds.world import World, choose, make_world, shuffled

if TYPE_CHECKING:
    from transformers import BertModel, PreTrainedTokenizerFast

FIRST_WORLD = 1000  # the corpus and its tests use small seeds
TEXTS_A_WORLD = {"documents": 30, "retellings": 270}
SIZES = {"hidden": 96, "layers": 3, "heads": 4, "positions": 256}
MASKED, KEPT, RANDOM = 0.2, 0.1, 0.1  # of the words; of the tokens of masked words
TOKENS_A_STEP, RATE = 2048, 2e-3


_README = """# The tiny encoder

Written by `python -m relcl_lib.worlds.pretraining`; do not edit.

- A BERT of {layers} layers, width {hidden}, {heads} heads and {positions} positions: {parameters:,}
  weights in half precision. Words are whole, names are spelled by pieces.
- Trained from seed {seed} to fill in masked words of generated texts about {worlds} worlds, for
  {epochs} epochs or {steps} steps. At the end: loss {loss:.2f}, {right:.0f} % of the masked tokens
  right (means of the last 100 steps).
- The texts tell of other worlds than the corpus does (a name may recur by chance), and no held-out
  paraphrase of the corpus's test split is in them.

It stands in for a pretrained encoder where nothing is downloaded (`encoder="tiny"`). It knows
nothing but the words of the generated corpus: results with it are `stand-in`.
"""


def draw_retelling(source: Source, rng: Random) -> str:
    """Word one to three facts about one entity, each twice, among clauses that state nothing."""
    first = source.any_fact(rng)
    others = source.by_entity[choose(rng, first[1:])]
    facts = dict.fromkeys([first, *shuffled(rng, others)[: int(rng.random() * 3)]])
    clauses = [source.clause(rng, fact) for fact in facts for _ in range(2)]
    for _ in range(int(rng.random() * 2)):
        extra = null_clause(rng, source.world, source.entities, first[1:])
        clauses += [extra] if extra else []
    groups: list[list[Clause]] = [[]]
    for clause in shuffled(rng, clauses):
        if groups[-1] and (len(groups[-1]) == 2 or rng.random() < 0.5):
            groups.append([])
        groups[-1].append(clause)
    told = [sentence(rng, source.world, group).tokens for group in groups]
    return " ".join(word for tokens in told for word in tokens)


def draw_texts(world: World, documents: int, retellings: int) -> list[str]:
    """Draw texts of one world, without any held-out paraphrase.

    Documents have 4 to 8 sentences, retellings 1 to 7, which state each fact twice. The world must
    not be one of a corpus that is to be tested on.
    """
    drawn = draw_documents(world, {"train": documents})["train"]
    texts = [" ".join(word for part in found.sentences for word in part.tokens) for found in drawn]
    source, rng = Source(world, world.facts), Random(f"retellings/{world.seed}")
    return texts + [draw_retelling(source, rng) for _ in range(retellings)]


def shared_vocabulary(worlds: Sequence[Sequence[str]]) -> PreTrainedTokenizerFast:
    """Build a tokenizer whose whole words are those that half of the worlds (two or more) have.

    That keeps names out, which the next world does not have: they are spelled by pieces, and the
    pieces are what is learnt.
    """
    lines = (" ".join(sorted(set(" ".join(texts).split()))) for texts in worlds)
    return build_tokenizer(lines, min_count=max(2, len(worlds) // 2))


class Texts(NamedTuple):
    """Tokenised texts: `ids` and `words` (N, n) int64, `lengths` (N,).

    `words` numbers the word a token belongs to, from 0 in each text; -1 at specials and pads.
    """

    ids: Tensor
    words: Tensor
    lengths: Tensor

    @classmethod
    def read(cls, texts: Sequence[str], tokenizer: PreTrainedTokenizerFast, longest: int) -> Texts:
        """Tokenise texts, each cut to `longest` tokens."""
        encoded = tokenizer(list(texts), truncation=True, max_length=longest)
        words = [
            [-1 if word is None else word for word in encoded.word_ids(row)]
            for row in range(len(texts))
        ]
        lengths = torch.tensor([len(row) for row in words])
        return cls(
            pad_rows(encoded["input_ids"], tokenizer.pad_token_id), pad_rows(words, -1), lengths
        )

    def batches(
        self, tokens: int, generator: torch.Generator, *, short_first: bool = False
    ) -> list[Tensor]:
        """Cut one pass into batches of about `tokens` tokens and of like length.

        They come in random order, or `short_first`.
        """
        order = torch.randperm(len(self.ids), generator=generator)
        order = order[self.lengths[order].argsort(stable=True)]
        part = self.lengths[order].cumsum(0) // tokens
        cut = order.split(part.unique_consecutive(return_counts=True)[1].tolist())
        if short_first:
            return list(cut)
        return [cut[i] for i in torch.randperm(len(cut), generator=generator)]


def mask_words(
    ids: Tensor, words: Tensor, tokenizer: PreTrainedTokenizerFast, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Mask whole words: 80 % of their tokens become [MASK], 10 % a random token, 10 % stay.

    A name is spelled by several pieces; were they masked one by one, its other pieces would give
    it away. Takes `ids` and `words` (B, n) as in `Texts`; gives the changed ids (B, n), and which
    tokens are to be predicted (B, n) bool.
    """
    draws = torch.rand(words.shape, generator=generator)
    chosen = (draws.gather(1, words.clamp(min=0)) < MASKED) & (words >= 0)
    fate = torch.rand(ids.shape, generator=generator)
    noise = torch.randint(len(tokenizer), ids.shape, generator=generator)
    hidden = torch.where(fate < RANDOM, noise, ids)
    hidden = hidden.masked_fill(fate >= RANDOM + KEPT, tokenizer.mask_token_id)
    return torch.where(chosen, hidden, ids), chosen


class MaskedWords(nn.Module):
    """An encoder and the layer that predicts masked tokens, tied to the input embeddings."""

    def __init__(self, encoder: BertModel) -> None:
        super().__init__()
        size = encoder.config.hidden_size
        self.encoder = encoder
        self.transform = nn.Sequential(nn.Linear(size, size), nn.GELU(), nn.LayerNorm(size))
        self.bias = nn.Parameter(torch.zeros(encoder.config.vocab_size))

    def forward(self, ids: Tensor, mask: Tensor, chosen: Tensor) -> Tensor:
        """Logits (M, V) of the M chosen tokens of ids (B, n), of which mask (B, n) is 1."""
        found = self.encoder(input_ids=ids, attention_mask=mask).last_hidden_state[chosen]
        table = self.encoder.get_input_embeddings().weight
        return functional.linear(self.transform(found), table, self.bias)


def pretrain(
    encoder: BertModel,
    tokenizer: PreTrainedTokenizerFast,
    texts: Sequence[str],
    *,
    epochs: int,
    seed: int = 0,
    rate: float = RATE,
    tokens_a_step: int = TOKENS_A_STEP,
) -> Iterator[tuple[int, int, float, float]]:
    """Train an encoder in place to fill in masked words.

    The first epoch goes from short texts to long ones: in short ones the positions that matter are
    few, and what the words beside a mask say is learnt in a fraction of the steps.

    The encoder stays in evaluation mode: so small a model on so much text does not overfit, and
    dropout would only cost it time. Texts are cut to its positions. The learning rate rises to
    `rate` in a twentieth of the steps, then falls; the seed is of order and masks.

    Yields:
        After each step: its number from 1, the number of all, the loss (nats per token) and the
        share of masked tokens predicted right.
    """
    read = Texts.read(texts, tokenizer, encoder.config.max_position_embeddings)
    plan = [
        read.batches(
            tokens_a_step, make_generator(seed, "pretraining order", epoch), short_first=epoch == 0
        )
        for epoch in range(epochs)
    ]
    total = sum(map(len, plan))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(make_generator(seed, "pretraining head").initial_seed())
        model = MaskedWords(encoder)
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total, pct_start=0.05)
    draws = make_generator(seed, "pretraining masks")
    for step, rows in enumerate((rows for batches in plan for rows in batches), start=1):
        longest = int(read.lengths[rows].max())
        ids, words = read.ids[rows, :longest], read.words[rows, :longest]
        hidden, chosen = mask_words(ids, words, tokenizer, draws)
        attended = (torch.arange(longest) < read.lengths[rows, None]).long()
        logits, wanted = model(hidden, attended, chosen), ids[chosen]
        loss = functional.cross_entropy(logits, wanted)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        right = (logits.argmax(-1) == wanted).float().mean()
        yield step, total, float(loss.detach()), float(right)


def write_encoder(
    folder: str | os.PathLike[str],
    encoder: BertModel,
    tokenizer: PreTrainedTokenizerFast,
    note: str = "",
) -> None:
    """Write an encoder and its tokenizer, complete or not at all, the weights in half precision.

    `AutoModel` and `AutoTokenizer` load them from the folder, which is replaced as a whole; the
    encoder itself stays as it is. `note` is the text of its README.md.
    """
    with atomic_directory(folder) as temporary:
        copy.deepcopy(encoder).half().save_pretrained(temporary)
        tokenizer.save_pretrained(temporary)
        for path in temporary.glob("*.json"):
            content = json.loads(path.read_text(encoding="utf-8"))
            if path.name == "tokenizer_config.json":
                # The class that every version of transformers knows by this name.
                content["tokenizer_class"] = "PreTrainedTokenizerFast"
                content["model_max_length"] = encoder.config.max_position_embeddings
            elif path.name == "tokenizer.json":
                content["truncation"] = None  # left from the last text read
            text = json.dumps(content, indent=1, ensure_ascii=False)
            path.write_text(f"{text}\n", encoding="utf-8")
        (temporary / "README.md").write_text(note, encoding="utf-8")


def main(arguments: list[str] | None = None) -> None:
    """Draw the texts, pretrain an encoder on them and write it."""
    parser = argparse.ArgumentParser(
        prog="python -m relcl_lib.worlds.pretraining", description=__doc__
    )
    parser.add_argument("--out", required=True, help="the folder to write, or to replace")
    parser.add_argument("--seed", type=int, default=0, help="of weights, masks and order")
    parser.add_argument("--worlds", type=int, default=60, help="how many to tell of, from 2 on")
    parser.add_argument("--epochs", type=int, default=6, help="passes over the texts")
    options = parser.parse_args(arguments)
    quiet = not is_watched()
    seeds = tqdm(range(FIRST_WORLD, FIRST_WORLD + options.worlds), "worlds", disable=quiet)
    worlds = [draw_texts(make_world(seed), **TEXTS_A_WORLD) for seed in seeds]
    tokenizer = shared_vocabulary(worlds)
    encoder = tiny_bert(tokenizer, seed=options.seed, **SIZES)
    texts = [text for found in worlds for text in found]
    last: deque[tuple[float, float]] = deque(maxlen=100)
    with tqdm(desc="steps", unit="step", disable=quiet) as bar:
        for step, total, loss, right in pretrain(
            encoder, tokenizer, texts, epochs=options.epochs, seed=options.seed
        ):
            last.append((loss, right))
            bar.total = total
            bar.update()
            if step % 100 == 0 or step == total:
                loss, right = (sum(values) / len(last) for values in zip(*last, strict=True))
                tqdm.write(f"step {step} of {total}: loss {loss:.3f}, right {100 * right:.1f} %")
    note = _README.format(
        seed=options.seed,
        worlds=options.worlds,
        epochs=options.epochs,
        steps=total,
        parameters=encoder.num_parameters(),
        loss=loss,
        right=100 * right,
        **SIZES,
    )
    write_encoder(options.out, encoder, tokenizer, note)


if __name__ == "__main__":
    main()
