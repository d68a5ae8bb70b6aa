import pytest
import torch
from transformers import AutoModel, AutoTokenizer

from relcl_lib.worlds.corpus import make_sentences
from relcl_lib.worlds.encoder import build_tokenizer, tiny_bert
from relcl_lib.worlds.world import make_world


def texts(records):
    return [" ".join(r["tokens"]) for rows in records.values() for r in rows]


@pytest.fixture(scope="module")
def sentences():
    return make_sentences(make_world(0), {"train": 30, "test": 10})


@pytest.fixture(scope="module")
def tokenizer(sentences):
    return build_tokenizer(texts(sentences["train"]))


def test_known_words_are_one_token_and_unknown_names_are_spelled(sentences, tokenizer):
    assert tokenizer.tokenize("Who was Born in ,") == ["who", "was", "born", "in", ","]
    known = set(" ".join(texts(sentences["train"])).lower().split())
    for text in texts(sentences["test"]):
        ids = tokenizer(text)["input_ids"]
        assert ids[0] == tokenizer.cls_token_id and ids[-1] == tokenizer.sep_token_id
        assert tokenizer.unk_token_id not in ids
        for word in set(text.split()) - known:
            spelled = tokenizer.tokenize(word)
            assert "".join(piece.removeprefix("##") for piece in spelled) == word.lower()
    two = tokenizer.tokenize("Zuverwik"), tokenizer.tokenize("Zuverwok")
    assert two[0] != two[1]
    assert tokenizer.tokenize("Zµ") == ["[UNK]"]


def test_the_tokenizer_depends_on_nothing_but_the_texts(sentences, tokenizer):
    again = build_tokenizer(reversed(texts(sentences["train"])))
    assert again.get_vocab() == tokenizer.get_vocab()
    rows = tokenizer(["one two", "one"], padding=True)
    assert rows["input_ids"][1][-1] == tokenizer.pad_token_id == 0


def test_both_are_saved_and_loaded_from_the_folder(sentences, tokenizer, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    model = tiny_bert(tokenizer)
    tokenizer.save_pretrained(tmp_path)
    model.save_pretrained(tmp_path)
    loaded_tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    loaded = AutoModel.from_pretrained(tmp_path, attn_implementation="eager").eval()
    rows = texts(sentences["test"])[:8]
    batch = loaded_tokenizer(rows, padding=True, return_tensors="pt")
    expected = tokenizer(rows, padding=True, return_tensors="pt")
    assert torch.equal(batch["input_ids"], expected["input_ids"])
    mask = batch["attention_mask"]
    with torch.no_grad():
        ours = model(input_ids=expected["input_ids"], attention_mask=mask).last_hidden_state
        theirs = loaded(input_ids=batch["input_ids"], attention_mask=mask, output_attentions=True)
    assert ours.shape == (8, mask.shape[1], 64)
    torch.testing.assert_close(theirs.last_hidden_state[mask > 0], ours[mask > 0])
    assert theirs.attentions[-1].shape == (8, 4, mask.shape[1], mask.shape[1])


def test_weights_depend_on_the_seed_alone_and_leave_the_global_state(tokenizer):
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first, second = (
        tiny_bert(tokenizer, hidden=32, layers=1, heads=2),
        tiny_bert(tokenizer, 32, 1, 2),
    )
    assert torch.equal(torch.get_rng_state(), before)
    other = tiny_bert(tokenizer, 32, 1, 2, seed=1)
    for a, b in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(a, b)
    weights = "embeddings.word_embeddings.weight"
    assert not torch.equal(first.state_dict()[weights], other.state_dict()[weights])
    assert len(first.encoder.layer) == 1 and not first.training
