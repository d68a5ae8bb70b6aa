"""Words, their ids and their vectors."""

import gzip
import zipfile
from unicodedata import normalize

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


def zipped(path, names):
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in names.items():
            archive.writestr(name, text)
    return path


def test_glove_as_people_have_it(tmp_path):
    text = "the 0.5 1 -2\n, 1 2 3\n. . 4 5 6\n"
    (tmp_path / "v.txt").write_text(text)
    plain = read_glove(tmp_path / "v.txt")
    (tmp_path / "marked.txt").write_text(text, encoding="utf-8-sig", newline="\r\n")
    (tmp_path / "tabs.txt").write_text(text.replace(" ", "\t"))
    (tmp_path / "mixed.txt").write_text("the\t0.5 1 -2\n,\t1 2 3\n. .\t4 5 6\n")
    (tmp_path / "v.txt.gz").write_bytes(gzip.compress(text.encode()))
    packed = zipped(tmp_path / "v.zip", {"v.txt": text, "__MACOSX/._v.txt": "x"})
    names = ("marked.txt", "tabs.txt", "mixed.txt", "v.txt.gz", packed.name)
    for vectors in (read_glove(tmp_path / name) for name in names):
        assert vectors.words == plain.words and torch.equal(vectors.matrix, plain.matrix)
    assert vectors.source == plain.source == "GloVe v.txt"
    several = zipped(tmp_path / "6B.zip", {"50d.txt": text, "300d.txt": text})
    with pytest.raises(DataFormatError, match=r"6B\.zip: holds 2 files \(50d\.txt, 300d\.txt\)"):
        read_glove(several)
    packed.write_bytes(packed.read_bytes()[:40])
    with pytest.raises(DataFormatError, match=r"v\.zip: cannot be read"):
        read_glove(packed)


@pytest.mark.parametrize(
    "text, word",
    [
        ("the 1 2 3\ndog 1 2\n", "line 2"),
        ("the 1 x 3\n", "line 1"),
        ("cow 1 2\n", "none of the words"),
        ("cow nan 2\nthe 1 2\ndog 1 nan\n", "line 3, 'dog': its numbers are not all finite"),
        ("the 1 inf\n", "line 1, 'the'"),
        ("the 1 1e60\n", "too large for float32"),
        ("", "is empty"),
        ("The 1 2\nDog 1 2\n", "has 0 of the data's 2 words, and 2 more with capitals.*lower-case"),
    ],
)
def test_damaged_glove(tmp_path, text, word):
    path = tmp_path / "glove.txt"
    path.write_text(text)
    with pytest.raises(DataFormatError, match=word):
        read_glove(path, ["the", "dog"])
    with pytest.raises(DataFormatError, match="cannot be read"):
        read_glove(tmp_path / "absent.txt")


@pytest.mark.parametrize(
    "content, kind",
    [
        ("caf\u00e9 1 2\nthe 1 2\n".encode("latin-1"), "not UTF-8, or no text.*line 1"),
        ("the 1 2\n".encode("utf-16"), "not UTF-8 but UTF-16"),
        ("the 1 2\n".encode("utf-16-le"), "not UTF-8 but UTF-16"),
        ("the 1 2\n".encode("utf-32"), "not UTF-8 but UTF-32"),
    ],
)
def test_vectors_that_are_no_utf_8(tmp_path, content, kind):
    (tmp_path / "v.txt").write_bytes(content)
    with pytest.raises(DataFormatError, match=rf"v\.txt: cannot be read: it is {kind}.*iconv"):
        read_glove(tmp_path / "v.txt", ["the"])


def test_the_data_s_words_are_counted_also_where_all_are_kept(tmp_path):
    text = "the 1 2\ncaf\u00e9 1 2\nna\u00efve 1 2\ncow 1 2\n"
    (tmp_path / "v.txt").write_bytes(text.encode() + b"cut\xc3 1 2\n")  # word2vec cuts long words
    some = read_glove(tmp_path / "v.txt", ["the", "caf\u00e9", "dog"])
    every = read_glove(tmp_path / "v.txt", ["the", "caf\u00e9", "dog"], every=True)
    assert some.note == every.note == "2 of 3 words of the data have a vector"
    assert (len(some.words), len(every.words), every.in_file) == (2, 5, 5)
    (tmp_path / "v.txt").write_text("The 1 2\nDog 1 2\nthe 1 2\n")
    found = read_glove(tmp_path / "v.txt", ["the", "dog"])
    assert found.note == "1 of 2 words of the data have a vector, and 1 more with capitals only"


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_known_words_are_known_with_accents_in_either_form(form):
    words = [normalize(form, word) for word in ("caf\u00e9", "na\u00efve")]
    reader = WordReader([*words, "Cow"], 4)
    for other in ("NFC", "NFD"):
        text = [normalize(other, word) for word in ("Caf\u00e9", "NA\u00cfVE", "cafe")]
        assert reader.read([text])["words"].tolist() == [[2, 3, 1]]
    assert reader.read([["cow"]])["words"].tolist() == [[1]]  # capitals are another matter
    assert count_words([" ".join(words)]) == count_words(["caf\u00e9 na\u00efve"])
