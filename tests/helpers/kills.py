"""Kill a piece of work at random moments, start it again until it ends, and compare with undisturbed.

    PYTHONPATH=.:tests/helpers python tests/helpers/kills.py FOLDER KIND:KILLS ... [--seed N]

All is imported once; each try is a fork, which loses nothing but the time to load torch. Prints one
JSON object per kind: kills, tries that went on after one, ends that were the same bit for bit.
"""

import contextlib
import io
import json
import os
import random
import re
import shutil
import signal
import sys
import time
from pathlib import Path

import torch

torch.set_num_threads(1)


#: metrics that are measured anew by each run
MEASURED = re.compile(r"(^|_)(ms|ram|seconds|time)(_|$)")

# --- what is killed ------------------------------------------------------------------------------


def train(paper, folder):
    """A paper's run with checkpoints and a record."""
    module, parameters, data = PAPERS[paper]
    module.train_or_read(
        parameters, data=data, results=folder / "results", work_dir=folder / "work"
    )


def extract(folder):
    from relcl_lib.papers.fastre.command import main

    with (folder.parent / "lines").open("rb") as lines:
        sys.stdin = io.TextIOWrapper(lines)
        words = ["--model", str(folder.parent / "tagger" / "model"), "--out", str(folder / "out")]
        main(["extract", *words, "--chunk", "3", "--batch-size", "3"])


def update_tables(folder):
    from relcl_lib.commands.tables import main

    file = folder / "README.md"
    if not file.exists():
        file.write_text("# Tables\n\n<!-- table:drl -->\n<!-- /table:drl -->\n")
    main(["--update", str(file)])


def prepare(kind, folder):
    """Whatever is the same for all tries, and runs no backward pass, after which none may fork."""
    global PAPERS
    import crecl_data
    import docre_data
    import drl_data
    import fastre_data
    import gratings

    from relcl_lib.papers.crecl.run import CreclRun
    from relcl_lib.papers.docre_ii.run import DocreRun
    from relcl_lib.papers.drl.run import DrlRun
    from relcl_lib.papers.fastre.run import FastreRun
    from relcl_lib.papers.hpcr.run import ReplayRun

    PAPERS = {
        "crecl": (CreclRun, crecl_data.parameters(seeds=[2021]), crecl_data.tiny_data()),
        "fastre": (
            FastreRun,
            fastre_data.parameters(epochs=6, allow_lost=True),
            fastre_data.tiny_data(),
        ),
        "docre_ii": (
            DocreRun,
            docre_data.parameters(stage1_epochs=2, stage2_epochs=2),
            docre_data.tiny_data(),
        ),
        "drl": (DrlRun, drl_data.parameters(method="ER", track="NI"), drl_data.tiny_data()),
        "hpcr": (
            ReplayRun,
            gratings.parameters(method="HPCR", seeds=[0, 1], optimizer="adam", learning_rate=0.002),
            gratings.gratings(),
        ),
    }
    if kind == "extraction":
        import readers

        readers.save_tagger(folder / "tagger")
        texts = [s.text for s in fastre_data.load_triples("synthetic").train]
        (folder / "lines").write_text("\n".join(texts[:24]))


WORK = {"extraction": extract, "table update": update_tables} | {
    name: (lambda folder, name=name: train(name, folder))
    for name in ("crecl", "fastre", "docre_ii", "drl", "hpcr")
}


# --- killing -------------------------------------------------------------------------------------


def begin(work, folder):
    """The process that does it."""
    pid = os.fork()
    if pid:
        return pid
    try:
        with (
            (folder.parent / "said").open("a") as said,
            contextlib.redirect_stdout(said),
            contextlib.redirect_stderr(said),
        ):
            work(folder)
        code = 0
    except BaseException as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        code = 1
    os._exit(code)


def ended(pid, seconds):
    """Whether it ended by itself within a time; if it did not, it is killed."""
    until = time.monotonic() + seconds
    while True:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            if status:
                raise SystemExit(f"ended with status {status}")
            return True
        if time.monotonic() >= until:
            break
        time.sleep(min(0.002, until - time.monotonic()) if until > time.monotonic() else 0)
    os.kill(pid, signal.SIGKILL)
    return os.waitpid(pid, 0)[1] == 0  # it may have ended just then


def outcome(folder):
    """Everything that is there, but for when and how long it took."""
    found = {}
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        content = path.read_bytes()
        if path.suffix == ".json":
            value = json.loads(content)
            for name in (
                "seconds",
                "date",
                "peak_memory_bytes",
                "history",
                "commit",
                "commits",
                "versions",
            ):
                value.pop(name, None)
            metrics = value.get("metrics", {})  # some tables have times and memory among theirs
            value["metrics"] = {k: v for k, v in metrics.items() if not MEASURED.search(k)}
            content = json.dumps(value, sort_keys=True).encode()
        if path.name != "SHA256SUMS":  # of files with seconds in them
            found[path.relative_to(folder).as_posix()] = content
    return found


def torment(kind, folder, kills, draw):
    """Kill so many tries; what came of it."""
    folder.mkdir(parents=True)
    prepare(kind, folder)
    work, sound = WORK[kind], folder / "undisturbed"
    sound.mkdir()
    started = time.monotonic()
    assert ended(begin(work, sound), 600)
    length, right = time.monotonic() - started, outcome(sound)
    counts = {"kind": kind, "kills": 0, "resumes": 0, "ends": 0, "identical": 0}
    seconds, place = [], folder / "0"
    place.mkdir()
    again = False
    while True:
        # Never twice at the same point of its life; in the end without a kill.
        last = counts["kills"] >= kills
        limit = 600 if last else draw.uniform(0.0, 1.05 * length)
        pid = begin(work, place)
        counts["resumes"] += again
        again = not ended(pid, limit)
        if again:
            counts["kills"] += 1
            seconds.append(limit)
            continue
        counts["ends"] += 1
        mine = outcome(place)
        counts["identical"] += mine == right
        if mine != right:
            differ = sorted({*mine, *right}, key=lambda n: mine.get(n) == right.get(n))
            counts.setdefault("differs", []).append(
                [n for n in differ if mine.get(n) != right.get(n)]
            )
        shutil.rmtree(place)
        place.mkdir()
        if last:
            break
    return counts | {
        "seconds": round(length, 2),
        "at": [round(min(seconds), 2), round(max(seconds), 2)],
    }


def main(folder, *wanted):
    seed = wanted[wanted.index("--seed") + 1] if "--seed" in wanted else "0"
    for word in wanted:
        kind, colon, kills = word.partition(":")
        if colon:
            draw = random.Random(f"{kind} {seed}")
            print(json.dumps(torment(kind, Path(folder) / kind, int(kills), draw)), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
