"""What the notebook shows of records: differences, Table 2, handed predictions, Figure 5."""

import re
from statistics import fmean

import pytest
from docre_records import made_up, reduced
from markdown_tables import read_table

from relcl_lib.lab.compare import compare, nearest
from relcl_lib.lab.metrics import confidence_interval
from relcl_lib.lab.records import read_records, results_root
from relcl_lib.lab.rows import entries
from relcl_lib.papers.docre_ii import figures, printed, tables

LEAKY = tables.LEAKY


@pytest.fixture(scope="module")
def records():
    return read_records(results_root(), paper="docre_ii")


def test_parts_of_the_module_are_compared_on_common_seeds(records):
    found = printed.differences(records, "alone", "N_I=2")
    parts = ("ECA", "contrastive loss", "fusion sub-layer")
    assert set(found) == {f"whole − without {part}" for part in parts}
    assert all(len(differences) == 10 for differences in found.values())
    assert min(found["whole − without ECA"]) > 5
    assert printed.differences([], "alone", "N_I=2") == {}


def test_table_2_has_ours_beside_it(records):
    lines = printed.iterations(records)
    assert list(lines) == [1, 2, 3, 4]
    text = printed.grid(records)
    for entry in entries("docre_ii", "Table 2"):
        assert f"{entry.value:g}" in text
    for line, found in zip(text.splitlines()[2:], lines.values(), strict=True):
        means = (f"{fmean(found[k]):.1f}" for k in (1, 2, 3, 4))  # 87.0 is not 87
        assert f" | {' | '.join(means)} |" in line
    assert printed.ALONE not in printed.grid([])
    theirs, cells = printed.quoted_iterations(), read_table(printed.grid([]))
    assert {
        (f"N_I {layers}", f"K {k}", f"{value:g}")
        for layers, line in theirs.items()
        for k, value in line.items()
    } == {(row, column, cell) for row, found in cells.items() for column, cell in found.items()}


def test_tables_5_and_7_stand_whole():
    found = [
        float(cell.partition(" ")[0])
        for table, settings in (("Table 5", ("dev", "test")), ("Table 7", ("stage 1", "stage 2")))
        for setting in settings
        for row in read_table(printed.TABLES.quoted(table, setting=setting)).values()
        for cell in row.values()
    ]
    every = [*entries("docre_ii", "Table 5"), *entries("docre_ii", "Table 7")]
    assert sorted(found) == sorted(entry.value for entry in every)
    stage_2 = read_table(printed.TABLES.quoted("Table 7", setting="stage 2"))
    assert stage_2["lr base module"]["CDR, DocRE-II-SciBERT"] == "1e-06"


def of_cdr(record, **changes):
    """A record on stated facts as one of ATLOP on CDR would be, by the profile `reduced`."""
    parameters = {**record.parameters, **reduced(inference_layers=3), **changes}
    dataset = {**record.dataset, "set": "CDR"}
    return record.model_copy(update={"dataset": dataset, "parameters": parameters})


def test_table_2_on_cdr_has_columns_and_rows_as_soon_as_there_are_records(records):
    wanted = {"base": "stated_facts", "noise_draw": "blind", "inference_layers": 3}
    runs = [r for r in records if wanted.items() <= r.parameters.items()]
    runs = [of_cdr(r) for r in runs if r.method == "DocRE-II"]
    means = [sum(r.metrics[f"F1_K{k}"] for r in runs) / len(runs) for k in (1, 2, 3, 4)]
    header, _, *lines = printed.grid(runs).splitlines()
    assert [f"CDR, K {k}" in header for k in (1, 2, 3, 4)] == [True] * 4
    assert lines[2].endswith(" | ".join(f"{mean:.1f}" for mean in means) + " |")
    rows = [row for row in tables.grid_rows() if row.matches(runs[0])]
    assert [(row.setting, row.metric) for row in rows] == [
        ("test;N_I=3", f"F1_K{k}") for k in (1, 2, 3, 4)
    ]
    leaky = of_cdr(runs[0], noise_draw="not_gold")
    assert not any(row.matches(leaky) for row in tables.grid_rows())
    assert "CDR" not in printed.grid([leaky])


