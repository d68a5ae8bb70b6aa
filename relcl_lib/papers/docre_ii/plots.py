"""Figures of DocRE-II: documents, their facts as graphs, iterations and epochs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from relcl_lib.data.document_files import Document, Fact
from relcl_lib.lab.plots import WIDTH, LiveCurve, _axes
from relcl_lib.lab.sentence_plots import plot_words

#: what a predicted or annotated fact is -> colour of its edge or cell
OUTCOMES = {"right": "#2a9d5c", "wrong": "#d1495b", "missed": "#b9bec7"}


def entity_colours(count: int) -> list[Any]:
    """Return `count` pale colours, one an entity."""
    strong = np.array(sns.color_palette("husl", count)).reshape(count, 3)
    return [to_hex(colour) for colour in 1 - 0.45 * (1 - strong)]


def plot_document(document: Document, axes: Axes | None = None, *, title: str = "") -> Axes:
    """Write a document with a colour behind each mention and its entity's number below it."""
    palette = entity_colours(len(document.entities))
    words: list[str] = []
    notes: dict[int, str] = {}
    first = np.cumsum([0, *(len(sentence) for sentence in document.sentences)])
    for sentence in document.sentences:
        words += sentence
    colours: list[Any] = [None] * len(words)
    for entity, mentions in enumerate(document.entities):
        for mention in mentions:
            start, end = (first[mention.sentence] + at for at in (mention.start, mention.end))
            colours[start:end] = [palette[entity]] * (end - start)
            notes[int(start)] = str(entity)
    return plot_words(words, colours, axes, notes=notes, title=title)


def short_name(document: Document, entity: int, length: int = 14) -> str:
    """Return an entity's number and the name of its first mention, cut to `length` letters."""
    name = document.entities[entity][0].name
    return f"{entity} {name if len(name) <= length else name[: length - 1] + '…'}"


def outcomes(predicted: AbstractSet[Fact], gold: AbstractSet[Fact]) -> dict[str, set[Fact]]:
    """Return the facts that are right, wrong and missed."""
    return {"right": predicted & gold, "wrong": predicted - gold, "missed": gold - predicted}


def plot_graphs(
    document: Document,
    predictions: Mapping[str, AbstractSet[Fact]],
    *,
    names: Mapping[str, str] | None = None,
    entities: Iterable[int] | None = None,
    title: str = "",
) -> Figure:
    """Draw predicted facts as arrows between entities, one panel a prediction (compare Figure 6).

    Arrows that not every panel has bear the relation's name.

    Args:
        document: with public labels.
        predictions: panel title -> facts.
        names: relation -> its name; None leaves the ids.
        entities: those to draw; None: all with a fact in some panel or in the labels.
        title: text over all panels.
    """
    gold = document.gold()
    if entities is None:
        facts = gold.union(*predictions.values())
        entities = sorted({end for fact in facts for end in (fact.head, fact.tail)})
    shown = list(entities)
    common = set.intersection(*map(set, predictions.values())) if len(predictions) > 1 else set()
    angle = {e: math.pi / 2 - 2 * math.pi * i / max(len(shown), 1) for i, e in enumerate(shown)}
    place = {e: np.array([math.cos(a), math.sin(a)]) for e, a in angle.items()}
    size = WIDTH / max(len(predictions), 2)
    figure, row = plt.subplots(
        1, len(predictions), figsize=(1.25 * size * len(predictions), 0.95 * size), squeeze=False
    )
    for axes, (panel, predicted) in zip(row[0], predictions.items(), strict=True):
        for kind, facts in outcomes(predicted, gold).items():
            for fact in sorted(facts):
                if fact.head in place and fact.tail in place:
                    named = kind != "missed" and fact not in common
                    text = (names or {}).get(fact.relation, fact.relation) if named else ""
                    _arrow(axes, place[fact.head], place[fact.tail], OUTCOMES[kind], kind, text)
        for entity in shown:
            x, y = place[entity]
            axes.plot(x, y, "o", ms=7, color="#4b5563", zorder=3)
            name = short_name(document, entity)
            side = "center" if abs(x) < 0.3 else "left" if x > 0 else "right"
            axes.text(1.09 * x, 1.12 * y, name, ha=side, va="center", fontsize=6.5)
        axes.set(xlim=(-2.1, 2.1), ylim=(-1.25, 1.25), title=panel)
        axes.title.set_fontsize("small")
        axes.axis("off")
    handles = [Patch(color=colour, label=kind) for kind, colour in OUTCOMES.items()]
    figure.legend(handles=handles, loc="lower center", ncol=3, frameon=False, fontsize="x-small")
    figure.suptitle(title, fontsize="medium")
    return figure


