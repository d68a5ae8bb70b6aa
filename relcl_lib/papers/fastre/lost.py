"""What `tag_sentences` reports of triples that cannot be trained on, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def describe_lost(report: Mapping[str, Any], split: str = "train", most: int = 3) -> str:
    """How many triples a report of `tag_sentences` lost, and the commonest reasons; empty for none.

    They are not trained on; those of another `split` count as gold and bound its scores.
    """
    lost = report["triples"] - report["tagged"]
    if not lost:
        return ""
    found = list(report["lost_examples"].items())
    reasons = [
        f"{count} {_agreeing(reason, count)} ({example})"
        for reason, (count, example) in found[:most]
    ]
    more = len(found) - most
    reasons += [f"{more} more reason{'s' * (more > 1)}"] if more > 0 else []
    done = f"{'is' if lost == 1 else 'are'} not trained on"
    if split != "train":
        done = f"of the {split} split cannot be found as they are written, which bounds its scores"
    return f"{lost} of {report['triples']} triples {done}: {'; '.join(reasons)}"


def _agreeing(reason: str, count: int) -> str:
    """A reason with its verb in the singular, where it is of one triple."""
    verb, _, rest = reason.partition(" ")
    return f"{ {'have': 'has', 'lie': 'lies'}.get(verb, verb) if count == 1 else verb } {rest}"


def lost_share(report: Mapping[str, Any]) -> float:
    """The share of triples that were lost though their relation is in the schema."""
    known = report["triples"] - sum(report["unknown_relation"].values())
    return (known - report["tagged"]) / known if known else 0.0
