"""What every notebook needs: its parameters, where it writes, threads, and errors without tracebacks."""

from __future__ import annotations

import ast
import functools
import inspect
import os
import sys
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar

from pydantic import Field

from relcl_lib.lab.errors import explains_itself
from relcl_lib.lab.files import repository_root
from relcl_lib.lab.parameters import ParameterError, Parameters

if TYPE_CHECKING:
    import torch

# Beside other work, threads that spin while they wait take the core from the one they wait for. Here,
# and not when a run starts, since OpenMP reads it as torch is loaded; what a person has set stays.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

#: Quick runs stay out of the committed records and figures. They keep no checkpoints: they are over
#: in seconds, and always show the present code.
QUICK = {"results": "runs/results", "figures": "figures/quick", "work_dir": None}
OTHER = {"results": "data/results", "figures": "figures", "work_dir": "runs/checkpoints"}

Profiles = dict[str, dict[str, Any]]


def with_quick(runs: type[Parameters], **changes: Any) -> Profiles:
    """The profiles of a run's parameters, with another `quick` one for the notebook."""
    return {**runs.profiles, "quick": {**runs.profiles["quick"], **changes}}


class Notebook(Parameters):
    """First base of a notebook's parameters; the second is the class of its runs' parameters.

    Attributes:
        runs: that class.
        chosen: what the notebook's sections choose by themselves, so that it cannot be given.
    """

    runs: ClassVar[type[Parameters]]
    chosen: ClassVar[tuple[str, ...]] = ("method",)

    results: str | None = Field(None, description="folder of the records")
    figures: str | None = Field(None, description="folder of the figures")
    work_dir: str | None = Field(None, description="folder of the checkpoints")
    threads: int | None = Field(None, ge=1, description="of torch on a CPU; None: one if quick")

    @classmethod
    def create(cls, values: Mapping[str, Any] | None = None, **named: Any) -> Self:
        """As of every parameters.

        Raises:
            ParameterError: for what is `chosen`, too.
        """
        given = {**(values or {}), **named}
        for name in cls.chosen:
            if given.get(name) is not None:
                raise ParameterError(f"the notebook's sections choose {name}; leave it out")
        return super().create(given)

    @classmethod
    def names(cls) -> list[str]:
        """The parameters that can be given, without what is `chosen`."""
        return [name for name in super().names() if name not in cls.chosen]

    def run(self, method: str | None = None, **changes: Any) -> Any:
        """The parameters of one run: this notebook's, with `method` and `changes`."""
        values = self.model_dump(include=set(self.runs.model_fields), exclude_none=True)
        chosen = {} if method is None else {"method": method}
        return self.runs.create({**values, **chosen, **changes})

    def folder(self, kind: str) -> Path | None:
        """Where `results`, `figures` or `work_dir` lie; None: nothing is written."""
        chosen = getattr(self, kind) or (QUICK if self.profile == "quick" else OTHER)[kind]
        return None if chosen is None else repository_root() / chosen

    def start(self) -> torch.device:
        """Resolve the device; on a CPU set torch's number of threads for this process.

        A quick run takes one: on tensors this small a second gains nothing, and two that wait for
        each other beside other work can stand still.
        """
        import torch

        from relcl_lib.lab.runtime import resolve_device

        device, usual = resolve_device(self.device), _usual_threads()
        if device.type == "cpu":
            torch.set_num_threads(self.threads or (1 if self.profile == "quick" else usual))
        return device


@functools.cache
def _usual_threads() -> int:
    """The threads that torch took before a notebook chose; asked for before the first choice."""
    import torch

    return torch.get_num_threads()


#: types of values that may be parameters
PLAIN = (type(None), bool, int, float, str, list, tuple, dict)
Chosen = TypeVar("Chosen", bound=Parameters)


def notebook_parameters(cls: type[Chosen], namespace: Mapping[str, Any]) -> Chosen:
    """Read a notebook's parameters: the names that its parameters cells set, whatever to.

    The values are the namespace's, so a line may compute one. Papermill puts its values into such a
    cell of its own and merely warns of an unknown name, so a typo stops the run here, with a
    `ParameterError`. The setup cell, which calls this with `globals()`, may be run again at any
    time, after any cell was edited and run. From then on an error that explains itself is shown
    without a traceback.
    """
    show_messages_alone()
    cells = [cell for cell in namespace.get("In", []) if cell]
    if "In" in namespace and not cells:
        # A runner without a history (nbval) runs a notebook once, top to bottom: the plain values
        # that are there before setup are the parameters.
        names = [
            n
            for n, v in namespace.items()
            if isinstance(v, PLAIN) and not n.startswith(("_", "In", "Out"))
        ]
        values = {name: namespace[name] for name in names}
    else:
        values = _values_set(cells, cls, namespace)
    try:
        return cls.create(values)
    except ParameterError as error:
        again = "Correct it where it is set, run that cell again, then this one."
        raise ParameterError(f"{error}\n{again}") from None