def test_gains_are_paired_with_the_runs_own_base(records):
    ranked = [
        {"AP": 50.0, "AP_base": 48.0, "F1_tuned": 63.0, "F1_tuned_base": 62.0},
        {"AP": 51.0, "AP_base": 47.0, "F1_tuned": 62.0, "F1_tuned_base": 62.5},
        {"AP": 54.0, "AP_base": 49.0, "F1_tuned": 61.0, "F1_tuned_base": 60.0},
    ]
    leaky = [
        r.model_copy(update={"metrics": {**r.metrics, **ranked[seed]}})
        for seed in range(3)
        for r in made_up(60.0 + seed, [seed], **LEAKY)
    ]
    (line,) = printed.gains(leaky).splitlines()[2:]
    assert line.startswith("| CDR, leaky noise | reduced | 3 | – | +11.0 ± 2.5 | +10.0 ± 2.5 |")
    for metric in ("F1_tuned", "AP"):
        pairs = [r.metrics[metric] - r.metrics[f"{metric}_base"] for r in leaky]
        mean, half = confidence_interval(pairs)
        assert f"| {mean:+.1f} ± {half:.1f} |" in line
    trained = [
        r.model_copy(update={"metrics": {**r.metrics, "F1_base_train": 90.0 + r.seed}})
        for r in leaky
    ]
    assert (
        read_table(printed.gains(trained))["CDR, leaky noise"][
            "base's F1 on its training documents"
        ]
        == "91.0"
    )
    assert "| 3 | – |" in printed.gains([*trained[:2], leaky[2]])  # not of some of the runs
    (alone,) = (line for line in printed.gains(records).splitlines() if "N_I = 2" in line)
    assert re.search(r"\| 10 \| .* \| – \| – \| \+\d\S* to \+\d\S* \| 0\.\d{3} \|$", alone)
    one = printed.gains(leaky[:1]).splitlines()[2]
    assert "±" not in one  # one seed has no interval
    assert len(printed.gains([]).splitlines()) == 2


#: runs of `sweep scores`, `rates` and `variants` on CDR, more seeds than the usual ones have
OTHERS = [
    *made_up(64.0, range(6), training_scores="early"),
    *made_up(65.0, range(6), training_scores="out_of_fold"),
    *made_up(46.0, range(6), inference_rate=2e-4),
    *made_up(47.0, range(6), inference_rate=5e-5),
    *made_up(70.0, range(6), variant="released"),
    *made_up(71.0, range(6), feedback="gold"),
    *made_up(72.0, range(6), markers="typed"),
    *made_up(73.0, range(6), orientation="kind"),
    *made_up(74.0, range(6), spurious=True),
    *made_up(75.0, range(6), noise=[0.2, 0.5]),
]


def test_runs_with_one_setting_changed_never_stand_for_the_whole():
    part = "w/o ECA"
    usual = [*made_up(60.0), *made_up(61.0, method=part)]
    for records in (usual, [*OTHERS, *usual], [*usual, *OTHERS]):
        ours = printed.ablations(records)["ours, CDR"]
        assert ours == {"whole − without ECA": [-1.0] * 5}
        assert printed.iterations(records, "CDR") == {
            2: {0: [51.0] * 5} | {k: [60.0] * 5 for k in (1, 2, 3, 4)}
        }
        assert "| DocRE-II-SciBERT | 73.2 | 60.0" in printed.beside("Table 3", records)
        (axes,) = figures.FIGURES["docre_gain"](records).axes
        assert "F1 +10.0" in axes.get_xticklabels()[0].get_text()
        rows = [row for row in tables.measured_rows("CDR") if row.metric == "F1"]
        frame = nearest(compare("docre_ii", rows, records, only_run=True))
        assert frame["ours"].tolist() == [60.0, 61.0] and set(frame["n"]) == {5}


