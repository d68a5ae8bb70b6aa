"""Figures of documents: what is drawn is what was found."""

import numpy as np
import pytest
import torch
from docre_data import parameters, tiny_data
from drawn import arrows, legend, only_drawn, texts, yticks  # noqa: F401

from relcl_lib.data.document_files import Document, Fact, Mention
from relcl_lib.lab.plots import METHOD_COLOURS
from relcl_lib.papers.docre_ii import plots
from relcl_lib.papers.docre_ii.run import DocreRun

#: Ada knows Bo and Cy knows Bo; that Ada knows Cy follows
DOCUMENT = Document(
    "friends",
    (("Ada", "met", "Bo", "."), ("Cy", "knows", "Bo", ".")),
    (
        (Mention(0, 0, 1, "PER", "Ada"),),
        (Mention(0, 2, 3, "PER", "Bo"), Mention(1, 2, 3, "PER", "Bo")),
        (Mention(1, 0, 1, "PER", "Cy"),),
    ),
    (Fact(0, "P1", 1), Fact(0, "P2", 2), Fact(2, "P1", 1)),
    inferred=frozenset({Fact(0, "P2", 2)}),
)

GOLD = DOCUMENT.gold()
FIRST, THEN, CLOSING = Fact(0, "P1", 1), Fact(1, "P0", 2), Fact(0, "P2", 2)


@pytest.fixture(scope="module")
def run():
    """Its data are read before a test may read only what figures need."""
    made = DocreRun(parameters(inference_layers=2, iterations=4), tiny_data(), 0)
    made.tokens("train")
    return made


@pytest.fixture(scope="module")
def stated(run):
    return DocreRun(parameters(base="stated_facts"), run.data, 0)


def test_the_architecture_has_the_shapes_of_a_batch(run, stated):
    batch = run.tokens("train").batch(torch.arange(2))
    base = run.model.base
    hidden, attention = base.encoder(batch.ids, batch.lengths, *batch.mentions[:, [0, 2]].T)
    scores = base(batch)
    said = texts(plots.plot_architecture(run, batch))
    shapes = {text.split("\n")[-1] for text in said if "\n" in text}
    shown = {"ids": batch.ids, "F_0": scores.features, "logits": scores.logits}
    assert {f"{name} {tuple(tensor.shape)}" for name, tensor in shown.items()} <= shapes
    assert f"H {tuple(hidden.shape)}, A {tuple(attention.shape)}" in shapes
    slots = run.model.inference.embed_features(scores.features)
    assert f"F, R {tuple(slots.shape)}, read by the next layer" in shapes
    n = batch.n_entities
    assert f"h(e) (2 · {n}, {hidden.shape[-1]})" in shapes
    assert f"as a matrix (2, {n}, {n})" in shapes
    said_of = texts(plots.plot_architecture(stated, batch))
    assert not any(text.startswith(("encoder", "base module")) for text in said_of)
    assert {"a layer, N_I = 2 times", "fed back until K = 4 passes"} <= set(said)


def test_a_document_has_each_word_and_a_note_at_each_mention():
    axes = plots.plot_document(DOCUMENT, title="here")
    words = ["Ada", "0", "met", "Bo", "1", ".", "Cy", "2", "knows", "Bo", "1", "."]
    assert texts(axes) == words and axes.get_title(loc="left") == "here"
    assert len({box.get_facecolor() for box in axes.patches}) == 3  # one per entity


def test_entity_colours_are_pale_and_differ():
    colours = plots.entity_colours(9)
    assert len(set(colours)) == 9 and not plots.entity_colours(0)
    assert all(int(c[i : i + 2], 16) >= 140 for c in colours for i in (1, 3, 5))


def test_outcomes_part_all_facts():
    wrong = Fact(2, "P2", 0)
    found = plots.outcomes({FIRST, wrong}, {FIRST, THEN})
    assert found == {"right": {FIRST}, "wrong": {wrong}, "missed": {THEN}}


def test_the_cells_of_the_pair_matrix():
    wrong = Fact(1, "P0", 0)
    axes = plots.plot_pair_matrix(DOCUMENT, {FIRST, wrong}, names={"P1": "one two"})
    shown = axes.images[0].get_array().filled(-1).tolist()
    assert shown == [[-1, 2, 1], [3, -1, 0], [0, 1, -1]]  # right 2, missed 1, wrong 3
    names = {text.get_position()[::-1]: text.get_text().split("\n") for text in axes.texts}
    assert {cell: " ".join(name) for cell, name in names.items()} == {
        (0, 1): "one two",
        (2, 1): "one two",
        (0, 2): "P2",
        (1, 0): "P0",
    }
    assert yticks(axes) == ["0 Ada", "1 Bo", "2 Cy"]
    assert legend(axes) == list(plots.OUTCOMES)


