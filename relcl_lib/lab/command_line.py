"""What the command lines of the papers share beyond argparse."""

from __future__ import annotations

import argparse
from collections.abc import Sequence


def positive(text: str) -> int:
    """An integer of at least 1, as a `type` of argparse."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is not at least 1")
    return value


def parse(
    parser: argparse.ArgumentParser, arguments: Sequence[str] | None = None
) -> argparse.Namespace:
    """Parse arguments; `settings`, where a command takes some, may stand on both sides of options.

    argparse takes them in one row only, and leaves over what follows a further option.
    """
    options, more = parser.parse_known_args(arguments)
    if "settings" in options:
        options.settings += [word for word in more if not word.startswith("-")]
        more = [word for word in more if word.startswith("-")]
    if more:
        parser.error(f"unrecognized arguments: {' '.join(more)}")
    return options
