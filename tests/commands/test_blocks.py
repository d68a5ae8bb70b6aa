import pytest

from relcl_lib.commands.blocks import marker_names, replace_between_markers
from relcl_lib.lab.format import TableError


def block(name, content="old"):
    return f"<!-- table:{name} -->{content}<!-- /table:{name} -->"


def test_replace_between_markers():
    text = f"a\n{block('x')}\nb {block('y/z-1')} c {block('x', '')}"
    new = replace_between_markers(text, "x", r"| \1 |")
    filled = block("x", "\n| \\1 |\n")
    assert new == f"a\n{filled}\nb {block('y/z-1')} c {filled}"
    assert replace_between_markers(new, "x", r"| \1 |") == new
    assert marker_names(text) == ["x", "y/z-1"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        block("y"),
        "<!-- table:x -->",
        "<!-- /table:x -->",
        "<!-- table:x --><!-- /table:y -->",
        "<!-- table:x -->" + block("x"),
        block("x") + "<!-- table:y -->",
    ],
)
def test_markers_that_do_not_pair_up(text):
    with pytest.raises(TableError, match=r"table:[xy]"):
        replace_between_markers(text, "x", "new")
