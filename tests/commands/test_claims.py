"""The committed claims can be decided: their methods, tests and commands are there."""

import ast
import shlex
import subprocess
import sys

import fastre_data
import gratings
import pytest
from example_records import run

from relcl_lib.__main__ import main as relcl
from relcl_lib.commands.claims import claims_block, main, papers_block
from relcl_lib.commands.sweep import make_cells, parser
from relcl_lib.lab.claim_files import read_claims
from relcl_lib.lab.claims import judge
from relcl_lib.lab.command_line import parse
from relcl_lib.lab.files import repository_root
from relcl_lib.lab.format import TableError
from relcl_lib.lab.parameters import read_settings
from relcl_lib.lab.records import read_records, write_record
from relcl_lib.papers.drl.tables import NETWORKS
from relcl_lib.papers.fastre.run import FastreRun
from relcl_lib.papers.hpcr.recorded_run import command_line as measure_line
from relcl_lib.papers.registry import PAPERS

CLAIMS = {paper: read_claims(paper) for paper in PAPERS}
EVERY = [(paper, claim) for paper, claims in CLAIMS.items() for claim in claims]
COMMITTED = read_records()
#: kinds of runs that no sweep makes: the studies of DRL's Figures 1 and 2 are its notebook's
OF_NOTEBOOKS = {"drl": {"MLP 2x100", "BER"}}
SWEEP = ["python", "-m", "relcl_lib"]
#: what a sweep does not write
MEASURED = {"train_loss", "loss_difference_all_classes", "A_T_components_5", "A_T_components_10"}


def named(paper_and_claim):
    return "-".join((paper_and_claim[0], paper_and_claim[1].id))


def sides(claim):
    return [side for each in claim.comparisons for side in (each.left, each.right) if side.method]


@pytest.mark.parametrize("paper", PAPERS)
def test_each_paper_has_five_claims_at_least(paper):
    assert len(CLAIMS[paper]) >= 5


@pytest.mark.parametrize("paper, claim", EVERY, ids=map(named, EVERY))
def test_methods_can_be_run(paper, claim):
    cells = {cell.method for table in PAPERS[paper].tables.TABLES.values() for cell in table.cells}
    assert {side.method for side in sides(claim)} <= cells | OF_NOTEBOOKS.get(paper, set())


@pytest.mark.parametrize("paper, claim", EVERY, ids=map(named, EVERY))
def test_commands_are_understood_and_run_both_sides(paper, claim):
    for setting in claim.settings:
        commands = [setting.command]
        if setting.smaller:
            commands.append(f"{setting.command} {setting.smaller}")
        metrics = {setting.metric or each.metric for each in claim.comparisons}
        measured = [c for whole in commands for c in whole.split(" && ") if " hpcr measure " in c]
        assert bool(metrics & MEASURED) == bool(measured)
        for command in measured:
            given = shlex.split(command)[shlex.split(command).index("measure") + 1 :]
            options = parse(measure_line("measure", "", checkpoints=True), ["measure", *given])
            PAPERS[paper].parameters.create(read_settings(options.settings))
        for command in (whole.split(" && ")[0] for whole in commands):
            words = shlex.split(command)
            if words[:2] == ["python", "-c"]:  # a study of the library, with what it imports
                *imports, call = words[2].split("; ")
                names = {}
                for line in imports:
                    exec(line, names)
                assert call.lstrip("[").partition("(")[0] in names and compile(
                    call, command, "eval"
                )
                continue
            assert words[:3] == SWEEP and words[3:5] == [paper, "sweep"]
            cells = make_cells(parser().parse_args([paper, *words[5:]]))
            made = [
                PAPERS[paper].parameters.create(cell).resolved().model_dump() | cell
                for cell in cells
            ]
            for side in sides(claim):
                wanted = {**setting.parameters, **side.parameters}
                if network := wanted.pop("network", None):
                    wanted["backbone"] = NETWORKS[network]
                assert any(
                    one["method"] == side.method
                    and all(one[name] == value for name, value in wanted.items())
                    for one in made
                ), (command, side)


def test_tests_that_show_a_claim_are_there():
    nodes = sorted({claim.test for _, claim in EVERY if claim.test})
    assert nodes
    for node in nodes:
        path, *names = node.split("::")
        assert names and "[" not in node, node
        scope = ast.parse((repository_root() / path).read_text(encoding="utf-8"))
        for name in names:
            kinds = (ast.FunctionDef, ast.ClassDef)
            inner = [each for each in scope.body if isinstance(each, kinds) and each.name == name]
            assert inner, f"{path} has no {name}"
            scope = inner[0]
        assert names[-1].startswith("test_"), node


