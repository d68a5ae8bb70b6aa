"""The texts, the masks and the training of the tiny encoder, and the one that is committed."""

import json
from itertools import accumulate, pairwise
from pathlib import Path
from random import Random

import pytest
import torch
from sklearn.linear_model import LogisticRegression
from transformers import AutoModel, AutoTokenizer

from relcl_lib.text.pretrained import load_encoder
from relcl_lib.worlds import pretraining as module
from relcl_lib.worlds.corpus import make_documents
from relcl_lib.worlds.encoder import tiny_bert
from relcl_lib.worlds.grammar import PATTERNS
from relcl_lib.worlds.pretraining import (
    FIRST_WORLD,
    MaskedWords,
    Retelling,
    Texts,
    draw_texts,
    main,
    mask_words,
    pretrain,
    shared_vocabulary,
    write_encoder,
)
from relcl_lib.worlds.world import make_world

COMMITTED = Path(__file__).resolve().parents[2] / "data" / "synthetic" / "encoder"
SMALL = {"documents": 2, "retellings": 30}


@pytest.fixture(scope="module")
def worlds():
    return [draw_texts(make_world(FIRST_WORLD + i, 20), **SMALL) for i in range(3)]


@pytest.fixture(scope="module")
def tokenizer(worlds):
    return shared_vocabulary(worlds)


def read(worlds, tokenizer, longest=128):
    return Texts.read([text for texts in worlds for text in texts], tokenizer, longest)


# --- texts -------------------------------------------------------------------------------------


def test_the_same_world_tells_the_same_texts(worlds):
    assert draw_texts(make_world(FIRST_WORLD, 20), **SMALL) == worlds[0]
    assert [len(texts) for texts in worlds] == [32] * 3
    assert worlds[0] != worlds[1]


def anonymous(text, world):
    """A text with every name replaced by one sign, longest names first."""
    names = {name for entity in world.entities.values() for name in entity.names}
    for name in sorted(names, key=len, reverse=True):
        text = f" {text} ".replace(f" {name} ", " * ").replace(f" {name} ", " * ").strip()
    return text.lower()


def clauses(predicate, held_out):
    """The texts of a predicate's paraphrases, names as one sign, with each gender's words."""
    for pattern in PATTERNS[predicate]:
        if pattern.held_out == held_out:
            for gender in (0, 1):
                words = [
                    word[1:-1].split(":")[1].split("/")[gender] if word[0] == "[" else word
                    for word in pattern.words
                    if word != "|"
                ]
                text = " ".join(words).replace("{a}", "*").replace("{b}", "*").lower()
                yield text


def test_no_text_has_a_held_out_paraphrase():
    world = make_world(FIRST_WORLD, 20)
    texts = [f" {anonymous(text, world)} " for text in draw_texts(world, 40, 400)]
    found = {True: 0, False: 0}
    for predicate in PATTERNS:
        known = set(clauses(predicate, False))
        for held_out in (True, False):
            for clause in set(clauses(predicate, held_out)):
                # A held-out clause may be the beginning of a longer known one.
                if held_out and any(clause in text for text in known):
                    continue
                found[held_out] += sum(f" {clause} " in text for text in texts)
    assert found[True] == 0 and found[False] > 300


def test_a_retelling_states_its_facts_twice(monkeypatch):
    synthetic_retellings = module

    said = []
    original = synthetic_retellings.fact_clause

    def listen(rng, world, fact, *rest):
        said.append(fact)
        assert not rest  # no share of held-out paraphrases
        return original(rng, world, fact)

    monkeypatch.setattr(synthetic_retellings, "fact_clause", listen)
    source, rng = Retelling.of(make_world(FIRST_WORLD, 20)), Random("retelling")
    counts = set()
    for _ in range(50):
        said.clear()
        source.draw(rng)
        assert all(said.count(fact) == 2 for fact in said)
        shared = set.intersection(*(set(fact[1:]) for fact in said))
        assert shared  # all about one entity
        counts.add(len(set(said)))
    assert counts == {1, 2, 3}


# --- tokens and masks --------------------------------------------------------------------------


def test_words_are_whole_and_names_are_spelled(worlds, tokenizer):
    assert tokenizer.tokenize("was born in") == ["was", "born", "in"]
    known = set(tokenizer.get_vocab())
    world = make_world(FIRST_WORLD + 2, 20)
    surnames = {e.names[1].lower() for e in world.entities.values() if e.kind == "person"}
    assert not surnames & known and "the" in known


