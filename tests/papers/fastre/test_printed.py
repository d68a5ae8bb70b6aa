"""The printed tables: every number of the paper stands where it should, ours beside it."""

import re

import pytest
from markdown_tables import cells, read_table

from relcl_lib.lab import words
from relcl_lib.lab.format import DASH
from relcl_lib.lab.plots import METHOD_COLOURS
from relcl_lib.lab.records import read_records, results_root
from relcl_lib.lab.rows import entries
from relcl_lib.papers.fastre import plots, printed, tables
from relcl_lib.papers.fastre.methods import METHODS

COUNTS = {"NYT10": 1_096_390, "NYT11": 1_091_682, "NYT24": 1_095_100}


@pytest.fixture(scope="module")
def records():
    """Committed records on random vectors, of NYT24 one: those on others, and CasRel's, the tests make."""
    found = read_records(results_root(), paper="fastre")
    found = [r for r in found if r.parameters["word_vectors"] == "random"]
    return [r for r in found if r.seed == 0 or r.dataset["set"] != "NYT24"]


@pytest.mark.parametrize(
    "table, dataset",
    [*(("Table 2", name) for name in printed.DATASETS), ("Table 4", "NYT10")],
)
def test_every_number_of_the_paper_stands_in_its_cell(table, dataset):
    found = read_table(printed.whole(table, dataset, []))
    down = printed.LAYOUTS[table][0]
    for entry in entries("fastre", table, dataset):
        label = getattr(entry, down)
        cell = found[printed.WORDS.get(label, label)][f"{printed.WORDS[entry.metric]}: paper"]
        assert float(cell) == entry.value
    assert not any("ours" in column for row in found.values() for column in row)


def test_ours_stands_beside_what_was_run(records):
    found = read_table(printed.whole("Table 2", "NYT10", records))
    assert "(n=3)\\*" in found["FastRE"]["F1 (%): ours"]
    assert found["GRTE"]["F1 (%): ours"] == DASH
    structures = read_table(printed.whole("Table 4", "NYT10", records))
    assert structures["6 blocks, 1-2-4-1-1-1"]["F1 (%): ours"] != DASH
    assert structures["3 blocks, 1-2-4"]["F1 (%): ours"] == DASH
    assert "NYT10: ours" in printed.beside("Table 5", records)


def test_table_3_has_batches_in_one_cell_and_our_counts():
    found = read_table(printed.efficiency(COUNTS))
    assert found["FastRE"]["NYT10: ms at batch 1 / 8 / 128: paper"] == "12.9 / 5.9 / 4.6"
    assert found["CasRel"]["NYT10: ms at batch 1 / 8 / 128: paper"] == "66.2"
    assert found["FastRE"]["NYT10: parameters (K): ours"] == "1,096.39"
    assert found["CasRel"]["NYT10: parameters (K): ours"] == DASH


def test_table_1_has_the_sizes_of_our_data(records):
    found = read_table(printed.data_sets(records))
    assert found["training sentences"]["NYT10: paper"] == "70339"
    ours = next(r for r in records if r.dataset["set"] == "NYT10" and not r.failed)
    assert found["training sentences"]["NYT10, ours"] == str(ours.dataset["sizes"]["train"])
    assert "NYT10, ours" not in printed.data_sets([])


def test_components_are_compared_on_common_seeds(records):
    found, vectors = printed.component_differences(records)
    assert list(found) == [f"FastRE − {words.name(name)}" for name in tables.ABLATIONS]
    assert vectors == "drawn at random, trained"
    assert all(len(differences) == 3 for differences in found.values())
    assert min(found["FastRE − without the gate"]) > 20
    without = [r for r in records if not (r.method == "-Gated Unit" and r.seed == 0)]
    found, _ = printed.component_differences(without)
    assert len(found["FastRE − without the gate"]) == 2
    assert printed.component_differences([]) == ({}, "")
    broken = records[0].model_copy(update={"metrics": {}, "note": "failed: x"})
    assert printed.component_differences([*records, broken]) == printed.component_differences(
        records
    )
    # FastRE on other data has no difference to what was left out on these.
    mine = [r for r in records if r.method == "FastRE"]
    moved = [r.model_copy(update={"dataset": {**r.dataset, "fingerprint": "other"}}) for r in mine]
    assert printed.component_differences([*moved, *(r for r in records if r not in mine)])[0] == {}


def timed(record, **changed):
    """The record with sizes and times as a run writes them today."""
    times = {"train_seconds": 1200.0, "network_K": 1096.39}
    times |= {"infer_ms_batch1": 4.0, "infer_ms_batch128": 0.5}
    return record.model_copy(update={"metrics": {**record.metrics, **times, **changed}})


