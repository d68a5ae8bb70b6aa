"""Plain text split into words, with the characters they stand on.

Corpora are given with words and punctuation apart by spaces; what people write is not. `spaces` takes
what white space separates. `punctuation` splits plain text about as the corpora are split (as the
Penn Treebank is): marks stand alone; initials, abbreviations, numbers and words with a hyphen stay
whole; `'s` and `n't` are words. Of scripts without spaces each character is a word. `auto` is one of
the two, by the text's own marks.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace

import regex

from relcl_lib.data.triples import FILES, Sentence, Span, Triple, TripleData, digest

AUTO, SPACES, PUNCTUATION = WAYS = ("auto", "spaces", "punctuation")

#: scripts that are written without spaces
_SCRIPTS = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}"
_CHARACTER = rf"[[{_SCRIPTS}]--[\p{{M}}\p{{P}}\p{{N}}]]"
#: zero-width joiners are parts of words in Persian and in Indian scripts
_LETTER = rf"[[\p{{L}}\p{{M}}\p{{N}}_\u200c\u200d]--[{_SCRIPTS}--\p{{N}}]]"
_SHORT = (
    "Mr|Mrs|Ms|Dr|Prof|St|Mt|Ft|Gov|Sen|Rep|Gen|Col|Lt|Capt|Sgt|Maj|Adm|Rev|Hon|Pres|Jr|Sr|Inc|Corp|"
    "Co|Ltd|Bros|vs|etc|Jan|Feb|Aug|Sept?|Oct|Nov|Dec|Ave|Blvd"
)
_CLITIC = r"['’](?:s|re|ve|ll|d|m)\b"
_WORD = regex.compile(
    rf"""
      {_CHARACTER}\p{{M}}*                                  # one character, with its vowel signs
    | (?:https?://|www\.)[^\s<>"]*[\p{{L}}\p{{N}}/]
    | (?:\p{{L}}\.){{2,}}(?!\p{{L}})                        # U.S. and p.m.
    | (?:{_SHORT})\.
    | \p{{Lu}}\.(?=\s+\S)                                   # an initial
    | {_LETTER}+?(?=n['’]t\b) | n['’]t\b | {_CLITIC}
    | {_LETTER}+(?:(?:[-‐/.&@] | (?!{_CLITIC})['’] | (?<=\p{{N}})[,:](?=\p{{N}})){_LETTER}+)*
      (?:(?<=-(?:{_SHORT}))\.)?                             # Vincent-St. Mary
    | ([^\s\x1c-\x1f])\1*                                     # a mark, or the same mark again: ... --
    """,
    regex.VERSION1 | regex.VERBOSE,
)
_SPACED = re.compile(r"\S+")  # the white space of `str.split`
#: a word that white space separates: a mark alone, or one with a mark that splitting would take off
_MARK = regex.compile(r"\p{P}+")
_JOINED = regex.compile(
    rf"[(\[\"“‘「《].+|.*[^\p{{P}}][,;!?)\]\"”’」》。，、；：！？]|.*{_CHARACTER}{{9}}.*",
    regex.VERSION1,
)
_FULL_STOP = regex.compile(r"[^.]*[^\p{P}]\.")


def word_spans(text: str, way: str) -> list[Span]:
    """The characters of each word of a text, [start, end), split in one of the `WAYS`."""
    return [match.span() for match in _pattern(text, way).finditer(text)]


def split_text(text: str, way: str) -> list[str]:
    """The words of a text; case kept."""
    pattern = _pattern(text, way)
    if pattern is _SPACED:
        return text.split()
    return [match.group() for match in pattern.finditer(text)]


def _pattern(text: str, way: str) -> re.Pattern[str] | regex.Pattern[str]:
    if way not in WAYS:
        raise ValueError(f"words={way!r} must be one of {', '.join(WAYS)}")
    plain = way == PUNCTUATION or (way == AUTO and is_plain([text]))
    return _WORD if plain else _SPACED


def is_plain(texts: Iterable[str]) -> bool:
    """Whether more marks of the texts touch a word than stand apart, as no tokenised text has it."""
    touching = apart = 0
    for text in texts:
        words = text.split()
        apart += sum(map(bool, map(_MARK.fullmatch, words)))
        touching += sum(map(bool, map(_JOINED.fullmatch, words)))
        touching += bool(words and _FULL_STOP.fullmatch(words[-1]))
    return touching > apart


def split_sentences(sentences: Iterable[Sentence], way: str) -> list[Sentence]:
    """Sentences with their words apart by single spaces, entities and spans too.

    An entity with a span is what stands there; a span that begins or ends inside a word stays as it
    is only in the text, so that the entity is looked for by its words.
    """
    if way == SPACES:
        return list(sentences)
    return [_split(sentence, way) for sentence in sentences]


def _split(sentence: Sentence, way: str) -> Sentence:
    text = sentence.text
    if way == AUTO:  # entities as their text
        way = PUNCTUATION if is_plain([text]) else SPACES
    places = word_spans(text, way)
    words = [text[start:end] for start, end in places]
    first = {start: at for at, (start, _) in enumerate(places)}
    last = {end: at for at, (_, end) in enumerate(places)}
    begins, position = [], 0
    for word in words:
        begins.append(position)
        position += len(word) + 1

    def moved(span: Span) -> Span | None:
        a, b = first.get(span[0]), last.get(span[1])
        return None if a is None or b is None or b < a else (begins[a], begins[b] + len(words[b]))

    triples, spans = [], []
    for at, (subject, relation, thing) in enumerate(sentence.triples):
        both = sentence.spans[at] if sentence.spans else None
        both = None if both is None else tuple(map(moved, both))
        subject, thing = (" ".join(split_text(part, way)) for part in (subject, thing))
        triples.append(Triple(subject, relation, thing))
        spans.append(None if both is None or None in both else both)
    return Sentence(" ".join(words), tuple(triples), tuple(spans) if any(spans) else ())


def split_data(data: TripleData, way: str, keep: Sequence[str] = ()) -> TripleData:
    """A data set in words that spaces separate; `auto` looks at its training sentences.

    Data sets named in `keep`, which come split, are left as they are by `auto`.
    """
    if way == AUTO:
        plain = data.name not in keep and is_plain(sentence.text for sentence in data.train)
        way = PUNCTUATION if plain else SPACES
    if way == SPACES:
        return data
    parts = {split: tuple(split_sentences(getattr(data, split), way)) for split in FILES}
    note = "; ".join(filter(None, (data.note, "plain text, split at punctuation")))
    changed = {"note": note, "words": way, "fingerprint": digest(parts.values(), data.relations)}
    return replace(data, **parts, **changed)
