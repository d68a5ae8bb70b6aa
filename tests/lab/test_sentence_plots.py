from drawn import only_drawn, texts  # noqa: F401
from matplotlib.colors import to_rgba

from relcl_lib.lab.sentence_plots import TYPE_COLOURS, plot_triples, plot_words, wrap_words


def test_words_wrap_between_words_only():
    assert wrap_words(["ab", "cde", "f"], 6) == [(0, 0), (0, 3), (1, 0)]
    assert wrap_words(["much-too-long", "f"], 6) == [(0, 0), (1, 0)]
    assert wrap_words([]) == []


def test_words_are_written_with_their_colours_and_notes():
    axes = plot_words(["Ada", "wrote"], ["red", None], notes={0: "PER"}, title="t")
    assert texts(axes) == ["Ada", "PER", "wrote"] and axes.get_title(loc="left") == "t"
    (box,) = axes.patches
    assert box.get_facecolor() == to_rgba("red")
    assert box.get_x() < 0 < 3 < box.get_x() + box.get_width() < 4


def test_words_of_one_colour_share_a_box_within_a_line():
    words, colours = ["New", "York", "x" * 90, "City"], ["red", "red", "red", None]
    boxes = plot_words(words, colours).patches
    ends = [(box.get_x(), box.get_x() + box.get_width()) for box in boxes]
    assert ends[0][1] > ends[1][0]
    assert ends[1][1] < 4 + 4 + 1  # the long word stands on the next line


def test_triples_take_a_line_per_head_entity():
    words = ["Ada", "Lovelace", "lived", "in", "London", "and", "knew", "Mary"]
    triples = [(0, 0, 1, 0, 0, 4, 4), (0, 7, 7, 0, 1, 0, 1), (0, 0, 1, 0, 1, 4, 4)]
    first, second = plot_triples(words, triples, ["PER"], ["/p/lived", "/p/knows"]).axes
    notes = [set(texts(axes)) - set(words) for axes in (first, second)]
    assert notes == [{"PER", "lived, knows"}, {"PER", "knows"}]
    blue = to_rgba(TYPE_COLOURS["PER"])
    assert [box.get_facecolor() == blue for box in first.patches] == [True, True, False]
    assert [box.get_facecolor() == blue for box in second.patches] == [False, False, True]


def test_a_sentence_without_triples_is_plain():
    (axes,) = plot_triples(["no", "news"], [], ["PER"], []).axes
    assert texts(axes) == ["no", "news"] and not axes.patches
