"""Plain text split into words, with the characters they stand on.

Corpora are given with words and punctuation apart by spaces; what people write is not. `spaces` takes
what white space separates. `punctuation` splits plain text about as the corpora are split (as the
Penn Treebank is): marks stand alone; initials, abbreviations, numbers and words with a hyphen stay
whole; `'s` and `n't` are words. Of scripts without spaces each character is a word. `auto` is one of
the two, by the text's own marks. Plain text is split into sentences, too.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import pairwise

import regex
import sentencex

from relcl_lib.data.triples import FILES, Sentence, Span, Triple, TripleData, digest

AUTO, SPACES, PUNCTUATION = WAYS = ("auto", "spaces", "punctuation")

#: scripts that are written without spaces
_SCRIPTS = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}"
_CHARACTER = rf"[[{_SCRIPTS}]--[\p{{M}}\p{{P}}\p{{N}}]]"
#: zero-width joiners are parts of words in Persian and in Indian scripts, soft hyphens in all
_LETTER = rf"[[\p{{L}}\p{{M}}\p{{N}}_\u00ad\u200c\u200d]--[{_SCRIPTS}--\p{{N}}]]"
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
    | (?!\p{{Cf}}){_LETTER}+(?:(?:[-‐/.&@] | (?!{_CLITIC})['’] | (?<=\p{{N}})[,:](?=\p{{N}})){_LETTER}+)*
      (?:(?<=-(?:{_SHORT}))\.)?                             # Vincent-St. Mary
    | ([^\s\p{{Cf}}\x1c-\x1f])\1*\p{{M}}*                       # a mark, or the same mark again: ... --
    """,
    regex.VERSION1 | regex.VERBOSE,
)
_FORMS = ("NFC", "NFD")
_SPACED = re.compile(r"\S+")  # the white space of `str.split`
#: a word that white space separates: a mark alone, but for those that plain text sets apart as well
_MARK = regex.compile(r"[\p{P}--[\p{Pd}•·&/*@#%_…]]+", regex.VERSION1)
#: one with a mark that splitting would take off
_JOINED = regex.compile(
    rf"""
      [(\["“‘「《].+ | .*[^\p{{P}}][,;:!?…)\]"”’」》。，、；：！？،؛؟۔।॥]
    | .+(?:n['’]t|['’](?:s|re|ve|ll|d|m)) | .*{_CHARACTER}{{9}}.*
    """,
    regex.VERSION1 | regex.VERBOSE | regex.IGNORECASE,
)
#: a text that is one word: its script has no spaces, where words that are split have them
_UNSPACED = regex.compile(rf".*{_CHARACTER}{{2}}.*", regex.VERSION1)
_FULL_STOP = regex.compile(r"[^.]*[^\p{P}]\.")
_STOP_INSIDE = regex.compile(rf"(?!(?:{_SHORT})\.)[^.]*[^\p{{P}}]{{2}}\.", regex.VERSION1)


def composed(text: str) -> str:
    """A text in Unicode's form NFC: an accent and its letter are one sign, where there is one."""
    return unicodedata.normalize("NFC", text)


def look_up(text: str) -> str:
    """A text as words are looked up: lower-cased, `composed`, without soft hyphens."""
    return composed(text.lower().replace("\u00ad", ""))


def way_of(text: str, way: str) -> str:
    """How a text is split: `spaces` or `punctuation`; `auto` looks at its marks."""
    if way not in WAYS:
        raise ValueError(f"words={way!r} must be one of {', '.join(WAYS)}")
    plain = way == PUNCTUATION or (way == AUTO and is_plain([text]))
    return PUNCTUATION if plain else SPACES


def word_spans(text: str, way: str) -> list[Span]:
    """The characters of each word of a text, [start, end), split in one of the `WAYS`."""
    pattern = _SPACED if way_of(text, way) == SPACES else _WORD
    return [match.span() for match in pattern.finditer(text)]


def sentence_spans(text: str, way: str) -> list[Span]:
    """The characters of each sentence of a text, [start, end), the space around left out.

    A text whose words are apart already is one sentence: there a mark ends nothing for certain.
    """
    return [(0, len(text))] if way_of(text, way) == SPACES else _sentences(text)


def hold_sentences(texts: Iterable[str]) -> bool:
    """Whether texts hold a sentence each: whether nine tenths of them do."""
    single = [len(_sentences(text)) == 1 for text in texts]
    return sum(single) >= 0.9 * len(single)


