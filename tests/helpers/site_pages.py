"""What is wrong with the built site: its files by themselves, then its pages in a browser.

python tests/helpers/site_pages.py runs/site [--pictures FOLDER]
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import browser

#: of a desktop and of a phone, in pixels
WIDTHS = (1280, 390)
#: what a browser fetches by itself
FETCHED = {"script": "src", "img": "src", "iframe": "src", "link": "href", "source": "src"}
#: run in the page, a line for each thing that is wrong
LOOK = """
async () => {
  if (window.MathJax) await MathJax.startup.promise;
  const wrong = [], all = (selector) => [...document.querySelectorAll(selector)];
  all("img").forEach((i) => { i.loading = "eager"; });
  await Promise.all(all("img").map((i) => i.decode().catch(() => wrong.push("no picture: " + i.src))));
  all("mjx-merror").forEach((e) => wrong.push("no equation: " + e.textContent));
  const plain = all(".math").filter((e) => !e.querySelector("mjx-container"));
  plain.forEach((e) => wrong.push("equation not set: " + e.textContent.slice(0, 60)));
  const page = document.documentElement, scrolls = (e) => {
    for (let box = e; box !== page; box = box.parentElement)
      if (["auto", "scroll"].includes(getComputedStyle(box).overflowX)) return true;
    return false;
  };
  const cut = all("article *, article").filter((e) => e.getClientRects().length
    && e.getBoundingClientRect().right > page.clientWidth + 1 && !scrolls(e));
  if (cut.length) wrong.push(`${cut.length} cut off: ${cut[0].outerHTML.slice(0, 120)}`);
  if (page.scrollWidth > page.clientWidth) {
    const wide = all("body *").filter((e) => e.getBoundingClientRect().right > page.clientWidth + 1);
    const names = wide.slice(0, 4).map((e) => e.tagName + "." + e.className);
    wrong.push(`${page.scrollWidth} pixels wide on ${page.clientWidth}: ${names.join(", ")}`);
  }
  return wrong;
}
"""


class Page(HTMLParser):
    """The ids, the links and the fetched files of a page."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.ids, self.links, self.fetched = set(), set(), set()
        self.feed(file.read_text("utf-8"))

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self.ids |= {given[name] for name in ("id", "name") if given.get(name)}
        if tag == "a" and given.get("href"):
            self.links.add(given["href"])
        if given.get(FETCHED.get(tag, "")):
            self.fetched.add(given[FETCHED[tag]])


def complaints(site: Path) -> list[str]:
    """Links to nothing, and what would come from another server."""
    return sorted(_complaints(site.resolve()))


def _complaints(site: Path) -> Iterator[str]:
    pages = {file: Page(file) for file in site.rglob("*.html")}
    for file, page in pages.items():
        here = file.relative_to(site)
        yield from (f"{here}: fetches {url}" for url in page.fetched if _elsewhere(url))
        for url in page.links | page.fetched:
            if _elsewhere(url):
                continue
            parts = urlsplit(url)
            target = (file.parent / unquote(parts.path)).resolve() if parts.path else file
            if not target.is_file() or not target.is_relative_to(site):
                yield f"{here}: no file {url}"
            elif target in pages and unquote(parts.fragment) not in {"", *pages[target].ids}:
                yield f"{here}: no place {url}"


def _elsewhere(url: str) -> bool:
    return bool(urlsplit(url).scheme not in ("", "file") or urlsplit(url).netloc)


def seen(site: Path, pictures: Path | None = None) -> list[str]:
    """What a browser finds wrong with the pages that the navigation leads to, at each width."""
    with browser.opened() as chromium:
        return [
            f"{file.relative_to(site)} at {width}: {wrong}"
            for width in WIDTHS
            for file in read_pages(site)
            for wrong in _seen(chromium, site, file, width, pictures)
        ]


def _seen(chromium: Any, site: Path, file: Path, width: int, pictures: Path | None) -> list[str]:
    """What is wrong with one page at one width."""
    wrong = []

    def asked(request: Any) -> None:
        if _elsewhere(request.url) and not request.url.startswith("data:"):
            wrong.append(f"asks for {request.url}")

    view = chromium.new_page(viewport={"width": width, "height": 900})
    view.on("pageerror", lambda error: wrong.append(f"script: {error}"))
    view.on("requestfailed", lambda request: wrong.append(f"not there: {request.url}"))
    view.on("request", asked)
    view.goto(file.resolve().as_uri())
    found = view.evaluate(LOOK)
    if pictures:
        name = "-".join(file.relative_to(site).with_suffix("").parts)
        view.screenshot(path=pictures / f"{name}-{width}.png", full_page=True)
    view.close()
    return [*wrong, *found]


def read_pages(site: Path) -> list[Path]:
    """The pages that the navigation of the front page leads to, that one first."""
    links = Page(site / "index.html").links
    inside = [url for url in links if url.endswith(".html") and not _elsewhere(url)]
    others = sorted(site / url for url in inside if (site / url).is_file())
    return [site / "index.html", *(file for file in others if file.name != "genindex.html")]


def main(arguments: list[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("site", type=Path)
    parser.add_argument("--pictures", type=Path, help="folder for a picture of every page")
    given = parser.parse_args(arguments)
    if given.pictures:
        given.pictures.mkdir(parents=True, exist_ok=True)
    wrong = complaints(given.site)
    wrong += seen(given.site, given.pictures) if not browser.missing() else [browser.missing()]
    print("\n".join(wrong) or "nothing is wrong")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
