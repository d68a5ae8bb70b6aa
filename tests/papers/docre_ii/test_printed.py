"""What the notebook shows of records: differences, Table 2, handed predictions, Figure 5."""

import re
from statistics import fmean

import pytest

from relcl_lib.lab.metrics import confidence_interval
from relcl_lib.lab.records import read_records, results_root
from relcl_lib.lab.rows import entries
from relcl_lib.papers.docre_ii import printed, tables


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
    assert f"{fmean(lines['N_I = 3'][1]):.3g}" in text.splitlines()[4]
    assert printed.ALONE not in printed.grid([])


def of_cdr(record, **changes):
    """A record on stated facts as one of ATLOP on CDR would be."""
    parameters = {**record.parameters, "base": "atlop", **changes}
    dataset = {**record.dataset, "set": "CDR"}
    return record.model_copy(update={"dataset": dataset, "parameters": parameters})


def test_table_2_on_cdr_has_columns_and_rows_as_soon_as_there_are_records(records):
    wanted = {"base": "stated_facts", "noise_draw": "blind", "inference_layers": 3}
    runs = [r for r in records if wanted.items() <= r.parameters.items()]
    runs = [of_cdr(r) for r in runs if r.method == "DocRE-II"]
    means = [sum(r.metrics[f"F1_K{k}"] for r in runs) / len(runs) for k in (1, 2, 3, 4)]
    header, _, *lines = printed.grid(runs).splitlines()
    assert [f"CDR, K {k}" in header for k in (1, 2, 3, 4)] == [True] * 4
    assert lines[2].endswith(" | ".join(f"{mean:.3g}" for mean in means) + " |")
    rows = [row for row in tables.grid_rows() if row.matches(runs[0])]
    assert [(row.setting, row.metric) for row in rows] == [
        ("test;N_I=3", f"F1_K{k}") for k in (1, 2, 3, 4)
    ]
    leaky = of_cdr(runs[0], noise_draw="not_gold")
    assert not any(row.matches(leaky) for row in tables.grid_rows())
    assert "CDR" not in printed.grid([leaky])


def test_gains_are_paired_with_the_runs_own_base(records):
    lines = printed.gains(records).splitlines()[2:]
    runs = [r for r in records if r.experiment == "cdr" and r.method == "DocRE-II"]
    leaky = [r for r in runs if r.parameters["noise_draw"] == "not_gold"]
    (line,) = (line for line in lines if line.startswith("| CDR") and "outside" in line)
    for metric in ("F1", "AP"):
        pairs = [r.metrics[metric] - r.metrics[f"{metric}_base"] for r in leaky]
        mean, half = confidence_interval(pairs)
        assert f"| {mean:+.1f} ± {half:.1f} |" in line
    (alone,) = (line for line in lines if "N_I = 2" in line and "outside" not in line)
    assert re.search(r"\| 10 \| .* \| – \| \+\d\S* to \+\d\S* \| 0\.\d{3} \|$", alone)
    one = printed.gains(leaky[:1]).splitlines()[2]
    assert "±" not in one  # one seed has no interval
    assert len(printed.gains([]).splitlines()) == 2


def test_the_search_for_a_base_stands_with_the_floor_in_the_order_of_dev(records):
    _, _, *lines, floor = printed.base_search(records).splitlines()
    assert len(lines) == 15
    assert floor.startswith("| floor: logistic regression | 1 |")
    cells = [line.strip("| ").split(" | ") for line in lines]
    assert all(len(each[2].split(" / ")) == int(each[1]) for each in cells)
    first = [float(each[2].split(" / ")[0]) for each in cells]
    assert first == sorted(first, reverse=True)
    assert cells[0][0] == "three layers, document vector"


def test_the_search_is_named_where_it_does_not_lie(records, monkeypatch, tmp_path):
    monkeypatch.setattr(printed, "repository_root", lambda: tmp_path)
    assert "`data/tries/docre_ii/cdr_base_search.jsonl`" in printed.base_search(records)


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