def _arrow(axes: Axes, start: Any, end: Any, colour: str, kind: str, text: str) -> None:
    # Curved, so that the two directions of a pair lie side by side.
    style = {"arrowstyle": "-|>", "color": colour, "connectionstyle": "arc3,rad=0.16"}
    style |= {"lw": 0.7 if kind == "missed" else 1.2, "shrinkA": 5, "shrinkB": 5}
    style |= {"linestyle": ":" if kind == "missed" else "-", "mutation_scale": 8}
    axes.annotate("", end, start, arrowprops=style, zorder=1 if kind == "missed" else 2)
    if text:
        normal = np.array([end[1] - start[1], start[0] - end[0]])
        middle = (start + end) / 2 + 0.08 * normal  # where the curve is
        box = {"boxstyle": "round,pad=0.1", "facecolor": "white", "edgecolor": "none"}
        axes.text(
            *middle, text, fontsize=6.5, color=colour, ha="center", va="center", zorder=4, bbox=box
        )


def plot_lines(
    values: Mapping[str, Sequence[float]],
    axes: Axes | None = None,
    *,
    start: int = 0,
    xlabel: str = "iteration K (0: the base)",
    ylabel: str = "F1 (%)",
    title: str = "",
) -> Axes:
    """Draw one line a row over iterations `start`, `start` + 1, ..."""
    axes = _axes(axes, 2.4)
    for name, row in values.items():
        axes.plot(range(start, start + len(row)), row, marker="o", ms=4, label=name)
    axes.set(xlabel=xlabel, ylabel=ylabel, title=title)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.legend(frameon=False, fontsize="x-small", loc="center left", bbox_to_anchor=(1, 0.5))
    return axes


def plot_stages(
    history: Sequence[Mapping[str, float]], axes: Axes | None = None, *, title: str = ""
) -> Axes:
    """Draw dev F1 over the epochs of both stages, from a run's `history`."""
    axes = _axes(axes, 2.2)
    for stage, name in ((1, "stage 1: base"), (2, "stage 2: with inference module")):
        rows = [(i, entry) for i, entry in enumerate(history, start=1) if entry["stage"] == stage]
        if rows:
            axes.plot([i for i, _ in rows], [e["dev_F1"] for _, e in rows], marker="o", label=name)
    axes.set(xlabel="epoch", ylabel="F1, dev (%)", title=title, ylim=(0, None))
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.legend(frameon=False, fontsize="x-small")
    return axes


class StageCurve(LiveCurve):
    """Dev F1 while a DocRE-II run is trained: redrawn for a person, else a line an epoch.

    Pass `StageCurve(name).update` to `DocreRun.train`. `every`: epochs a line, the last of a stage
    has one in any case.
    """

    def __init__(self, name: str, say: Any = print, every: int = 1) -> None:
        super().__init__(name, say)
        self.every = every

    def update(self, run: Any) -> None:
        """Show the run's state; `run` is a DocreRun between two epochs."""
        last, settings = run.history[-1], run.settings
        total = settings.stage1_epochs + settings.stage2_epochs
        ends = run.epochs_done in (settings.stage1_epochs, total)
        if run.epochs_done % self.every and not ends:
            return
        self.say(
            f"[{self.name}] {settings.method}, seed {run.seed}: stage {last['stage']}, epoch "
            f"{run.epochs_done}/{total}, loss {last['loss']:.3f}, dev F1 {last['dev_F1']:.1f}"
        )
        self.redraw(lambda axes: plot_stages(run.history, axes), total)
