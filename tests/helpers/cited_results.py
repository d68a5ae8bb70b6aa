"""Sentences that state a measured result, and what they cite; as a program it prints complaints.

A sentence states one if a number stands beside a unit or a metric in it, or if it says in words that
one method is ahead of another, unless that is the paper's, a setting, a definition or an exercise,
or the sentence says that it reads an output beside it. It then links to a
claim or a table of RESULTS.md, or to the table of a benchmark.
"""

import json
import re
from pathlib import Path

#: a number, not part of a name (CIFAR-10, F1, ResNet-18) or of a place (Table 5, Section 3.7, Eq. 9)
_NUMBER = r"(?<![\w.^_{-])[+−±~-]?\d[\d,]*(?:\.\d+)?(?![\w_^-])"
_UNIT = (
    r"(?:%|per ?cent|percentage points?|points?|ms\b|seconds?\b|s\b(?!')|minutes?\b|min\b|hours?\b"
    r"|times (?:as|the|faster|slower|less|more|larger|smaller|longer)|MB\b|MiB\b|GB\b|GiB\b)"
)
_METRIC = (
    r"(?:F1|F_1|\bAP\b|average precision|accurac(?:y|ies)|precision|recall|forgetting|A_T|AAA|F_T"
    r"|correlations?|Pearson|silhouette|perplexity|speed-?up)"
)
_WITH_UNIT = re.compile(rf"{_NUMBER}(?:\s*(?:to|and|or|–|-|/|,)\s*{_NUMBER})*\s*{_UNIT}")
_BESIDE = re.compile(
    rf"{_METRIC}[^.;:()]{{0,40}}?{_NUMBER}|{_NUMBER}[^.;:()]{{0,25}}?{_METRIC}", re.IGNORECASE
)
#: numbers that count, name or place something
_PLACES = re.compile(
    r"(?:\b(?:tables?|sections?|chapters?|eqs?\.|figs?\.|figures?|seeds?|tasks?|epochs?|steps?|stages?|arxiv"
    r"|aaai|coling|emnlp|ijcai|cvpr|n =|n=) *[\d.,:–-]*\d[a-z]?(?: \(\w+\))?"
    r"(?:(?:,| and| to| or) \d[\d.]*)*)|\b95 (?:%|per cent)(?: confidence| half)? (?:interval|width)s?",
    re.IGNORECASE,
)
#: whose number it is: the paper's, or what a reader sets, defines or works out
_THEIRS = re.compile(
    r"\b(?:the|its) (?:paper|authors?|original)|\bpaper(?:'s|s)?\b|\bprinted\b|\bprints\b|\bpublished\b"
    r"|\breports?\b|\breported\b",
    re.IGNORECASE,
)
_OURS = re.compile(r"\b(?:ours?|we|our|record(?:s|ed)?|measured)\b", re.IGNORECASE)
_HERE = re.compile(
    r"\b(?:above|below|here|this (?:run|cell|figure|table|notebook)|these (?:runs|cells|figures))\b",
    re.IGNORECASE,
)
#: what is compared in words: the methods of the papers, and parts of one
_METHOD = (
    r"(?-i:(?:CRECL|RP-CRE|EMAR|HPCR|PCR|ER|ER-ACE|SCR|OCM|OnPro|DER|MIR|UER|IID|FINE-TUNE|JOINT|FastRE"
    r"|CasRel|DocRE-II|ATLOP|BER|GEM|A-GEM|GSS|Shuffle)(?![\w-])|(?:the|its) (?:own )?(?:base|floor|whole)\b)"
)
_IS = (
    r"\b(?:is|are|was|were|lies?|lay|stays?|comes?|ends?|ended|scores?|scored|forgets?|gains?|learns?"
    r"|generali[sz]es?) (?:\w+ ){0,2}?"
)
#: `CRECL is ahead of RP-CRE`, `HPCR beats PCR`, `our records show no gain`
_COMPARED = re.compile(
    rf"{_IS}(?:ahead of|behind|above|below|(?:better|worse|higher|lower|more|less)(?: \w+)? than) {_METHOD}"
    rf"|\b(?:beats?|outperforms?|surpasses) {_METHOD}"
    r"|\b(?:our|the|these|all|committed) (?:records?|runs?) (?:do not |does not )?"
    r"(?:shows?|contradicts?|supports?|agrees?|gains?|loses?)\b",
    re.IGNORECASE,
)
#: what a comparison in words may lean on instead of a link: print, or an output beside it
_ELSEWHERE = re.compile(
    r"(?i:\b(?:here|in print|in it|(?:in|on) the (?:right|left)|in the (?:figure|table|curves|output)\w*"
    r"|this (?:run|cell|figure|table|notebook)|these (?:runs|cells|figures))\b)|^(?:Right|Left)\b"
    rf"|\b(?i:above|below)\b(?! {_METHOD})"
)
_CITED = re.compile(r"\]\((?P<to>[^)\s]*(?:RESULTS\.md#|benchmarks/README\.md)[^)\s]*)\)")
_ENDS = re.compile(r"([.!?][*_)\"”]*)\s+(?=[*_(\[\"“$`]*[A-Z0-9])")
#: where a full stop ends no sentence
_SHORT = (
    "Eq.",
    "Eqs.",
    "Fig.",
    "Figs.",
    "Sec.",
    "e.g.",
    "i.e.",
    "vs.",
    "et al.",
    "cf.",
    "No.",
    "approx.",
)


