"""What the texts of the repository point to is there."""

import re
from pathlib import Path

import pytest
from cited_results import markdown_of

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


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_and_named_files_are_there(path):
    text = markdown_of(path)
    links = [target for target in LINK.findall(text) if not (path.parent / target).exists()]
    named = [target for target in NAMED.findall(text) if not (ROOT / target).exists()]
    assert (links, named) == ([], [])