def on_glove(record, name="GloVe glove.6B.50d.txt", **changed):
    """The record as a run on frozen vectors of a file would be, F1 lower by 5 points."""
    parameters = {**record.parameters, "word_vectors": name, "train_vectors": False}
    lower = {"F1": record.metrics["F1"] - 5, "network_K": 1064.39, "train_seconds": 600.0}
    return timed(record, **{**lower, **changed}).model_copy(
        update={"parameters": parameters, "inputs": {"word_vectors": name}}
    )


def random_ones(records):
    """Runs on NYT10 with random vectors, with sizes and times."""
    runs = (r for r in records if r.dataset["set"] == "NYT10")
    return [timed(r) for r in runs if r.parameters["word_vectors"] == "random"]


def test_a_table_has_the_word_vectors_of_most_of_its_rows(records):
    mine = random_ones(records)
    glove = [on_glove(r) for r in mine if r.method == "FastRE"]
    for table in (printed.beside, lambda name, found: printed.whole(name, "NYT10", found)):
        name = "Table 5" if table is printed.beside else "Table 4"
        assert table(name, [*glove, *mine]) == table(name, mine) != table(name, glove)
        assert table(name, mine).endswith("Word vectors of ours: drawn at random, trained.")
        assert table(name, glove).endswith("Word vectors of ours: GloVe glove.6B.50d.txt, fixed.")
    assert printed.component_differences([*glove, *mine]) == printed.component_differences(mine)


def test_of_word_vectors_with_as_many_rows_frozen_glove_comes_first(records):
    mine = random_ones(records)
    glove = [on_glove(r) for r in mine]
    other = [on_glove(r, "input embeddings of E", F1=1.0) for r in mine]
    trained = [on_glove(r, "GloVe b", F1=2.0) for r in mine]
    for record in trained:
        record.parameters["train_vectors"] = True
    every = [*other, *trained, *mine, *glove]
    assert printed.component_differences(every) == printed.component_differences(glove)
    assert printed.beside("Table 5", every) == printed.beside("Table 5", glove)
    assert printed.by_sentence(every) == printed.by_sentence(glove)
    for table in ("Table 2", "Table 4"):
        assert printed.whole(table, "NYT10", every) == printed.whole(table, "NYT10", glove)
    without = [*other, *trained, *mine]
    assert printed.beside("Table 5", without) == printed.beside("Table 5", mine)
    few = [r for r in glove if r.seed == 0]  # one seed says less than three
    assert printed.by_sentence([*few, *mine]) == printed.by_sentence(mine)


def test_one_content_of_two_files_is_one_kind_of_word_vectors(records):
    mine = [r for r in random_ones(records) if r.method == "FastRE"]
    one = [on_glove(r) for r in mine]
    extract = {**one[0].parameters, "word_vectors": "GloVe extract.txt"}
    mixed = [one[0].model_copy(update={"parameters": extract}), *one[1:]]
    shown = printed.whole("Table 2", "NYT10", mixed)
    assert read_table(shown)["FastRE"]["F1 (%): ours"].endswith("(n=3)\\*")
    assert shown.startswith(printed.whole("Table 2", "NYT10", one).partition("Word vectors")[0])


def test_word_vectors_are_chosen_per_data_set_and_casrel_has_none(records):
    (nyt24,) = (r for r in records if r.dataset["set"] == "NYT24")
    mine = random_ones(records)
    shown = printed.beside("Table 5", [*mine, on_glove(nyt24)])
    said = "NYT10 drawn at random, trained; NYT24 GloVe glove.6B.50d.txt, fixed."
    assert shown.endswith(f"Word vectors of ours: {said}")
    run = next(r for r in mine if r.method == "FastRE")
    held = {**run.parameters, **METHODS["CasRel"], "word_vectors": "encoder BERT"}
    inputs = dict.fromkeys(("encoder", "word_vectors"), "0123456789abcdef")
    changes = {"method": "CasRel", "parameters": held, "inputs": inputs}
    casrel = run.model_copy(update=changes)
    found = read_table(printed.whole("Table 2", "NYT10", [*mine, casrel]))
    assert "(n=1)" in found["CasRel"]["F1 (%): ours"]
    assert "(n=3)" in found["FastRE"]["F1 (%): ours"]


def test_our_times_stand_beside_the_papers_where_a_record_has_them(records):
    ours = [timed(r) if r.method == "FastRE" else r for r in records]
    found = read_table(printed.whole("Table 2", "NYT10", ours))
    assert found["FastRE"]["training (min): ours"] == "20 (n=3)"
    assert found["FastRE"]["inference (s): ours"] == "0.5005 (n=3)"  # 1,001 sentences
    assert found["CasRel"]["training (min): ours"] == DASH
    structures = read_table(printed.whole("Table 4", "NYT10", ours))
    assert structures["6 blocks, 1-2-4-1-1-1"]["parameters (K): ours"] == "1096 (n=3)"
    assert "training (min): ours" not in printed.whole("Table 2", "NYT10", records)


