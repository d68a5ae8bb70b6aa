"""What the source may not do with what it is given: run it, unpickle it, hand it to a shell."""

import ast
import json

from processes import ROOT

#: calls by their full name, as written
NEVER = {
    *("eval", "exec", "compile", "os.system", "os.popen", "pickle.load", "pickle.loads"),
    *(
        "joblib.load",
        "dill.load",
        "dill.loads",
        "pd.read_pickle",
        "pandas.read_pickle",
        "yaml.load",
    ),
    *("marshal.load", "marshal.loads", "shelve.open", "torch.hub.load", "subprocess.getoutput"),
    *("cloudpickle.load", "cloudpickle.loads", "tempfile.mktemp", "shutil.unpack_archive"),
}
METHODS = {"extractall", "extract_all"}
#: keyword that a call needs, with its value
NEEDS = {
    "torch.load": ("weights_only", True),
    "np.load": ("allow_pickle", False),
    "numpy.load": ("allow_pickle", False),
    **{
        f"{kind}.{way}": ("trust_remote_code", False)
        for kind in ("AutoConfig", "AutoModel", "AutoTokenizer")
        for way in ("from_pretrained", "from_config")
    },
}
FALSE = {"trust_remote_code": False, "shell": False, "allow_pickle": False}


def name_of(node):
    if isinstance(node, ast.Attribute):
        inner = name_of(node.value)
        return f"{inner}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def complaints(source, place):
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ClassDef) and any(
            name_of(b).endswith("Unpickler") for b in node.bases
        ):
            yield f"{place}:{node.lineno}: an unpickler of its own"
        if not isinstance(node, ast.Call):
            continue
        name, where = name_of(node.func), f"{place}:{node.lineno}"
        given = {k.arg: getattr(k.value, "value", ...) for k in node.keywords if k.arg}
        if name in NEVER or name.rsplit(".", 1)[-1] in METHODS:
            yield f"{where}: {name}"
        for keyword, value in FALSE.items():
            if given.get(keyword, value) is not value:
                yield f"{where}: {name} with {keyword}"
        keyword, value = NEEDS.get(name, (None, None))
        if keyword and given.get(keyword) is not value:
            yield f"{where}: {name} without {keyword}={value}"
        first = node.args[0] if node.args else None
        if name.startswith("subprocess.") and isinstance(first, ast.JoinedStr | ast.Constant):
            yield f"{where}: {name} with a text, not a list of words"


def test_the_library_runs_nothing_that_it_is_given():
    found = []
    for file in sorted((ROOT / "relcl_lib").rglob("*.py")):
        found += complaints(file.read_text("utf-8"), file.relative_to(ROOT).as_posix())
    # The one unpickler admits arrays and containers alone; test_hostile.py tries it.
    assert [f for f in found if "relcl_lib/data/pickles.py" not in f or "unpickler" not in f] == []


def test_the_notebooks_run_nothing_that_they_are_given():
    found = []
    for file in sorted((ROOT / "notebooks").glob("*.ipynb")):
        for number, cell in enumerate(json.loads(file.read_text("utf-8"))["cells"]):
            if cell["cell_type"] == "code":
                source = "".join(cell["source"])
                lines = [x for x in source.splitlines() if not x.lstrip().startswith("%")]
                found += complaints("\n".join(lines), f"{file.name}, cell {number}")
    assert found == []


def test_what_is_looked_for_is_found():
    bad = (
        "eval(text)",
        "os.system(f'rm {name}')",
        "subprocess.run(f'ls {name}', shell=True)",
        "subprocess.run('ls')",
        "pickle.load(file)",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "np.load(path)",
        "archive.extractall(folder)",
        "AutoModel.from_pretrained(folder)",
        "AutoModel.from_pretrained(folder, trust_remote_code=True)",
        "class Mine(pickle.Unpickler): pass",
    )
    for source in bad:
        assert list(complaints(source, "x")), source
    good = (
        "subprocess.run(['ls', name])",
        "torch.load(path, weights_only=True)",
        "np.load(path, allow_pickle=False)",
        "AutoModel.from_pretrained(folder, trust_remote_code=False)",
        "model.eval()",
        "re.compile(x)",
    )
    for source in good:
        assert not list(complaints(source, "x")), source
