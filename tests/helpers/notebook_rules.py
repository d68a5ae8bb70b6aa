"""What a committed notebook must look like: one function a rule, each a list of complaints."""

import ast
import io
import json
import re
import statistics
import tokenize

import nbformat

MOST_BYTES = 1_600_000
MOST_LINES = 25
MOST_UNEXPLAINED = 10
WIDGET = "application/vnd.jupyter.widget-view+json"
# A folder of somebody's machine, but not the end of a URL or of a relative path.
MACHINE_PATH = re.compile(
    r"(?<![\w.~}>)/:-])/(?:home|Users|root|work|tmp|mnt|opt|private|var|content|kaggle)/[\w.-]"
    r"|(?<![\w~])~/[\w.]|\b[A-Z]:\\+\w|file:[/]{2}"
)


def source(cell):
    return "".join(cell["source"])


def code_cells(notebook):
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def comments(cell):
    """The tokens of a code cell that are comments."""
    tokens = tokenize.generate_tokens(io.StringIO(source(cell)).readline)
    return [token for token in tokens if token.type == tokenize.COMMENT]


def tags(cell):
    return cell["metadata"].get("tags", [])


def texts(notebook):
    """Pairs of a place and what stands there: metadata, sources and outputs, images left out."""
    yield "metadata", json.dumps(notebook["metadata"])
    for index, cell in enumerate(notebook["cells"]):
        yield f"cell {index}", source(cell)
        yield f"metadata of cell {index}", json.dumps(cell["metadata"])
        for output in cell.get("outputs", []):
            shown = [output.get("text", ""), *output.get("traceback", [])]
            data = output.get("data", {}).items()
            shown += [text for kind, text in data if not kind.startswith("image/")]
            for text in shown:
                yield f"output of cell {index}", text if isinstance(text, str) else str(text)


def form(notebook):
    try:
        nbformat.validate(nbformat.from_dict(notebook))
    except nbformat.ValidationError as error:
        yield f"not a valid notebook: {error}"
    kernel = notebook["metadata"].get("kernelspec", {}).get("name")
    if kernel != "python3":
        yield f"kernel {kernel!r}: papermill finds only python3 everywhere"
    if "widgets" in notebook["metadata"]:
        yield "widget state in the metadata: GitHub would not show the notebook"


def parameters(notebook):
    first = code_cells(notebook)[0]
    if "parameters" not in tags(first):
        yield "the first code cell is not tagged 'parameters'"
    for statement in ast.parse(source(first)).body:
        try:
            named = isinstance(statement, ast.AnnAssign | ast.Assign)
            ast.literal_eval(statement.value if named else "not an assignment")
        except (ValueError, SyntaxError):
            yield f"parameters, line {statement.lineno}: not name = literal"
    for token in comments(first):
        if "=" in token.string:
            yield f"parameters, line {token.start[0]}: papermill misreads a comment with ="


def outputs(notebook):
    for index, cell in enumerate(notebook["cells"]):
        for output in cell.get("outputs", []):
            if output["output_type"] == "error":
                yield f"cell {index}: an error is stored in its output"
            if WIDGET in output.get("data", {}):
                yield f"cell {index}: a widget is stored in its output"
    counts = [cell["execution_count"] for cell in code_cells(notebook)]
    if counts != list(range(1, len(counts) + 1)):
        yield f"not executed from top to bottom in a fresh kernel: counts {counts}"


def places(notebook):
    for place, text in texts(notebook):
        for found in MACHINE_PATH.finditer(text):
            yield f"{place}: a path of one machine: {found[0]}..."


def lengths(notebook):
    lines = [len(source(cell).splitlines()) for cell in code_cells(notebook)]
    for number, count in enumerate(lines, 1):
        if count > MOST_LINES:
            yield f"In [{number}] has {count} lines, more than {MOST_LINES}"
    if statistics.median(lines) >= 10:
        yield f"the median code cell has {statistics.median(lines)} lines, not under 10"
    if not 25 <= len(lines) <= 65:
        yield f"{len(lines)} code cells, not 25 to 65"
    if not any("solution" in tags(cell) for cell in notebook["cells"]):
        yield "no cell is tagged 'solution'"


def explained(notebook):
    for number, cell in enumerate(code_cells(notebook), 1):
        lines = sum(1 for line in source(cell).splitlines() if line.strip())
        for statement in ast.parse(source(cell)).body:
            if isinstance(statement, ast.Import | ast.ImportFrom):
                lines -= statement.end_lineno - statement.lineno + 1
        if lines > MOST_UNEXPLAINED and not comments(cell):
            yield f"In [{number}] has {lines} lines beside its imports, and no comment"


def names(cell):
    """The names that a cell gives something to, and those that it reads, in any scope."""
    given, read = set(), set()
    for node in ast.walk(ast.parse(source(cell))):
        if isinstance(node, ast.Name):
            (read if isinstance(node.ctx, ast.Load) else given).add(node.id)
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            given.add(node.name)
        elif isinstance(node, ast.alias):
            given.add((node.asname or node.name).split(".")[0])
        elif isinstance(node, ast.arg):
            given.add(node.arg)
    return given, read


def handout(notebook):
    solved, given, read = set(), set(), set()
    for cell in code_cells(notebook):
        if "solution" in tags(cell):
            solved |= names(cell)[0]
        else:
            given, read = (old | new for old, new in zip((given, read), names(cell), strict=True))
    for name in sorted((solved - given) & read):
        yield f"{name} is given by a solution alone: a handout stops without it"


def folded(notebook):
    """A reader tries first: an answer is shown when asked for, in JupyterLab and on the site."""
    for index, cell in enumerate(notebook["cells"]):
        if cell["cell_type"] == "code":
            hidden = cell["metadata"].get("jupyter", {}).get("source_hidden", False)
        else:
            hidden = source(cell).startswith("<details>")
        if "solution" in tags(cell) and not hidden:
            yield f"cell {index}: an answer that is not folded"


RULES = (form, parameters, outputs, places, lengths, explained, folded, handout)


def complaints(path):
    text = path.read_bytes()
    notebook = json.loads(text)
    found = [complaint for rule in RULES for complaint in rule(notebook)]
    if len(text) > MOST_BYTES:
        found.append(f"{len(text)} bytes, more than {MOST_BYTES}")
    return found
