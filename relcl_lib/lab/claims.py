"""What the papers claim, and what our records say of it: verdicts computed by one rule.

`data/claims/<paper>.json` lists claims in our words. A claim is decided by comparisons of records,
or by a test, or it says what is missing. A comparison pairs two sides seed by seed: runs of one
data set, protocol and configuration, but for what `differ` names. With a Student t interval (95 %)
of the paired differences it is

- `supported`: the whole interval lies beyond the margin, on the claim's side;
- `contradicted`: the whole interval lies on the other side of the margin; of a claim with k
  comparisons that at 1 - 0.05/k;
- `inconclusive`: the margin lies within, all differences are equal, or fewer than three seeds are
  common to both sides;
- `not tested`: one side has no record.

"No worse than" is a negative margin, in the metric's unit.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from relcl_lib.lab import words
from relcl_lib.lab.claim_files import Claim, Comparison, Setting, Side, read_claims
from relcl_lib.lab.format import markdown_table
from relcl_lib.lab.metrics import LEAST_SEEDS, confidence_interval
from relcl_lib.lab.records import (
    Record,
    canonical_json,
    content_in_words,
    read_records,
    record_path,
    shape_of,
    trained_on,
)
from relcl_lib.lab.rows import holds

SUPPORTED, CONTRADICTED, INCONCLUSIVE, NOT_TESTED = VERDICTS = (
    "supported",
    "contradicted",
    "inconclusive",
    "not tested",
)
#: nearest to the paper first
SCALES = ("paper", "reduced", "stand-in")
#: stands for a scale where a test shows the claim
BY_TEST = "test"
#: metrics that belong to a machine, and the end of its name in a record that is no part of it
_TIME, _THREADS = re.compile(r"_(seconds|ms)(_|$)"), re.compile(r", \d+ threads?$")


# --- verdicts ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Outcome:
    """What the records say of one comparison at one scale.

    Attributes:
        left, right: the records of the common seeds, in one order; `right` is empty for a number.
        mean, half: of left - right, with half the 95 % interval (NaN for n < 2).
        others: how many further configurations have records of both sides.
        data: on which content of the data set, where the claim's methods have several; else "".
    """

    comparison: Comparison
    verdict: str
    left: tuple[Record, ...] = ()
    right: tuple[Record, ...] = ()
    mean: float = math.nan
    half: float = math.nan
    others: int = 0
    data: str = ""


@dataclass(frozen=True)
class Verdict:
    """The verdict on a claim in one setting and at one scale (`test` for a test, "" for none)."""

    claim: Claim
    verdict: str
    scale: str = ""
    setting: Setting | None = None
    outcomes: tuple[Outcome, ...] = ()

    @property
    def where(self) -> str:
        """Scale, data set and the parameters that both sides have."""
        if self.setting is None or not self.outcomes:
            return self.scale
        held = [words.name(str(value)) for value in self.setting.dataset.values()]
        held += _phrases(self.setting.parameters)
        return f"{self.scale}: {', '.join(held)}"

    @property
    def command(self) -> str:
        """What would test it, where it is open and can be run."""
        if self.setting is None or self.verdict in (SUPPORTED, CONTRADICTED):
            return ""
        below = self.setting.smaller and self.scale not in ("", SCALES[0])
        return f"{self.setting.command} {self.setting.smaller}" if below else self.setting.command


def judge(claims: Iterable[Claim], records: Iterable[Record]) -> list[Verdict]:
    """The verdicts on a paper's claims: one line per setting and scale that has records.

    A claim without any has one line, `not tested`. A claim's lines begin with those nearest to the
    paper's scale; `first_lines` says which counts.

    Args:
        claims: of one paper.
        records: of the same paper; failed ones are left out.
    """
    records = [record for record in records if not record.failed]
    return [verdict for claim in claims for verdict in _lines(claim, records)]


def _lines(claim: Claim, records: Sequence[Record]) -> list[Verdict]:
    if claim.test:
        return [Verdict(claim, claim.shows, BY_TEST)]
    usual = [r for r in records if holds({**claim.usual, **r.parameters}, claim.usual)]
    found = []
    for scale in SCALES:
        for setting in claim.settings:
            either = setting.either or ({},)
            here = [
                record
                for record in usual
                if record.protocol == scale
                and any(holds(record.parameters, each) for each in either)
            ]
            each = map(setting.read, claim.comparisons)
            outcomes = tuple(_compare(claim, comparison, setting, here) for comparison in each)
            if any(outcome.verdict != NOT_TESTED for outcome in outcomes):
                told = _with_data(outcomes, setting, here)
                found.append(Verdict(claim, _together(outcomes), scale, setting, told))
    return found or [Verdict(claim, NOT_TESTED, setting=next(iter(claim.settings), None))]


def _together(outcomes: Iterable[Outcome]) -> str:
    """All must hold; a comparison without records leaves the claim open at best.

    Of several comparisons one is contradicted by chance more easily than one alone: see `_verdict`.
    """
    verdicts = {outcome.verdict for outcome in outcomes}
    if verdicts == {SUPPORTED}:
        return SUPPORTED
    return CONTRADICTED if CONTRADICTED in verdicts else INCONCLUSIVE


def _compare(
    claim: Claim, comparison: Comparison, setting: Setting, records: Sequence[Record]
) -> Outcome:
    """The verdict of one comparison of a claim on records of one protocol.

    Where several configurations have records of both sides, those with enough seeds count, of them
    those that the claim prefers, and of these the ones on that content of the data set which has most
    training samples (while none has seeds enough, most seeds). The numbers are of the one with most
    common seeds, of equals the latest. Those that count must agree: otherwise it is inconclusive.
    """
    left = _configurations(comparison.left, comparison, setting, records)
    if comparison.right.method is None:
        pairs = [(group, group) for _, group in left]
    else:
        right = _configurations(comparison.right, comparison, setting, records)
        pairs = [(mine, other) for held, mine in left for kept, other in right if held == kept]
    if not pairs:
        return Outcome(comparison, NOT_TESTED)
    several = len(claim.comparisons)
    outcomes = [_outcome(comparison, mine, other, several) for mine, other in pairs]

    def size(outcome: Outcome) -> tuple[int, str]:
        return len(outcome.left), max((each.date for each in outcome.left), default="")

    def place(outcome: Outcome) -> int:
        held = outcome.left[0].parameters if outcome.left else {}
        fits = (at for at, wanted in enumerate(claim.prefer) if holds(held, wanted))
        return next(fits, len(claim.prefer))

    enough = [o for o in outcomes if len(o.left) >= LEAST_SEEDS]
    found = enough or outcomes
    first = min(map(place, found))
    found = [o for o in found if place(o) == first]
    whole = max(found, key=lambda o: (trained_on(o.left[0]) if enough else 0, size(o)))
    found = [o for o in found if _content(o.left) == _content(whole.left)]
    chosen = max(found, key=size)
    verdict = chosen.verdict if len({o.verdict for o in found}) < 2 else INCONCLUSIVE
    return replace(chosen, verdict=verdict, others=len(pairs) - 1)


def _with_data(
    outcomes: Sequence[Outcome], setting: Setting, records: Iterable[Record]
) -> tuple[Outcome, ...]:
    """The outcomes of a claim, with what data each is of where the methods' records are of several."""
    sides = {side.method for o in outcomes for side in (o.comparison.left, o.comparison.right)}
    held = (r for r in records if r.method in sides and holds(r.dataset, setting.dataset))
    several = len({_content([r]) for r in held if holds(r.parameters, setting.parameters)}) > 1
    return tuple(
        replace(o, data=content_in_words(o.left[0])) if several and o.left else o for o in outcomes
    )


