"""The CasRel baseline: word pieces, the cascade against its formula, training from a folder."""

import json

import pytest
import torch
from fastre_data import tiny_data
from transformers import AutoTokenizer, BertConfig, BertModel
from vocabulary import one_token_more

from relcl_lib.data.triples import Sentence, Triple, assemble_triples
from relcl_lib.lab.checkpoints import CheckpointError
from relcl_lib.models.casrel import CasRel, CasRelConfig, PieceReader, PretrainedEncoder
from relcl_lib.models.tagger import ConvEncoder, FastRE, TaggerConfig, trainable_parameters
from relcl_lib.papers.fastre.evaluate import locate
from relcl_lib.papers.fastre.extract import Extractor
from relcl_lib.papers.fastre.parameters import FastreParameters
from relcl_lib.papers.fastre.run import FastreRun
from relcl_lib.text.pretrained import load_encoder
from relcl_lib.worlds.encoder import build_tokenizer


@pytest.fixture(scope="module")
def data():
    found = tiny_data(8)
    splits = dict.fromkeys(("train", "valid", "test"), found.train)
    return assemble_triples("mine", splits, relations=found.relations)


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


def test_words_their_first_pieces_and_their_markers(folder):
    tokenizer = AutoTokenizer.from_pretrained(folder)
    words = [["Zzyx", "is", "a", "national"], [], ["a"] * 9]
    read = PieceReader(tokenizer, 6).read(words)
    assert read["lengths"].tolist() == [4, 0, 6]
    assert (read["pieces"][0, 0], read["first"][0, 0]) == (tokenizer.cls_token_id, 1)
    pieces = tokenizer.convert_ids_to_tokens(read["pieces"][0, : read["piece_lengths"][0]].tolist())
    for word, first, after in zip(words[0], read["first"][0], read["after"][0], strict=False):
        own = "".join(pieces[first:after]).replace("##", "")
        assert own == word.lower() and pieces[after] == "[SEP]"  # this vocabulary has no [unused1]
    assert pieces[-1] == "[SEP]" and len(pieces) == read["after"][0, 3] + 2
    assert PieceReader(tokenizer).read([[], []])["lengths"].tolist() == [0, 0]


def test_what_does_not_fit_is_cut(folder):
    tokenizer = AutoTokenizer.from_pretrained(folder)
    cut = PieceReader(tokenizer, 100, max_pieces=8).read([["a"] * 50])
    assert cut["lengths"].tolist() == [3]  # a word is a piece and a marker
    assert cut["piece_lengths"].tolist() == [8] and cut["after"][0, -1] == 6
    long = PieceReader(tokenizer, 100, max_pieces=5).read([["zzyxqqk" * 9, "a"]])
    assert long["lengths"].tolist() == [1] and long["piece_lengths"].tolist() == [5]
    assert long["after"][0, 0] == 3
    nothing = PieceReader(tokenizer, 100).read([["\x00", "a"]])  # a word without a piece
    assert nothing["first"].tolist() == [[1, 2]] and nothing["after"].tolist() == [[1, 3]]


def test_what_the_encoder_does_not_read_is_cut_everywhere(tmp_path, data):
    """No place past the encoder's positions, none past the words read, and "cut" says so."""
    tokenizer = build_tokenizer(sentence.text for sentence in data.train)
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=1,
        num_attention_heads=4,
        max_position_embeddings=24,
    )
    BertModel(config).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    first = data.train[0]
    subject, relation, thing = first.triples[0]
    filler = " ".join(["qxzv" * 9] * 12)
    late = Sentence(f"{filler} {first.text}", (Triple(subject, relation, thing),))
    splits = {"train": (*data.train, late), "valid": (late,), "test": (first, late)}
    mine = assemble_triples("mine", splits, relations=data.relations)
    choice = {"method": "CasRel", "encoder": str(tmp_path), "allow_lost": True}
    choice |= {"dataset": "mine", "seeds": [0], "epochs": 1, "batch_size": 4, "heads": "mean"}
    run = FastreRun(FastreParameters.create(**choice), mine)
    assert run.tagged.report["beyond_cut"] >= 1 and run.tagged.report["cut_sentences"] >= 1
    run.train()
    loaded = Extractor.load(run.extractor().save(tmp_path / "model"))
    for extractor in (run.extractor(), loaded):
        assert extractor.reader.max_pieces == 24
        _, (cut, whole) = extractor.extract_with_cuts([late.text, "a b"])
        assert 0 < cut < 12 and whole is None
        assert locate(extractor, [late])["beyond_cut"] == 1


def test_the_markers_are_the_originals_where_there_are_any(folder):
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens(["[unused1]"])
    marker = tokenizer.convert_tokens_to_ids("[unused1]")
    read = PieceReader(tokenizer).read([["a", "national"]])
    assert (read["pieces"].gather(1, read["after"]) == marker).all()
    assert (read["pieces"] == marker).sum() == 2