def test_batches_are_a_pass_over_texts_of_like_length(worlds, tokenizer):
    texts = read(worlds, tokenizer)
    generator = torch.Generator().manual_seed(0)
    batches = texts.batches(600, generator)
    assert torch.cat(batches).sort().values.tolist() == list(range(len(texts.ids)))
    tokens = [int(texts.lengths[rows].sum()) for rows in batches]
    assert max(tokens) < 600 + 128 and len(tokens) > 3
    ranges = sorted((int(texts.lengths[r].min()), int(texts.lengths[r].max())) for r in batches)
    assert all(first[1] <= second[0] for first, second in pairwise(ranges))
    again = texts.batches(600, torch.Generator().manual_seed(0))
    assert all(map(torch.equal, batches, again))
    by_length = texts.batches(600, torch.Generator().manual_seed(0), short_first=True)
    longest = [int(texts.lengths[rows].max()) for rows in by_length]
    assert longest == sorted(longest) and len(by_length) == len(batches)


def naive_words(tokenizer, text, longest):
    """Number words by where the tokenizer's own words begin, token by token."""
    ids = tokenizer(text, truncation=True, max_length=longest)["input_ids"]
    pieces = tokenizer.convert_ids_to_tokens(ids)
    number, numbers = -1, []
    for piece in pieces:
        number += not piece.startswith("##") and piece not in ("[CLS]", "[SEP]")
        numbers.append(-1 if piece in ("[CLS]", "[SEP]") else number)
    return ids, numbers


def test_words_are_numbered(worlds, tokenizer):
    texts = read(worlds[:1], tokenizer, 40)
    for row, text in enumerate(worlds[0]):
        ids, words = naive_words(tokenizer, text, 40)
        assert texts.ids[row, : len(ids)].tolist() == ids and texts.lengths[row] == len(ids)
        assert texts.words[row, : len(ids)].tolist() == words
        assert (texts.words[row, len(ids) :] == -1).all()


def test_masks_take_whole_words_in_the_shares_promised(worlds, tokenizer):
    texts = read(worlds, tokenizer)
    ids, words = texts.ids.repeat(20, 1), texts.words.repeat(20, 1)
    hidden, chosen = mask_words(ids, words, tokenizer, torch.Generator().manual_seed(0))
    assert not chosen[words < 0].any() and torch.equal(hidden[~chosen], ids[~chosen])
    for row in range(10):
        for word in range(int(words[row].max()) + 1):
            assert len(chosen[row, words[row] == word].unique()) == 1
    share = chosen[words >= 0].float().mean()
    assert abs(share - 0.2) < 0.01
    masked = (hidden == tokenizer.mask_token_id)[chosen].float().mean()
    kept = (hidden == ids)[chosen].float().mean()
    assert abs(masked - 0.8) < 0.02 and abs(kept - 0.1) < 0.02


# --- training ----------------------------------------------------------------------------------


def small(tokenizer, seed=0):
    return tiny_bert(tokenizer, 32, 1, 2, seed=seed, positions=64)


def test_training_lowers_the_loss_and_depends_on_the_seed_alone(worlds, tokenizer):
    texts = [text for found in worlds for text in found if len(text.split()) < 40]
    runs = []
    for global_seed in (1, 2):
        torch.manual_seed(global_seed)
        encoder = small(tokenizer)
        before = torch.get_rng_state()
        run = list(pretrain(encoder, tokenizer, texts, epochs=6, rate=1e-2, tokens_a_step=256))
        assert torch.equal(torch.get_rng_state(), before) and not encoder.training
        runs.append((run, encoder.state_dict()))
    (first, weights), (second, others) = runs
    assert first == second and all(torch.equal(weights[name], others[name]) for name in weights)
    assert [row[0] for row in first] == list(range(1, first[0][1] + 1))
    losses = [row[2] for row in first]
    assert sum(losses[-5:]) / 5 < losses[0] - 1
    assert all(0 <= row[3] <= 1 for row in first)


def test_the_prediction_is_tied_to_the_embeddings(tokenizer):
    encoder = small(tokenizer)
    model = MaskedWords(encoder)
    ids = torch.tensor([[2, 9, 4, 3], [2, 4, 3, 0]])
    chosen = ids == 4
    with torch.no_grad():
        logits = model(ids, (ids > 0).long(), chosen)
        hidden = encoder(input_ids=ids, attention_mask=(ids > 0).long()).last_hidden_state
        table = encoder.get_input_embeddings().weight
        rows = [hidden[0, 2], hidden[1, 1]]
        expected = torch.stack([model.transform(row) @ table.T + model.bias for row in rows])
    torch.testing.assert_close(logits, expected)
    assert logits.shape == (2, len(tokenizer))


