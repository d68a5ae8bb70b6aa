import types

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from example_records import failed, make
from matplotlib.colors import to_rgb

matplotlib.use("agg")

from relcl_lib.continual.streams import Task, TaskStream
from relcl_lib.data.sentences import MarkedSentence
from relcl_lib.papers.crecl import figures as figures_crecl
from relcl_lib.papers.crecl import plots as plots_relations


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


# --- sentences and streams -----------------------------------------------------------------------


def test_entities_have_their_colours_wherever_they_stand():
    sentence = MarkedSentence(("Oslo", "is", "where", "Ada", "Fjord", "lives"), (3, 5), (0, 1), 1)
    figure = plots_relations.plot_sentences([sentence, sentence], ["x", "residence"])
    assert len(figure.axes) == 2
    boxes = sorted(
        (round(box.get_x() + 0.3), to_rgb(box.get_facecolor())) for box in figure.axes[0].patches
    )
    tail, head = to_rgb(plots_relations.TAIL_COLOUR), to_rgb(plots_relations.HEAD_COLOUR)
    assert boxes == [(0, tail), (14, head), (18, head)]
    assert figure.axes[0].get_title(loc="left") == "residence"


def stream(*groups):
    order = tuple(label for group in groups for label in group)
    tasks = (
        Task(index, group, torch.arange(10 * len(group)), torch.arange(3 * len(group)))
        for index, group in enumerate(groups)
    )
    return TaskStream(tuple(tasks), order)


def test_a_stream_names_its_relations_and_what_is_kept():
    axes = plots_relations.plot_stream(stream((2, 0), (1,)), ["zero", "one", "two"], 5)
    texts = {text.get_text(): text.get_position() for text in axes.texts}
    assert texts["two"] == (0, 0)
    assert texts["zero"] == (0, 1)
    assert texts["one"] == (1, 0)
    assert "train 20, test 6\nmemory 10 after it" in texts
    assert "train 10, test 3\nmemory 15 after it" in texts
    assert [label.get_text() for label in axes.get_xticklabels()] == ["task 1", "task 2"]


# --- two tasks in the plane ----------------------------------------------------------------------


def test_old_points_are_dots_and_new_ones_crosses():
    points = np.arange(12.0).reshape(6, 2)
    labels, tasks = torch.tensor([7, 7, 3, 5, 5, 5]), torch.tensor([0, 0, 0, 1, 1, 1])
    axes = plots_relations.plot_two_tasks(points, labels, tasks, names=[f"r{i}" for i in range(8)])
    shown = {part.get_label(): part for part in axes.collections}
    assert list(shown) == ["r3", "r7", "r5"]
    np.testing.assert_allclose(shown["r7"].get_offsets(), points[:2])
    np.testing.assert_allclose(shown["r5"].get_offsets(), points[3:])
    markers = {name: len(part.get_paths()[0].vertices) for name, part in shown.items()}
    assert markers["r3"] == markers["r7"] != markers["r5"]
    colours = {tuple(part.get_edgecolor()[0]) for part in axes.collections}
    assert len(colours) == 3


def test_panels_share_colours_and_one_legend():
    labels, tasks = [4, 2, 9, 9], [0, 0, 1, 1]
    panels = {"before": np.zeros((4, 2)), "after": np.ones((4, 2))}
    names = [f"r{i}" for i in range(10)]
    figure = plots_relations.plot_two_tasks_side_by_side(panels, labels, tasks, names)
    left, right = figure.axes
    assert [left.get_title(), right.get_title()] == ["before", "after"]
    for one, other in zip(left.collections, right.collections, strict=True):
        np.testing.assert_allclose(one.get_edgecolor(), other.get_edgecolor())
    [legend] = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["r2", "r4", "r9"]


def test_separation_has_a_line_a_representation_in_each_panel():
    scores = {
        "h": {
            "classification": {"silhouette": 0.1, "mixed": 30.0},
            "CL2": {"silhouette": 0.4, "mixed": 5.0},
        },
        "s": {
            "classification": {"silhouette": 0.0, "mixed": 40.0},
            "CL2": {"silhouette": 0.6, "mixed": 1.0},
        },
    }
    left, right = plots_relations.plot_separation(scores).axes
    assert [line.get_label() for line in left.lines] == ["h", "s"]
    np.testing.assert_allclose([line.get_ydata() for line in left.lines], [[0.1, 0.4], [0.0, 0.6]])
    np.testing.assert_allclose([line.get_ydata() for line in right.lines], [[30, 5], [40, 1]])
    assert left.get_ylim()[0] == right.get_ylim()[0] == 0


