"""The printed tables: every number of the paper stands where it should, ours beside it."""

import pytest

from relcl_lib.lab.format import DASH
from relcl_lib.lab.records import read_records, results_root
from relcl_lib.lab.rows import entries
from relcl_lib.papers.fastre import printed, tables

COUNTS = {"NYT10": 1_096_390, "NYT11": 1_091_682, "NYT24": 1_095_100}


@pytest.fixture(scope="module")
def records():
    return read_records(results_root(), paper="fastre")


def read(text):
    """A Markdown table as row -> column -> cell."""
    lines = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in text.splitlines()
        if line.startswith("|")
    ]
    return {row[0]: dict(zip(lines[0], row, strict=True)) for row in lines[2:]}


@pytest.mark.parametrize(
    "table, dataset",
    [*(("Table 2", name) for name in printed.DATASETS), ("Table 4", "NYT10")],
)
def test_every_number_of_the_paper_stands_in_its_cell(table, dataset):
    found = read(printed.whole(table, dataset, []))
    down = printed.LAYOUTS[table][0]
    for entry in entries("fastre", table, dataset):
        label = getattr(entry, down)
        cell = found[printed.WORDS.get(label, label)][f"{printed.WORDS[entry.metric]}: paper"]
        assert float(cell) == entry.value
    assert not any("ours" in column for row in found.values() for column in row)


def test_ours_stands_beside_what_was_run(records):
    found = read(printed.whole("Table 2", "NYT10", records))
    assert "(n=3)\\*" in found["FastRE"]["F1 (%): ours"]
    assert found["GRTE"]["F1 (%): ours"] == DASH
    structures = read(printed.whole("Table 4", "NYT10", records))
    assert structures["6 blocks, 1-2-4-1-1-1"]["F1 (%): ours"] != DASH
    assert structures["3 blocks, 1-2-4"]["F1 (%): ours"] == DASH
    assert "NYT10: ours" in printed.beside("Table 5", records)


def test_table_3_has_batches_in_one_cell_and_our_counts():
    found = read(printed.efficiency(COUNTS))
    assert found["FastRE"]["NYT10: ms at batch 1 / 8 / 128: paper"] == "12.9 / 5.9 / 4.6"
    assert found["CasRel"]["NYT10: ms at batch 1 / 8 / 128: paper"] == "66.2"
    assert found["FastRE"]["NYT10: parameters (K): ours"] == "1,096.39"
    assert found["CasRel"]["NYT10: parameters (K): ours"] == DASH


def test_table_1_has_the_sizes_of_our_data(records):
    found = read(printed.data_sets(records))
    assert found["training sentences"]["NYT10: paper"] == "70339"
    ours = next(r for r in records if r.dataset["set"] == "NYT10" and not r.failed)
    assert found["training sentences"]["NYT10, ours"] == str(ours.dataset["sizes"]["train"])
    assert "NYT10, ours" not in printed.data_sets([])


def test_components_are_compared_on_common_seeds(records):
    found = printed.component_differences(records)
    assert list(found) == list(tables.ABLATIONS)
    assert all(len(differences) == 3 for differences in found.values())
    assert min(found["-Gated Unit"]) > 20
    without = [r for r in records if not (r.method == "-Gated Unit" and r.seed == 0)]
    assert len(printed.component_differences(without)["-Gated Unit"]) == 2
    assert printed.component_differences([]) == {}