def _content(records: Sequence[Record]) -> str:
    """The digest of the data set of records that share one; "" of none."""
    return str(records[0].dataset.get("fingerprint")) if records else ""


def _outcome(
    comparison: Comparison, mine: Mapping[int, Record], other: Mapping[int, Record], several: int
) -> Outcome:
    """The differences of one configuration's runs, by seed, to those of another."""
    common = [(mine[seed], other[seed]) for seed in sorted(mine.keys() & other.keys())]
    numbers = [_distance(comparison, a, b) for a, b in common]
    mean, half = confidence_interval(numbers) if numbers else (math.nan, math.nan)
    return Outcome(
        comparison,
        _verdict(comparison, numbers, mean, half, several),
        tuple(a for a, _ in common),
        tuple(b for _, b in common if comparison.right.value is None),
        mean,
        half,
    )


def _configurations(
    side: Side, comparison: Comparison, setting: Setting, records: Iterable[Record]
) -> list[tuple[str, dict[int, Record]]]:
    """What the other side must share with each configuration of a side, and its runs by seed."""
    parameters = {**setting.parameters, **side.parameters}
    metrics = {side.metric or comparison.metric}
    if comparison.right.method is None and comparison.right.metric:
        metrics.add(comparison.right.metric)
    free = set(comparison.differ)
    groups: dict[str, tuple[str, dict[int, Record]]] = {}
    for record in records:
        if (
            record.method != side.method
            or record.starts_elsewhere
            or not metrics <= record.metrics.keys()
            or not holds(record.dataset, setting.dataset)
            or not holds(record.parameters, parameters)
        ):
            continue
        shape = shape_of(record)
        if any(map(_TIME.search, metrics)):  # so does the machine its times
            shape["device"] = _THREADS.sub("", record.device)
        whole = canonical_json(shape)
        shared = {**shape.pop("parameters"), **shape, "method": None}
        held = canonical_json({name: shared[name] for name in shared.keys() - free})
        by_seed = groups.setdefault(whole, (held, {}))[1]
        # Two runs of one seed are one: the later.
        rival = by_seed.get(record.seed, record)
        by_seed[record.seed] = max(record, rival, key=lambda each: each.date)
    return [groups[whole] for whole in sorted(groups)]


