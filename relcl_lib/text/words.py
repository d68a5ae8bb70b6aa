"""Words, their ids and their vectors; texts as tensors of ids for the convolutional encoder."""

from __future__ import annotations

import codecs
import contextlib
import os
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import IO

import numpy as np
import torch
from torch import Tensor

from relcl_lib.data.download import DataFormatError, is_hidden
from relcl_lib.data.ragged import pad_rows
from relcl_lib.data.text_files import not_utf8
from relcl_lib.data.unpacking import UNZIPPING, open_content, open_member
from relcl_lib.lab.runtime import make_generator
from relcl_lib.text.splitting import composed, look_up

PAD, UNKNOWN, FIRST_WORD = 0, 1, 2
RANDOM_SCALE = 0.4  # about the spread of GloVe's components
GLOVE_FIX = (
    "Use the text file glove.6B.300d.txt of https://nlp.stanford.edu/projects/glove/ "
    "(each line a word and its numbers), whole"
)


@dataclass(frozen=True)
class WordVectors:
    """Words from id 2 on, and the vectors (V, D) of all ids; those of PAD 0 and UNKNOWN 1 are zero.

    `source` says where they come from, for the record; `in_file` how many words the file holds that
    they were read from, `note` how many of the data's words are among them.
    """

    words: tuple[str, ...]
    matrix: Tensor
    source: str
    in_file: int = 0
    note: str = ""

    def __post_init__(self) -> None:
        if len(self.matrix) != len(self.words) + FIRST_WORD:
            raise ValueError(f"{len(self.words)} words, but {len(self.matrix)} vectors")


def count_words(texts: Iterable[str]) -> Counter[str]:
    """Count the lower-cased words of texts, which spaces separate (see `splitting.look_up`)."""
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(map(look_up, text.split()))
    return counts


def random_vectors(
    counts: Counter[str], size: int, seed: int, *, min_count: int = 1
) -> WordVectors:
    """Draw normal vectors (sd 0.4) of `size` numbers for words, in order of frequency.

    `counts` are those of the training texts only: a word met in the test alone has no trained vector
    and must be unknown. Words rarer than `min_count` are unknown too, which is how the unknown word
    gets trained.
    """
    words = tuple(w for w, count in counts.most_common() if count >= min_count)
    matrix = torch.randn(
        len(words) + FIRST_WORD, size, generator=make_generator(seed, "word vectors")
    )
    matrix[:FIRST_WORD] = 0
    return WordVectors(words, matrix.mul_(RANDOM_SCALE), "random")