def _sentences(text: str) -> list[Span]:
    found = []
    for part in sentencex.get_sentence_boundaries("en", text):
        start, inside = part["start_index"], text[part["start_index"] : part["end_index"]]
        start += len(inside) - len(inside.lstrip())
        found.append((start, start + len(inside.strip())))
    return [(start, end) for start, end in found if start < end] or [(0, len(text))]


def split_text(text: str, way: str) -> list[str]:
    """The words of a text; case kept."""
    if way_of(text, way) == SPACES:
        return text.split()
    return [match.group() for match in _WORD.finditer(text)]


def is_plain(texts: Iterable[str]) -> bool:
    """Whether more marks of the texts touch a word than stand apart, as no tokenised text has it."""
    touching = apart = 0
    for text in texts:
        words = text.split()
        apart += sum(map(bool, map(_MARK.fullmatch, words)))
        touching += sum(map(bool, map(_JOINED.fullmatch, words)))
        touching += bool(words and _FULL_STOP.fullmatch(words[-1]))
        pairs = pairwise(words)
        touching += sum(b[0].isupper() and bool(_STOP_INSIDE.fullmatch(a)) for a, b in pairs)
        touching += len(words) == 1 and bool(_UNSPACED.fullmatch(words[0]))
    return touching > apart


def split_sentences(sentences: Iterable[Sentence], way: str) -> list[Sentence]:
    """Sentences with their words apart by single spaces, entities and spans too.

    An entity of plain text is the words that stand where its span says, or where its characters are
    found first, with the text's case and with the full stop of an abbreviation that it leaves out. One
    that is nowhere as whole words is split by itself.
    """
    if way == SPACES:
        return list(sentences)
    return [_split(sentence, way) for sentence in sentences]


def _split(sentence: Sentence, way: str) -> Sentence:
    text = sentence.text
    way = way_of(text, way)  # entities as their text
    places = word_spans(text, way)
    words = [text[start:end] for start, end in places]
    first = {start: at for at, (start, _) in enumerate(places)}
    last = {end: at for at, (_, end) in enumerate(places)}
    begins, position = [], 0
    for word in words:
        begins.append(position)
        position += len(word) + 1

    def moved(entity: str, span: Span | None) -> tuple[str, Span | None]:
        plain, alone = way != SPACES, " ".join(split_text(entity, way))
        at = _words_at(text, [span] if span else [], first, last, stops=plain)
        if at is None and plain:
            at = _find(text, entity, first, last)
        if at is None:
            return alone, None
        a, b = at
        stands = " ".join(words[a : b + 1]) if plain else alone
        return stands, (begins[a], begins[b] + len(words[b]))

    triples, spans = [], []
    for at, (subject, relation, thing) in enumerate(sentence.triples):
        given = (sentence.spans[at] if sentence.spans else None) or (None, None)
        (subject, one), (thing, other) = moved(subject, given[0]), moved(thing, given[1])
        triples.append(Triple(subject, relation, thing))
        spans.append(None if one is None or other is None else (one, other))
    return Sentence(" ".join(words), tuple(triples), tuple(spans) if any(spans) else ())


def _find(
    text: str, entity: str, first: dict[int, int], last: dict[int, int]
) -> tuple[int, int] | None:
    """The first and last of the words that an entity's characters cover; case counts if it can."""
    # Accents may be signs of their own in the one and not in the other.
    forms = dict.fromkeys([entity, *(unicodedata.normalize(form, entity) for form in _FORMS)])
    letters = "|".join(r"\s+".join(map(re.escape, form.split())) for form in forms)
    for flags in (re.NOFLAG, re.IGNORECASE):
        # Looking ahead finds occurrences that overlap.
        spans = [match.span(1) for match in re.finditer(f"(?=({letters}))", text, flags)]
        if (found := _words_at(text, spans, first, last)) is not None:
            return found
    return None


def _words_at(
    text: str,
    spans: Sequence[Span],
    first: dict[int, int],
    last: dict[int, int],
    *,
    stops: bool = True,
) -> tuple[int, int] | None:
    """The first and last of the words that make up the first span that is words; None if none is.

    With `stops` a span may leave out the full stop that its last word, an abbreviation, ends with.
    """
    for stop in ("", ".") if stops else ("",):
        for start, end in spans:
            a, b = first.get(start), last.get(end + len(stop))
            fits = not stop or (text[end] == stop != text[end - 1])
            if a is not None and b is not None and a <= b and fits:
                return a, b
    return None


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