def _distance(comparison: Comparison, left: Record, right: Record) -> float:
    """left - right."""
    mine = left.metrics[comparison.left.metric or comparison.metric]
    other = comparison.right.value
    if other is None:
        other = right.metrics[comparison.right.metric or comparison.metric]
    return mine - other


def _verdict(
    comparison: Comparison, numbers: Sequence[float], mean: float, half: float, several: int
) -> str:
    """On which side of the boundary the interval of differences, mean ± half, lies, if on one.

    A claim of `several` comparisons is supported where each is, so each takes the 95 % interval. It is
    contradicted where any is, and chance has as many tries: each takes the interval at 5 % divided by
    their number (Bonferroni), so that all together err in 5 % of cases at most.
    """
    if len(numbers) < LEAST_SEEDS or half < 1e-9:  # equal differences tell of no spread
        return INCONCLUSIVE
    sign = 1.0 if comparison.direction == "higher" else -1.0
    _, wider = confidence_interval(numbers, 1 - 0.05 / several)
    ahead = sign * mean - comparison.margin
    if ahead > half:
        return SUPPORTED
    return CONTRADICTED if ahead < -wider else INCONCLUSIVE


def verdicts_of(paper: str, records: Iterable[Record] | None = None) -> list[Verdict]:
    """The verdicts on a paper's claims by those of its records; None: by the committed ones."""
    found = read_records(paper=paper) if records is None else records
    return judge(read_claims(paper), [record for record in found if record.paper == paper])


