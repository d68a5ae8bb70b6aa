"""Damage to a saved tokenizer."""

from transformers import AutoTokenizer


def one_token_more(folder):
    """Give the tokenizer of a folder a token for which its encoder has no vector."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert tokenizer.add_tokens(["Xyzzy"]) == 1
    tokenizer.save_pretrained(folder)