def test_table_3_has_our_milliseconds_where_a_record_has_them(records):
    column = "NYT10: ms at batch 1 / 8 / 128: ours"
    assert column not in printed.efficiency(COUNTS, records)
    ours = [timed(r) if r.method == "FastRE" else r for r in records]
    found = read_table(printed.efficiency(COUNTS, ours))
    assert found["FastRE"][column] == f"4 / {DASH} / 0.5"
    assert found["CasRel"][column] == DASH
    ours = [timed(r, infer_ms_batch8=1.25) if r.method == "FastRE" else r for r in records]
    assert read_table(printed.efficiency(COUNTS, ours))["FastRE"][column] == "4 / 1.2 / 0.5"


def test_times_on_a_gpu_stand_beside_the_papers():
    found = read_table(printed.on_gpu())
    assert found["FastRE"]["batch 8: paper"] == "5.9"
    assert found["CasRel"]["batch 128: paper"] == DASH  # the paper has it at batch 1 alone
    device = next(c for c in found["FastRE"] if c.startswith("batch 1:") and "paper" not in c)
    assert device == "batch 1: NVIDIA H200"
    assert float(found["CasRel"][device]) > float(found["FastRE"][device]) > 0


def test_scores_by_sentence_are_means_of_the_records(records):
    runs = [r for r in records if r.dataset["set"] == "WebNLG"]
    found = read_table(printed.by_sentence(records))
    mean = sum(r.metrics["F1_n5+"] for r in runs) / len(runs)
    assert found["F1, 5+ triples"][f"WebNLG (n={len(runs)})"].startswith(f"{mean:.1f} ± ")
    assert "recall of all others" not in found  # no committed record has it yet
    seen = [timed(r, recall_unseen=30.0) if r.dataset["set"] == "NYT24" else r for r in records]
    others = read_table(printed.by_sentence(seen))["recall of all others"]
    assert others["NYT24 (n=1)"] == "30.0"
    assert others["NYT10 (n=3)"] == DASH


def test_word_vectors_are_compared_on_common_seeds(records):
    mine = [r for r in random_ones(records) if r.method == "FastRE"]
    glove = [on_glove(r) for r in mine[:2]] + [on_glove(mine[2], F1=mine[2].metrics["F1"] - 8)]
    rows = {
        row[1]: row for row in cells(printed.word_vectors([*mine, *glove])) if row[0] == "NYT10"
    }
    assert list(rows) == ["GloVe glove.6B.50d.txt, fixed", "drawn at random, trained"]
    # a mean of -6 and a deviation of 3 ** 0.5: half an interval is the t of two degrees of freedom
    assert rows["drawn at random, trained"][-3:] == ["3", DASH, "+6.0 ± 4.3"]
    assert rows["GloVe glove.6B.50d.txt, fixed"][-3:] == ["3", "-6.0 ± 4.3", DASH]
    alone = cells(printed.word_vectors([*mine, *glove[:2]]))[1:]
    assert [row[-3:] for row in alone] == [["2", "-5.0", DASH], ["3", DASH, "+5.0"]]
    assert len(cells(printed.word_vectors([]))) == 1


def test_figures_of_records_draw_nothing_without_a_number_to_draw(records):
    assert printed.convergence(records) == printed.threshold_differences(records) == ({}, "")
    assert printed.recorded_looks(records) == ({}, "")
    assert printed.looked_at([{"attention_heads_boundary": 1.0}]) == {}
    one = [curved(r) for r in random_ones(records) if r.method == "FastRE"]
    assert printed.convergence(one) == printed.threshold_differences(one) == ({}, "")


def curved(record):
    """The record with a curve of two epochs, a tuned F1, and what the network looks at."""
    looks = {name: 1.0 + record.seed for pair in printed._LOOKS.values() for name in pair}
    looks["attention_tails_boundary"] = 4.0 + record.seed
    record = timed(record, F1_tuned=record.metrics["F1"] + 1 + record.seed, **looks)
    curve = [10.0 + record.seed, 20.0 * (record.method == "FastRE")]
    return record.model_copy(update={"curves": {"valid_F1_tuned": curve}})


