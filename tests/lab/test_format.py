from dataclasses import replace

import pytest
from example_records import run

from relcl_lib.commands.tables import paper_rows
from relcl_lib.lab.compare import compare
from relcl_lib.lab.format import (
    TableError,
    format_grouped,
    format_markdown,
    format_text,
    replace_between_markers,
)

#: Table III on Split CIFAR-10 with a memory of 200
ROWS = [
    row
    for row in paper_rows("hpcr")
    if (row.table, row.dataset) == ("Table III", "Split CIFAR10")
    and row.setting in ("buffer=none", "buffer=200")
]

# --- as text ----------------------------------------------------------------------------------


def test_markdown_cells():
    records = [run(seed, a_t=value) for seed, value in enumerate((51.0, 50.0, 52.0))]
    lines = format_markdown(compare("hpcr", ROWS, records)).splitlines()
    assert lines[0] == (
        "| Dataset | Setting | Method | Metric | Paper | Ours | Difference | Protocol | Variant |"
    )
    assert lines[1].count("|") == lines[0].count("|")
    assert (
        "| Split CIFAR10 | buffer=200 | HPCR | A_T | 53.4 ± 1.4 | 51.0 ± 2.5 (n=3) | -2.4 | paper "
        "| released |"
    ) in lines
    assert "| Split CIFAR10 | buffer=200 | ER | A_T | 41.7 ± 2.8 | not run | – | – |   |" in lines


def test_difference_of_nothing_is_not_minus_nothing():
    frame = compare("hpcr", ROWS, [run(a_t=53.39)], only_run=True)
    assert "| +0.0 |" in format_markdown(frame)
    assert "| -0.010 |" in format_markdown(frame, digits=3)


def test_a_row_has_its_own_decimals():
    one, other = ROWS[:2]
    frame = compare("hpcr", [one, replace(other, digits=3)], [run()])
    first, second = format_markdown(frame).splitlines()[2:]
    paper = frame["paper"]
    assert f" {paper[0]:.1f} ±" in first and f" {paper[1]:.3f} ±" in second
    assert f" {paper[0]:.2f} ±" in format_markdown(frame, digits=2)


def test_a_bar_in_a_cell_is_escaped():
    frame = compare("hpcr", ROWS, [run()], only_run=True).assign(configuration="p(a|b)")
    assert r"p(a\|b)" in format_markdown(frame)


def test_text_is_aligned():
    lines = format_text(compare("hpcr", ROWS, [run()])).splitlines()
    start = lines[0].index("Method")
    assert all(line[start - 1] == " " for line in (lines[0], *lines[2:]))
    assert len(lines) == 23
    empty = compare("hpcr", [], [])
    assert format_text(empty).startswith("Dataset")
    assert len(format_markdown(empty).splitlines()) == 2


def test_a_grouped_comparison_fits_its_width_and_loses_no_word():
    long = {"configuration": "distil_from_task=1, ht=released, ht_counter=task, scd=released"}
    frame = compare("hpcr", ROWS, [run(), run(1, method="PCR")], only_run=True).assign(**long)
    for width in (70, 100):
        lines = format_grouped(frame, width).splitlines()
        assert max(map(len, lines)) <= width
        assert [line for line in lines if ":" in line] == ["Table III: Split CIFAR10, A_T"]
        assert " ".join(lines).count("scd=released") == len(frame) == 2
        assert format_grouped(frame.iloc[:0]).split() == ["Paper", "Ours", "Difference", "Protocol"]


# --- marker blocks ----------------------------------------------------------------------------


def block(name, content="old"):
    return f"<!-- table:{name} -->{content}<!-- /table:{name} -->"


def test_replace_between_markers():
    text = f"a\n{block('x')}\nb {block('y/z-1')} c {block('x', '')}"
    new = replace_between_markers(text, "x", r"| \1 |")
    filled = block("x", "\n| \\1 |\n")
    assert new == f"a\n{filled}\nb {block('y/z-1')} c {filled}"
    assert replace_between_markers(new, "x", r"| \1 |") == new


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
