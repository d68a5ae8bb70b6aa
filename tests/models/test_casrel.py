"""The CasRel baseline: word pieces, the cascade against its formula, training from a folder."""

import pytest
import torch
from fastre_data import tiny_data
from transformers import BertConfig, BertModel

from relcl_lib.data.triples import assemble
from relcl_lib.models.casrel import CasRel, CasRelConfig, PieceReader, PretrainedEncoder
from relcl_lib.papers.fastre.extract import Extractor
from relcl_lib.papers.fastre.parameters import FastreParameters
from relcl_lib.papers.fastre.run import FastreRun
from relcl_lib.text.pretrained import load_encoder
from relcl_lib.worlds.encoder import build_tokenizer


@pytest.fixture(scope="module")
def data():
    found = tiny_data(8)
    splits = dict.fromkeys(("train", "valid", "test"), found.train)
    return assemble("mine", splits, relations=found.relations)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("encoder")
    tokenizer = build_tokenizer(sentence.text for sentence in data.train)
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
    sizes |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    config = BertConfig(vocab_size=len(tokenizer), num_attention_heads=4, **sizes)
    BertModel(config).save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


def build(folder, data):
    torch.manual_seed(1)
    tokenizer, network = load_encoder(folder)
    model = CasRel(CasRelConfig(len(data.relations)), PretrainedEncoder(network))
    return model.eval(), PieceReader(tokenizer, 100)


def test_words_and_their_first_pieces(folder):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    words = [["Zzyx", "is", "a", "national"], [], ["a"] * 9]
    read = PieceReader(tokenizer, 6).read(words)
    assert read["lengths"].tolist() == [4, 0, 6]
    assert (read["pieces"][0, 0], read["first"][0, 0]) == (tokenizer.cls_token_id, 1)
    for word, place in zip(words[0], read["first"][0], strict=False):
        start = tokenizer.convert_ids_to_tokens([int(read["pieces"][0, place])])[0]
        assert word.lower().startswith(start)
    assert PieceReader(tokenizer).read([[], []])["lengths"].tolist() == [0, 0]
    cut = PieceReader(tokenizer, 100, max_pieces=8).read([["a"] * 50])
    assert cut["lengths"].tolist() == [6]


def test_the_cascade_equals_its_formula(folder, data):
    model, reader = build(folder, data)
    inputs = reader.read([sentence.text.split() for sentence in data.train[:3]])
    hidden, mask = model.encode(inputs)
    alone = reader.read([data.train[1].text.split()])
    torch.testing.assert_close(
        model.encode(alone)[0][0], hidden[1, : int(alone["lengths"])], rtol=1e-4, atol=1e-5
    )
    start, end = model.head_logits(hidden, mask)
    torch.testing.assert_close(start, model.head_start(hidden))
    torch.testing.assert_close(end, model.head_end(hidden))
    heads = torch.tensor([[0, 1, 3, 0], [2, 0, 0, 0]])
    found = model.tail_logits(hidden, mask, heads, inputs["lengths"])
    for at, (row, a, b, _) in enumerate(heads.tolist()):
        summed = hidden[row] + (hidden[row, a] + hidden[row, b]) / 2
        for logits, layer in zip(found, (model.tail_start, model.tail_end), strict=True):
            torch.testing.assert_close(logits[at], layer(summed), rtol=1e-4, atol=1e-5)


def test_lower_precision_of_the_encoder_is_close_and_in_the_record(folder, data):
    model, reader = build(folder, data)
    low = PretrainedEncoder(load_encoder(folder)[1], torch.bfloat16).eval()
    inputs = reader.read([sentence.text.split() for sentence in data.train[:3]])
    hidden, mask = model.encode(inputs)
    rounded = low(inputs, mask)
    assert rounded.dtype == torch.float32
    assert {weight.dtype for weight in low.parameters()} == {torch.float32}
    difference = (rounded - hidden).abs().max()
    assert 0 < difference < 0.1  # of values around 1: it did run in bfloat16
    choice = {"dataset": "mine", "seeds": [0], "encoder_precision": "bfloat16"}
    run = FastreRun(FastreParameters.create(method="CasRel", encoder=str(folder), **choice), data)
    assert run.model.encoder.precision == torch.bfloat16
    assert run.configuration()["parameters"]["encoder_precision"] == "bfloat16"
    other = FastreRun(FastreParameters.create(**choice), data)
    assert "encoder_precision" not in other.configuration()["parameters"]


def test_it_over_fits_and_is_saved_with_its_encoder(folder, data, tmp_path):
    parameters = FastreParameters.create(
        dataset="mine",
        method="CasRel",
        encoder=str(folder),
        epochs=80,
        batch_size=8,
        learning_rate=3e-3,
        seeds=[0],
        heads="mean",
        patience=40,
    )
    run = FastreRun(parameters, data)
    # "No" to begin with: else the first steps teach a small new encoder nothing but that.
    with torch.no_grad():
        for layer in (run.model.head_start, run.model.head_end):
            layer.bias.fill_(-3)
        for layer in (run.model.tail_start, run.model.tail_end):
            layer.bias.fill_(-5)
    run.train()
    assert run.evaluate("test")["F1"] > 50
    extractor = run.extractor()
    texts = [sentence.text for sentence in data.test]
    loaded = Extractor.load(extractor.save(tmp_path / "model"))
    assert loaded.extract(texts) == extractor.extract(texts)
    assert sum(map(len, loaded.extract(texts))) > 5
