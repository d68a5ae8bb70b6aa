"""Long runs hold constant memory and a constant number of open files."""

import json
import subprocess
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
from processes import ROOT, children, handles, relcl, resident

pytestmark = pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks for processes in /proc")
MIB = 1 << 20


def of_fastre(folder):
    """Save an untrained tagger, and return what it reads."""
    import readers
    import torch
    from fastre_data import load_triples

    extractor = readers.tagger()
    # An untrained tagger finds everything everywhere; this one, next to nothing.
    with torch.no_grad():
        for name, value in extractor.model.named_parameters():
            if name.endswith("bias") and "encoder" not in name:
                value.fill_(-4.0)
    extractor.save(folder / "model")
    return [sentence.text for sentence in load_triples("synthetic").train]


def of_docre_ii(folder):
    import readers

    # Of an untrained network next to nothing lies so high above the threshold.
    replace(readers.predictor(), threshold=1.5).save(folder / "model")
    documents = json.loads((ROOT / "data/synthetic/docred/test.json").read_text())
    return [json.dumps(document) for document in documents]


def of_crecl(folder):
    import readers

    readers.save_classifier(folder)
    return (ROOT / "tests/cases/own_relations/test.jsonl").read_text().splitlines()


@pytest.mark.parametrize(
    "command, prepare, counted, few, many",
    [
        ("fastre extract", of_fastre, "lines", 3000, 1_000_000),
        ("docre_ii predict --tuned", of_docre_ii, "documents", 240, 6_000),
        ("crecl predict", of_crecl, "sentences", 1800, 120_000),
    ],
    ids=["fastre", "docre_ii", "crecl"],
)
def test_a_stream(command, prepare, counted, few, many, tmp_path, long, tell):
    texts = prepare(tmp_path)
    total, seen = many if long else few, []
    process = relcl(
        *(*command.split(), "--model", tmp_path / "model", "--out", tmp_path / "out"),
        *("--progress", total // (100 if long else 6)),
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
    )

    def feed():
        for at in range(total):
            process.stdin.write(f"{texts[at % len(texts)]}\n")
        process.stdin.close()

    def listen():
        for line in process.stderr:
            if f" {counted}, " in line:
                done = int(line.split()[0])
                if done < total:
                    seen.append((done, resident(process.pid), handles(process.pid)))

    threads = [threading.Thread(target=each) for each in (feed, listen)]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert process.wait() == 0
    process.stderr.close()
    seconds = time.monotonic() - began
    with (tmp_path / "out").open() as lines:
        assert sum(1 for _ in lines) == total
    first, last = seen[0], seen[-1]
    growth = (
        max(memory for _, memory, _ in seen[len(seen) // 10 :]) - seen[len(seen) // 10][1]
    ) / MIB
    assert growth < 64 and {files for *_, files in seen} == {last[2]}, seen
    tell(
        f"{total} {counted} in {seconds:.0f} s: {first[1] / MIB:.0f} MiB and {first[2]} open files after "
        f"{first[0]}, {last[1] / MIB:.0f} MiB and {last[2]} after {last[0]}"
    )


CELLS = "fastre sweep table5 --dataset synthetic --methods FastRE --jobs 2 --set"
SMALL = "train_limit=8 epochs=1 hidden=8 attention_heads=2 vector_size=8 type_size=4 dilations=[1]"


def test_a_sweep_of_many_cells(tmp_path, long, tell):
    if not long:
        pytest.skip("in make test-hard")
    from fastre_data import load_triples

    # A network that has learnt nothing finds triples everywhere, so there is little to find them in.
    few = load_triples("synthetic").train[:16]
    for name, some in (("train", few[:8]), ("valid", few[8:12]), ("test", few[12:])):
        rows = [{"text": s.text, "triple_list": s.triples} for s in some]
        (tmp_path / f"{name}.json").write_text(json.dumps(rows))
    count = 200
    seeds = list(map(str, range(count)))
    process = relcl(
        *(*CELLS.split(), *SMALL.split(), "heads=mean", "--data-root", tmp_path),
        *("--seeds", *seeds, "--results", tmp_path / "results", "--work-dir", tmp_path / "work"),
        stdout=subprocess.PIPE,
    )
    seen, cells = [], 0
    for line in process.stdout:
        if line.startswith("["):
            workers = [pid for pid in children(process.pid) if resident(pid) > 100 * MIB]
            if " done: " in line and len(workers) == 2:
                every = [process.pid, *workers]
                seen.append(([resident(p) for p in every], [handles(p) for p in every], workers))
            cells += line.startswith("[sweep]")
    process.stdout.close()
    assert process.wait() == 0
    records = list((tmp_path / "results").rglob("*.json"))
    assert len(records) == count == cells
    assert len({tuple(workers) for *_, workers in seen}) == 1
    start, end = seen[len(seen) // 5], seen[-1]
    grown = [(b - a) / MIB for a, b in zip(start[0], end[0], strict=True)]
    assert max(grown) < 40 and start[1] == end[1], (start, end)
    tell(
        f"{count} cells; sweep and workers from {[m // MIB for m in start[0]]} to "
        f"{[m // MIB for m in end[0]]} MiB, {start[1]} and {end[1]} open files; "
        f"{len(records)} records: {json.dumps(sorted({len(r.read_bytes()) // 1000 for r in records}))} kB"
    )
