"""Every sentence that states a measured result cites a claim or a table, and what is cited is there."""

import json
import re
from pathlib import Path

import pytest
from cited_results import anchors_of, complaints, pages, sentences, states_a_result, uncited

from relcl_lib.lab.claim_files import read_claims
from relcl_lib.papers.registry import PAPERS

ROOT = Path(__file__).resolve().parents[1]
PAGES = pages(ROOT)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_results_are_cited(page):
    found = complaints(page, ROOT)
    assert not found, "\n".join([f"{page.name}:", *found])


@pytest.mark.parametrize("paper", PAPERS)
def test_a_lesson_ends_with_its_claims_each_linked_to_its_row(paper):
    last = json.loads((ROOT / "notebooks" / f"{paper}.ipynb").read_text("utf-8"))["cells"][-1]
    text = "".join(last["outputs"][-1]["data"]["text/markdown"])
    linked = re.findall(r"^\| \[[^]]+\]\(\.\./RESULTS\.md#([^)]+)\)", text, re.MULTILINE)
    assert linked == [f"{paper}-{claim.id}" for claim in read_claims(paper)]
    assert set(linked) <= anchors_of(ROOT / "RESULTS.md")


@pytest.mark.parametrize(
    "sentence",
    [
        "HPCR gains 3.3 points over PCR.",
        "F1 rises from 75 to 82 and the recall of inferred facts from 33 to 63 per cent.",
        "It takes 2.0 / 0.92 / 0.62 ms per sentence.",
        "Training is 37 times as long.",
        "An F1 of 53.3 is reached.",
        "The paper has 73.8, our F1 is 70.0.",
        "Without it 68 % become 40.",
        "The accuracy ends at 50.7 ± 2.2.",
        "CRECL keeps 58 of the 64 points between floor and ceiling (section 3).",
        "CRECL is ahead of RP-CRE, with twice its training.",
        "So on real documents our records show no inference from pair to pair.",
        "HPCR forgets much less than ER does.",
        "HPCR lies above PCR.",
        "FINE-TUNE ends below ER, right from the first task.",
        "HPCR beats PCR.",
        "Our records show no gain.",
        "The records contradict it.",
        "BER was ahead of ER.",
        "HPCR is more accurate than PCR.",
        "DocRE-II ends above its own base (section 3).",
        "On our records PCR is ahead of ER, unlike in the paper.",
    ],
)
def test_a_result_is_found(sentence):
    assert states_a_result(sentence)
    assert uncited(sentence) == [sentence]
    for link in (
        "../RESULTS.md#hpcr-over-pcr",
        "RESULTS.md#fastre-table-5",
        "tests/benchmarks/README.md",
    ):
        assert uncited(sentence[:-1] + f" ([claim]({link})).") == []


@pytest.mark.parametrize(
    "sentence",
    [
        "In the paper HPCR gains 3.3 points over PCR.",
        "The paper prints an F1 of 73.8.",
        "CIFAR-10 has 50,000 images of 32 x 32.",
        "The ± is half of a 95 % interval over 3 seeds.",
        "Above, accuracy ends at 67 %.",
        "The memory holds 200 images, the batch 10.",
        "Accuracy after task 10, see Table 5 and sections 3 and 4.",
        "ATLOP, AAAI 2021, [arXiv 2010.11304](https://arxiv.org/abs/2010.11304).",
        "Recall is the share of facts that are found.",
        "We train with a learning rate of 0.1 and a temperature of 0.09.",
        "`F1 = 70.0` is printed by the command.",
        "In print, ER-ACE forgets less than HPCR.",
        "In the figure above HPCR lies above PCR.",
        "The records say which.",
        "In the table below HPCR is ahead of PCR.",
        "On the right CRECL is ahead of RP-CRE.",
        "In the paper OnPro ends above PCR.",
        "With $F_1 = 2 P R / (P + R)$ the two are one number.",
    ],
)
def test_what_is_no_result_of_ours_needs_no_link(sentence):
    assert not states_a_result(sentences(sentence)[0])


def test_sentences_are_those_of_the_prose():
    text = """# HPCR gains 3 points

One sentence, see Eq. 9. Another (with 3 %)
over two lines. **A third.** Fourth

- an item
- another
| a | 3 % |
| --- | --- |
<!-- table:x -->
5 points
<!-- /table:x -->
```python
f1 = 3  # 3 points
```
"""
    assert sentences(text) == [
        "One sentence, see Eq. 9.",
        "Another (with 3 %) over two lines.",
        "**A third.**",
        "Fourth",
        "- an item",
        "- another",
    ]


def test_anchors_are_claims_and_tables():
    known = anchors_of(ROOT / "RESULTS.md")
    assert {"hpcr-over-pcr", "fastre-table-5", "docre_ii-measured", "drl-figure-1"} <= known


def test_an_anchor_that_is_not_there_is_named(tmp_path):
    (tmp_path / "RESULTS.md").write_text('<a id="x-table-1"></a>')
    page = tmp_path / "README.md"
    page.write_text(
        "It is 3 points better ([claim](RESULTS.md#x-table-1)). So [too](RESULTS.md#x-no)."
    )
    assert complaints(page, tmp_path) == ["RESULTS.md has no anchor 'x-no'"]
