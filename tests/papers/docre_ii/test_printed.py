"""What the notebook shows of records: differences, Table 2, handed predictions, Figure 5."""

import re
from statistics import fmean

import pytest

from relcl_lib.lab.compare import compare, nearest
from relcl_lib.lab.metrics import confidence_interval
from relcl_lib.lab.records import Record, read_records, results_root
from relcl_lib.lab.rows import entries
from relcl_lib.papers.docre_ii import figures, printed, tables
from relcl_lib.papers.docre_ii.parameters import DocreParameters


@pytest.fixture(scope="module")
def records():
    return read_records(results_root(), paper="docre_ii")


def test_parts_of_the_module_are_compared_on_common_seeds(records):
    found = printed.alone_differences(records)
    parts = ("ECA", "contrastive loss", "fusion sub-layer")
    assert set(found) == {f"whole − without {part}" for part in parts}
    assert all(len(differences) == 10 for differences in found.values())
    assert min(found["whole − without ECA"]) > 5
    assert printed.alone_differences([]) == {}


def test_table_2_has_ours_beside_it(records):
    lines = printed.iterations(records)
    assert list(lines) == [f"N_I = {n}" for n in (1, 2, 3, 4)]
    text = printed.grid(records)
    for entry in entries("docre_ii", "Table 2"):
        assert f"{entry.value:g}" in text
    for line, found in zip(text.splitlines()[2:], lines.values(), strict=True):
        means = (f"{fmean(found[k]):.1f}" for k in (1, 2, 3, 4))  # 87.0 is not 87
        assert line.endswith(f"| {' | '.join(means)} |")
    assert printed.ALONE not in printed.grid([])


def reduced(**changes):
    """The parameters of a run on CDR, as its record has them."""
    made = DocreParameters.create(profile="reduced", **changes).resolved()
    hidden = {"dataset", "method", "seeds", "encoder", *made.as_before}
    return made.model_dump(exclude=hidden) | {"encoder_type": "bert"}


def made_up(f1, seeds=range(5), method="DocRE-II", **changes):
    """Runs on CDR whose F1 is given, one per seed."""
    metrics = {"F1": f1, "F1_base": 50.0, "F1_K0": 51.0, "F1_K3": f1, "F1_K4": f1}
    metrics |= {key: f1 for key in printed.HANDED.values() if "fed" in key}
    metrics |= {"F1_K1": f1, "weight_features": f1, "weight_relations": f1}
    metrics |= {f"F1_K{k}": f1 for k in (1, 2)}
    fields = {"paper": "docre_ii", "experiment": "cdr", "backbone": "small", "device": "cpu"}
    fields |= {"protocol": "reduced", "variant": changes.get("variant", "paper"), "seconds": 1.0}
    fields |= {"accuracy_matrix": None, "peak_memory_bytes": None, "versions": {}, "commit": "0"}
    fields |= {"dataset": {"name": "cdr", "set": "CDR"}, "date": "2026-01-01", "note": ""}
    parameters = reduced(method=method, **changes)
    fields |= {"parameters": parameters, "metrics": metrics, "method": method}
    return [Record(**fields, seed=seed) for seed in seeds]


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
    lines = printed.gains(records).splitlines()[2:]
    runs = [r for r in records if r.experiment == "cdr" and r.method == "DocRE-II"]
    leaky = [r for r in runs if r.parameters["noise_draw"] == "not_gold"]
    (line,) = (line for line in lines if line.startswith("| CDR") and "leaky" in line)
    for metric in ("F1", "AP"):
        pairs = [r.metrics[metric] - r.metrics[f"{metric}_base"] for r in leaky]
        mean, half = confidence_interval(pairs)
        assert f"| {mean:+.1f} ± {half:.1f} |" in line
    (alone,) = (line for line in lines if "N_I = 2" in line)
    assert re.search(r"\| 10 \| .* \| – \| \+\d\S* to \+\d\S* \| 0\.\d{3} \|$", alone)
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
            "N_I = 2": {0: [51.0] * 5} | {k: [60.0] * 5 for k in (1, 2, 3, 4)}
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
            ("CDR, training on scores of an early base", 64.0),
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
    part, leaky = "w/o contrastive loss", {"noise_draw": "not_gold", "spurious": True}
    records = [*made_up(1.0), *made_up(2.0, **leaky), *made_up(3.0, method=part, **leaky)]
    found = printed.slot_weights(records)
    assert found["CDR, leaky noise (n=5): with the contrast"] == (2.0, 2.0)
    found = printed.slot_weights([*records, *made_up(4.0, range(2), method=part)])
    assert [name for name in found if "CDR" in name] == [
        "CDR (n=2): with the contrast",
        "CDR (n=2): without the contrast",
    ]


def test_handed_predictions_are_means_over_seeds(records):
    runs = [r for r in records if r.experiment == "cdr" and "F1_fed_neighbours" in r.metrics]
    runs = [r for r in runs if r.method == "DocRE-II"]
    (line,) = (
        line
        for line in printed.handed(runs).splitlines()
        if line.startswith(f"| CDR, leaky noise | DocRE-II | {len(runs)} |")
    )
    mean = sum(r.metrics["F1_fed_gold"] for r in runs) / len(runs)
    assert f" {mean:.1f} " in line
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
    assert any(name.startswith("CDR, leaky noise (n=1)") for name in found)
    assert any(name.startswith("inference alone, layers N_I = 2 (n=10)") for name in found)
    assert len(printed.slot_weights([])) == 2
