"""CRECL's printed tables: every number of the paper, and variants with their paired difference."""

import re

import matplotlib.pyplot as plt
import pytest
from example_records import make
from markdown_tables import read_table

from relcl_lib.lab.records import read_records, results_root, trained_on
from relcl_lib.lab.rows import entries
from relcl_lib.papers.crecl import figures, printed, tables


@pytest.fixture(scope="module")
def records():
    return read_records(results_root(), paper="crecl")


def test_what_was_not_run_stands_there_as_printed():
    shown = read_table(printed.beside("Table 1", [], "TACRED"))
    printed_there = entries("crecl", "Table 1", "TACRED")
    accuracies = [e for e in printed_there if e.metric != "relative_improvement_pct"]
    assert len(shown) * len(shown["CRECL"]) == len(accuracies) == 80
    for entry in accuracies:
        assert float(shown[entry.method][entry.setting]) == entry.value


def test_variants_have_their_paired_difference(records):
    shown = read_table(printed.parts(records))
    assert list(shown) == ["CRECL", *tables.ABLATIONS]
    ahead = tables.leads(records, "FewRel", "CRECL", "CRECL-CL1", "current")
    mean = sum(by_task["T10"] for by_task in ahead.values()) / len(ahead)
    assert shown["CRECL-CL1"]["last task alone: ahead of CRECL"].startswith(f"{mean:+.1f} ± ")
    assert shown["CRECL"]["all tasks: ahead of CRECL"] == "–"


def test_leads_have_a_line_per_seed_and_an_interval(records):
    pairs = (("CRECL", "RP-CRE"), ("RP-CRE", "CRECL+ATM"), ("CRECL", "no such method"))
    records = [record for record in records if trained_on(record) == 7760]  # has all of them
    shown = read_table(printed.leads(records, pairs=pairs))
    ahead = tables.leads(records)
    each = [f"CRECL less RP-CRE, seed {seed}" for seed in ahead]
    means = [f"{a} less {b}, mean ± half of 95 %, n={len(ahead)}" for a, b in pairs[:2]]
    assert list(shown) == [*each, *means]
    last = [by_task["T10"] for by_task in ahead.values()]
    assert [shown[name]["T10"] for name in each] == [f"{value:+.1f}" for value in last]
    assert shown[means[0]]["T10"] == printed.difference(last)
    other = [
        by_task["T10"]
        for by_task in tables.leads(records, over=pairs[1][1], method="RP-CRE").values()
    ]
    assert shown[means[1]]["T10"] == printed.difference(other)


WHOLE, PART = ("e9", 33600), ("1a", 7760)


def scored(method, seed, score, content, **parameters):
    digest, size = content
    about = {"name": "fewrel", "set": "FewRel", "fingerprint": digest, "sizes": {"train": size}}
    metrics = {f"{kind}T{k}": score for k in range(1, 11) for kind in ("", "current_")}
    parameters |= {"attention_memory": "trained"} if method == "CRECL+ATM" else {}
    run = {"paper": "crecl", "method": method, "seed": seed, "variant": "paper"}
    return make(**run, metrics=metrics, parameters=parameters, dataset=about, protocol="reduced")


def on_both_contents():
    """CRECL and RP-CRE with three seeds on all of FewRel and on a part of it, the others on the part."""
    part = {"CRECL": 65.0, "RP-CRE": 62.0, "CRECL+ATM": 61.0, "CRECL-K": 63.0, "CRECL-CL1": 60.0}
    part |= {"CRECL-CL2": 55.0, "CRECL-CL": 20.0, "CRECL-MAG": 65.5, "CRECL(C)": 40.0}
    whole = {"CRECL": 71.0, "RP-CRE": 69.0, "CRECL(C)": 50.0}
    return [
        scored(method, seed, score, content)
        for content, scores in ((WHOLE, whole), (PART, part))
        for method, score in scores.items()
        for seed in (1, 2, 3)
    ]


def test_no_table_mixes_contents_of_the_data():
    runs = on_both_contents()
    shown = read_table(printed.beside("Table 1", runs, "FewRel"))
    assert shown["CRECL"]["T10: ours"].startswith("71.0")
    assert shown["RP-CRE"]["T10: ours"].startswith("69.0")
    assert shown["CRECL+ATM"]["T10: ours"] == "–"  # not the part's
    pairs = (("CRECL", "RP-CRE"), ("RP-CRE", "CRECL+ATM"))
    shown = read_table(printed.leads(runs, pairs=pairs))
    by_content = {}  # each lead has a line per content, and no line has runs of both
    for line, texts in shown.items():
        pair, samples, rest = re.fullmatch(r"(.*?), ([\d,]+) training samples, (.*)", line).groups()
        if "seed" in rest:
            by_content.setdefault((pair, samples), set()).add(texts["T10"])
    assert sorted(map(sorted, by_content.values())) == [["+2.0"], ["+3.0"]]
    ours, other = (sum(line.startswith(p) for line in shown) for p in ("CRECL less", "RP-CRE less"))
    assert (ours, other) == (8, 1)  # only the part has the others
    shown = read_table(printed.leads(runs, pairs=pairs[1:]))  # these two have the part in common
    assert [texts["T10"] for line, texts in shown.items() if "seed" in line] == ["+1.0"] * 3
    shown = read_table(printed.parts(runs))
    assert shown["CRECL"]["all tasks"].startswith("65.0")  # all variants are of the part
    assert shown["CRECL(C)"]["all tasks"].startswith("40.0")


