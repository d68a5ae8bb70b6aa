"""What the texts of the repository point to is there."""

import re
from collections import Counter
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
ANCHOR = re.compile(r'<a id="([^"]+)"')
#: a file or folder of the repository by its path, in back-ticks
NAMED = re.compile(r"`((?:relcl_lib|tests|notebooks|data/(?:paper_tables|synthetic))/[\w./-]*)`")


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_and_named_files_are_there(path):
    text = markdown_of(path)
    links = [target for target in LINK.findall(text) if not (path.parent / target).exists()]
    named = [target for target in NAMED.findall(text) if not (ROOT / target).exists()]
    assert (links, named) == ([], [])


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_anchor_is_one_place(path):
    """Of two with one name a link finds the first."""
    found = Counter(ANCHOR.findall(markdown_of(path)))
    assert [name for name, count in found.items() if count > 1] == []
