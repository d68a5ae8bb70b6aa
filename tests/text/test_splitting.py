"""Plain text in words: marks, abbreviations, scripts without spaces, offsets."""

import unicodedata
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relcl_lib.data.triples import Sentence, Triple, assemble_triples
from relcl_lib.text.splitting import (
    AUTO,
    PUNCTUATION,
    SPACES,
    hold_sentences,
    is_plain,
    sentence_spans,
    split_data,
    split_sentences,
    split_text,
    word_spans,
)


@pytest.mark.parametrize(
    "text, words",
    [
        ("Marta Quill was born in Lowford.", "Marta Quill was born in Lowford ."),
        ("Mr. O'Neal (b. 1950) didn't.", "Mr. O'Neal ( b . 1950 ) did n't ."),
        ("Lowford’s U.S. office, 5:30 p.m.", "Lowford ’s U.S. office , 5:30 p.m."),
        ("25,320.4 mm -- well-known, 2014-15...", "25,320.4 mm -- well-known , 2014-15 ..."),
        ("Roger S. Bagnall; plan B", "Roger S. Bagnall ; plan B"),
        ("St. Vincent-St. Mary", "St. Vincent-St. Mary"),
        ('"Oren Tace," said HIV/AIDS.', '" Oren Tace , " said HIV/AIDS .'),
        ("See www.example.org/a, a.b@c.org!", "See www.example.org/a , a.b@c.org !"),
        ("小明1958年生于上海。", "小 明 1958 年 生 于 上 海 。"),
        ("東京タワーは高い", "東 京 タ ワ ー は 高 い"),
        ("ไทยนี้", "ไ ท ย นี้"),
        ("हिन्दी में लिखा।", "हिन्दी में लिखा ।"),
        ("Ha\u0308rtel, là", "Ha\u0308rtel , là"),
        ("Quill\u200b of Wex\u00admoor\u200f", "Quill of Wex\u00admoor"),  # signs that nobody sees
        ("👨\u200d👩 ☀\ufe0f می\u200cخواهم", "👨 👩 ☀\ufe0f می\u200cخواهم"),
    ],
)
def test_words_and_marks(text, words):
    assert split_text(text, PUNCTUATION) == words.split()
    assert [text[a:b] for a, b in word_spans(text, PUNCTUATION)] == words.split()


def seen(text):
    return "".join(sign for sign in text if unicodedata.category(sign) != "Cf")


@given(st.text() | st.text(st.sampled_from("aé.-\u200b\u200d\u00ad\ufe0f ")))
def test_no_character_that_is_seen_is_lost_or_twice(text):
    for way in (SPACES, PUNCTUATION, AUTO):
        places = word_spans(text, way)
        assert [text[a:b] for a, b in places] == split_text(text, way)
        assert seen("".join(text[a:b] for a, b in places)) == seen("".join(text.split()))
        assert all(a < b <= c for (a, b), (c, _) in pairwise(places))


@pytest.mark.parametrize(
    "text, plain",
    [
        ("Marta Quill was born in Lowford.", True),
        ("Marta Quill was born in Lowford .", False),
        ("Born in Lowford, she left (early)", True),
        ("Mr. Tace of Pell , N.Y. , left the (718) .", False),
        ("the U.S. team of St. Pell", False),
        ("小明出生于上海。", True),
        ("小明 出生 于 上海 。", False),
        ("小明出生于上海浦东新区", True),
        ("张三出生于北京", True),
        ("张三 出生 于 北京", False),
        ("Lowford's mayor Marta Quill was born in Eastria", True),
        ("Lowford 's mayor did n't leave", False),
        ("She didn’t leave", True),
        ("They've left", True),
        ("Marta Quill: born in Lowford", True),
        ("Marta Quill : born in Lowford", False),
        ("Marta Quill left…", True),
        ("ولدت مارتا كويل، في لوفورد", True),
        ("ولدت مارتا كويل ، في لوفورد", False),
        ("मार्टा यहाँ रहती है।", True),
        ("Marta Quill – a doctor – was born in Lowford.", True),
        ("- Marta Quill was born in Lowford.", True),
        ("• Marta Quill was born in Lowford.", True),
        ("Quill & Tace / Lowford, Eastria", True),
        ("Marta Quill was born in Lowford. Leo Tace left", True),
        ("Mr. Quill of Pell Inc. left Lowford", False),
        ("Marta Quill -- a doctor -- was born in Lowford .", False),
        ("Quill & Tace left Lowford - for Eastria", False),
        ("", False),
    ],
)
def test_a_text_says_itself_whether_it_is_tokenised(text, plain):
    assert is_plain([text]) == plain
    assert split_text(text, AUTO) == split_text(text, PUNCTUATION if plain else SPACES)


@pytest.mark.parametrize(
    "text, sentences",
    [
        (
            "  Dr. Ada Byron was born on Dec. 10, 1815. She met Mr. Babbage of the U.S. in London! ",
            [
                "Dr. Ada Byron was born on Dec. 10, 1815.",
                "She met Mr. Babbage of the U.S. in London!",
            ],
        ),
        ("One 😀 here. Two 😀 there", ["One 😀 here.", "Two 😀 there"]),
        ("东京是首都。他住在那里。", ["东京是首都。", "他住在那里。"]),
        ("Of one line.\n\nAnd of another.", ["Of one line.", "And of another."]),
    ],
)
def test_sentences_of_plain_text(text, sentences):
    assert [text[slice(*span)] for span in sentence_spans(text, "punctuation")] == sentences
    assert hold_sentences(sentences) and not hold_sentences([text])


