import numpy as np
import torch
from drawn import check, dots, legend, only_drawn, xticks  # noqa: F401
from example_records import failed, make
from matplotlib.colors import to_rgb

from relcl_lib.continual.streams import Task, TaskStream
from relcl_lib.data.sentences import MarkedSentence
from relcl_lib.papers.crecl import figures, plots

SENTENCE = MarkedSentence(("Oslo", "is", "where", "Ada", "Fjord", "lives"), (3, 5), (0, 1), 1)
#: two tasks of three relations: ten training and three test sentences per relation
STREAM = TaskStream(
    tuple(
        Task(index, classes, torch.arange(10 * len(classes)), torch.arange(3 * len(classes)))
        for index, classes in enumerate([(2, 0), (1,)])
    ),
    (2, 0, 1),
)


def relation_record(method, historical, current, seed=0):
    metrics = {f"T{k}": value for k, value in enumerate(historical, start=1)}
    metrics |= {f"current_T{k}": value for k, value in enumerate(current, start=1)}
    matrix = np.zeros((len(historical), len(historical))).tolist()
    return make(paper="crecl", method=method, seed=seed, metrics=metrics, accuracy_matrix=matrix)


RECORDS = [
    relation_record("CRECL", [90.0, 80.0], [90.0, 75.0]),
    relation_record("CRECL", [88.0, 82.0], [88.0, 79.0], seed=1),
    relation_record("CRECL-CL", [95.0, 45.0], [95.0, 90.0]),
]


def test_entities_have_their_colours_wherever_they_stand():
    first, second = plots.plot_sentences([SENTENCE, SENTENCE], ["x", "residence"]).axes
    boxes = sorted((round(b.get_x() + 0.3), to_rgb(b.get_facecolor())) for b in first.patches)
    tail, head = to_rgb(plots.TAIL_COLOUR), to_rgb(plots.HEAD_COLOUR)
    assert boxes == [(0, tail), (14, head), (18, head)]
    assert first.get_title(loc="left") == second.get_title(loc="left") == "residence"


def test_a_stream_names_its_relations_and_what_is_kept():
    axes = plots.plot_stream(STREAM, ["zero", "one", "two"], 5)
    places = {text.get_text(): text.get_position() for text in axes.texts}
    assert [places[name] for name in ("two", "zero", "one")] == [(0, 0), (0, 1), (1, 0)]
    assert "train 20, test 6\nmemory 10 after it" in places
    assert "train 10, test 3\nmemory 15 after it" in places
    assert xticks(axes) == ["task 1", "task 2"]


def test_old_points_are_dots_and_new_ones_crosses():
    points = np.arange(12.0).reshape(6, 2)
    labels, tasks = torch.tensor([7, 7, 3, 5, 5, 5]), torch.tensor([0, 0, 0, 1, 1, 1])
    (axes,) = plots.plot_two_tasks({"": points}, labels, tasks, [f"r{i}" for i in range(8)]).axes
    shown = {part.get_label(): part for part in axes.collections}
    assert list(shown) == ["r3", "r7", "r5"]
    np.testing.assert_allclose(dots(axes), points[[2, 0, 1, 3, 4, 5]])
    marks = {name: len(part.get_paths()[0].vertices) for name, part in shown.items()}
    assert marks["r3"] == marks["r7"] != marks["r5"]
    assert len({tuple(part.get_edgecolor()[0]) for part in axes.collections}) == 3


def test_panels_share_colours_and_one_legend():
    panels = {"before": np.zeros((4, 2)), "after": np.ones((4, 2))}
    names = [f"r{i}" for i in range(10)]
    figure = plots.plot_two_tasks(panels, [4, 2, 9, 9], [0, 0, 1, 1], names)
    left, right = figure.axes
    assert [left.get_title(), right.get_title()] == ["before", "after"]
    for one, other in zip(left.collections, right.collections, strict=True):
        np.testing.assert_allclose(one.get_edgecolor(), other.get_edgecolor())
    assert legend(figure) == ["r2", "r4", "r9"]


def test_rp_cre_with_as_many_passes_is_drawn_where_it_has_records():
    held = {"parameters": {}, "variant": "paper", "dataset": {"name": "x", "set": "FewRel"}}
    runs = [
        relation_record(method, [90.0, accuracy], [90.0, 75.0]).model_copy(update=held)
        for method, accuracy in (("CRECL", 80.0), ("RP-CRE", 78.0), ("RP-CRE (25 epochs)", 79.0))
    ]
    for of, drawn in ((runs[:2], ["CRECL"]), (runs, ["CRECL", "RP-CRE (25 epochs)"])):
        left, right = figures.curves(of).axes
        named = [line for line in right.get_lines() if not line.get_label().startswith("_")]
        assert [line.get_label() for line in named] == [f"{name}, n=1" for name in drawn]
        assert len({line.get_color() for line in left.get_lines()}) == len(of)
    assert named[-1].get_ydata().tolist() == [0.0, 1.0]


def test_curves_of_tasks_by_method():
    curves = plots.task_curves([*RECORDS, failed(method="CRECL")])
    assert curves == {"CRECL": [[90.0, 80.0], [88.0, 82.0]], "CRECL-CL": [[95.0, 45.0]]}
    current = plots.task_curves(RECORDS, ["CRECL-CL", "JOINT", "CRECL"], "current")
    assert list(current) == ["CRECL-CL", "CRECL"]
    assert current["CRECL-CL"] == [[95.0, 90.0]]


def test_history_and_current_stand_side_by_side():
    historical = {"CRECL, n=2": [(1, 89), (2, 81)], "CRECL-CL, n=1": [(1, 95), (2, 45)]}
    current = {"CRECL, n=2": [(1, 89), (2, 77)], "CRECL-CL, n=1": [(1, 95), (2, 90)]}
    left, right = plots.plot_history_and_current(RECORDS).axes
    check(left, lines=historical, legend=[])
    check(right, lines=current, legend=list(current))


def test_the_head_s_curve_is_told_from_that_of_fine_tuning():
    head = relation_record("CRECL(C)", [95.0, 45.0], [95.0, 90.0])  # on CRECL-CL, and as grey
    for panel in plots.plot_history_and_current([*RECORDS, head]).axes:
        drawn = {
            line.get_label(): (line.get_linestyle(), line.get_marker())
            for line in panel.get_lines()
        }
        assert drawn["CRECL(C), n=1"] == ("--", "x")
        assert drawn["CRECL-CL, n=1"] == ("-", "o")


def test_the_architecture_has_the_shapes_of_the_run():
    sizes = {"B": 16, "N": 40, "H": 96, "d": 32, "C": 12, "L": 5, "rows": 24}
    axes = plots.plot_architecture(sizes)
    said = " ".join(text.get_text() for text in axes.texts)
    for shape in ("(16, 40)", "(16, 192)", "(16, 32)", "(16, 24)", "(60, 32)", "(12, 32)"):
        assert shape in said
    assert "$s_i$ (16, 16) and $s_r$ (12, 16)" in said and "(16, 12)" in said


def test_turned_points_lie_like_the_others():
    like = np.random.default_rng(0).normal(size=(9, 2))
    turn = np.array([[0.6, 0.8], [0.8, -0.6]])  # a turn and a reflection
    np.testing.assert_allclose(plots.turned(like @ turn + [3, 4], like), like, atol=1e-12)
