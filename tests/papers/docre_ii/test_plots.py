"""Figures of documents: what is drawn is what was found."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from docre_data import parameters, tiny_data

from relcl_lib.data.document_files import Fact
from relcl_lib.lab import plots
from relcl_lib.papers.docre_ii import pair_plots as plots_pairs
from relcl_lib.papers.docre_ii import plots as plots_documents
from relcl_lib.papers.docre_ii.plots import OUTCOMES
from relcl_lib.papers.docre_ii.run import DocreRun


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


@pytest.fixture
def document():
    return tiny_data().test[0]


def texts(axes):
    return [text.get_text() for text in axes.texts]


def test_a_document_has_each_word_and_a_note_at_each_mention(document):
    axes = plots_documents.plot_document(document, title="here")
    words = [word for sentence in document.sentences for word in sentence]
    assert texts(axes)[0] == words[0]
    assert set(words) <= set(texts(axes))
    starts = {(m.sentence, m.start) for found in document.entities for m in found}
    assert len(texts(axes)) == len(words) + len(starts)
    assert axes.get_title(loc="left") == "here"


def test_entity_colours_are_pale_and_differ():
    colours = plots_documents.entity_colours(9)
    assert len(set(colours)) == 9 and not plots_documents.entity_colours(0)
    assert all(int(c[i : i + 2], 16) >= 140 for c in colours for i in (1, 3, 5))


def test_outcomes_part_all_facts():
    gold, predicted = {Fact(0, "a", 1), Fact(1, "a", 2)}, {Fact(0, "a", 1), Fact(2, "b", 0)}
    found = plots_documents.outcomes(predicted, gold)
    assert found == {
        "right": {Fact(0, "a", 1)},
        "wrong": {Fact(2, "b", 0)},
        "missed": {Fact(1, "a", 2)},
    }


def test_the_cells_of_the_pair_matrix(document):
    gold = sorted(document.gold())
    free = next(p for p in document.candidates() if p not in {(f.head, f.tail) for f in gold})
    wrong = Fact(free[0], "P0", free[1])
    axes = plots_pairs.plot_pair_matrix(
        document, {gold[0], wrong}, names={gold[0].relation: "one two"}
    )
    grid = axes.images[0].get_array()
    assert grid[gold[0].head, gold[0].tail] == 2 and grid[free] == 3
    missed = {(f.head, f.tail) for f in gold[1:]} - {(gold[0].head, gold[0].tail)}
    assert {tuple(at) for at in np.argwhere(grid == 1)} == missed
    assert np.isnan(grid.filled(np.nan)[0, 0])
    assert "P0" in texts(axes) and any(t.startswith("one") for t in texts(axes))


def test_changed_cells_are_framed_and_the_triangle_of_a_new_fact_is_dotted(document):
    first, second, third = (Fact(s, "P0", o) for s, o in ((0, 1), (1, 2), (0, 2)))
    axes = plots_pairs.plot_pair_matrix(
        document, {first, second, third}, before={first, second, Fact(2, "P0", 0)}
    )
    framed = {(round(p.get_y() + 0.46), round(p.get_x() + 0.46)) for p in axes.patches}
    assert framed == {(0, 2), (2, 0)}
    dots = {(round(float(y[0])), round(float(x[0]))) for x, y in (d.get_data() for d in axes.lines)}
    assert dots == {(0, 1), (1, 2)}
    same = plots_pairs.plot_pair_matrix(document, {first}, before={first})
    assert not same.patches and not same.lines


def test_arrows_of_graphs_and_their_names(document):
    gold = document.gold()
    stated = gold - document.inferred
    figure = plots_documents.plot_graphs(document, {"base": stated, "all": gold}, title="t")
    base, whole = figure.axes
    arrows = [a for a in base.texts if getattr(a, "arrow_patch", None) is not None]
    assert len(arrows) == len(gold)  # predicted or missed
    named = [t for t in texts(whole) if t in {fact.relation for fact in gold}]
    assert sorted(named) == sorted(fact.relation for fact in document.inferred)
    assert not [t for t in texts(base) if t in {fact.relation for fact in gold}]
    assert [t.get_text() for t in figure.legends[0].get_texts()] == list(OUTCOMES)


def test_the_cells_a_pair_reads():
    n = 8
    axes = plots_pairs.plot_reach(n, (2, 5))
    picture = np.asarray(axes.images[0].get_array())
    shades = {(s, o): picture[s, o] for s in range(n) for o in range(n) if s != o}
    plain = [cell for cell, shade in shades.items() if np.allclose(shade, 0.95)]
    assert len(shades) - len(plain) == 4 * n - 6
    assert all(not {2, 5} & set(cell) for cell in plain)


def test_lines_start_where_they_are_told_to():
    axes = plots_documents.plot_lines({"a": [1.0, 2.0]}, start=1)
    assert list(axes.lines[0].get_xdata()) == [1, 2]


def test_a_run_reports_each_stage(monkeypatch):
    said = []
    curve = plots_documents.StageCurve("docre_ii", said.append, every=10)
    monkeypatch.setattr(plots, "is_watched", lambda: False)
    run = DocreRun(parameters(), tiny_data(4), 0).train(curve.update)
    assert [line.split(":")[1].split(",")[0] for line in said] == [" stage 1", " stage 2"]
    assert said[1].startswith("[docre_ii] DocRE-II, seed 0: stage 2, epoch 2/2, loss ")
    axes = plots_documents.plot_stages(run.history)
    assert [list(line.get_xdata()) for line in axes.lines] == [[1], [2]]