def test_attention_maps_share_one_scale():
    maps = {"trained": np.full((2, 3), 10.0), "untrained": np.array([[40, 1, 1], [1, 20, 1.0]])}
    figure = plots_relations.plot_attention_maps(maps, ["a", "b"], old=1)
    first, second = figure.axes[:2]
    assert first.get_title() == "trained: own relation 10 %"
    assert second.get_title() == "untrained: own relation 30 %"
    assert first.images[0].get_clim() == second.images[0].get_clim() == (0, 40)
    assert [label.get_text() for label in first.get_xticklabels()] == ["a", "b", "itself"]


# --- accuracy over the tasks ---------------------------------------------------------------------


def record(method, historical, current, seed=0):
    metrics = {f"T{k}": value for k, value in enumerate(historical, start=1)}
    metrics |= {f"current_T{k}": value for k, value in enumerate(current, start=1)}
    matrix = np.zeros((len(historical), len(historical))).tolist()
    return make(paper="crecl", method=method, seed=seed, metrics=metrics, accuracy_matrix=matrix)


RECORDS = [
    record("CRECL", [90.0, 80.0], [90.0, 75.0]),
    record("CRECL", [88.0, 82.0], [88.0, 79.0], seed=1),
    record("CRECL-CL", [95.0, 45.0], [95.0, 90.0]),
]


def test_curves_of_tasks_by_method():
    curves = plots_relations.task_curves([*RECORDS, failed(method="CRECL")])
    assert curves == {"CRECL": [[90.0, 80.0], [88.0, 82.0]], "CRECL-CL": [[95.0, 45.0]]}
    current = plots_relations.task_curves(RECORDS, ["CRECL-CL", "JOINT", "CRECL"], "current")
    assert list(current) == ["CRECL-CL", "CRECL"]
    assert current["CRECL-CL"] == [[95.0, 90.0]]


def test_leads_stand_beside_the_curves():
    curves = {"CRECL": [[90, 80]], "RP-CRE": [[88, 81]], "JOINT": [[95, 94]]}
    figure = figures_crecl.plot_curves_and_leads(curves, {"CRECL": [[2, -1]]}, over="RP-CRE")
    left, right = figure.axes
    assert len(left.lines) == 3
    np.testing.assert_allclose(right.lines[0].get_ydata(), [2, -1])
    low, high = right.get_ylim()
    assert low < -1 and high < 10  # not the left one's 0 to 100
    assert [text.get_text() for text in right.get_legend().get_texts()] == list(curves)
    assert left.get_legend() is None


def test_history_and_current_stand_side_by_side():
    left, right = plots_relations.plot_history_and_current(RECORDS).axes
    means = {line.get_label(): line.get_ydata() for line in left.lines}
    np.testing.assert_allclose(means["CRECL"], [89, 81])
    np.testing.assert_allclose(means["CRECL-CL"], [95, 45])
    assert [text.get_text() for text in right.get_legend().get_texts()] == ["CRECL", "CRECL-CL"]
    assert left.get_legend() is None


def test_without_records_both_panels_are_empty_but_there():
    left, right = plots_relations.plot_history_and_current([]).axes
    assert not left.lines
    assert right.get_legend() is None


def test_memory_sizes_are_in_order_and_the_paper_is_diamonds():
    values = {"CRECL": {10: [80.0, 84.0], 5: [78.0]}, "RP-CRE": {10: [70.0]}}
    axes = plots_relations.plot_memory_sizes(values, reference={5: 80.2, 15: 83.5})
    np.testing.assert_allclose(axes.lines[0].get_xydata(), [[5, 78], [10, 82]])
    assert axes.get_xticks().tolist() == [5, 10, 15]
    np.testing.assert_allclose(axes.collections[-1].get_offsets(), [[5, 80.2], [15, 83.5]])
    assert [text.get_text() for text in axes.get_legend().get_texts()] == [
        "CRECL",
        "RP-CRE",
        "paper",
    ]


def test_memory_sizes_without_values():
    axes = plots_relations.plot_memory_sizes({})
    assert axes.get_legend() is None


def test_live_curve_says_one_line_a_task_and_draws_only_for_a_person(monkeypatch):
    said = []
    monkeypatch.setenv("RELCL_HEADLESS", "1")
    run = types.SimpleNamespace(
        stream=stream((0,), (1, 2), (3,)),
        accuracy=torch.tensor([[0.8, 0.0, 0.0], [0.5, 1.0, 0.0], [0.0, 0.0, 0.0]]),
        tasks_done=2,
        seed=7,
        settings=types.SimpleNamespace(method="CRECL"),
    )
    plots_relations.TaskCurve("crecl", said.append).update(run)
    # three test sentences of task 1, six of task 2
    assert said == ["[crecl] CRECL, seed 7: task 2/3, historical 83.3, current 100.0"]
    assert not plt.get_fignums()
