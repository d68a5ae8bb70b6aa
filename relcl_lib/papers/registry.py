"""The papers by name. A paper's modules are loaded when something of them is asked for.

A paper's folder holds `parameters.py` and `run.py`; `tables.py`, which names its data sets with their
memory sizes (`DATASETS`), the metrics that count, the last most (`COUNTS`), its `TABLES` for a sweep,
its `rows()` for a comparison, which of them are in the `SUMMARY`, and what the protocol `paper` leaves
open (`KEPT`, `FREE`: `lab.protocol`); and, where it has figures of recorded runs, `figures.py` with
`FIGURES`.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from types import ModuleType
from typing import Any


@dataclass(frozen=True)
class Paper:
    """Where a paper is, and what is said of it.

    Attributes:
        folder: below `relcl_lib.papers`; the paper's name in records and commands.
        title: how it is written.
        about: where it appeared, and its full name.
        task: what it is about, in a few words.
        link: where it is to be read.
        seconds: of its notebook in the quick profile, on one thread of a free core.
        parameters_class: in its `parameters.py`.
        side_by_side: a run trains all its seeds at once, so they are not worth a process each.
    """

    folder: str
    title: str
    about: str
    task: str
    link: str
    seconds: int
    parameters_class: str
    side_by_side: bool = False

    def module(self, name: str) -> ModuleType:
        """One of the paper's modules."""
        return importlib.import_module(f"relcl_lib.papers.{self.folder}.{name}")

    @property
    def tables(self) -> Any:
        """The module with its tables; loads no torch."""
        return self.module("tables")

    @property
    def parameters(self) -> Any:
        """The class of a run's parameters."""
        return getattr(self.module("parameters"), self.parameters_class)


_ALL = (
    Paper(
        "hpcr",
        "HPCR",
        "IEEE TNNLS: Holistic Proxy-based Contrastive Replay",
        "online continual learning on images",
        "https://arxiv.org/abs/2309.15038",
        90,
        "ReplayParameters",
        side_by_side=True,
    ),
    Paper(
        "fastre",
        "FastRE",
        "IJCAI 2022: Convolutional Encoder and Cascade Binary Tagging",
        "fast extraction of relational triples",
        "https://arxiv.org/abs/2205.02490",
        85,
        "FastreParameters",
    ),
    Paper(
        "crecl",
        "CRECL",
        "COLING 2022: Prototypical Contrastive Learning",
        "continual relation extraction over BERT",
        "https://arxiv.org/abs/2210.04513",
        85,
        "CreclParameters",
    ),
    Paper(
        "docre_ii",
        "DocRE-II",
        "EMNLP 2022: Iterative Inference over ATLOP",
        "relations across a whole document",
        "https://arxiv.org/abs/2211.14470",
        90,
        "DocreParameters",
    ),
    Paper(
        "drl",
        "DRL",
        "CVPR 2020 workshop: Discriminative Representation Loss",
        "continual learning over sessions and tasks",
        "https://github.com/Pervasive-AI-Lab/cvpr_clvision_challenge/tree/master/finalists/yc14600",
        70,
        "DrlParameters",
    ),
)
PAPERS = {paper.folder: paper for paper in _ALL}
