"""Loading pretrained encoders: only what is whole and safe is read."""

import json

import pytest
import torch
from transformers import AutoModel, BertConfig, RobertaConfig
from vocabulary import one_token_more

from relcl_lib.data.download import DataNotFoundError
from relcl_lib.text.pretrained import load_encoder, usable_positions
from relcl_lib.worlds.encoder import build_tokenizer, tiny_bert


@pytest.fixture(scope="module")
def tokenizer():
    return build_tokenizer(["a b c", "a b c"])


def save(folder, tokenizer):
    tokenizer.save_pretrained(folder)
    tiny_bert(tokenizer, 16, 1, 2).half().save_pretrained(folder)
    return folder


def test_an_encoder_is_loaded_from_its_folder_in_float32(tmp_path, tokenizer):
    loaded, encoder = load_encoder(save(tmp_path, tokenizer), attention="eager")
    assert {value.dtype for value in encoder.state_dict().values()} == {torch.float32}
    assert not encoder.training and encoder.config._attn_implementation == "eager"
    assert loaded("a b")["input_ids"] == tokenizer("a b")["input_ids"]


@pytest.mark.parametrize(
    "file, what", [("tokenizer.json", "tokenizer"), ("model.safetensors", "weights")]
)
def test_a_folder_that_lacks_something_is_named(tmp_path, tokenizer, file, what):
    (save(tmp_path, tokenizer) / file).unlink()
    with pytest.raises(DataNotFoundError, match=rf"holds no {what} of an encoder.*save_pretrained"):
        load_encoder(tmp_path)


def scibert(folder, settings=None):
    """A BERT as the hub has SciBERT: a cased vocabulary, no tokenizer settings."""
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "Marta", "Quill", "marta", "quill"]
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = BertConfig(vocab_size=len(words), intermediate_size=16, **sizes)
    AutoModel.from_config(config).save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(words) + "\n")
    if settings is not None:
        (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return folder


@pytest.mark.parametrize(
    "settings, pieces",
    [
        (None, ["Marta", "Quill"]),
        ({"model_max_length": 512}, ["Marta", "Quill"]),
        ({"do_lower_case": True}, ["marta", "quill"]),
    ],
)
def test_a_cased_vocabulary_is_lowered_only_if_told_so(tmp_path, settings, pieces):
    assert load_encoder(scibert(tmp_path, settings))[0].tokenize("Marta Quill") == pieces


def test_pickled_weights_come_with_the_command_that_converts_them(tmp_path):
    folder = scibert(tmp_path)
    _, expected = load_encoder(folder)
    torch.save(expected.state_dict(), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(DataNotFoundError, match=r"a pickle, which is not read; convert") as caught:
        load_encoder(folder)
    _, _, command = str(caught.value).partition('python -c "')
    exec(command.rstrip('"'), {})
    tokenizer, encoder = load_encoder(folder)
    assert tokenizer.tokenize("Marta") == ["Marta"]
    pairs = zip(encoder.parameters(), expected.parameters(), strict=True)
    assert all(torch.equal(*pair) for pair in pairs)


@pytest.mark.parametrize(
    "config, positions",
    [
        (BertConfig(max_position_embeddings=512), 512),
        (RobertaConfig(max_position_embeddings=514, pad_token_id=1), 512),
    ],
)
def test_positions_that_can_be_used(config, positions):
    assert usable_positions(config) == positions


def test_a_damaged_file_is_named(tmp_path, tokenizer):
    folder = save(tmp_path / "damaged", tokenizer)
    (folder / "config.json").write_text("{")
    with pytest.raises(DataNotFoundError, match=r"damaged.*cannot be loaded"):
        load_encoder(folder)


def test_a_tokenizer_of_more_tokens_than_the_network_has_is_refused(tmp_path, tokenizer):
    one_token_more(save(tmp_path, tokenizer))
    with pytest.raises(DataNotFoundError, match="tokenizer has ids beyond the"):
        load_encoder(tmp_path)


def test_the_tiny_encoder_is_found():
    tokenizer, encoder = load_encoder("tiny")
    assert encoder.config.vocab_size == len(tokenizer)
    assert isinstance(encoder, type(AutoModel.from_config(encoder.config)))


def test_without_the_tiny_encoder_the_error_names_its_folder(tmp_path, monkeypatch):
    monkeypatch.setattr("relcl_lib.data.weights.packaged_data", lambda: tmp_path)
    with pytest.raises(DataNotFoundError, match=r"synthetic.encoder holds no tokenizer"):
        load_encoder("tiny")