def first_lines(verdicts: Iterable[Verdict]) -> list[Verdict]:
    """One line per claim: a decided scale before an open one, then that nearest to the paper's.

    At a scale the claim has to hold in each of its settings that has enough seeds for an interval: one
    that contradicts counts before an inconclusive one, and that before one that supports. Each setting
    is judged by itself: the correction of `_verdict` is for its comparisons, not for other settings.
    """
    scales = (*SCALES, BY_TEST, "")
    least = (CONTRADICTED, INCONCLUSIVE, SUPPORTED, NOT_TESTED)  # the first of them counts

    def holds_least(verdict: Verdict) -> tuple[bool, int]:
        few = verdict.verdict == INCONCLUSIVE and any(
            len(outcome.left) < LEAST_SEEDS for outcome in verdict.outcomes
        )
        return few, least.index(verdict.verdict)

    def rank(verdict: Verdict) -> tuple[bool, int]:
        return verdict.verdict not in (SUPPORTED, CONTRADICTED), scales.index(verdict.scale)

    at_scale: dict[tuple[str, str], Verdict] = {}
    for verdict in verdicts:
        place = verdict.claim.id, verdict.scale
        at_scale[place] = min(at_scale.get(place, verdict), verdict, key=holds_least)
    found: dict[str, Verdict] = {}
    for (claim, _), verdict in at_scale.items():
        found[claim] = min(found.get(claim, verdict), verdict, key=rank)
    return list(found.values())


# --- as text -------------------------------------------------------------------------------------


def evidence(verdict: Verdict) -> list[str]:
    """What stands behind a verdict: a line per comparison, or what is missing, then the command."""
    claim = verdict.claim
    lines = [f"`{claim.test}`"] if claim.test else []
    lines += [claim.missing] if claim.missing else []
    lines += [f"{in_words(each.comparison)}: {_numbers(each)}" for each in verdict.outcomes]
    return lines + ([f"to test: `{verdict.command}`"] if verdict.command else [])


def in_words(comparison: Comparison) -> str:
    """The two sides and the metric of a comparison in words."""
    return ", ".join(filter(None, compared(comparison)))


def compared(comparison: Comparison) -> tuple[str, str]:
    """The two sides and the metric in words; of two metrics both stand in the first, the second is ""."""
    left, right = comparison.left, comparison.right
    metric = words.without_unit(words.metric(left.metric or comparison.metric))
    if right.value is not None:
        return f"{_side(left)}, against {right.value:g}", metric
    if right.method is None:
        other = words.without_unit(words.metric(str(right.metric)))
        return f"{_side(left)}, {metric} − {other}", ""
    if left.parameters == right.parameters:
        shared = ", ".join(["", *_phrases(left.parameters)])
        return f"{words.name(left.method)} − {words.name(right.method)}{shared}", metric
    return f"{_side(left)} − {_side(right)}", metric


def _numbers(outcome: Outcome) -> str:
    if outcome.verdict == NOT_TESTED:
        return "no records of both"
    comparison = outcome.comparison
    n = len(outcome.left)
    half = outcome.half if n >= LEAST_SEEDS else 0.0
    sign = 1.0 if comparison.direction == "higher" else -1.0
    boundary = sign * comparison.margin
    # As many digits as it takes to see on which side of the boundary each end lies.
    ends = outcome.mean - half, outcome.mean + half
    shown = outcome.mean, *(end - boundary for end in ends)
    least = min((abs(number) for number in shown if number), default=1.0)
    digits = 1 if words.has_unit(comparison.left.metric or comparison.metric) else 2
    if 0 < least < 0.5 * 10**-digits:
        digits = min(4, -math.floor(math.log10(least)))
    mean, low, high = (f"{number:+.{digits}f}" for number in (outcome.mean, *ends))
    numbers = f"{mean} [{low}, {high}], " if n >= LEAST_SEEDS else f"{mean}, " if n else ""
    margin = f", boundary {boundary:+g}" if comparison.margin else ""
    data = f", {outcome.data}" if outcome.data else ""
    more = f", further configurations: {outcome.others}" if outcome.others else ""
    return f"{numbers}n={n}{margin}{data}{more}"


def _side(side: Side) -> str:
    values = ", ".join(_phrases(side.parameters))
    named = words.name(str(side.method))
    return f"{named} ({values})" if values else named


def _phrases(values: Mapping[str, Any]) -> list[str]:
    return [words.phrase(f"{name}={_plain(value)}") for name, value in values.items()]


