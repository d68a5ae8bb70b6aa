"""Processes that write one place over and over, for tests that end them while they do.

python tests/helpers/writers.py record|failed|checkpoint|file FOLDER NUMBER
"""

import itertools
import sys
from pathlib import Path


def record(folder, number):
    from example_records import make

    from relcl_lib.lab.records import write_record

    for turn in itertools.count():
        write_record(make(metrics={"A_T": float(number)}, note=f"{number} {turn}"), folder)


def failed(folder, number):
    """A failed run of the same configuration, which never replaces a finished one."""
    from example_records import failed, make

    from relcl_lib.lab.records import RecordError, record_path, write_record

    for turn in itertools.count():
        try:
            write_record(failed(), folder)
        except RecordError:
            if turn % 5 == 4:  # so that there is a place to be fought for again
                record_path(make(), folder).unlink(missing_ok=True)
                write_record(make(note=f"{number} {turn}"), folder)


def checkpoint(folder, number):
    import torch

    from relcl_lib.lab import checkpoints

    for turn in itertools.count():
        state = {"a": torch.full((1000,), turn), "b": torch.full((3,), number)}
        checkpoints.save(Path(folder) / "one", state, {"turn": turn, "number": number})


def file(folder, number):
    from relcl_lib.lab.files import atomic_write_text

    for turn in itertools.count():
        atomic_write_text(Path(folder) / "file", f"{number} {turn} " * 1000)


if __name__ == "__main__":
    kind, place, one = sys.argv[1:]
    print("begun", flush=True)
    globals()[kind](place, int(one))