def test_changed_cells_are_framed_and_the_triangle_of_a_new_fact_is_dotted():
    before = {FIRST, THEN, Fact(2, "P0", 0)}
    axes = plots.plot_pair_matrix(DOCUMENT, {FIRST, THEN, CLOSING}, before=before)
    framed = {(round(p.get_y() + 0.46), round(p.get_x() + 0.46)) for p in axes.patches}
    assert framed == {(0, 2), (2, 0)}
    dots = {(round(float(y[0])), round(float(x[0]))) for x, y in (d.get_data() for d in axes.lines)}
    assert dots == {(0, 1), (1, 2)}
    same = plots.plot_pair_matrix(DOCUMENT, {FIRST}, before={FIRST})
    assert not same.patches and not same.lines


def test_arrows_of_graphs_and_their_names():
    wrong = Fact(1, "P3", 0)
    stated = GOLD - DOCUMENT.inferred
    figure = plots.plot_graphs(DOCUMENT, {"base": stated | {wrong}, "all": GOLD}, title="t")
    base, whole = figure.axes
    place = {
        name: tuple(line.get_xydata()[0])
        for name, line in zip("012", (line for line in base.lines), strict=True)
    }
    drawn = {
        tuple(min(place, key=lambda n: np.hypot(*np.subtract(place[n], end))) for end in ends)
        for ends in arrows(base)
    }
    assert drawn == {(str(f.head), str(f.tail)) for f in GOLD | {wrong}}  # predicted or missed
    entities = ["0 Ada", "1 Bo", "2 Cy"]
    assert [set(texts(axes)) - set(entities) for axes in (base, whole)] == [{"P3"}, {"P2"}]
    assert legend(figure) == list(plots.OUTCOMES)


def test_the_cells_a_pair_reads():
    n = 8
    axes = plots.plot_reach(n, (2, 5))
    picture = np.asarray(axes.images[0].get_array())
    shades = {(s, o): picture[s, o] for s in range(n) for o in range(n) if s != o}
    plain = [cell for cell, shade in shades.items() if np.allclose(shade, 0.95)]
    assert len(shades) - len(plain) == 4 * n - 6
    assert all(not {2, 5} & set(cell) for cell in plain)
    assert legend(axes)[:4] == list(plots.HEADS)
    # every shade of a cell that is read is in the legend
    handles = axes.get_legend().get_patches()
    named = [patch.get_facecolor()[:3] for patch in handles]
    read = [shade for cell, shade in shades.items() if cell not in plain]
    assert all(any(np.allclose(shade, each) for each in named) for shade in read)


def test_slot_weights_are_pairs_of_bars():
    axes = plots.plot_slot_weights({"with": (0.03, 0.02), "without": (0.05, 0.01)})
    assert [bar.get_width() for bar in axes.patches] == [0.03, 0.05, 0.02, 0.01]
    assert legend(axes) == ["F half", "R half"] and yticks(axes) == ["with", "without"]
    assert axes.get_xlim()[1] > 0.05


def test_a_stage_has_the_colour_of_the_method_that_it_ends_with():
    both = [{"stage": 1, "dev_F1": 5.0}, {"stage": 2, "dev_F1": 6.0}]
    base, whole = (METHOD_COLOURS[name] for name in ("ATLOP", "DocRE-II"))
    for history, colours in ((both, [base, whole]), (both[1:], [whole])):
        drawn = plots.plot_stages(history).lines
        assert [line.get_color() for line in drawn] == colours


def test_ablations_lie_around_the_middle_of_their_row_in_a_colour_per_data_set():
    values = {
        "paper, CDR": {"a": [2.0], "b": [1.0]},
        "ours, CDR, leaky noise": {"a": [0.0, 4.0]},
        "ours, here": {"a": [1.0] * 4 + [6.0], "c": [3.0]},
    }
    axes = plots.plot_ablations(values)
    assert yticks(axes) == ["a", "b", "c"]
    names = ["paper, CDR", "ours, CDR, leaky noise, n = 2", "ours, here, n = 1 or 5"]
    assert legend(axes) == names
    lines = [drawn[0] for drawn in axes.containers]
    assert [line.get_xdata().tolist() for line in lines] == [[2, 1], [2], [2, 3]]
    places = [float(line.get_ydata()[0]) for line in lines]
    assert sum(places) == pytest.approx(0) and max(map(abs, places)) < 0.5
    assert [lines[0].get_ydata()[1], lines[2].get_ydata()[1]] == [1, 2]  # alone in their row
    quoted, ours, other = (line.get_color() for line in lines)
    assert quoted == ours != other
    assert [line.get_marker() for line in lines] == ["D", "o", "o"]
