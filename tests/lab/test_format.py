import re
from dataclasses import replace

import pytest
from example_records import run
from markdown_tables import cells

from relcl_lib.commands.tables import paper_rows
from relcl_lib.lab import words
from relcl_lib.lab.compare import compare
from relcl_lib.lab.format import format_markdown, format_text, number, pivot, show
from relcl_lib.lab.records import read_records
from relcl_lib.papers.registry import PAPERS

#: Table III on Split CIFAR-10 with a memory of 200
ROWS = [
    row
    for row in paper_rows("hpcr")
    if (row.table, row.dataset) == ("Table III", "Split CIFAR10")
    and row.setting in ("buffer=none", "buffer=200")
]
COMMITTED = read_records(include_failed=True)


# --- nothing is lost --------------------------------------------------------------------------


@pytest.mark.parametrize("paper", PAPERS)
@pytest.mark.parametrize("only_run", [True, False])
def test_every_number_of_a_comparison_stands_beside_its_method(paper, only_run):
    """Line by line of the comparison: its numbers stand in a line of that method."""
    frame = compare(paper, paper_rows(paper), COMMITTED, only_run=only_run)
    for _, lines in frame.groupby(["table", "dataset"], sort=False):
        text = format_markdown(lines)
        captions = " ".join(line for line in text.splitlines() if line.startswith("**"))
        shown = cells(text)
        for line in lines.to_dict("records"):
            if not line["n"] and line["paper"] != line["paper"]:
                continue  # neither number
            method = words.name(line["method"])
            beside = [row for row in shown if method in row or method in captions]
            every = {cell for row in beside for cell in row}
            assert beside, line
            if line["paper"] == line["paper"]:
                assert number(line["paper"], line["paper_pm"], line["digits"]) in every, line
            if line["n"]:
                ours = number(line["ours"], line["ours_pm"], line["digits"])
                count = f"(n={line['n']})"
                assert ours in every or f"{ours} {count}" in every, line
                assert f"n = {line['n']}" in captions or str(line["n"]) in every or count in text


@pytest.mark.parametrize("paper", PAPERS)
def test_tables_are_not_wide_and_hold_no_keys(paper):
    frame = compare(paper, paper_rows(paper), COMMITTED, only_run=True)
    for row in cells(format_markdown(frame)):
        assert len(row) <= 14
        for cell in row:
            keys = re.sub(r" \(n=\d+\)", "", cell)  # where columns have different seeds
            assert "=" not in keys and ";" not in keys, cell


# --- lines and columns ------------------------------------------------------------------------


def test_methods_are_lines_and_what_is_alike_is_the_caption():
    records = [run(seed, a_t=value) for seed, value in enumerate((51.0, 50.0, 52.0))]
    frame = compare("hpcr", ROWS, records, only_run=True)
    assert format_markdown(frame).splitlines()[:5] == [
        "**Split CIFAR-10**: final accuracy A_T (%); memory 200; protocol paper; variant *released*;"
        " n = 3",
        "",
        "| Method | paper | ours | difference |",
        "| --- | ---: | ---: | ---: |",
        "| HPCR | 53.4 ± 1.4 | 51.0 ± 2.5 | -2.4 |",
    ]
    both = compare("hpcr", ROWS, [*records, run(0, "ER")])
    lines = format_markdown(both).splitlines()
    assert "protocol paper; variant *released*" in lines[0] and "n =" not in lines[0]
    assert "| HPCR | 200 | 53.4 ± 1.4 | 51.0 ± 2.5 | -2.4 | 3 |" in lines
    assert "| PCR | 200 | 50.3 ± 1.5 | – | – | – |" in lines
    assert "Protocol *paper*: " in lines[-1] and "reduced" not in lines[-1]


def test_metrics_are_columns():
    rows = [r for r in paper_rows("hpcr") if r.method == "HPCR" and r.setting == "buffer=200"]
    rows = [r for r in rows if r.dataset == "Split CIFAR10"]
    one = [row for row in rows if row.table == "Table V"]
    frame = compare(
        "hpcr", [*one, replace(one[0], metric="A_T", record_metric="A_T")], [run()], only_run=True
    )
    header, line = cells(format_markdown(frame))
    accuracy, final = "accuracy over the stream AAA (%)", "final accuracy A_T (%)"
    assert header == ["Method", f"{accuracy}: paper", "ours", "difference", final]
    assert line == ["HPCR", "66.0 ± 2.7", "67.0", "+1.0", "51.0"]


