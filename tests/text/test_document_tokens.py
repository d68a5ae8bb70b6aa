"""Word pieces with markers, what is cut, and batches against loops over documents."""

import pytest
import torch

from relcl_lib.data.candidate_sets import CANDIDATES
from relcl_lib.data.document_files import Document, Fact, Mention
from relcl_lib.data.documents import load_documents
from relcl_lib.text.document_tokens import most_entities, tokenize_documents
from relcl_lib.worlds.encoder import build_tokenizer

SENTENCES = (("ann", "lives", "in", "bonn", "."), ("carl", "of", "bonn", "sings", "."))
ENTITIES = (
    (Mention(0, 0, 1, "PER", "ann"),),
    (Mention(0, 3, 4, "LOC", "bonn"), Mention(1, 2, 3, "LOC", "bonn")),
    (Mention(1, 0, 3, "PER", "carl of bonn"), Mention(1, 0, 1, "PER", "carl")),
)
DOCUMENT = Document(
    "a", SENTENCES, ENTITIES, (Fact(0, "r1", 1), Fact(0, "r0", 1), Fact(2, "r1", 0))
)
RELATIONS = ("r0", "r1")


def make_tokenizer(extra=("*",)):
    texts = [" ".join(word for sentence in SENTENCES for word in sentence)] * 2
    tokenizer = build_tokenizer(texts, pieces=0)
    tokenizer.add_tokens(list(extra))
    return tokenizer


def tokens(documents=(DOCUMENT,), tokenizer=None, **options):
    return tokenize_documents(documents, tokenizer or make_tokenizer(), RELATIONS, **options)


def test_one_star_a_boundary():
    tokenizer = make_tokenizer()
    found = tokens(tokenizer=tokenizer)
    text = tokenizer.convert_ids_to_tokens(found.ids.tolist())
    expected = "[CLS] * ann * lives in * bonn * . * carl * of * bonn * sings . [SEP]"
    assert " ".join(text) == expected
    # A mention is named by its opening star, and ends at its closing one.
    assert found.mentions.tolist() == [
        *([0, 1, 3], [1, 6, 8], [1, 14, 16]),
        *([2, 10, 16], [2, 10, 12]),
    ]
    assert all(text[place] == "*" for place in found.mentions[:, 1:].flatten().tolist())


def test_one_star_a_mention():
    tokenizer = make_tokenizer()
    found = tokens(tokenizer=tokenizer, markers="mention")
    text = tokenizer.convert_ids_to_tokens(found.ids.tolist())
    assert " ".join(text[10:]) == "* * carl * of * bonn * * sings . [SEP]"
    # Of several stars in a row the first is the mention's.
    assert found.mentions[3:].tolist() == [[2, 10, 17], [2, 10, 13]]


def test_typed_markers_tell_entities_and_types():
    tokenizer = make_tokenizer([f"[unused{i}]" for i in range(10)])
    found = tokens(tokenizer=tokenizer, markers="typed")
    text = tokenizer.convert_ids_to_tokens(found.ids.tolist())
    expected = "[CLS] [unused7] ann [unused4] lives in [unused8] bonn [unused2] ."
    assert text[: len(expected.split())] == expected.split()
    # Two end at one token: the later entity's type counts.
    assert text[14:17] == ["[unused8]", "bonn", "[unused4]"]
    with pytest.raises(ValueError, match=r"typed markers need \[unused7\]"):
        tokens(markers="typed")
    assert most_entities(tokenizer, "boundary") == float("inf")
    assert most_entities(tokenizer, "typed") == 3


@pytest.mark.parametrize("kinds", [kinds for kinds, _ in CANDIDATES.values()])
def test_typed_markers_tell_the_two_kinds_of_a_listed_pair(kinds):
    tokenizer = make_tokenizer([f"[unused{i}]" for i in range(10)])
    entities = tuple(
        tuple(mention._replace(type=kind) for mention in entity)
        for entity, kind in zip(ENTITIES[:2], kinds, strict=True)
    )
    found = tokens([Document("a", SENTENCES, entities, ())], tokenizer, markers="typed")
    text = tokenizer.convert_ids_to_tokens(found.ids.tolist())
    closings = {text[int(place)] for place in found.mentions[:, 2]}
    assert len(closings) == 2 and "[unused0]" not in closings


def test_a_vocabulary_without_a_star_takes_its_mask():
    tokenizer = make_tokenizer(())
    found = tokens(tokenizer=tokenizer)
    assert (found.ids == tokenizer.mask_token_id).sum() == 8


def test_what_is_cut_is_counted():
    found = tokens(max_pieces=12)
    assert len(found.ids) == 12
    assert found.report["documents_cut"] == 1
    # The stars of the second sentence: carl's at place 10 is the last piece that is kept.
    assert found.mentions.tolist() == [[0, 1, 3], [1, 6, 8], [2, 10, 10], [2, 10, 10]]
    assert found.report["mentions_cut"] == 1
    shorter = tokens(max_pieces=11)
    assert shorter.report["entities_cut"] == 1
    assert shorter.report["mentions_cut"] == 3
    assert shorter.n_entities.tolist() == [3]


def test_documents_without_pairs_do_not_train():
    alone = Document("b", SENTENCES, ENTITIES[:1], ())
    found = tokens([alone, DOCUMENT, alone])
    assert found.usable.tolist() == [1]
    assert found.report["documents_without_a_pair"] == 2


def test_unknown_relations_and_markers():
    wrong = Document("b", SENTENCES, ENTITIES, (Fact(0, "r9", 1),))
    with pytest.raises(ValueError, match="document 'b': relation 'r9'"):
        tokens([wrong])
    with pytest.raises(ValueError, match="markers='star'"):
        tokens(markers="star")
    tokenizer = make_tokenizer()
    tokenizer.cls_token = None
    with pytest.raises(ValueError, match="no opening and closing special"):
        tokens(tokenizer=tokenizer)


def test_batches_equal_a_loop_over_documents():
    data = load_documents("synthetic")
    documents = [*data.train[:7], DOCUMENT]
    relations = (*data.relations, *RELATIONS)
    tokenizer = make_tokenizer()
    found = tokenize_documents(documents, tokenizer, relations)
    rows = torch.tensor([7, 2, 5])
    batch = found.batch(rows)
    assert batch.n_entities == max(len(documents[i].entities) for i in rows)
    assert batch.ids.shape == (3, max(found.lengths[rows]))
    pairs, labels, mentions = [], [], []
    for row, i in enumerate(rows.tolist()):
        alone = tokenize_documents([documents[i]], tokenizer, relations)
        assert batch.ids[row, : batch.lengths[row]].tolist() == alone.ids.tolist()
        assert (batch.ids[row, batch.lengths[row] :] == found.pad).all()
        mentions += [[row, *m] for m in alone.mentions.tolist()]
        for pair in documents[i].candidates():
            pairs.append([row, *pair])
            held = {f.relation for f in documents[i].facts if (f.head, f.tail) == pair}
            labels.append([relation in held for relation in relations])
    assert batch.pairs.tolist() == pairs
    assert batch.labels.tolist() == labels
    assert batch.mentions.tolist() == mentions
    assert pairs == sorted(pairs)