@pytest.mark.parametrize("paper", PAPERS)
def test_records_that_decide_are_of_the_right_paper_and_metric(paper):
    """No data set is misspelt, nor a metric of a setting that was run."""
    ours = [record for record in COMMITTED if record.paper == paper]
    run_on = {(key, str(value)) for record in ours for key, value in record.dataset.items()}
    rows = PAPERS[paper].tables.rows()
    to_run_on = {(key, str(value)) for row in rows for key, value in row.where_dataset.items()}
    metrics = {name for record in ours for name in record.metrics}
    if paper == "fastre":  # what a run says of itself today, and earlier ones did not
        given = fastre_data.parameters(epochs=1, threshold_curve=True)
        metrics |= FastreRun(given, fastre_data.tiny_data()).train().record().metrics.keys()
    if paper == "hpcr":
        metrics |= gratings.make_run(method="PCR").train().record().metrics.keys()
    for claim in CLAIMS[paper]:
        for setting in claim.settings:
            names = {(key, str(value)) for key, value in setting.dataset.items()}
            assert names <= run_on | to_run_on, (claim.id, names - run_on - to_run_on)
            if names <= run_on:
                compared = {setting.metric or each.metric for each in claim.comparisons}
                assert compared <= metrics, (claim.id, compared - metrics)


def test_a_new_record_changes_the_table_with_no_hand():
    ours = [record for record in COMMITTED if record.paper == "crecl"]
    before = judge(CLAIMS["crecl"], ours)
    one = next(line for line in before if line.claim.id == "over-rp-cre")
    assert one.verdict == "inconclusive"
    left, right = one.outcomes[0].left[0], one.outcomes[0].right[0]
    more = [
        record.model_copy(update={"seed": seed, "metrics": record.metrics | {"T10": value}})
        for seed in range(10)
        for record, value in ((left, 70.0 + seed), (right, 60.0 + seed))
    ]
    after = judge(CLAIMS["crecl"], [*ours, *more])
    assert next(line for line in after if line.claim.id == "over-rp-cre").verdict == "supported"
    assert claims_block("claims", COMMITTED) != claims_block("claims", [*COMMITTED, *more])


def test_readmes_table_counts_every_claim():
    *lines, last = papers_block(COMMITTED).splitlines()[2:]
    written = sum(map(len, CLAIMS.values()))
    every, *found = map(int, last.replace("|", " ").split()[1:])
    assert every == written == sum(found)
    assert len(lines) == len(PAPERS)
    for (name, paper), line in zip(PAPERS.items(), lines, strict=True):
        cited, _, lesson, claims, *found = (cell.strip() for cell in line.strip("|").split(" | "))
        assert f"[{paper.title}]({paper.link})" in cited and f"(notebooks/{name}.ipynb)" in lesson
        assert claims == f"[{len(CLAIMS[name])}](RESULTS.md#claims-{name})"
        assert len(CLAIMS[name]) == sum(int(cell.split()[0]) for cell in found)


# --- the command line ----------------------------------------------------------------------------


def test_prints_verdicts_and_counts(tmp_path, capsys):
    for seed in range(3):
        for method, a_t in (("PCR", 52.0 + seed / 10), ("ER", 40.0)):
            write_record(run(seed, method, a_t=a_t, backbone="x"), tmp_path)
    assert main(["hpcr", "--results", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "inconclusive (paper: Split CIFAR-10, memory 200): PCR alone" in out
    assert "    PCR − ER, final accuracy A_T: +12.1 [+11.9, +12.3], n=3\n" in out
    written = len(CLAIMS["hpcr"])
    counts = f"| HPCR | {written} | 3 (3 test) | 0 | 1 (1 paper) | {written - 4} |"
    assert out.splitlines()[-1].startswith(counts)


def test_errors_are_one_line(tmp_path, capsys):
    (tmp_path / "hpcr" / "x").mkdir(parents=True)
    (tmp_path / "hpcr" / "x" / "a.json").write_text("{")
    assert relcl(["hpcr", "claims", "--results", str(tmp_path)]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    with pytest.raises(TableError, match="no block is named 'claims/x'; there are: claims, "):
        claims_block("claims/x", [])


def test_the_command_loads_no_torch():
    program = (
        "import sys; from relcl_lib.__main__ import main\n"
        "code = main(['claims']); print(code, {'torch', 'pandas'} & set(sys.modules))"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(
        command, cwd=repository_root(), capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "0 set()"