def test_many_metrics_of_both_stand_in_lines():
    rows = [r for r in paper_rows("crecl") if r.table == "Table 1" and r.dataset == "FewRel"]
    ours = [record for record in COMMITTED if record.method == "RP-CRE+MA"]  # one configuration
    text = format_markdown(compare("crecl", rows, ours, only_run=True))
    assert text.startswith("**FewRel**: accuracy after task … (%); ")
    header, *lines = cells(text)
    assert header[:4] == ["Method", "Whose", "task 1", "task 2"]
    assert [line[1] for line in lines] == ["paper", "ours", "difference"] * (len(lines) // 3)


def test_what_is_said_of_our_runs_stands_in_the_line_of_ours():
    rows = [r for r in paper_rows("crecl") if r.table == "Table 1" and r.dataset == "FewRel"]
    ours = [record for record in COMMITTED if record.method in ("RP-CRE", "CRECL")]
    header, *lines = cells(format_markdown(compare("crecl", rows, ours, only_run=True)))
    assert header[:3] == ["Method", "Configuration", "Whose"] and header[-1] == "n"
    for line in lines:
        assert line[0] in ("RP-CRE", "CRECL")
        assert bool(line[1]) == bool(line[-1]) == (line[2] == "ours"), line  # both on two sizes


def test_the_paper_s_numbers_stand_once_above_several_configurations():
    rows = [r for r in paper_rows("crecl") if r.table == "Table 1" and r.dataset == "FewRel"]
    frame = compare("crecl", rows, COMMITTED, only_run=True)
    _, *lines = cells(format_markdown(frame))
    whose = [line[2] for line in lines if line[0] == "CRECL"]
    assert whose.count("paper") == 1 and whose.count("ours") > 1
    assert whose == ["paper", *["ours", "difference"] * whose.count("ours")]


def test_a_comparison_without_differences_says_nothing_of_them():
    rows = [r for r in paper_rows("crecl") if r.table == "Table 1" and r.dataset == "FewRel"]
    frame = compare("crecl", rows, COMMITTED, only_run=True)
    assert "Difference: " in format_markdown(frame)
    without = format_markdown(frame.assign(difference=float("nan")))
    assert "ifference" not in without and "| paper |" in without


def test_lines_without_a_common_metric_are_tables_of_their_own():
    rows = [r for r in paper_rows("drl") if r.table == "Figure 1"]
    kept = [r for r in COMMITTED if r.parameters.get("classifier") == "closest"]
    frame = compare("drl", rows, kept)
    blocks = [block for block in pivot(frame) if block.dataset == "MNIST-{7,9}"]
    assert [block.columns for block in blocks] == [["Pearson's r"], ["test accuracy (%)"]]
    assert len(blocks[0].lines) == 4
    shown = show(blocks[0])
    assert shown.header == ["Method", "pairs of", "paper", "ours", "difference"]
    assert "Pearson's r" in shown.caption


def test_a_line_with_neither_number_is_left_out():
    rows = [replace(row, method="nobody", methods=("nobody",)) for row in ROWS[:1]]
    assert pivot(compare("hpcr", rows, [run()])) == []
    assert format_markdown(compare("hpcr", rows, [])) == ""


def test_what_differs_in_n_says_so():
    one, two = run(0), run(1)
    other = {name: value for name, value in two.metrics.items() if name != "AAA"}
    records = [one, two.model_copy(update={"metrics": other})]
    rows = [r for r in paper_rows("hpcr") if r.method == "HPCR" and r.setting == "buffer=200"]
    rows = [replace(r, table="T") for r in rows if r.our_metric in ("A_T", "AAA")]
    rows = [r for r in rows if r.dataset == "Split CIFAR10"]
    text = format_markdown(compare("hpcr", rows, records, only_run=True))
    assert "(n=1)" in text and "(n=2)" in text


def test_difference_of_nothing_is_not_minus_nothing():
    frame = compare("hpcr", ROWS, [run(a_t=53.39)], only_run=True)
    assert "| +0.0 |" in format_markdown(frame)
    assert "| -0.010 |" in format_markdown(frame.assign(digits=3))


def test_a_row_has_its_own_decimals():
    one, other = ROWS[:2]
    frame = compare("hpcr", [one, replace(other, digits=3)], [run()])
    first, second = cells(format_markdown(frame))[1:]
    paper = frame["paper"]
    assert f"{paper[0]:.1f} ±" in " ".join(first) and f"{paper[1]:.3f} ±" in " ".join(second)
    assert f" {paper[0]:.2f} ±" in format_markdown(frame.assign(digits=2))


def test_a_bar_in_a_cell_is_escaped():
    frame = compare("hpcr", ROWS, [run(), run(0, "ER")], only_run=True)
    frame["configuration"] = ["p(a|b)", "other"]
    assert r"p(a\|b)" in format_markdown(frame)


def test_text_is_aligned():
    caption, *lines = format_text(compare("hpcr", ROWS, [run()])).splitlines()
    assert caption.startswith("Split CIFAR-10: final accuracy")
    start = lines[0].index("memory")
    assert all(line[start - 1] == " " for line in (lines[0], *lines[2:]))
    assert len(lines) == 23
    assert format_text(compare("hpcr", [], [])) == ""