def test_figures_of_records_have_the_seeds_of_both_sides(records):
    every = [curved(r) for r in random_ones(records)]
    mine = {r.seed: r for r in every if r.method == "FastRE"}
    other = {r.seed: r for r in every if r.method == "-Adaptive Thresholding" and r.seed != 1}
    older = [r for r in random_ones(records) if r.seed != 1]  # without these numbers, or with fewer
    older = [r.model_copy(update={"parameters": {**r.parameters, "hidden": 64}}) for r in older]
    one = curved(next(r for r in older if r.method == "FastRE"))
    found = [*older, one, *mine.values(), *other.values()]
    lines, vectors = printed.convergence(found)
    assert lines["FastRE"] == {1: [10.0, 12.0], 2: [20.0, 20.0]}
    assert lines["-Adaptive Thresholding"] == {1: [10.0, 12.0], 2: [0.0, 0.0]}
    assert vectors == "drawn at random, trained"
    differences, _ = printed.threshold_differences(found)
    for name, metric in zip(differences, ("F1_tuned", "F1"), strict=True):
        wanted = [mine[s].metrics[metric] - other[s].metrics[metric] for s in (0, 2)]
        assert differences[name] == pytest.approx(wanted)
    looks, _ = printed.recorded_looks(found)
    heads, tails, gradients = looks.values()
    assert (heads, tails, gradients) == ([0.0] * 3, [3.0] * 3, [0.0] * 3)
    drawn = plots.plot_recorded_thresholds(found)
    assert list(drawn) == ["convergence", "threshold_differences"]
    assert [line.get_ydata().tolist() for line in drawn["convergence"].lines] == [
        [11.0, 20.0],
        [11.0, 0.0],
    ]
    _, legend = drawn["convergence"].get_legend_handles_labels()
    assert legend == ["FastRE", "without adaptive thresholds"]
    assert set(legend) <= set(METHOD_COLOURS)
    assert [text.get_text() for text in drawn["threshold_differences"].get_yticklabels()] == list(
        differences
    )
    assert plots.plot_recorded_thresholds(list(mine.values())) == {}
    assert "drawn at random" in plots.plot_recorded_looks(list(mine.values())).get_title()
    assert plots.plot_recorded_looks(records) is None


def test_runs_that_the_filter_by_type_changes_are_counted(records):
    def lines(found):
        return {tuple(row[:2]): row[2:] for row in cells(printed.type_filter(found))[1:]}

    run = next(r for r in records if r.dataset["set"] == "NYT24")
    changed = timed(run, F1=50.0, F1_unfiltered=51.5)
    kind = ("NYT24", "several types")
    assert lines([run, changed])[kind] == ["2", "1", "-1.50", "+0.00"]
    found = lines(records)
    assert {kind for _, kind in found} >= {"several types", "one type"}
    for (dataset, kinds), (runs, same, *_) in found.items():
        if kinds == "one type":  # one type may head every relation
            assert runs == same, dataset


def test_components_are_compared_on_a_data_set_that_table_5_lacks(records):
    run = next(r for r in records if r.dataset["set"] == "WebNLG" and r.seed == 0)
    assert printed.component_differences(records, "WebNLG")[0] == {}
    without = run.model_copy(
        update={
            "method": "-Gated Unit",
            "parameters": {**run.parameters, **METHODS["-Gated Unit"]},
            "metrics": {**run.metrics, "F1": run.metrics["F1"] - 5},
        }
    )
    found, _ = printed.component_differences([*records, without], "WebNLG")
    assert found == {"FastRE − without the gate": [pytest.approx(5)]}
    assert any(row.matches(without) for row in tables.data_rows("WebNLG"))


def with_curve(run, seed, curve, minutes, **changes):
    """A record of a seed with its validation F1 per epoch, and the minutes of its training."""
    metrics = {**run.metrics, "train_seconds": 60.0 * minutes}
    curves = {"valid_F1": [float(value) for value in curve]}
    return run.model_copy(update={"seed": seed, "metrics": metrics, "curves": curves, **changes})


def test_the_time_to_an_equal_f1_is_that_of_the_first_epoch_that_has_it(records):
    run = next(r for r in random_ones(records) if r.method == "FastRE")
    held = {**run.parameters, **METHODS["CasRel"], "word_vectors": "encoder BERT"}
    theirs = {"method": "CasRel", "parameters": held}
    assert printed.time_to_equal([with_curve(run, 0, [10, 60], 2)]) == ""
    mine = [
        with_curve(run, seed, [10, 60, 50, 55], 8) for seed in range(3)
    ]  # its best after 4 minutes
    reach = [with_curve(run, seed, [0, 61], 2 * 2**seed, **theirs) for seed in range(3)]  # 2, 4, 8
    found = read_table(printed.time_to_equal([*mine, *reach]))
    best = "FastRE's best validation F1 (%)"
    expected = {best: "60.0", "FastRE (min)": "4.0", "CasRel (min)": "8.0", "ratio": "2.0"}
    assert found["2"] == expected
    middle, low, high = map(float, re.findall(r"[\d.]+", found["all"]["ratio"]))
    assert (middle, low, high) == (1.0, 0.2, 5.6)
    never = [*reach[:2], with_curve(run, 2, [0, 59.9], 8, **theirs)]
    found = read_table(printed.time_to_equal([*mine, *never]))
    assert found["2"]["CasRel (min)"] == found["2"]["ratio"] == "not reached"
    assert "all" not in found
