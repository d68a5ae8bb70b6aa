"""The site builds without a warning, its links lead somewhere, and a browser shows it whole."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import browser
import pages
import pytest
import site_pages

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("sphinx", "myst_nb", "furo")
absent = [name for name in PACKAGES if importlib.util.find_spec(name) is None]

needs_sphinx = pytest.mark.skipif(bool(absent), reason=f"{absent} not installed: see `make site`")
needs_browser = pytest.mark.skipif(bool(browser.missing()), reason=browser.missing())


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    (folder / "source").mkdir()
    options = ["-W", "--keep-going", "-q", "-c", "docs", "-d", folder / "doctrees"]
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", *options, folder / "source", folder / "site"],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return folder / "site"


@pytest.mark.slow
@needs_sphinx
def test_every_link_leads_somewhere_and_nothing_comes_from_another_server(site):
    assert site_pages.complaints(site) == []
    shown = {str(file.relative_to(site)) for file in site_pages.read_pages(site)}
    assert {f"{page}.html" for part in pages.CONTENTS.values() for page in part} <= shown


@pytest.mark.slow
@needs_sphinx
@needs_browser
def test_a_browser_shows_every_page_whole_on_a_desktop_and_on_a_phone(site):
    assert site_pages.seen(site) == []


# --- the checks themselves ---------------------------------------------------------------------

GOOD = '<h1 id="top">One</h1><a href="two.html#b">2</a><a href="#top">up</a><img src="a.png">'
#: complaint -> what is added to a good page to deserve it
BROKEN = {
    "no file none.html": '<a href="none.html">',
    "no place two.html#c": '<a href="two.html#c">',
    "no place #bottom": '<a href="#bottom">',
    "no file b.png": '<img src="b.png">',
    "no file ../site.html": '<a href="../site.html">',
    "fetches https://cdn.org/a.js": '<script src="https://cdn.org/a.js"></script>',
    "fetches //cdn.org/a.css": '<link rel="stylesheet" href="//cdn.org/a.css">',
}


def small_site(folder, added):
    (folder / "site.html").write_text("outside")
    inside = folder / "site"
    inside.mkdir()
    (inside / "index.html").write_text(GOOD + added)
    (inside / "two.html").write_text('<p id="b"><a href="https://elsewhere.org">out</a>')
    (inside / "a.png").write_bytes(b"")
    return inside


@pytest.mark.parametrize("complaint", ["", *BROKEN])
def test_what_is_broken_is_found(tmp_path, complaint):
    found = site_pages.complaints(small_site(tmp_path, BROKEN.get(complaint, "")))
    assert found == ([f"index.html: {complaint}"] if complaint else [])


#: what is seen -> what is added to a page to show it, at any width
UGLY = {
    "no picture": '<img src="data:image/png;base64,aaaa">',
    "asks for": '<img src="https://cdn.org/a.png">',
    "not there": '<script src="none.js"></script>',
    "pixels wide": '<p style="width: 3000px">wide</p>',
    "cut off": '<article style="overflow: hidden"><pre style="width: 3000px">cut</pre></article>',
    "equation not set": '<span class="math">a</span>',
    "no equation": "<mjx-merror>undefined</mjx-merror>",
    "script": "<script>none()</script>",
}


@pytest.mark.slow
@needs_browser
@pytest.mark.parametrize("complaint", UGLY)
def test_what_is_ugly_is_seen(tmp_path, complaint):
    html = f"<!doctype html><title>page</title>{UGLY[complaint]}"
    (tmp_path / "index.html").write_text(html)
    found = site_pages.seen(tmp_path)
    assert len(found) >= len(site_pages.WIDTHS)
    assert any(complaint in line for line in found)


@pytest.mark.parametrize(
    "text, expected",
    [
        ("|P_i| and `k_c`, *args", r"\|P_i\| and ``k_c``, \*args"),
        ("x_ of `a`s, ``b``", r"x\_ of ``a``\ s, ``b``"),
        ("no markup:\n    o_y - log(1)", "no markup:\n    o_y - log(1)"),
        ("Use it:\n\n    f(x_)", "Use it:\n\n::\n\n    f(x_)"),
        ("Use it:\n\na, b = f(x_)\na", "Use it:\n\n::\n\n    a, b = f(x_)\n    a"),
        ("It is.\n\nReturns:\n    (N,): rows.", "It is.\n\n:returns:\n    (N,): rows."),
    ],
)
def test_docstrings_are_text_with_code(text, expected):
    lines = text.split("\n")
    pages.plain_docstring(None, "module", "m", None, None, lines)
    assert "\n".join(lines) == expected


@pytest.mark.parametrize(
    "target, page",
    [
        ("README.md", "index"),
        ("notebooks/hpcr.ipynb", "notebooks/hpcr"),
        ("data/results", "data/results/index"),
        ("data/tries", "data/tries/README"),
        ("relcl_lib/losses", "api/losses"),
        ("relcl_lib/papers/hpcr/strategies", "api/hpcr"),
        ("relcl_lib/losses/basic.py", "source/relcl_lib/losses/basic.py"),
        ("data/paper_tables/hpcr.csv", None),
    ],
)
def test_files_and_folders_have_their_page(target, page):
    assert pages.page_of(target) == page


def test_every_page_is_there():
    assert [file for file in pages.PAGES if not (ROOT / file).is_file()] == []
    folders = [*pages.LISTED, *pages.REFERENCE.values()]
    assert [folder for folder in folders if not (ROOT / folder).is_dir()] == []
