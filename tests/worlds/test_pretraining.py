"""The tokenizer, the texts, the masks and the training of the tiny encoder, and the committed one."""

import json
from itertools import accumulate, pairwise
from random import Random

import pytest
import torch
from sklearn.linear_model import LogisticRegression
from transformers import AutoModel, AutoTokenizer

from relcl_lib.data.documents import load_documents
from relcl_lib.lab.files import packaged_data
from relcl_lib.text.pretrained import load_encoder
from relcl_lib.worlds import pretraining as module
from relcl_lib.worlds import sentences
from relcl_lib.worlds import text as wording
from relcl_lib.worlds.encoder import build_tokenizer, tiny_bert
from relcl_lib.worlds.grammar import PATTERNS
from relcl_lib.worlds.pretraining import (
    FIRST_WORLD,
    MaskedWords,
    Texts,
    draw_retelling,
    draw_texts,
    main,
    mask_words,
    pretrain,
    shared_vocabulary,
    write_encoder,
)
from relcl_lib.worlds.world import make_world

COMMITTED = packaged_data() / "synthetic" / "encoder"
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


def test_no_text_has_a_held_out_paraphrase(monkeypatch):
    said = set()
    fill = wording._fill
    monkeypatch.setattr(wording, "_fill", lambda p, *rest: said.add(p.key) or fill(p, *rest))
    draw_texts(make_world(FIRST_WORLD, 20), 40, 400)
    known, held_out = (
        {p.key for patterns in PATTERNS.values() for p in patterns if p.held_out == kind}
        for kind in (False, True)
    )
    assert known <= said and not held_out & said


def test_a_retelling_states_its_facts_twice(monkeypatch):
    said = []
    original = sentences.fact_clause

    def listen(rng, world, fact, held_out):
        said.append(fact)
        return original(rng, world, fact, held_out)

    monkeypatch.setattr(sentences, "fact_clause", listen)
    world, rng = make_world(FIRST_WORLD, 20), Random("retelling")
    source = sentences.Source(world, world.facts)
    counts = set()
    for _ in range(50):
        said.clear()
        draw_retelling(source, rng)
        assert all(said.count(fact) == 2 for fact in said)
        assert set.intersection(*(set(fact[1:]) for fact in said))  # all about one entity
        counts.add(len(set(said)))
    assert counts == {1, 2, 3}


# --- tokens and masks --------------------------------------------------------------------------


def test_words_are_whole_and_names_are_spelled(worlds, tokenizer):
    assert tokenizer.tokenize("Was Born in ,") == ["was", "born", "in", ","]
    known = set(tokenizer.get_vocab())
    world = make_world(FIRST_WORLD + 2, 20)
    surnames = {e.names[1] for e in world.entities.values() if e.kind == "person"}
    assert not {name.lower() for name in surnames} & known and "the" in known
    for name in [*surnames, "Zuverwik", "Zuverwok"]:
        pieces = tokenizer.tokenize(name)
        assert "".join(piece.removeprefix("##") for piece in pieces) == name.lower()
    assert tokenizer.tokenize("Zµ") == ["[UNK]"]


def test_the_tokenizer_depends_on_nothing_but_the_texts(worlds):
    once, again = (build_tokenizer(texts) for texts in (worlds[0], reversed(worlds[0])))
    assert once.get_vocab() == again.get_vocab()
    rows = once(["one two", "one"], padding=True)["input_ids"]
    assert rows[1][-1] == once.pad_token_id == 0
    assert (rows[0][0], rows[0][-1]) == (once.cls_token_id, once.sep_token_id)


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
    data = load_documents("synthetic", limit=40)
    return {"train": data.train, "test": data.test[:40]}


def test_its_documents_fit_and_its_names_are_spelled(documents):
    tokenizer, encoder = load_encoder("tiny")
    texts = [
        " ".join(word for sentence in document.sentences for word in sentence)
        for found in documents.values()
        for document in found
    ]
    encoded = tokenizer(texts)["input_ids"]
    assert max(map(len, encoded)) <= encoder.config.max_position_embeddings
    assert tokenizer.unk_token_id not in {number for ids in encoded for number in ids}
    words = ("born", "university", "headquarters", "siblings")
    assert all(tokenizer.tokenize(word) == [word] for word in words)


def mention_vectors(model, tokenizer, documents):
    """The mean vector, the type and the name of each mention."""
    vectors, types, names = [], [], []
    for document in documents:
        starts = [0, *accumulate(map(len, document.sentences))]
        words = [word for sentence in document.sentences for word in sentence]
        encoded = tokenizer(words, is_split_into_words=True, return_tensors="pt")
        owner = torch.tensor([-1 if word is None else word for word in encoded.word_ids(0)])
        with torch.no_grad():
            hidden = model(input_ids=encoded["input_ids"]).last_hidden_state[0]
        for mention in (mention for entity in document.entities for mention in entity):
            first, last = (starts[mention.sentence] + at for at in (mention.start, mention.end))
            vectors.append(hidden[(owner >= first) & (owner < last)].mean(0).numpy())
            types.append(mention.type)
            names.append(mention.name)
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