def _values_set(
    cells: Sequence[str], cls: type[Parameters], namespace: Mapping[str, Any]
) -> dict[str, Any]:
    """The parameters that a history of cells sets, without what was corrected since.

    A person edits a cell and runs it again: both versions are in the history. A later cell that
    sets mostly the same names is the same cell, edited; papermill's own only replaces papermill's.
    An unknown name counts where it was set since setup ran last, until a name near to it is set.
    Before the first setup a cell counts if it sets a parameter, or a name near to one, or holds
    plain `name = literal` lines alone. After it a cell counts if it is one of these, edited, or
    holds nothing but such names and plain values; the others are the lesson's.
    """
    valid = cls.model_fields
    # setups before a cell, papermill's or not, name -> its literal (None where it is computed)
    found: list[tuple[int, bool, dict[str, ast.expr | None]]] = []
    setups = 0
    for cell in cells:
        if notebook_parameters.__name__ in cell:
            setups += 1
            continue
        names, alone = _assignments(cell, valid)
        literal = alone and None not in names.values()
        fit = [name in valid or bool(cls.near(name)) for name in names]
        if setups:
            simple = all(isinstance(namespace.get(name), PLAIN) for name in names)
            counts = literal and not valid.keys().isdisjoint(names)
            counts |= alone and all(fit) and simple
            counts |= any(_mostly_the_same(names, other) for _, _, other in found)
        else:
            counts = literal or any(fit)
        if names and counts:
            found.append((setups, cell.startswith("# Parameters"), names))
    counted: dict[str, Any] = {}
    for place, (turn, injected, names) in enumerate(found):
        later = [other for _, kind, other in found[place + 1 :] if kind == injected]
        if any(_mostly_the_same(names, other) for other in later):
            continue
        corrected = {name for _, _, other in found[place + 1 :] for name in other}
        for name, literal in names.items():
            wrong_now = turn == found[-1][0] and corrected.isdisjoint(cls.near(name))
            if name in namespace and (name in valid or wrong_now):
                value = namespace[name]
                # The lesson may have given a network or a tensor this name since.
                taken = literal is not None and not isinstance(value, PLAIN)
                counted[name] = ast.literal_eval(literal) if taken else value
    return counted


def _mostly_the_same(names: Iterable[str], others: Iterable[str]) -> bool:
    return 2 * len({*names} & {*others}) > len({*names, *others})


def _assignments(cell: str, valid: Iterable[str]) -> tuple[dict[str, ast.expr | None], bool]:
    """The names that a cell sets, each with its literal or None, and whether it does nothing else.

    What is set in a block, or as one of several, is a name only if it is a parameter's.
    """
    names: dict[str, ast.expr | None] = {}
    alone = True
    try:
        tree = ast.parse(cell)
    except SyntaxError:  # a magic or a shell line
        return {}, False
    for statement in tree.body:
        match statement:
            case (
                ast.Assign(targets=[ast.Name(id=name)], value=value)
                | ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value)
            ):
                names[name] = value if _is_literal(value) else None
            case ast.AugAssign(target=ast.Name(id=name)):
                names[name] = None
            case _:
                alone = False
    stored = (n for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store))
    further = {node.id for node in stored} & {*valid}
    return dict.fromkeys(sorted(further)) | names, alone


def _is_literal(value: ast.expr) -> bool:
    try:
        ast.literal_eval(value)
    except (ValueError, TypeError):
        return False
    return True


def source(thing: Any, first: str = "", last: str = "") -> str:
    """The source of a function, method or class as Markdown, so that what is shown is what runs.

    Args:
        thing: what is shown.
        first: a text in the first line that is shown; "" begins at the beginning.
        last: a text in the last one, at or after it; "" ends at the end.

    Raises:
        ValueError: there is no such line (any more).
    """
    lines = textwrap.dedent(inspect.getsource(thing)).splitlines()
    begin = _line_with(lines, first, 0, thing) if first else 0
    end = _line_with(lines, last, begin, thing) if last else len(lines) - 1
    shown = textwrap.dedent("\n".join(lines[begin : end + 1]))
    return f"`{thing.__module__}`, `{thing.__qualname__}`:\n\n```python\n{shown}\n```"


def _line_with(lines: list[str], text: str, begin: int, thing: Any) -> int:
    for at, line in enumerate(lines[begin:], start=begin):
        if text in line:
            return at
    raise ValueError(f"no line of {thing.__qualname__} has {text!r}")


def written(exercise: Callable[..., Any], *example: Any) -> Callable[..., Any] | None:
    """What the check of an exercise calls: the reader's function, or the notebook's solution.

    Args:
        exercise: the reader's function `f`. It is not written yet while it returns None of `example`.
            Then `f_solution` of the same notebook is checked, and a line says so.

    Returns:
        None if neither is there, as in a handout.
    """
    if exercise(*example) is not None:
        return exercise
    solution = exercise.__globals__.get(f"{exercise.__name__}_solution")
    print(
        f"{exercise.__name__} returns nothing" + (": the solution is checked" if solution else "")
    )
    return solution


def show_messages_alone() -> None:
    """In an IPython kernel, show of an error that explains itself its message alone.

    `%tb` shows where it came from. Papermill, nbval and nbclient stop at it as at any other error.
    """
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    if shell is not None:
        shell.set_custom_exc((Exception,), _show)


def _show(
    shell: Any, kind: type, error: Exception, trace: Any, tb_offset: int | None = None
) -> None:
    alone = explains_itself(error)
    if alone:
        error._render_traceback_ = lambda: [f"{kind.__name__}: {error}"]  # what IPython asks for
    shell.showtraceback((kind, error, trace), tb_offset=tb_offset)
    if alone:
        del error._render_traceback_  # so that %tb shows all