def test_separation_is_the_mean_of_the_runs_that_noted_it_on_one_content():
    phases = {"classification": "before", "CL2": "after"}
    apart = {"mixed_s_classification": 9.0, "silhouette_s_classification": 0.25}
    runs = [
        run.model_copy(
            update={
                "metrics": run.metrics
                | apart
                | {"mixed_s_CL2": run.seed + add, "silhouette_s_CL2": run.seed / 10}
            }
        )
        for content, add in ((WHOLE, 0.5), (PART, 50.0))
        for run in (scored("CRECL", seed, 60.0, content) for seed in (1, 2))
    ]
    bare = scored("CRECL", 3, 60.0, WHOLE)  # noted nothing
    one_point = {"mixed_s_classification": 9.0, "mixed_s_CL2": 9.0}  # of a relation: no silhouette
    runs += [bare, bare.model_copy(update={"metrics": bare.metrics | one_point, "seed": 4})]
    shown = read_table(printed.separation(runs, ("FewRel", tables.SMALL), phases))
    assert shown == {
        "FewRel, n=2: before": {"silhouette × 100": "25.0", "mixed share (%)": "9.0"},
        "FewRel, n=2: after": {"silhouette × 100": "15.0", "mixed share (%)": "2.0"},
    }
    assert printed.separation(runs, ("TACRED",), phases) == ""


def test_figures_say_how_many_sentences_were_trained_on():
    runs = [
        r.model_copy(update={"accuracy_matrix": [[50.0] * 10] * 10, "parameters": more})
        for r in on_both_contents()
        for more in [{**r.parameters, "memory_size": 10}]
    ]
    about = "FewRel (reduced, resnet18-nf20, {} training samples): "
    for draw, samples in ((figures.curves, "7,760"), (figures.ablation, "7,760")):
        assert draw(runs).get_suptitle().startswith(about.format(samples))
    # All sizes of the memory weigh: at these two the part has more pairs.
    more = [scored(m, s, 60.0, PART, memory_size=5) for m in ("CRECL", "RP-CRE") for s in (1, 2)]
    for found, samples in ((runs, "33,600"), ([*runs, *more], "7,760")):
        title = figures.memory_sizes(found).get_suptitle()
        assert title.startswith(about.format(samples))
    plt.close("all")


def test_leads_on_the_last_task_are_its_own(records):
    every = tables.leads(records, "FewRel", "CRECL", "CRECL-CL")
    last = tables.leads(records, "FewRel", "CRECL", "CRECL-CL", "current")
    assert every.keys() == last.keys()
    for seed, by_task in every.items():
        assert by_task.keys() == last[seed].keys() == {f"T{k}" for k in range(1, 11)}
        assert by_task["T1"] == last[seed]["T1"]
        assert by_task["T10"] < 0 < last[seed]["T10"]


def test_a_difference_has_an_interval_where_there_are_seeds():
    assert printed.difference([]) == "–"
    assert printed.difference([2.0]) == "+2.0"
    assert printed.difference([1.0, 3.0, 2.0]) == "+2.0 ± 2.5"


def test_tried_settings_are_of_validation_sentences_in_the_order_of_their_score(records):
    shown = read_table(printed.tried(records))
    scores = [float(texts["T4"]) for texts in shown.values()]
    assert scores == sorted(scores, reverse=True)
    count = sum(r.parameters["validation"] and r.method != "CRECL(C)" for r in records)
    assert len(shown) == count
    assert all((t["M"] == "–") == (t["method"] == "RP-CRE") for t in shown.values())


def grid_run(lambda1, margin, value, of="FewRel", **changes):
    held = {"lambda1": lambda1, "margin": margin, "n_tasks": 4, "validation": True}
    held |= {"epochs_memory": 10, "memory_passes": 10, "learning_rate": 1e-5}
    held |= {"contrast_learning_rate": 4e-5}
    metrics = {"T2": 0.0, "T3": 0.0, "T4": value, "current_T4": 0.0}
    run = {"paper": "crecl", "method": "CRECL", "seed": 1921, "parameters": held}
    return make(**run, metrics=metrics, dataset={"name": "x", "set": of}, **changes)


def test_the_grid_has_a_row_per_lambda1_and_a_column_per_m():
    runs = [
        grid_run(1.0, 0.3, 70.0),
        grid_run(0.5, 0.2, 71.0),
        grid_run(0.5, 0.5, 72.0),
        grid_run(0.3, 0.1, 73.0),
    ]
    others = [
        grid_run(0.9, 0.1, 60.0, tables.SMALL),
        grid_run(0.9, 0.1, 61.0, inputs={"encoder": "of other weights"}),
        grid_run(0.9, 0.1, 62.0).model_copy(update={"seed": 2021}),
    ]
    shown = read_table(printed.grid([*others, *reversed(runs)]))
    columns = ["m = 0.1", "m = 0.2", "m = 0.3", "m = 0.5"]
    rows = {"λ₁ = 0.3": "73.0 – – –", "λ₁ = 0.5": "– 71.0 – 72.0", "λ₁ = 1": " ".join(["70.0"] * 4)}
    expected = {name: dict(zip(columns, row.split(), strict=True)) for name, row in rows.items()}
    assert shown == expected and list(shown) == list(rows)
    assert printed.grid(others[1:2], tables.SMALL) == printed.grid([]) == ""


def test_runs_of_the_grid_and_of_other_data_are_not_among_those_tried():
    chose = grid_run(0.5, 0.3, 70.0, tables.SMALL).model_copy(update={"seed": 2021})
    elsewhere = grid_run(0.5, 0.3, 71.0).model_copy(update={"seed": 2021})
    alone = printed.tried([chose])
    assert len(read_table(alone)) == 1
    assert printed.tried([chose, elsewhere, grid_run(0.3, 0.3, 72.0, tables.SMALL)]) == alone
