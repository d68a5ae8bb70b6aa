"""What the notebook shows of records: differences, Table 2, handed predictions, Figure 5."""

import pytest

from relcl_lib.lab.records import read_records, results_root
from relcl_lib.lab.rows import entries
from relcl_lib.papers.docre_ii import printed


@pytest.fixture(scope="module")
def records():
    return read_records(results_root(), paper="docre_ii")


def test_parts_of_the_module_are_compared_on_common_seeds(records):
    found = printed.alone_differences(records)
    assert set(found) == {"w/o ECA", "w/o contrastive loss", "w/o fusion sub-layer"}
    assert all(len(differences) == 10 for differences in found.values())
    assert min(found["w/o ECA"]) > 5
    assert printed.alone_differences([]) == {}


def test_table_2_has_ours_beside_it(records):
    lines = printed.iterations(records)
    assert list(lines) == [f"N_I = {n}" for n in (1, 2, 3, 4)]
    text = printed.grid(records)
    for entry in entries("docre_ii", "Table 2"):
        assert f"{entry.value:g}" in text
    assert f"{lines['N_I = 3'][1]:.3g}" in text.splitlines()[4]
    assert "ours" not in printed.grid([])


def test_handed_predictions_are_means_over_seeds(records):
    runs = [r for r in records if r.experiment == "cdr" and "F1_fed_neighbours" in r.metrics]
    runs = [r for r in runs if r.method == "DocRE-II"]
    (line,) = (
        line
        for line in printed.handed(runs).splitlines()
        if line.startswith(f"| CDR | DocRE-II | {len(runs)} |")
    )
    mean = sum(r.metrics["F1_fed_gold"] for r in runs) / len(runs)
    assert f" {mean:.1f} " in line


def test_slot_weights_begin_with_the_papers(records):
    found = printed.slot_weights(records)
    assert list(found.values())[:2] == [(0.026, 0.023), (0.045, 0.007)]
    assert any(name.startswith("CDR (n=3)") for name in found)
    assert len(printed.slot_weights([])) == 2
