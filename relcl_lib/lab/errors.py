"""Which errors explain themselves, so that a person needs their message and no traceback."""

from __future__ import annotations

import linecache


def explains_itself(error: BaseException) -> bool:
    """Whether a `raise` of this library made the error: its message was written for a reader.

    What Python or another package raised, wherever it was called from, is no such error.
    """
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return False
    # Not `__name__`, which is `__main__` in the module that `python -m` runs.
    module = getattr(trace.tb_frame.f_globals.get("__spec__"), "name", "")
    if not module.startswith("relcl_lib."):
        return False
    line = linecache.getline(trace.tb_frame.f_code.co_filename, trace.tb_lineno)
    return line.split()[:1] == ["raise"]
