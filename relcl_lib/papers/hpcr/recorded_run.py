"""What the commands share that read something off a recorded run: its words, and the run they name."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from relcl_lib.lab.files import existing_folder

if TYPE_CHECKING:
    from relcl_lib.papers.hpcr.run import ReplayRun


def command_line(command: str, about: str, *, checkpoints: bool) -> argparse.ArgumentParser:
    """The words of such a command; with `checkpoints` their folder has to be named."""
    line = argparse.ArgumentParser(
        prog="python -m relcl_lib hpcr",
        description=about,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    line.add_argument("command", choices=[command])
    line.add_argument("settings", nargs="*", metavar="NAME=VALUE", help="of the run")
    line.add_argument("--work-dir", required=checkpoints, help="folder with the checkpoints")
    line.add_argument("--data-root", help="folder that holds the data set")
    line.add_argument(
        "--results", type=existing_folder, help="folder of the records (data/results)"
    )
    return line


def named_run(options: argparse.Namespace) -> ReplayRun:
    """The run that these words name, as it is before anything is trained or read."""
    from relcl_lib.lab.parameters import read_settings
    from relcl_lib.papers.hpcr.parameters import ReplayParameters
    from relcl_lib.papers.hpcr.run import ReplayRun

    settings = {
        "profile": "full",
        "data_root": options.data_root,
        **read_settings(options.settings),
    }
    parameters = ReplayParameters.create(settings)
    return ReplayRun(parameters, ReplayRun.load_data(parameters), options.work_dir)
