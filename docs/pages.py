"""What the site is made of: which files are pages, where their links lead, how docstrings read."""

from __future__ import annotations

import inspect
import json
import posixpath
import re
import shutil
import textwrap
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sphinx.application import Sphinx

ROOT = Path(__file__).resolve().parents[1]
LESSONS = ("hpcr", "drl", "crecl", "fastre", "docre_ii")
LIBRARY = ("losses", "models", "continual", "text")
#: file of the repository -> page; the front page is README.md
PAGES = {
    "README.md": "index",
    **{f"notebooks/{name}.ipynb": f"notebooks/{name}" for name in LESSONS},
    **{
        f"{name}.md": name
        for name in (
            "RESULTS",
            "CONTRIBUTING",
            "CHANGELOG",
            "data/README",
            "data/synthetic/README",
            "data/synthetic/encoder/README",
            "data/tries/README",
            "tests/README",
            "tests/benchmarks/README",
        )
    },
}
#: folders that a page links to get a list of their files
LISTED = {
    "data/results": "Records\n\nOne file per run and seed: parameters, versions, numbers.",
    "data/claims": "Claims, as files\n\nWhat each paper claims, and the comparison that decides it.",
}
#: page of the reference -> the folder that it describes
REFERENCE = {
    **{f"api/{room}": f"relcl_lib/{room}" for room in LIBRARY},
    **{f"api/{name}": f"relcl_lib/papers/{name}" for name in LESSONS},
}
CONTENTS = {
    "Lessons": [f"notebooks/{name}" for name in LESSONS],
    "Results": ["RESULTS", "data/results/index", "data/claims/index", "data/tries/README"],
    "Library": [f"api/{room}" for room in LIBRARY],
    "Papers": [f"api/{name}" for name in LESSONS],
    "More": ["data/README", "CONTRIBUTING", "tests/README", "CHANGELOG"],
}
#: rooms and papers have pages of the reference, made from the docstrings
MODULE = """
## {title}

[{file}]({up}{file})

```{{eval-rst}}
.. automodule:: {module}
```
"""
LINK = re.compile(r'(href=")(?![a-z]+:|#)([^"#]+)(#[^"]*)?"')
SOURCE_LINK = re.compile(r"\]\((?:\.\./)*([\w/]+\.py)\)")
#: kinds of value -> name -> its docstring, from `plain_docstring` to `keep_text`
DESCRIBED: dict[str, dict[str, list[str]]] = {"data": {}, "attribute": {}, "property": {}}
EXAMPLE = re.compile(r"    |[a-z_, ]+ = \w")
CODE = re.compile(r"(`+)(.+?)\1")


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""
    app.connect("builder-inited", lay_out)
    app.connect("autodoc-process-docstring", plain_docstring, priority=100)
    app.connect("autodoc-process-docstring", keep_text, priority=900)
    app.connect("autodoc-skip-member", left_out)
    app.connect("html-page-context", follow_links)
    return {"parallel_read_safe": True}


# --- the pages -----------------------------------------------------------------------------------


def lay_out(app: Sphinx) -> None:
    """Writes every page's source into the folder that Sphinx reads, at its place in the repository."""
    listed = {page for pages in CONTENTS.values() for page in pages} | {"index"}
    texts = {page: (ROOT / file).read_text("utf-8") for file, page in PAGES.items()}
    texts |= {f"{folder}/index": listing(folder, title) for folder, title in LISTED.items()}
    texts |= {page: reference(page, folder) for page, folder in REFERENCE.items()}
    shown = {file for text in texts.values() for file in SOURCE_LINK.findall(text)}
    texts |= {f"source/{file}": source(file) for file in sorted(shown)}
    texts["index"] += contents()
    clear(Path(app.srcdir), texts)
    for page, text in texts.items():
        notebook = page in CONTENTS["Lessons"]
        file = Path(app.srcdir, page + (".ipynb" if notebook else ".md"))
        text = lesson(text) if notebook else text
        write(file, text if page in listed else f"---\norphan: true\n---\n\n{text}")
    for picture in (ROOT / "figures").glob("*.png"):
        copy(picture, Path(app.srcdir, "figures", picture.name))


def clear(folder: Path, texts: Collection[str]) -> None:
    """Removes what an earlier build laid out of files that are gone."""
    for file in [*folder.rglob("*.md"), *folder.rglob("*.ipynb")]:
        if file.relative_to(folder).with_suffix("").as_posix() not in texts:
            file.unlink()


def contents() -> str:
    """The navigation, as the end of the front page."""
    blocks = (
        "\n".join(["```{toctree}", ":hidden:", f":caption: {caption}", "", *pages, "```"])
        for caption, pages in CONTENTS.items()
    )
    return "\n" + "\n\n".join(blocks) + "\n"


