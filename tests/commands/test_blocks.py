import pytest

from relcl_lib.commands.blocks import blocks
from relcl_lib.lab.format import TableError


def block(name, content="old"):
    return f"<!-- table:{name} -->{content}<!-- /table:{name} -->"


def test_blocks_in_order():
    text = f"a\n{block('x')}\nb {block('y/z-1')} c {block('x', '')}"
    found = blocks(text)
    assert [(name, text[start:end]) for name, start, end in found] == [
        ("x", "old"),
        ("y/z-1", "old"),
        ("x", ""),
    ]
    assert blocks("no block") == []


@pytest.mark.parametrize(
    "text",
    [
        "<!-- table:x -->",
        "<!-- /table:x -->",
        "<!-- table:x --><!-- /table:y -->",
        "<!-- table:x -->" + block("x"),
        block("x") + "<!-- table:y -->",
    ],
)
def test_markers_that_do_not_pair_up(text):
    with pytest.raises(TableError, match=r"table:[xy]"):
        blocks(text)