def prose(text):
    """A page's paragraphs, list items and headings without code, formulas, tables and comments."""
    text = re.sub(
        r"```.*?```|<!-- table:.*?<!-- /table:[^>]*-->|<!--.*?-->", "\n\n", text, flags=re.S
    )
    text = re.sub(r"\$\$.*?\$\$", " ", text, flags=re.S)
    text = re.sub(r"\$[^$\n]*\$", " x ", text)
    text = re.sub(r"`[^`\n]*`", " code ", text)
    blocks = re.split(r"\n\s*\n|\n(?=\s*(?:[-*]|\d+\.)\s)|\n(?=\|)", text)
    return [
        " ".join(block.split()) for block in blocks if not block.lstrip().startswith(("|", "#"))
    ]


def sentences(text):
    """The sentences of a page."""
    found = []
    for block in prose(text):
        for part in _ENDS.sub(r"\1\n", block).split("\n"):
            if found and found[-1].endswith(_SHORT) and part:
                found[-1] += f" {part}"
            elif part:
                found.append(part)
        found.append("")  # a block ends a sentence
    return [sentence for sentence in found if sentence]


def states_a_result(sentence):
    """Whether it compares, by a number beside a unit or a metric or in words, what was measured here.

    Not what is the paper's, or an output's that stands beside it.
    """
    theirs = _THEIRS.search(sentence) and not _OURS.search(sentence)
    unquoted = re.sub(r'"[^"]*"', "", sentence)
    if _COMPARED.search(unquoted) and not (theirs or _ELSEWHERE.search(unquoted)):
        return True
    bare = _PLACES.sub("", re.sub(r"\]\([^)]*\)", "]", sentence))
    if _HERE.search(bare) or not (_WITH_UNIT.search(bare) or _BESIDE.search(bare)):
        return False
    return not _THEIRS.search(bare) or bool(_OURS.search(bare))


def uncited(text):
    """The sentences of a page that state a result and cite nothing."""
    return [s for s in sentences(text) if states_a_result(s) and not _CITED.search(s)]


def markdown_of(path):
    """The text of a page; of a notebook, of its Markdown cells, one after the other."""
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".ipynb":
        return text
    cells = json.loads(text)["cells"]
    return "\n\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "markdown")


def pages(root):
    """The pages whose sentences are held to this."""
    return [root / "README.md", root / "RESULTS.md", *sorted((root / "notebooks").glob("*.ipynb"))]


def anchors_of(results):
    """What a link to RESULTS.md may name."""
    return set(re.findall(r'<a id="([^"]+)"></a>', results.read_text(encoding="utf-8")))


def complaints(page, root):
    """What is wrong with a page: sentences that cite nothing, and anchors that are not there."""
    text, known = markdown_of(page), anchors_of(root / "RESULTS.md")
    found = [f"states a result and cites neither claim nor table: {s}" for s in uncited(text)]
    wanted = re.findall(r"\]\([^)\s]*RESULTS\.md#([^)\s]+)\)", text)
    return found + [f"RESULTS.md has no anchor {name!r}" for name in wanted if name not in known]


if __name__ == "__main__":
    here = Path(__file__).resolve().parents[2]
    for one in pages(here):
        print(one.relative_to(here), *complaints(one, here), sep="\n  ")