def test_the_cascade_equals_its_formula(folder, data):
    model, reader = build(folder, data)
    inputs = reader.read([sentence.text.split() for sentence in data.train[:3]])
    hidden, mask = model.encode(inputs)
    alone = reader.read([data.train[1].text.split()])
    torch.testing.assert_close(
        model.encode(alone)[0][0], hidden[1, : int(alone["lengths"])], rtol=1e-4, atol=1e-5
    )
    layers = model.tail_start, model.tail_end
    for which, layer in enumerate((model.head_start, model.head_end)):
        torch.testing.assert_close(
            model.head_logits(hidden, mask)[which], layer(hidden[:, :, which])
        )
    heads = torch.tensor([[0, 1, 3, 0], [2, 0, 0, 0]])
    found = model.tail_logits(hidden, mask, heads, inputs["lengths"])
    for at, (row, a, b, _) in enumerate(heads.tolist()):
        average = (hidden[row, a, 0] + hidden[row, b, 1]) / 2
        for which, (logits, layer) in enumerate(zip(found, layers, strict=True)):
            summed = hidden[row, :, which] + average
            torch.testing.assert_close(logits[at], layer(summed), rtol=1e-4, atol=1e-5)


def test_fastre_has_a_hundredth_of_casrels_parameters():
    """NYT10: the paper's 1,096 and 107,729 thousand, the second counted with Keras' BERT."""
    with torch.device("meta"):
        bert = BertModel(
            BertConfig(vocab_size=28_996)
        )  # its pooler is not read, and does not count
        casrel = trainable_parameters(CasRel(CasRelConfig(29), PretrainedEncoder(bert)))
    fastre = trainable_parameters(
        FastRE(TaggerConfig(n_types=4, n_relations=29), torch.zeros(3, 300))
    )
    assert casrel == pytest.approx(107_729_000, rel=1e-3)
    assert fastre == pytest.approx(1_096_000, rel=1e-3)
    assert casrel / fastre == pytest.approx(98.3, abs=0.1)


def both_ways(model, inputs):
    """Logits of (A, r, B) and of (B, r, A), A and B the words 0 and 2, each one word."""
    hidden, mask = model.encode(inputs)
    heads = torch.tensor([[0, 0, 0, 0], [0, 2, 2, 0]])
    found = model.tail_logits(hidden, mask, heads, inputs["lengths"])
    return [(logits[0, 2], logits[1, 0]) for logits in found]


def test_a_triple_and_its_reverse_are_told_apart_where_both_entities_are_one_word(folder, data):
    """With one state per word for start and end their logits would be equal."""
    model, reader = build(folder, data)
    schema = TaggerConfig(hidden=16, vector_size=4, attention_heads=2, dilations=(1,))
    torch.manual_seed(2)
    other = CasRel(CasRelConfig(5), ConvEncoder(schema, torch.randn(9, 4))).eval()
    words = {"words": torch.tensor([[3, 4, 5, 6]]), "lengths": torch.tensor([4])}
    for network, inputs in ((model, reader.read([["a", "is", "of", "a"]])), (other, words)):
        for forth, back in both_ways(network, inputs):
            assert (forth - back).abs().max() > 1e-3


def test_fastres_encoder_ends_an_entity_at_the_next_word(data):
    schema = TaggerConfig(hidden=16, vector_size=4, attention_heads=2, dilations=(1,))
    encoder = ConvEncoder(schema, torch.randn(9, 4))
    model = CasRel(CasRelConfig(5), encoder).eval()
    inputs = {"words": torch.tensor([[3, 4, 5], [6, 7, 0]]), "lengths": torch.tensor([3, 2])}
    hidden, mask = model.encode(inputs)
    states = encoder(inputs, mask)
    assert torch.equal(hidden[:, :, 0], states)
    assert torch.equal(hidden[:, :-1, 1], states[:, 1:])
    assert (hidden[:, -1, 1] == 0).all() and (hidden[1, 1, 1] == 0).all()


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
    about = json.loads((tmp_path / "model" / "tagger.json").read_text())
    del about["ends"]  # as written before words had markers
    (tmp_path / "model" / "tagger.json").write_text(json.dumps(about))
    (tmp_path / "model" / "SHA256SUMS").unlink()
    with pytest.raises(CheckpointError, match="train it again"):
        Extractor.load(tmp_path / "model")
    again = extractor.save(tmp_path / "again")
    (again / "SHA256SUMS").unlink()
    one_token_more(again / "encoder")
    with pytest.raises(CheckpointError, match="tokenizer has ids beyond the"):
        Extractor.load(again)