def test_each_changed_setting_has_a_line_that_names_it():
    records = [*made_up(60.0), *OTHERS]
    for text, shown in ((printed.gains(records), "+{:.1f}"), (printed.handed(records), "{:.1f}")):
        lines = {line.split(" | ")[0].strip("| "): line for line in text.splitlines()[2:]}
        assert len(lines) == 11
        for name, f1 in (
            ("CDR", 60.0),
            ("CDR, training on scores of a base trained a third as long", 64.0),
            ("CDR, training on scores out of fold", 65.0),
            ("CDR, inference rate 5e-05", 47.0),
            ("CDR, inference rate 0.0002", 46.0),
            ("CDR, variant *released*", 70.0),
            ("CDR, gold relations fed", 71.0),
        ):
            gained = f1 - 50 if "+" in shown else f1
            assert f"| {shown.format(gained).replace('+-', '-')}" in lines[name], name


def test_the_whole_and_a_part_are_of_one_configuration():
    """The base of earlier records and today's both keep their rows, and are never paired."""
    earlier = {"encoder_layers": 1, "document_vector": False, "stage1_epochs": 20}
    part = "w/o contrastive loss"
    old = [*made_up(55.0, **earlier), *made_up(52.0, range(3), method=part, **earlier)]
    new = [*made_up(60.0, range(2)), *made_up(61.0, range(5), method=part)]
    assert printed.ablations([*old, *new])["ours, CDR"] == {
        "whole − without contrastive loss": [3.0] * 3
    }
    assert printed.ablations([*old[:5], *new[2:]]).keys() == printed.ablations([]).keys()
    weights = printed.slot_weights([*old, *new])
    assert weights["CDR (n=3): with the contrast"] == (55.0, 55.0)
    assert weights["CDR (n=3): without the contrast"] == (52.0, 52.0)


def test_both_bars_of_a_data_set_have_one_noise():
    part = "w/o contrastive loss"
    records = [*made_up(1.0), *made_up(2.0, **LEAKY), *made_up(3.0, method=part, **LEAKY)]
    found = printed.slot_weights(records)
    assert found["CDR, leaky noise (n=5): with the contrast"] == (2.0, 2.0)
    found = printed.slot_weights([*records, *made_up(4.0, range(2), method=part)])
    assert [name for name in found if "CDR" in name] == [
        "CDR (n=2): with the contrast",
        "CDR (n=2): without the contrast",
    ]


def test_handed_predictions_are_means_over_seeds(records):
    for noise, name in (({}, "CDR"), (LEAKY, "CDR, leaky noise")):
        runs = [r for seed in range(3) for r in made_up(60.0 + seed, [seed], **noise)]
        (line,) = printed.handed(runs).splitlines()[2:]
        assert line == f"| {name} | DocRE-II | 3 | 50.0 | 61.0 | 61.0 | 61.0 | 61.0 |"
    (alone,) = (
        line
        for line in printed.handed(records).splitlines()
        if line.startswith("| inference alone, layers N_I = 2 | DocRE-II | 10 |")
    )
    runs = [r for r in records if r.parameters.get("base") == "stated_facts"]
    runs = [r for r in runs if r.method == "DocRE-II" and r.parameters["inference_layers"] == 2]
    assert f"{sum(r.metrics['F1_fed_none'] for r in runs) / len(runs):.1f} |" in alone


def test_slot_weights_begin_with_the_papers(records):
    found = printed.slot_weights(records)
    assert list(found.values())[:2] == [(0.026, 0.023), (0.045, 0.007)]
    assert any(name.startswith("inference alone, layers N_I = 2 (n=10)") for name in found)
    assert len(printed.slot_weights([])) == 2
