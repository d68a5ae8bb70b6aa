"""What a file of claims holds, `data/claims/<paper>.json`: claims in our words, and what decides them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    ValidationError,
    ValidationInfo,
    model_validator,
)

from relcl_lib.lab.files import packaged_data
from relcl_lib.lab.json_text import parse_json
from relcl_lib.lab.parameters import explain


class ClaimError(ValueError):
    """A file of claims is malformed; names file, claim, field and what to do."""


Name = Annotated[str, Field(min_length=1)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Side(_Strict):
    """One side of a comparison: runs of a method (a text is its name), or a number.

    Without a method it is the other side's records, read by another metric. `parameters` must be
    in the records as given.
    """

    method: Name | None = None
    metric: Name | None = None
    parameters: dict[str, JsonValue] = {}
    value: float | None = None

    @model_validator(mode="before")
    @classmethod
    def _name(cls, given: Any) -> Any:
        return {"method": given} if isinstance(given, str) else given

    @model_validator(mode="after")
    def _check(self) -> Side:
        given = self.method or self.metric or self.parameters
        if (self.value is None) != bool(given):
            raise ValueError("a side has either a value, or a method (or another metric)")
        return self


class Comparison(_Strict):
    """`left` is `direction` than `right` in `metric`, by more than `margin`.

    Attributes:
        label: what it is called in a figure, where the claim makes several.
        differ: the parameters, or `inputs`, `variant`, `experiment` and `number_format`, in which the
            two sides may differ; all else agrees, and of times the device, too.
    """

    label: Name | None = None
    metric: Name
    direction: Literal["higher", "lower"]
    left: Side
    right: Side
    margin: float = 0.0
    differ: tuple[Name, ...] = Field((), strict=False)

    @model_validator(mode="after")
    def _check(self) -> Comparison:
        if self.left.method is None:
            raise ValueError("the left side needs a method")
        if self.right.method is None and self.right.value is None and not self.right.metric:
            raise ValueError("the right side needs a method, another metric or a value")
        if fixed := {"dataset", "protocol", "seed"} & set(self.differ):
            raise ValueError(f"{', '.join(sorted(fixed))} may not differ between two sides")
        return self


class Setting(_Strict):
    """Where a claim can be tested.

    Attributes:
        dataset, parameters: what the records of both sides hold.
        either: parameters that go together, of which the records hold one set; () for no matter.
        metric: what stands here for a comparison's or a side's own metric, which `{}` in it is
            (`{}_dev`: the same on dev).
        command: runs both sides as in the paper.
        smaller: options that it takes as well, where the records found are below the paper's scale.
    """

    dataset: dict[str, JsonValue] = Field(min_length=1)
    parameters: dict[str, JsonValue] = {}
    either: tuple[dict[str, JsonValue], ...] = Field((), strict=False)
    metric: Name | None = None
    command: Name
    smaller: str = ""

    @model_validator(mode="before")
    @classmethod
    def _complete(cls, given: Any, info: ValidationInfo) -> Any:
        """What the file says of a data set goes for each setting on it."""
        if not isinstance(given, dict):
            return given
        shared = (info.context or {}).get("settings", [])
        return next((s for s in shared if s.get("dataset") == given.get("dataset")), {}) | given

    def read(self, comparison: Comparison) -> Comparison:
        """A comparison by the metrics of this setting."""
        if self.metric is None:
            return comparison

        def moved(part: Any, **more: Any) -> Any:
            metric = part.metric and str(self.metric).replace("{}", part.metric)
            return part.model_copy(update={"metric": metric, **more})

        return moved(comparison, left=moved(comparison.left), right=moved(comparison.right))


class Claim(_Strict):
    """A claim of a paper, and how it is decided.

    Attributes:
        id: its name in files and links.
        text, place: what is claimed, in our words, and where in the paper.
        usual: parameters that other sweeps vary, with the values that the claim is about: a record that
            names one of them has this value.
        comparisons: what must hold, in each of `settings`. Where none has a record, the command of the
            first is named.
        prefer: parameters that the left side's runs may hold, the best first: where several
            configurations have enough seeds, those count that hold the first which any of them holds.
        test: the pytest node that shows it (or the contrary, see `shows`).
        missing: what is not here, so that it cannot be tested.
    """

    id: str = Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", max_length=40)
    text: Name
    place: Name
    usual: dict[str, JsonValue] = {}
    comparisons: tuple[Comparison, ...] = Field((), strict=False)
    settings: tuple[Setting, ...] = Field((), strict=False)
    prefer: tuple[dict[str, JsonValue], ...] = Field((), strict=False)
    test: str | None = Field(None, pattern=r"^tests/[\w/]+\.py::\w")
    shows: Literal["supported", "contradicted"] = "supported"
    missing: Name | None = None

    @model_validator(mode="before")
    @classmethod
    def _complete(cls, given: Any, info: ValidationInfo) -> Any:
        """What the file says of all claims goes for each."""
        shared = {n: v for n, v in (info.context or {}).items() if n in ("usual", "prefer")}
        return shared | given if isinstance(given, dict) else given

    @model_validator(mode="after")
    def _check(self) -> Claim:
        if sum(map(bool, (self.comparisons, self.test, self.missing))) != 1:
            raise ValueError("a claim has comparisons, or a test, or says what is missing")
        if bool(self.comparisons) != bool(self.settings):
            raise ValueError("comparisons need settings that say where they can be run")
        return self


def read_claims(paper: str, folder: Path | None = None) -> tuple[Claim, ...]:
    """The claims of a paper, from `data/claims/<paper>.json`.

    Raises:
        ClaimError: the file is missing or an entry is malformed; names claim, field and remedy.
    """
    path = (folder or packaged_data() / "claims") / f"{paper}.json"
    try:
        found = parse_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ClaimError(f"{path} cannot be read as claims: {error}") from error
    shared = found if isinstance(found, dict) else {}
    entries = shared.get("claims") if shared else found
    if not isinstance(entries, list):
        raise ClaimError(f"{path}: claims are a JSON list, not a {type(found).__name__}")
    claims = []
    for number, entry in enumerate(entries, start=1):
        name = entry.get("id") if isinstance(entry, dict) else None
        try:
            claims.append(Claim.model_validate(entry, context=shared))
        except ValidationError as error:
            problems = "; ".join(explain(error))
            about = f"claim {name!r}" if name else f"claim number {number}"
            raise ClaimError(f"{path}: {about}: {problems}. Correct that field") from None
    if twice := [name for name, n in Counter(claim.id for claim in claims).items() if n > 1]:
        raise ClaimError(f"{path}: claim {twice[0]!r}: field id: it occurs twice; rename one")
    return tuple(claims)
