"""Marked sentences as tokens, and batches of them."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from relcl_lib.data.sentences import MarkedSentence, RelationSentences, load_sentences
from relcl_lib.text.markers import (
    MARKERS,
    PLACES,
    add_markers,
    mark_sentences,
    marked_text,
)
from relcl_lib.text.pretrained import load_encoder
from relcl_lib.worlds.encoder import build_tokenizer, tiny_bert

ROOT = Path(__file__).resolve().parents[2]
SHARED = ROOT.parent / "shared"
MINILM = SHARED / "models" / "all-MiniLM-L6-v2"
WORDS = ("a", "b", "c", "d", "e")


def data_of(*rows):
    rows = tuple(MarkedSentence(tuple(tokens), head, tail, 0) for tokens, head, tail in rows)
    return RelationSentences("mine", "reduced", ("P1",), ("x",), rows, (None,) * len(rows), {})


@pytest.fixture(scope="module")
def data():
    whole = load_sentences("synthetic")
    rows = whole.sentences[:40]
    return RelationSentences(
        "mine", "stand-in", whole.relations, whole.relation_names, rows, (None,) * 40, {}
    )


@pytest.fixture
def tokenizer(data):
    return build_tokenizer(" ".join(sentence.tokens) for sentence in data.sentences)


def spelled(head, tail):
    return marked_text(MarkedSentence(WORDS, head, tail, 0))


def test_markers_stand_in_place_whichever_entity_is_first():
    assert spelled((0, 2), (3, 4)) == "[E11] a b [E12] c [E21] d [E22] e"
    assert spelled((4, 5), (1, 3)) == "a [E21] b c [E22] d [E11] e [E12]"
    assert spelled((2, 3), (1, 2)) == "a [E21] b [E22] [E11] c [E12] d e"


def test_overlapping_entities_nest():
    assert spelled((0, 3), (1, 2)) == "[E11] a [E21] b [E22] c [E12] d e"
    assert spelled((0, 1), (0, 3)) == "[E21] [E11] a [E12] b c [E22] d e"
    assert spelled((2, 3), (1, 3)) == "a [E21] b [E11] c [E12] [E22] d e"
    assert spelled((1, 2), (1, 2)) == "a [E11] [E21] b [E22] [E12] c d e"
    assert spelled((0, 3), (2, 5)) == "[E11] a b [E21] c [E12] d e [E22]"


def test_a_tokenizer_that_cannot_pad_is_refused(data, tokenizer):
    tokenizer.pad_token = None
    with pytest.raises(ValueError, match="no padding token"):
        mark_sentences(data, tokenizer)


def test_tokens_equal_those_of_one_sentence_at_a_time(data, tokenizer):
    marked = mark_sentences(data, tokenizer)
    assert len(marked) == 40 and torch.equal(marked.labels, data.labels)
    assert marked.ids.shape == (40, int(marked.lengths.max())) and marked.ids.dtype == torch.int64
    for row, sentence in enumerate(data.sentences):
        tokens = list(sentence.tokens)
        spans = [(sentence.head, MARKERS[:2]), (sentence.tail, MARKERS[2:])]
        for (start, end), (opening, closing) in sorted(spans, reverse=True):
            tokens[start:end] = [opening, *tokens[start:end], closing]
        ids = tokenizer(" ".join(tokens))["input_ids"]
        assert marked.ids[row, : len(ids)].tolist() == ids and marked.lengths[row] == len(ids)
        assert not marked.ids[row, len(ids) :].any()
        pieces = tokenizer.convert_ids_to_tokens(ids)
        assert all(pieces.count(marker) == 1 for marker in MARKERS)
        places = (pieces.index("[E11]"), pieces.index("[E21]"))
        assert tuple(marked.places[row, ::2].tolist()) == places


def test_a_batch_is_cut_to_its_longest_row_or_filled_up(data, tokenizer):
    marked = mark_sentences(data, tokenizer).to("cpu")
    rows = torch.tensor([7, 3, 3])
    batch = marked.batch(rows)
    assert list(batch) == ["input_ids", "attention_mask", *PLACES, "labels"]
    longest = int(marked.lengths[rows].max())
    assert batch["input_ids"].shape == batch["attention_mask"].shape == (3, longest)
    assert torch.equal(batch["attention_mask"].sum(1), marked.lengths[rows])
    assert torch.equal(torch.stack([batch[n] for n in PLACES], 1), marked.places[rows])
    assert torch.equal(batch["labels"], marked.labels[rows])
    wide = marked.batch(rows, pad_to=64)
    assert wide["input_ids"].shape == (3, 64)
    assert torch.equal(wide["input_ids"][:, :longest], batch["input_ids"])
    assert (wide["input_ids"][:, longest:] == tokenizer.pad_token_id).all()
    assert wide["attention_mask"].sum() == batch["attention_mask"].sum()
    with pytest.raises(ValueError, match="pad_to=5"):
        marked.batch(rows, pad_to=5)
    assert marked.batch(torch.tensor([], dtype=torch.long))["input_ids"].shape == (0, 0)


def test_the_entity_vectors_do_not_depend_on_padding(data, tokenizer):
    marked = mark_sentences(data, tokenizer)
    encoder = tiny_bert(tokenizer, 16, 1, 2)
    encoder.resize_token_embeddings(len(tokenizer), mean_resizing=False)

    def entities(batch, mask):
        out = encoder(input_ids=batch["input_ids"], attention_mask=mask).last_hidden_state
        rows = torch.arange(len(out))
        return torch.cat([out[rows, batch["head"]], out[rows, batch["tail"]]], 1)

    rows = torch.arange(8)
    with torch.no_grad():
        short, *wide = (marked.batch(rows, pad_to) for pad_to in (None, 64, 256))
        expected = entities(short, short["attention_mask"])
        assert expected.shape == (8, 2 * 16)
        for batch in wide:
            torch.testing.assert_close(entities(batch, batch["attention_mask"]), expected)
            attended = entities(batch, torch.ones_like(batch["attention_mask"]))
            assert (attended - expected).abs().max() > 1e-3


def test_marking_twice_adds_the_markers_once(data, tokenizer):
    before = len(tokenizer)
    ids = add_markers(tokenizer)
    assert ids == list(range(before, before + 4)) == add_markers(tokenizer)
    first, second = mark_sentences(data, tokenizer), mark_sentences(data, tokenizer)
    assert torch.equal(first.ids, second.ids) and len(tokenizer) == before + 4


def test_no_sentences_are_no_rows(tokenizer):
    marked = mark_sentences(data_of(), tokenizer)
    assert marked.ids.shape == (0, 0) and len(marked.places) == len(marked.labels) == 0


def test_a_marker_cut_off_names_the_sentence(tokenizer):
    data = data_of((WORDS, (0, 1), (1, 2)), (WORDS * 4, (0, 1), (17, 19)))
    with pytest.raises(ValueError) as caught:
        mark_sentences(data, tokenizer, max_length=20)
    words = ["mine, sentence 1 (P1: 'a b c", "[E21] lies beyond max_length=20", "1 sentences"]
    assert all(word in str(caught.value) for word in words), caught.value
    mark_sentences(data, tokenizer, max_length=26)


@pytest.mark.parametrize(
    "room, advice, not_said",
    [
        (None, "Set max_length to 35, or take", "positions"),
        (40, "Set max_length to 35, or take", "positions"),
        (
            30,
            "Set max_length to 25 for 1 of them (the others exceed the encoder's 30 positions), or",
            "35",
        ),
        (20, "The encoder has no more than 20 positions: take", "Set max_length"),
    ],
)
def test_the_advice_is_as_much_as_is_needed_and_never_more_than_the_encoder_has(
    tokenizer, room, advice, not_said
):
    data = data_of((WORDS * 4, (0, 1), (17, 19)), (WORDS * 6, (28, 29), (1, 2)))
    with pytest.raises(ValueError) as caught:
        mark_sentences(data, tokenizer, max_length=20, room=room)
    text = str(caught.value)
    assert advice in text and not_said not in text and "(2 sentences in all)" in text
    for needed in (35, 34):  # what is advised is enough, and no more than that
        usable = mark_sentences(data, tokenizer, max_length=needed, skip_long=True).usable
        assert len(usable) == (2 if needed == 35 else 1)


def test_sentences_that_lose_a_marker_can_be_left_out(tokenizer):
    rows = [(WORDS * 4, (0, 1), (17, 19)), (WORDS, (0, 1), (1, 2)), (WORDS * 6, (28, 29), (1, 2))]
    marked = mark_sentences(data_of(*rows), tokenizer, max_length=20, skip_long=True)
    assert marked.usable.tolist() == [1] and len(marked) == 3
    whole = mark_sentences(data_of(*rows), tokenizer)
    assert whole.usable.tolist() == [0, 1, 2]
    one = torch.tensor([1])
    cut, uncut = marked.batch(one), whole.batch(one)
    assert all(torch.equal(cut[name], uncut[name]) for name in uncut)
    with pytest.raises(ValueError, match="the text itself holds"):
        mark_sentences(data_of((("a", "[E22]"), (0, 1), (1, 2))), tokenizer, skip_long=True)


def test_a_text_that_holds_a_marker_is_refused(tokenizer):
    with pytest.raises(ValueError, match=r"sentence 0 .*the text itself holds \[E22\]"):
        mark_sentences(data_of((("a", "b", "[E22]"), (0, 1), (1, 2))), tokenizer)


@pytest.mark.skipif(not MINILM.is_dir(), reason="no pretrained encoder beside the checkout")
def test_the_ids_of_the_markers_behind_berts_vocabulary(data, tmp_path):
    for file in ("tokenizer.json", "tokenizer_config.json", "vocab.txt", "config.json"):
        shutil.copy(MINILM / file, tmp_path / file)
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    marked = mark_sentences(data, tokenizer)
    assert json.loads((MINILM / "config.json").read_text())["vocab_size"] == 30522
    for marker, number in enumerate(range(30522, 30526)):
        assert tokenizer.convert_tokens_to_ids(MARKERS[marker]) == number
        assert ((marked.ids == number).sum(1) == 1).all()


@pytest.mark.skipif(
    not (MINILM.is_dir() and (SHARED / "data" / "fewrel").is_dir()),
    reason="no pretrained encoder and FewRel beside the checkout",
)
def test_real_sentences_keep_their_markers():
    whole = load_sentences("fewrel", SHARED / "data")
    rows = whole.sentences[::40]
    part = RelationSentences(
        "fewrel", "reduced", whole.relations, whole.relations, rows, (None,) * len(rows), {}
    )
    tokenizer, _ = load_encoder(MINILM)
    marked = mark_sentences(part, tokenizer)
    at = torch.arange(len(rows))
    assert set(marked.ids[at, marked.places[:, 0]].tolist()) == {30522}
    assert set(marked.ids[at, marked.places[:, 2]].tolist()) == {30524}
    assert int(marked.lengths.max()) < 100
