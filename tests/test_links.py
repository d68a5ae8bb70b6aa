"""What the texts of the repository point to is there."""

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
TEXTS = [
    path
    for pattern in ("*.md", "*/README.md", "tests/*/README.md", "notebooks/*.ipynb")
    for path in sorted(ROOT.glob(pattern))
    if path.name != "CHANGELOG.md"  # tells of files that are gone
]
LINK = re.compile(r"\]\(([^)#:\s]+)[)#]")
#: a file or folder of the repository by its path, in back-ticks
NAMED = re.compile(r"`((?:relcl_lib|tests|notebooks|data/(?:paper_tables|synthetic))/[\w./-]*)`")


def text_of(path):
    """The text of a page; of a notebook, of its markdown cells."""
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".ipynb":
        return text
    cells = json.loads(text)["cells"]
    return "\n\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "markdown")


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_and_named_files_are_there(path):
    text = text_of(path)
    links = [target for target in LINK.findall(text) if not (path.parent / target).exists()]
    named = [target for target in NAMED.findall(text) if not (ROOT / target).exists()]
    assert (links, named) == ([], [])
