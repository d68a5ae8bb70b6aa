"""A tokenizer built from texts, and a tiny BERT: they run where a pretrained encoder would."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import BertModel, PreTrainedTokenizerFast

SPECIALS = {
    "pad_token": "[PAD]",
    "unk_token": "[UNK]",
    "cls_token": "[CLS]",
    "sep_token": "[SEP]",
    "mask_token": "[MASK]",
}
# The pre-tokenizer's own idea of a word, after lower-casing.
_WORD = re.compile(r"\w+|[^\w\s]")
_LONGEST_PIECE = 4


def build_tokenizer(
    texts: Iterable[str], *, min_count: int = 2, pieces: int = 400
) -> PreTrainedTokenizerFast:
    """Build a lower-casing tokenizer: whole words, and pieces for the words it has not seen.

    Words of the texts are one token each, which keeps sequences short and words aligned with the
    tokens of word-level models. The test split has names that no training text has; with words
    alone they would all be [UNK] and two of them the same thing. So WordPiece spells such a word
    by the longest known beginning and `##` pieces: all characters, and the commonest strings of
    two to four letters inside words, which for names carry the type (`-burg`, `-ski`).

    The vocabulary is counted here rather than trained, so that the same texts give the same
    numbers whatever the version of the tokenizer package. The tokenizer adds [CLS] and [SEP].

    Args:
        texts: the training texts alone.
        min_count: rarer words are spelled, so that the pieces are trained as well.
        pieces: how many `##` strings of two letters and more.
    """
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from tokenizers import decoders as decoding
    from transformers import PreTrainedTokenizerFast

    words = Counter(word for text in texts for word in _WORD.findall(text.lower()))
    inside: Counter[str] = Counter()
    for word, count in words.items():
        for size in range(2, _LONGEST_PIECE + 1):
            for at in range(1, len(word) - size + 1):
                inside[word[at : at + size]] += count
    letters = sorted({letter for word in words for letter in word} | set(map(chr, range(97, 123))))
    common = sorted(inside, key=lambda piece: (-inside[piece], piece))[:pieces]
    entries = [*SPECIALS.values(), *letters, *(f"##{x}" for x in (*letters, *common))]
    entries += sorted(word for word, count in words.items() if count >= min_count)
    vocabulary = {entry: i for i, entry in enumerate(dict.fromkeys(entries))}

    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True, strip_accents=False)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoding.WordPiece()
    ends = [(name, vocabulary[name]) for name in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=ends
    )
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=512, **SPECIALS)


def tiny_bert(
    tokenizer: PreTrainedTokenizerFast,
    hidden: int = 64,
    layers: int = 2,
    heads: int = 4,
    seed: int = 0,
    positions: int = 512,
) -> BertModel:
    """Make a BERT with random weights for a tokenizer, in evaluation mode.

    `positions` is the longest text in tokens. The global random state stays as it was.
    """
    import torch
    from transformers import BertConfig, BertModel

    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=4 * hidden,
        max_position_embeddings=positions,
        pad_token_id=tokenizer.pad_token_id,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return BertModel(config).eval()
