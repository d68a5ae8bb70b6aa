"""Parameters of a run: validated, with profiles, and strict about names that papermill lets pass."""

from __future__ import annotations

import ast
import difflib
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, ClassVar, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError


class ParameterError(ValueError):
    """A parameter has an unknown name or a value that does not fit; says what would fit."""

    # Jupyter shows this in place of a long traceback; the message says everything.
    def _render_traceback_(self) -> list[str]:
        return [f"ParameterError: {self}"]


def _distinct_seeds(seeds: list[int]) -> list[int]:
    if len(set(seeds)) != len(seeds):
        raise ValueError(f"seeds must differ; got {seeds}")
    if min(seeds) < 0:  # here, not when the finished run's record is refused
        raise ValueError(f"seeds must be at least 0; got {seeds}")
    return seeds


#: type of a `seeds` field: at least one, all different, none negative
Seeds = Annotated[list[int], Field(min_length=1), AfterValidator(_distinct_seeds)]


class Parameters(BaseModel):
    """Base of every paper's parameters: frozen, no unknown names, no silent conversion of types."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        allow_inf_nan=False,
        protected_namespaces=(),
    )

    #: profile name -> the values it sets; what a profile leaves out keeps the field's default.
    profiles: ClassVar[dict[str, dict[str, Any]]] = {"quick": {}, "reduced": {}, "full": {}}

    profile: str = "quick"

    @classmethod
    def create(cls, values: Mapping[str, Any] | None = None, **named: Any) -> Self:
        """Build parameters from a profile and the values given on top of it (None: the profile's).

        Raises:
            ParameterError: for an unknown name, with the nearest valid ones, or a wrong value.
        """
        given = {**(values or {}), **named}
        for name in (name for name in given if name not in cls.model_fields):
            near = difflib.get_close_matches(name, cls.model_fields, n=2)
            hint = f"; did you mean {' or '.join(near)}?" if near else "."
            names = ", ".join(sorted(cls.model_fields))
            raise ParameterError(f"unknown parameter {name!r}{hint} Valid names: {names}.")
        given = {name: value for name, value in given.items() if value is not None}
        profile = given.get("profile", cls.model_fields["profile"].default)
        if not isinstance(profile, str) or profile not in cls.profiles:
            raise ParameterError(
                f"profile={profile!r} is not a profile; choose one of {', '.join(cls.profiles)}"
            )
        try:
            return cls.model_validate({**cls.profiles[profile], **given})
        except ValidationError as error:
            found = "\n".join(f"parameter {line}" for line in explain(error))
            raise ParameterError(found) from None


def explain(error: ValidationError) -> list[str]:
    """What pydantic found, one line per field that somebody can act on."""
    lines = []
    for found in error.errors():
        words = [".".join(map(str, found["loc"])), found["msg"].removeprefix("Value error, ")]
        shown = "" if found["type"] == "value_error" else f" (got {found['input']!r})"
        lines.append(": ".join(filter(None, words)) + shown)
    return lines


def read_settings(words: Iterable[str]) -> dict[str, Any]:
    """The `NAME=VALUE` words of a command line; a value that is no Python literal is a text."""
    settings = {}
    for word in words:
        name, equals, text = word.partition("=")
        if not equals:
            raise ParameterError(f"{word!r} is no NAME=VALUE")
        try:
            settings[name] = ast.literal_eval({"true": "True", "false": "False"}.get(text, text))
        except (ValueError, SyntaxError):
            settings[name] = text
    return settings


def notebook_parameters(cls: type[Parameters], namespace: Mapping[str, Any]) -> Parameters:
    """Read a notebook's parameters: the names set by its cells of plain `name = literal` lines.

    Papermill puts its values into such a cell of its own and merely warns of an unknown name, so a
    typo stops the run here, with a `ParameterError`. The setup cell, which calls this with
    `globals()`, may be run again at any time: of the literal cells after its first run only those
    that set a parameter count.
    """
    names, set_up = [], False
    cells = [cell for cell in namespace.get("In", []) if cell]
    if "In" in namespace and not cells:
        # A runner without a history (nbval) runs a notebook once, top to bottom: the plain values
        # that are there before setup are the parameters.
        plain = (type(None), bool, int, float, str, list, tuple, dict)
        names = [
            n
            for n, v in namespace.items()
            if isinstance(v, plain) and not n.startswith(("_", "In", "Out"))
        ]
    for cell in cells:
        assigned = _literal_assignments(cell)
        if not set_up or any(name in cls.model_fields for name in assigned):
            names += assigned
        set_up = set_up or notebook_parameters.__name__ in cell
    return cls.create({name: namespace[name] for name in names if name in namespace})


def _literal_assignments(cell: str) -> list[str]:
    """The names that a cell of nothing but `name = literal` lines sets; [] for other cells."""
    names = []
    try:
        for statement in ast.parse(cell).body:
            match statement:
                case (
                    ast.Assign(targets=[ast.Name(id=name)], value=value)
                    | ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value)
                ):
                    ast.literal_eval(value)
                    names.append(name)
                case _:
                    return []
    except (SyntaxError, ValueError):  # a magic or a shell line, or a computed value
        return []
    return names
