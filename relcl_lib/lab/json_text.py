"""JSON that somebody else may have written: whatever is wrong with it is a ValueError."""

from __future__ import annotations

import json
import re
from typing import Any

_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


def parse_json(text: str, **options: Any) -> Any:
    """As `json.loads`; text that no file can hold, and values nested too deep, are errors too.

    Raises:
        ValueError: says what is wrong.
    """
    try:
        found = json.loads(text, **options)
        if _SURROGATE.search(text):  # halves of a pair, unless both are there
            json.dumps(found, ensure_ascii=False).encode()
        return found
    except json.JSONDecodeError as error:
        if "\n" in text.strip():
            raise
        # "line 1" would be taken for the file's, where the text is one of its lines.
        raise ValueError(f"{error.msg} (column {error.colno})") from None
    except RecursionError:
        raise ValueError("its values are nested too deep") from None
    except UnicodeEncodeError:
        raise ValueError("a text in it holds half a surrogate pair, which no file can") from None
