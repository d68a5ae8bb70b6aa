"""Words, their ids and their vectors."""

import pytest
import torch

from relcl_lib.data.download import DataFormatError
from relcl_lib.text.words import WordReader, count_words, random_vectors, read_glove


def test_word_ids():
    vectors = random_vectors(count_words(["The cat", "the dog"]), 4, 0)
    assert vectors.words[0] == "the"
    assert (vectors.matrix[:2] == 0).all()
    read = WordReader(vectors.words, 3).read([["THE", "cow"], [], ["dog"] * 5])
    assert read["words"].tolist() == [[2, 1, 0], [0, 0, 0], [4, 4, 4]]
    assert read["lengths"].tolist() == [2, 0, 3]
    assert random_vectors(count_words(["a a b"]), 4, 0, min_count=2).words == ("a",)
    once, again = (random_vectors(count_words(["a b"]), 4, 1).matrix for _ in range(2))
    assert torch.equal(once, again)


def test_glove(tmp_path):
    path = tmp_path / "glove.txt"
    path.write_text("the 0.5 1 -2\n. . 1 2 3\ndog 4 5 6\n")
    vectors = read_glove(path)
    assert vectors.words == ("the", ". .", "dog")
    assert vectors.matrix.tolist()[2:] == [[0.5, 1, -2], [1, 2, 3], [4, 5, 6]]
    assert read_glove(path, ["dog", "cow"]).words == ("dog",)
    path.write_text("2 3\nthe 0.5 1 -2\ndog 4 5 6\n")
    assert read_glove(path).words == ("the", "dog")


@pytest.mark.parametrize(
    "text, word",
    [
        ("the 1 2 3\ndog 1 2\n", "line 2"),
        ("the 1 x 3\n", "line 1"),
        ("cow 1 2\n", "none of the words"),
    ],
)
def test_damaged_glove(tmp_path, text, word):
    path = tmp_path / "glove.txt"
    path.write_text(text)
    with pytest.raises(DataFormatError, match=word):
        read_glove(path, ["the", "dog"])
    with pytest.raises(DataFormatError, match="cannot be read"):
        read_glove(tmp_path / "absent.txt")
