"""What is committed of the small world, and more documents, which alone need the generator."""

import sys

import pytest

from relcl_lib.data.documents import load_documents
from relcl_lib.data.download import DataNotFoundError
from relcl_lib.data.sentences import load_sentences
from relcl_lib.data.triples import load_triples


def test_committed_files_have_the_content_that_committed_records_name():
    assert load_sentences("synthetic").fingerprint == "bdf0e86879965ec0"
    assert load_triples("synthetic").fingerprint == "eb18065a37e50d17"
    assert load_documents("synthetic").fingerprint == "17a521fe295e8d8a"
    assert load_documents("synthetic", generated=160).fingerprint == "612df530ba0d9927"


def test_more_documents_begin_with_the_committed_ones():
    committed, more = (load_documents("synthetic", generated=n).train for n in (160, 260))
    assert len(more) == 500 and more[:400] == committed
    assert load_documents("synthetic", generated=10).train == committed[:250]


def test_without_the_generator_the_error_says_how_many_there_are(monkeypatch):
    monkeypatch.setitem(sys.modules, "relcl_lib.worlds.corpus", None)
    with pytest.raises(DataNotFoundError, match=r"generated=161: 160 such documents are committed"):
        load_documents("synthetic", generated=161)