def test_a_written_encoder_loads_and_replaces_the_old_one(tokenizer, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    folder = tmp_path / "encoder"
    write_encoder(folder, small(tokenizer, seed=1), tokenizer)
    encoder = small(tokenizer)
    write_encoder(folder, encoder, tokenizer, "a note")
    assert (folder / "README.md").read_text() == "a note"
    assert [path.name for path in tmp_path.iterdir()] == ["encoder"]
    loaded = AutoModel.from_pretrained(folder).float().state_dict()
    for name, value in encoder.state_dict().items():
        assert value.dtype == torch.float32
        torch.testing.assert_close(loaded[name], value, atol=1e-4, rtol=1e-3)
    assert AutoTokenizer.from_pretrained(folder).get_vocab() == tokenizer.get_vocab()

    def fail(*_):
        raise OSError("no space left")

    monkeypatch.setattr(type(tokenizer), "save_pretrained", fail)
    with pytest.raises(OSError, match="no space"):
        write_encoder(folder, small(tokenizer), tokenizer)
    assert (folder / "README.md").is_file() and len(list(tmp_path.iterdir())) == 1


def test_the_command_writes_an_encoder(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(module, "TEXTS_A_WORLD", {"documents": 1, "retellings": 6})
    monkeypatch.setattr(module, "SIZES", {"hidden": 16, "layers": 1, "heads": 2, "positions": 32})
    monkeypatch.setattr(module, "make_world", lambda seed: make_world(seed, 10))
    main(["--out", str(tmp_path / "x"), "--seed", "3", "--worlds", "2", "--epochs", "1"])
    assert capsys.readouterr().out.startswith("step ")
    note = (tmp_path / "x" / "README.md").read_text()
    assert "from seed 3" in note and "about 2 worlds" in note and "1 layers, width 16" in note
    _, encoder = load_encoder(tmp_path / "x")
    assert encoder.config.max_position_embeddings == 32


# --- the committed encoder ---------------------------------------------------------------------


def test_the_committed_encoder_is_small_and_half_precision():
    files = {path.name: path.stat().st_size for path in COMMITTED.iterdir()}
    assert {"config.json", "tokenizer.json", "model.safetensors", "README.md"} <= set(files)
    assert sum(files.values()) < 1_050_000
    config = json.loads((COMMITTED / "config.json").read_text())
    assert "float16" in (config.get("dtype"), config.get("torch_dtype"))
    about = json.loads((COMMITTED / "tokenizer_config.json").read_text())
    assert about["tokenizer_class"] == "PreTrainedTokenizerFast"
    assert about["model_max_length"] == config["max_position_embeddings"] == 256
    assert json.loads((COMMITTED / "tokenizer.json").read_text())["truncation"] is None
    assert all(path.read_bytes().endswith(b"\n") for path in COMMITTED.glob("*.json"))


@pytest.fixture(scope="module")
def documents():
    return make_documents(make_world(0), {"train": 40, "test": 40})


def test_its_documents_fit_and_its_names_are_spelled(documents):
    tokenizer, encoder = load_encoder("tiny")
    texts = [
        " ".join(word for sent in record["sents"] for word in sent)
        for records in documents.values()
        for record in records
    ]
    encoded = tokenizer(texts)["input_ids"]
    assert max(map(len, encoded)) <= encoder.config.max_position_embeddings
    assert tokenizer.unk_token_id not in {number for ids in encoded for number in ids}
    words = ("born", "university", "headquarters", "siblings")
    assert all(tokenizer.tokenize(word) == [word] for word in words)


def mention_vectors(model, tokenizer, records):
    """The mean vector, the type and the name of each mention."""
    vectors, types, names = [], [], []
    for record in records:
        starts = [0, *accumulate(map(len, record["sents"]))]
        words = [word for sent in record["sents"] for word in sent]
        encoded = tokenizer(words, is_split_into_words=True, return_tensors="pt")
        owner = torch.tensor([-1 if word is None else word for word in encoded.word_ids(0)])
        with torch.no_grad():
            hidden = model(input_ids=encoded["input_ids"]).last_hidden_state[0]
        for mention in (mention for entity in record["vertexSet"] for mention in entity):
            first, last = (starts[mention["sent_id"]] + place for place in mention["pos"])
            vectors.append(hidden[(owner >= first) & (owner < last)].mean(0).numpy())
            types.append(mention["type"])
            names.append(mention["name"])
    return vectors, types, names


def test_it_knows_the_types_of_names_it_has_not_seen(documents):
    tokenizer, encoder = load_encoder("tiny")
    scores = []
    for model in (encoder, tiny_bert(tokenizer, **module.SIZES)):
        vectors, types, names = mention_vectors(model, tokenizer, documents["train"])
        probe = LogisticRegression(max_iter=300).fit(vectors, types)
        rows = zip(*mention_vectors(model, tokenizer, documents["test"]), strict=True)
        unseen = [(vector, kind) for vector, kind, name in rows if name not in set(names)]
        assert len(unseen) > 200
        scores.append(probe.score(*zip(*unseen, strict=True)))
    assert scores[0] > 0.9 and scores[0] > scores[1] + 0.1, scores