def lesson(text: str) -> str:
    """A notebook whose answers are closed until one opens them, as in JupyterLab."""
    notebook = json.loads(text)
    for cell in notebook["cells"]:
        tags = cell["metadata"].get("tags", [])
        if "solution" in tags and cell["cell_type"] == "code":
            cell["metadata"]["tags"] = [*tags, "hide-cell"]
    return json.dumps(notebook)


def listing(folder: str, title: str) -> str:
    """A page with a link to every file below a folder."""
    lines, last = [f"# {title}", ""], None
    for file in sorted((ROOT / folder).rglob("*.json")):
        name = file.relative_to(ROOT / folder)
        if name.parent != last and name.parent.name:
            lines += ["", f"## {' / '.join(name.parent.parts)}", ""]
        last = name.parent
        lines.append(f"- [{name.stem}]({name.as_posix()})")
    return "\n".join(lines) + "\n"


def reference(page: str, folder: str) -> str:
    """A page that describes the modules of a folder by their docstrings."""
    package = folder.replace("/", ".")
    text = f"# {package}\n\n```{{eval-rst}}\n.. automodule:: {package}\n   :no-members:\n```\n"
    for path in sorted((ROOT / folder).rglob("*.py")):
        file = path.relative_to(ROOT).as_posix()
        if path.name != "__init__.py":
            module = file.removesuffix(".py").replace("/", ".")
            title = f"{path.parent.name}.{path.stem}"
            text += MODULE.format(title=title, module=module, up="../", file=file)
    return text


def source(file: str) -> str:
    """A page that shows a Python file."""
    return f"# {file}\n\n``````python\n{(ROOT / file).read_text('utf-8')}``````\n"


def write(file: Path, text: str) -> None:
    """Writes a text where it is not there yet, so that a page that stayed is not made again."""
    if not file.exists() or file.read_text("utf-8") != text:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, "utf-8")


def copy(file: Path, to: Path) -> None:
    """Copies a file with its time."""
    to.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy2(file, to)


# --- their links and docstrings ------------------------------------------------------------------


def page_of(target: str) -> str | None:
    """The page that shows a file or folder of the repository; None where the file itself is shown."""
    if target in PAGES:
        return PAGES[target]
    if target in LISTED:
        return f"{target}/index"
    if f"{target}/README.md" in PAGES:
        return f"{target}/README"
    if target.endswith(".py"):
        return f"source/{target}"
    under = (page for page, folder in REFERENCE.items() if f"{target}/".startswith(f"{folder}/"))
    return next(under, None)


def follow_links(
    app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: Any
) -> None:
    """Links to files of the repository lead to their pages, else to a copy at the same place."""
    here = posixpath.dirname(pagename)

    def turned(link: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(here, link[2]))
        if target.startswith("..") or not (ROOT / target).exists():
            return link[0]
        if page := page_of(target):
            path = posixpath.relpath(f"{page}.html", here or ".")
            return f'{link[1]}{path}{link[3] or ""}"'
        if (ROOT / target).is_file():
            copy(ROOT / target, Path(app.outdir, target))
        return link[0]

    if "body" in context:
        context["body"] = LINK.sub(turned, context["body"])


def plain_docstring(
    app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]
) -> None:
    """Docstrings are plain text with code in single backticks; nothing else in them is markup.

    In a module's, what is indented or begins with an assignment is code too.
    """
    blocks = "\n".join(lines).split("\n\n")
    text = "\n\n".join(
        f"::\n\n{textwrap.indent(textwrap.dedent(block), '    ')}"
        if what == "module" and EXAMPLE.match(block)
        else marked(block)
        for block in blocks
    )
    # Napoleon takes words before a colon for a type, which here stands in the signature.
    lines[:] = re.sub("^Returns:$", ":returns:", text, flags=re.MULTILINE).split("\n")
    if what in DESCRIBED:
        DESCRIBED[what][name] = [*lines]


def keep_text(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """The text of a value as it was before Napoleon took its first words for a type."""
    if what in DESCRIBED:
        lines[:] = DESCRIBED[what].pop(name)


def marked(text: str) -> str:
    """Text with its code between two backticks each, and the rest escaped."""
    plain, *rest = CODE.split(text)
    done = ""
    for code, after in zip(rest[1::3], rest[2::3], strict=True):
        before = "\\ " if plain[-1:].isalnum() else ""
        done += f"{escaped(plain)}{before}``{code}``" + ("\\ " if after[:1].isalnum() else "")
        plain = after
    return done + escaped(plain)


def left_out(app: Sphinx, what: str, name: str, obj: Any, skip: bool, options: Any) -> bool | None:
    """A tuple's fields, which its docstring describes, second names of methods, what pydantic adds."""
    method = what == "module" and inspect.ismethod(obj)
    field = type(obj).__name__ == "_tuplegetter"
    return True if method or field or name == "model_config" else None


def escaped(text: str) -> str:
    """Text in which nothing is markup of reStructuredText."""
    return re.sub(r"[\\*|]|(?<=\w)_(?!\w)", r"\\\g<0>", text)