def _plain(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _by_metric(outcomes: Iterable[Outcome]) -> list[str]:
    """A line per comparison, those of one metric under its name."""
    named: dict[str, list[str]] = {}
    for outcome in outcomes:
        pair, metric = compared(outcome.comparison)
        named.setdefault(metric, []).append(f"{pair}: {_numbers(outcome)}")
    return [
        line
        for metric, found in named.items()
        for line in filter(None, [metric and f"*{metric}*", *found])
    ]


def _links(outcome: Outcome, root: str) -> str:
    """The records of each seed: of the left side, then of the right, where that is another."""
    shown = []
    for pair in zip(outcome.left, outcome.right or outcome.left, strict=True):
        paths = dict.fromkeys(record_path(record, root).as_posix() for record in pair)
        shown.append("/".join(f"[{pair[0].seed}]({path})" for path in paths))
    return ", ".join(shown)


def _folded(verdict: Verdict, root: str | None) -> str:
    """Links to the records, comparison by comparison, and the command, behind a line to open."""
    found = [_links(outcome, root) for outcome in verdict.outcomes if root and outcome.left]
    records = [f"records of seeds {links}" for links in found]
    command = [f"to test: `{verdict.command}`"] if verdict.command else []
    title = " and ".join([*["records"][: len(records)], *["command"][: len(command)]])
    inside = "<br>".join([*records, *command])
    return f"<details><summary>{title}</summary>{inside}</details>" if inside else ""


def markdown(
    verdicts: Iterable[Verdict], page: str | None = None, lesson: str | None = None
) -> str:
    """A table of verdicts for GitHub or a notebook.

    Args:
        page: the paper's name, for RESULTS.md: claims have anchors, records and tests are linked.
        lesson: the paper's name, for a table in its notebook: a claim links to its row in RESULTS.md
            (where its records are linked), a test is linked as well.
    """
    rows, last, root = [], None, "data/results" if page else None
    for verdict in verdicts:
        claim, about = verdict.claim, ""
        if claim is not last:
            anchor = f'<a id="{page}-{claim.id}"></a>' if page else ""
            text = f"[{claim.text}](../RESULTS.md#{lesson}-{claim.id})" if lesson else claim.text
            about = f"{anchor}{text} <sub>{claim.place}</sub>"
        shown = [*([claim.missing] if claim.missing else []), *_by_metric(verdict.outcomes)]
        if claim.test:
            path, _, name = claim.test.partition("::")
            link = f"[`{name}`]({'../' if lesson else ''}{path})"
            shown = [link if page or lesson else f"`{claim.test}`"]
        numbers = "<br>".join(shown) + _folded(verdict, root)
        rows.append((about, f"**{verdict.verdict}**", verdict.where, numbers))
        last = claim
    return markdown_table(("Claim", "Verdict", "Scale", "Numbers"), rows)


#: what the columns of `counted` are
COUNTED = ("Paper", "Claims", *(verdict.capitalize() for verdict in VERDICTS))


def counted(verdicts: Mapping[str, Iterable[Verdict]]) -> list[list[str]]:
    """How many claims have which verdict, each by its first line: a row per paper."""
    rows = []
    for paper, found in verdicts.items():
        first = first_lines(found)
        row = [paper, str(len(first))]
        for verdict in VERDICTS:
            scales = [each.scale for each in first if each.verdict == verdict]
            named = (f"{scales.count(s)} {s}" for s in (*SCALES, BY_TEST) if s in scales)
            row.append(" ".join(filter(None, (str(len(scales)), f"({', '.join(named)})"))))
        rows.append([cell.removesuffix(" ()") for cell in row])
    return rows


def counts(verdicts: Mapping[str, Iterable[Verdict]]) -> str:
    """The counts as a table for GitHub, with the sums where there are several papers."""
    rows = counted(verdicts)
    return markdown_table(COUNTED, [*rows, total(rows)] if len(rows) > 1 else rows)


def total(rows: Sequence[Sequence[str]]) -> list[str]:
    """The sums of `counted`'s columns, without the scales."""
    return ["all", *map(total_of, list(zip(*rows, strict=True))[1:])]


def total_of(cells: Iterable[str]) -> str:
    """The sum of cells of `counted`, without the scales."""
    return str(sum(int(cell.split()[0]) for cell in cells))