def read_glove(
    path: str | os.PathLike[str], wanted: Iterable[str] | None = None, *, every: bool = False
) -> WordVectors:
    """Read vectors in GloVe's text layout, in file order.

    Args:
        path: the file, a word and D numbers in each line, apart by spaces or by tabs; a first line of
            two numbers (word2vec's) is skipped. The word may hold spaces, as in GloVe 840B. The file
            may lie in a `.gz`, or alone in a `.zip`.
        wanted: the data's words, lower-cased; only these are kept, which gives the same results on
            texts of these words. None: all.
        every: keep all words beside `wanted`, so that a trained tagger knows words that were not in
            its data.

    Raises:
        DataFormatError: names the file and the line, or says why hardly a word could be found.
    """
    path, keep = Path(path), None if wanted is None else {w.encode() for w in wanted}
    words: list[bytes] = []
    rows: list[np.ndarray] = []
    lines: list[int] = []
    in_capitals: set[bytes] = set()
    no_text: list[tuple[int, bytes]] = []
    size, held, beyond_ascii, tabs = 0, 0, 0, False
    try:
        with _opened(path) as (file, name), np.errstate(over="ignore"):  # inf is refused below
            for number, line in enumerate(file, start=1):
                if number == 1:
                    while line.startswith(codecs.BOM_UTF8):
                        line = line.removeprefix(codecs.BOM_UTF8)
                    if b"\0" in line:
                        raise not_utf8(path, line, "line 1")
                    tabs = b"\t" in line
                    parts = line.split()
                    if len(parts) == 2 and all(part.isdigit() for part in parts):
                        continue
                if tabs:
                    line = line.replace(b"\t", b" ")
                size, held = size or len(line.split()) - 1, held + 1
                word, _, numbers = line.rstrip().partition(b" ")
                if numbers.count(b" ") != size - 1:
                    word, *rest = line.rstrip().rsplit(b" ", size)
                    numbers = b" ".join(rest)
                if not word.isascii():
                    beyond_ascii += 1
                    if "\ufffd" in word.decode(errors="replace"):
                        no_text.append((number, word))
                if keep is not None and word not in keep:
                    if (lowered := word.lower()) in keep:
                        in_capitals.add(lowered)
                    if not every:
                        continue
                try:
                    row = np.array(numbers.split(), dtype=np.float32)
                except ValueError:
                    row = np.empty(0, np.float32)
                if size < 1 or len(row) != size:
                    raise DataFormatError(
                        path, f"line {number} holds {len(row)} numbers, not {size}", GLOVE_FIX
                    )
                words.append(word)
                rows.append(row)
                lines.append(number)
    except UNZIPPING as error:
        raise DataFormatError(path, f"cannot be read: {error}", GLOVE_FIX) from error
    if not held:
        raise DataFormatError(path, "is empty", GLOVE_FIX)
    if 2 * len(no_text) > beyond_ascii:  # a few are words that were cut in the middle of a letter
        number, word = no_text[0]
        raise not_utf8(path, word, f"line {number}, and {len(no_text) - 1} more")
    note = _coverage(path, words, keep, in_capitals) if keep else ""
    if not rows:
        raise DataFormatError(path, "has none of the words of the data", GLOVE_FIX)
    matrix = np.concatenate([np.zeros((FIRST_WORD, size), np.float32), np.stack(rows)])
    if not np.isfinite(matrix).all():
        first = int(np.flatnonzero(~np.isfinite(matrix).all(axis=1))[0]) - FIRST_WORD
        raise DataFormatError(
            path,
            f"line {lines[first]}, {words[first].decode(errors='replace')!r}: its numbers are not all "
            "finite (nan, inf, or too large for float32)",
            "Take the line out, which makes the word unknown",
        )
    read = tuple(word.decode(errors="replace") for word in words)
    return WordVectors(read, torch.from_numpy(matrix), f"GloVe {name}", held, note)


def _coverage(
    path: Path, words: Iterable[bytes], wanted: set[bytes], in_capitals: set[bytes]
) -> str:
    """How many of the data's words have a vector; an error where most stand there in capitals only."""
    found = wanted & set(words)
    only = in_capitals - found
    if len(only) > len(found):
        raise DataFormatError(
            path,
            f"has {len(found)} of the data's {len(wanted)} words, and {len(only)} more with capitals, "
            "where the data's words are lower-cased",
            "Take vectors of lower-cased words, or lower-case the words of this file",
        )
    capitals = f", and {len(only)} more with capitals only" if only else ""
    return f"{len(found)} of {len(wanted)} words of the data have a vector{capitals}"


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[tuple[IO[bytes], str]]:
    """The lines of a file of vectors as bytes, and the file's own name."""
    kind = path.suffix.lower()
    if kind == ".zip":
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if not name.endswith("/")]
            inside = [name for name in names if not is_hidden(name.split("/")[0])]
            if len(inside) != 1:
                raise DataFormatError(
                    path,
                    f"holds {len(inside)} files ({', '.join(inside) or 'none'}), and one is read",
                    "Extract it, and name the file you want",
                )
            with open_member(archive, inside[0], path) as file:
                yield file, inside[0].rsplit("/", 1)[-1]
    else:
        with open_content(path) as file:
            yield file, path.stem if kind == ".gz" else path.name


class WordReader:
    """Turns texts into word ids: lower-cased and in Unicode's form NFC, cut to `max_tokens`, unknown words as UNKNOWN."""

    def __init__(self, words: Sequence[str], max_tokens: int) -> None:
        self.words, self.max_tokens = tuple(words), max_tokens
        self.ids = dict(zip(self.words, count(FIRST_WORD)))
        for word in self.words:
            if not word.isascii():
                self.ids.setdefault(composed(word), self.ids[word])

    def read(self, texts: Sequence[Sequence[str]]) -> dict[str, Tensor]:
        """The encoder's inputs for texts given as words.

        `words` (N, n) int64 ids, n the longest text after the cut; `lengths` (N,) int64, of which an
        empty text has 0.
        """
        known, last = self.ids, self.max_tokens
        rows = [[known.get(look_up(word), UNKNOWN) for word in words[:last]] for words in texts]
        lengths = torch.tensor([len(row) for row in rows], dtype=torch.long)
        return {"words": pad_rows(rows, PAD), "lengths": lengths}