@pytest.mark.parametrize(
    "text", ["", " \n ", "born in Lowford . She lives in Cambridge , Mass. now ."]
)
def test_a_text_in_words_and_an_empty_one_are_one_sentence(text):
    assert sentence_spans(text, "auto") == [(0, len(text))]


@given(st.text(max_size=80))
def test_sentences_hold_every_word_once(text):
    spans = sentence_spans(text, "punctuation")
    assert all(a <= b for a, b in spans) and spans == sorted(spans)
    inside = [character for a, b in spans for character in text[a:b] if not character.isspace()]
    assert "".join(inside) == "".join(text.split())


def test_a_way_that_is_none():
    with pytest.raises(ValueError, match="words='bert' must be one of auto, spaces, punct"):
        split_text("a", "bert")


def test_entities_and_spans_move_with_their_words():
    text = "Pell, Marta Quill's home; Pell (Eastria)."
    triple = Triple("Marta Quill", "home", "Pell")
    spans = (((6, 17), (26, 30)), None, ((6, 17), (26, 29)))
    (sentence,) = split_sentences([Sentence(text, (triple,) * 3, spans)], PUNCTUATION)
    assert sentence.text == "Pell , Marta Quill 's home ; Pell ( Eastria ) ."
    first, second, half = sentence.spans
    assert [sentence.text[slice(*span)] for span in first] == ["Marta Quill", "Pell"]
    assert first[1][0] == 29
    assert [sentence.text[slice(*span)] for span in second] == ["Marta Quill", "Pell"]
    assert second == half and second[1] == (0, 4)  # half a word is looked for, as what has no span
    (bare,) = split_sentences([Sentence("A.B.C. x", (Triple("A.B.C.", "r", "x's"),))], PUNCTUATION)
    assert bare.triples == (Triple("A.B.C.", "r", "x 's"),) and bare.spans == ()


@pytest.mark.parametrize(
    "text, entity, words",
    [
        ("Booker T. sang in Graz.", "Booker T.", "Booker T."),
        ("Booker T. sang in Graz.", "Booker T", "Booker T."),
        ("We saw Booker T.", "Booker T.", "Booker T ."),
        ("She works for Orbit Inc.", "Orbit Inc", "Orbit Inc."),
        ("She works for Orbit Inc.", "Orbit Inc.", "Orbit Inc."),
        ("A U.S. firm", "U.S", "U.S."),
        ("It fell on 3 Oct.", "3 Oct", "3 Oct."),
        ("He left Acme Corp. in May.", "ACME CORP.", "Acme Corp."),
        ("He left ACME CORP. in May.", "Acme Corp.", "ACME CORP ."),
        ("They told us that the US won.", "US", "US"),
        ("On Dec. 3 came Dec.", "Dec. 3", "Dec. 3"),
        ("Born in New\n York.", "New York", "New York"),
        ("U.S.A. it is", "U", "U"),  # not the beginning of a word
        ("Well...", "Well.", "Well ."),  # nor one mark of several
        ("AA A", "A", "A"),
    ],
)
def test_an_entity_is_the_words_that_stand_in_the_text(text, entity, words):
    spans = ()
    if (start := text.find(entity)) >= 0:
        spans = (((start, start + len(entity)),) * 2,)
    for marked in ((), spans):
        plain = Sentence(text, (Triple(entity, "r", entity),), marked)
        (sentence,) = split_sentences([plain], PUNCTUATION)
        assert sentence.triples == (Triple(words, "r", words),)
        for span in sentence.spans and sentence.spans[0]:
            assert sentence.text[slice(*span)] == words
        assert bool(sentence.spans) == (words not in ("U", "Well ."))
    (us,) = split_sentences([Sentence("us, US", (Triple("US", "r", "us"),))], PUNCTUATION)
    assert us.spans == (((5, 7), (0, 2)),)


def test_tokenised_sentences_keep_their_entities():
    triple = Triple("Orbit Inc", "r", "TACE")
    apart = Sentence("Mr. Tace left Orbit Inc. .", (triple,), (((14, 24), (4, 8)),))
    assert split_sentences([apart], AUTO) == split_sentences([apart], SPACES) == [apart]
    half = apart._replace(spans=(((14, 23), (4, 8)),))
    assert split_sentences([half], AUTO) == [apart._replace(spans=())]


def test_plain_data_are_split_and_tokenised_ones_are_not():
    def data(name, text):
        sentences = [Sentence(text, (Triple("Oren", "r", "Pell"),))] * 12
        return assemble_triples(name, {"train": sentences, "valid": sentences, "test": sentences})

    plain = data("mine", "Oren left Pell.")
    split = split_data(plain, AUTO)
    assert split.train[0].text == "Oren left Pell ." and split.words == PUNCTUATION
    assert split.fingerprint != plain.fingerprint and "split at punctuation" in split.note
    assert split_data(plain, SPACES) is plain
    apart = data("mine", "Oren left Pell .")
    assert split_data(apart, AUTO) is apart
    corpus = data("webnlg", "Oren left Pell.")
    assert split_data(corpus, AUTO, keep=("webnlg",)) is corpus
    assert split_data(corpus, PUNCTUATION, keep=("webnlg",)).words == PUNCTUATION
