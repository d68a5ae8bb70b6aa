import matplotlib
import matplotlib.pyplot as plt
import pytest

matplotlib.use("agg")

from relcl_lib.lab import sentence_plots as plots_words


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def test_words_wrap_between_words_only():
    assert plots_words.wrap_words(["ab", "cde", "f"], 6) == [(0, 0), (0, 3), (1, 0)]
    assert plots_words.wrap_words(["much-too-long", "f"], 6) == [(0, 0), (1, 0)]
    assert plots_words.wrap_words([]) == []


def test_words_are_written_with_their_colours_and_notes():
    axes = plots_words.plot_words(["Ada", "wrote"], ["red", None], notes={0: "PER"}, title="t")
    assert [text.get_text() for text in axes.texts] == ["Ada", "PER", "wrote"]
    (box,) = axes.patches
    assert box.get_facecolor() == matplotlib.colors.to_rgba("red")
    assert box.get_x() < 0 < 3 < box.get_x() + box.get_width() < 4


def test_words_of_one_colour_share_a_box_within_a_line():
    words, colours = ["New", "York", "x" * 90, "City"], ["red", "red", "red", None]
    boxes = plots_words.plot_words(words, colours).patches
    ends = [(box.get_x(), box.get_x() + box.get_width()) for box in boxes]
    assert ends[0][1] > ends[1][0]
    assert ends[1][1] < 4 + 4 + 1  # the long word stands on the next line


def test_no_words_make_an_empty_figure():
    assert not plots_words.plot_words([], []).texts


def test_triples_take_a_line_a_head_entity():
    words = ["Ada", "Lovelace", "lived", "in", "London", "and", "knew", "Mary"]
    triples = [(0, 0, 1, 0, 0, 4, 4), (0, 7, 7, 0, 1, 0, 1), (0, 0, 1, 0, 1, 4, 4)]
    figure = plots_words.plot_triples(words, triples, ["PER"], ["/p/lived", "/p/knows"])
    first, second = figure.axes
    notes = [{t.get_text() for t in a.texts} - set(words) for a in (first, second)]
    assert notes == [{"PER", "lived, knows"}, {"PER", "knows"}]
    blue = matplotlib.colors.to_rgba(plots_words.TYPE_COLOURS["PER"])
    assert [box.get_facecolor() == blue for box in first.patches] == [True, True, False]
    assert [box.get_facecolor() == blue for box in second.patches] == [False, False, True]


def test_a_sentence_without_triples_is_plain():
    (axes,) = plots_words.plot_triples(["no", "news"], [], ["PER"], []).axes
    assert [text.get_text() for text in axes.texts] == ["no", "news"]
    assert not axes.patches
