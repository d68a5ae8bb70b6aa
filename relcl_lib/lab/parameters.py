"""Parameters of a run: validated, with profiles, and strict about names that papermill lets pass."""

from __future__ import annotations

import ast
import difflib
import re
from collections.abc import Collection, Iterable, Mapping
from typing import Annotated, Any, ClassVar, Literal, Self, get_args, get_origin

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError


class ParameterError(ValueError):
    """A parameter has an unknown name or a value that does not fit; says what would fit."""


def _distinct_seeds(seeds: list[int]) -> list[int]:
    if len(set(seeds)) != len(seeds):
        raise ValueError(f"seeds must differ; got {seeds}")
    if min(seeds) < 0:  # here, not when the finished run's record is refused
        raise ValueError(f"seeds must be at least 0; got {seeds}")
    return seeds


#: type of a `seeds` field: at least one, all different, none negative
Seeds = Annotated[list[int], Field(min_length=1), AfterValidator(_distinct_seeds)]


def _known_device(device: str) -> str:
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", device):
        raise ValueError(f"device={device!r} is not a device; use 'auto', 'cpu' or 'cuda'")
    return device


#: type of a `device` field: a name that torch knows, here or on the machine that will run
Device = Annotated[str, AfterValidator(_known_device)]


def _names_a_folder(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,99}", name):
        raise ValueError(
            f"{name!r} cannot name a folder everywhere; use up to 100 of the letters a to z, digits, "
            "'.', '_', '+' and '-', a letter or digit first"
        )
    return name


#: type of what folders are named after, such as a data set
FolderName = Annotated[str, AfterValidator(_names_a_folder)]


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
        cls.check_names(given)
        given = {
            name: _as_list(value) if _takes_list(cls.model_fields[name].annotation) else value
            for name, value in given.items()
            if value is not None
        }
        profile = given.get("profile", cls.model_fields["profile"].default)
        if not isinstance(profile, str) or profile not in cls.profiles:
            raise ParameterError(
                f"profile={profile!r} is not a profile; choose one of {', '.join(cls.profiles)}"
            )
        try:
            return cls.model_validate({**cls.profiles[profile], **given})
        except ValidationError as error:
            found = "\n".join(f"parameter {line}" for line in explain(error))
            if any(entry["type"] == "list_type" for entry in error.errors()):
                found += '\nA list is written [0, 1]; for papermill: -y "seeds: [0, 1]"'
            raise ParameterError(found) from None

    @classmethod
    def check_names(cls, names: Iterable[str], leave_out: Collection[str] = ()) -> None:
        """ParameterError if a name is unknown; of the valid ones it names all but those left out."""
        found = []
        for name in (name for name in names if name not in cls.model_fields):
            near = " or ".join(cls.near(name, leave_out))
            found.append(
                f"unknown parameter {name!r}" + (f"; did you mean {near}?" if near else ".")
            )
        if found:
            known = ", ".join(name for name in cls.names() if name not in leave_out)
            raise ParameterError("\n".join(found) + f" Valid names: {known}.")

    @classmethod
    def listing(cls, shown: Mapping[str, Any], leave_out: Iterable[str] = ()) -> str:
        """A line for each field: its name with the value `shown` for it, and what it means.

        Then a line for each profile: what it sets, but for data and seeds.
        """
        lines = []
        for name in (name for name in cls.model_fields if name not in set(leave_out)):
            field = cls.model_fields[name]
            about = field.description or ""
            if choices := _choices(field.annotation):
                about = "; ".join(filter(None, (about, "one of " + ", ".join(choices))))
            lines.append((_written(name, shown.get(name, field.default)), about))
        width = min(28, max(len(setting) for setting, _ in lines))
        rows = [f"  {setting:{width}}  {about}".rstrip() for setting, about in lines]
        unsaid = {*leave_out, "dataset", "seeds"}
        for profile, values in cls.profiles.items():
            said = [_written(n, v) for n, v in values.items() if n not in unsaid]
            if said:
                rows.append(f"the profile {profile} sets {' '.join(said)}")
        return "\n".join(rows)

    @classmethod
    def names(cls) -> list[str]:
        """The parameters that can be given, in alphabetical order."""
        return sorted(cls.model_fields)

    @classmethod
    def near(cls, name: str, leave_out: Collection[str] = ()) -> list[str]:
        """The parameters that a misspelt name may have meant, the nearest first."""
        known = [each for each in cls.names() if each not in leave_out]
        return difflib.get_close_matches(name, known, n=2)


def _written(name: str, value: Any) -> str:
    """A setting as a command line takes it."""
    plain = {True: "true", False: "false", None: "null"}
    text = plain[value] if value is None or value is True or value is False else str(value)
    return f"{name}={text.replace(' ', '')}"


def _takes_list(annotation: Any) -> bool:
    """Whether a field takes a list and no single number."""
    return _takes(annotation, list) and not (_takes(annotation, int) or _takes(annotation, float))


def _takes(annotation: Any, kind: type) -> bool:
    origin = get_origin(annotation)
    inside = () if origin is list else get_args(annotation)
    return kind in (annotation, origin) or any(_takes(part, kind) for part in inside)


def _choices(annotation: Any) -> list[str]:
    """The values that a field may have, where it names them."""
    if get_origin(annotation) is Literal:
        return list(map(str, get_args(annotation)))
    inside = () if get_origin(annotation) in (list, None) else get_args(annotation)
    return [choice for part in inside for choice in _choices(part)]


def _as_list(value: Any) -> Any:
    """One number, or a text such as `[0, 1]` or `0,1` from a command line, as the list it means."""
    if isinstance(value, str):
        value = _literal(value)
    if isinstance(value, tuple):
        return list(value)
    return [value] if isinstance(value, int | float) else value


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
    constants = {"true": True, "false": False, "null": None}
    settings: dict[str, Any] = {}
    for word in words:
        name, equals, text = word.partition("=")
        if not (name and equals):
            raise ParameterError(f"{word!r} is no NAME=VALUE")
        settings[name] = constants[text] if text in constants else _literal(text)
    return settings


def _literal(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text
