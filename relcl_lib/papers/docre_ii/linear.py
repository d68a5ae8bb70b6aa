"""The floor of DocRE-II's tables: logistic regression on what can be counted, in seconds.

A base module that is not above it is badly fitted. It reads no encoder: where the mentions of two
entities stand, the words around and between them, and their names.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from sklearn.feature_extraction import DictVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MaxAbsScaler
from torch import Tensor

from relcl_lib.data.document_files import Document, Fact, Mention
from relcl_lib.data.document_sets import PAPER_NAMES, DocumentData
from relcl_lib.data.documents import load_documents
from relcl_lib.lab.protocol import protocol
from relcl_lib.lab.run import Run
from relcl_lib.papers.docre_ii import tables
from relcl_lib.papers.docre_ii.parameters import DocreParameters
from relcl_lib.text import document_metrics

#: inverse strengths of the penalty, of which dev's average precision chooses
STRENGTHS = (0.01, 0.03, 0.1, 0.3, 1.0)
#: log odds of a relation that was not learnt
NEVER = -100.0
#: words on each side of a mention
AROUND = 3
#: steps of a distance in words, as features
STEPS = (1, 2, 4, 8, 16, 32, 64, 128)


def pair_features(document: Document) -> Iterator[dict[str, float]]:
    """The features of each of a document's candidate pairs, by name.

    Those of an entity go by its type where the data set lists the pairs, as there the direction
    (CDR's: what is mentioned first) says nothing of the relation, and else by `head` and `tail`.
    """
    starts = [0]
    for sentence in document.sentences:
        starts.append(starts[-1] + len(sentence))
    words = [word.lower() for sentence in document.sentences for word in sentence]
    owners = {
        starts[m.sentence] + m.start: entity
        for entity, found in enumerate(document.entities)
        for m in found
    }
    kinds = Counter(found[0].type for found in document.entities)
    own = [dict(_of_entity(document, entity)) for entity in range(len(document.entities))]
    for pair in document.candidates():
        both = [document.entities[entity] for entity in pair]
        types = [mentions[0].type for mentions in both]
        listed = document.pairs is not None and types[0] != types[1]
        roles = types if listed else ["head", "tail"]
        features = {f"types {' '.join(sorted(types) if listed else types)}": 1.0}
        for entity, role, kind in zip(pair, roles, types, strict=True):
            features |= {f"{role} {name}": value for name, value in own[entity].items()}
            features[f"{role} alone of its kind"] = float(kinds[kind] == 1)
        features |= _of_pair(both, roles, starts, words, owners)
        yield features


def _of_entity(document: Document, entity: int) -> Iterator[tuple[str, float]]:
    """What is said of an entity whatever the other one is."""
    mentions = document.entities[entity]
    same = [found for found in document.entities if found[0].type == mentions[0].type]
    yield "mentions", min(len(mentions), 10) / 10
    yield "sentences", min(len({m.sentence for m in mentions}), 10) / 10
    yield "in the first sentence", float(any(m.sentence == 0 for m in mentions))
    yield (
        "in the last sentence",
        float(any(m.sentence == len(document.sentences) - 1 for m in mentions)),
    )
    yield "most often of its kind", float(len(mentions) == max(map(len, same)))
    yield "share of its kind", len(mentions) / sum(map(len, same))
    yield "first of its kind", float(mentions == min(same, key=lambda found: found[0][:2]))
    for name in {m.name.lower() for m in mentions}:
        yield f"name {name}", 1.0
        for word in name.split():
            yield f"name word {word}", 1.0


def _of_pair(
    both: list[tuple[Mention, ...]],
    roles: list[str],
    starts: list[int],
    words: list[str],
    owners: Mapping[int, int],
) -> dict[str, float]:
    """Where two entities stand to one another, and the words there."""

    def span(mention: Mention) -> tuple[int, int]:
        return starts[mention.sentence] + mention.start, starts[mention.sentence] + mention.end

    def apart(one: Mention, other: Mention) -> tuple[int, int]:
        (a, b), (c, d) = span(one), span(other)
        return abs(one.sentence - other.sentence), max(a, c) - min(b, d)

    close = [
        (apart(one, other), i, j)
        for i, one in enumerate(both[0])
        for j, other in enumerate(both[1])
    ]
    (sentences, distance), i, j = min(close)
    nearest = [both[0][i], both[1][j]]
    spans = [span(mention) for mention in nearest]
    left, right = sorted(range(2), key=lambda which: spans[which])
    together = {m.sentence for m in both[0]} & {m.sentence for m in both[1]}
    features = {
        "same sentence": float(bool(together)),
        "sentences together": min(len(together), 5) / 5,
        f"sentences apart {min(sentences, 4)}": 1.0,
        f"{roles[left]} before": 1.0,
        f"{roles[0] if both[0][0][:2] <= both[1][0][:2] else roles[1]} first in the document": 1.0,
        "together in the first sentence": float(0 in together),
    }
    features |= {f"apart at least {step}": 1.0 for step in STEPS if distance >= step}
    inside = range(spans[left][1], spans[right][0])
    features["entities between"] = min(sum(at in owners for at in inside), 5) / 5
    if sentences == 0:
        for at in inside:
            features[f"between {words[at]}"] = 1.0
            features[f"between {roles[left]} first {words[at]}"] = 1.0
        for one, other in pairwise(inside):
            features[f"between {words[one]} {words[other]}"] = 1.0
    for mention, role, (start, end) in zip(nearest, roles, spans, strict=True):
        low, high = starts[mention.sentence], starts[mention.sentence + 1]
        for at in range(max(low, start - AROUND), start):
            features[f"{role} after {words[at]}"] = 1.0
        for at in range(end, min(high, end + AROUND)):
            features[f"{role} before {words[at]}"] = 1.0
    for sentence in together:
        for at in range(starts[sentence], starts[sentence + 1]):
            features[f"with {words[at]}"] = 1.0
    return features


def kinds_of_pairs(documents: Iterable[Document]) -> np.ndarray:
    """(p,) text: the types of head and tail of each candidate pair."""
    return np.array(
        [
            f"{document.entities[head][0].type} {document.entities[tail][0].type}"
            for document in documents
            for head, tail in document.candidates()
        ],
        dtype=str,
    )


class LinearFloor:
    """One logistic regression per relation of a data set, all on the same features.

    A relation is learnt among, and predicted for, the pairs of types that it has in training: of 96
    relations each has a few, so the other pairs would take most of the time. Where the data set
    lists the pairs (CDR, GDA), it is learnt among all of them.
    """

    def __init__(self, data: DocumentData) -> None:
        self.data = data
        self.reader = make_pipeline(DictVectorizer(), MaxAbsScaler())
        self.models: list[tuple[LogisticRegression, np.ndarray] | None] = []
        self._kinds: dict[str, np.ndarray] = {}
        self._features: dict[str, Any] = {}
        if not any(document.candidates() for document in data.train):
            raise ValueError(f"no document of {data.name}'s training split has a pair of entities")
        self._features["train"] = self.reader.fit_transform(self._vectors("train"))

    def _vectors(self, split: str) -> Iterator[dict[str, float]]:
        return (f for document in getattr(self.data, split) for f in pair_features(document))

    def features(self, split: str) -> Any:
        """(p, n) sparse: the features of all candidate pairs of a split, document by document."""
        if split not in self._features:
            self._features[split] = self.reader.transform(self._vectors(split))
        return self._features[split]

    def kinds(self, split: str) -> np.ndarray:
        """(p,) text, the types of the same pairs."""
        if split not in self._kinds:
            self._kinds[split] = kinds_of_pairs(getattr(self.data, split))
        return self._kinds[split]

    def labels(self, split: str) -> Tensor:
        """(p, R) bool, gold of the same pairs."""
        number = {relation: i for i, relation in enumerate(self.data.relations)}
        documents = getattr(self.data, split)
        rows = [(at, pair) for at, d in enumerate(documents) for pair in d.candidates()]
        place = {row: i for i, row in enumerate(rows)}
        labels = torch.zeros(len(rows), len(number), dtype=torch.bool)
        for at, document in enumerate(documents):
            for fact in document.gold():
                if (row := place.get((at, (fact.head, fact.tail)))) is not None:
                    labels[row, number[fact.relation]] = True
        return labels

    def fit(self, strength: float) -> LinearFloor:
        """Train; a relation that no training document has is never predicted."""
        self.models = []
        features, kinds = self.features("train"), self.kinds("train")
        listed = all(document.pairs is not None for document in self.data.train)
        for column in self.labels("train").T.numpy():
            trained = None
            if column.any() and not column.all():
                own = np.unique(kinds if listed else kinds[column])
                rows = np.isin(kinds, own)
                if column[rows].all():  # nothing to tell it from among these
                    own, rows = np.unique(kinds), np.ones_like(column)
                model = LogisticRegression(C=strength, solver="liblinear", random_state=0)
                trained = (model.fit(features[rows], column[rows]), own)
            self.models.append(trained)
        return self

    def margins(self, split: str) -> Tensor:
        """(p, R) float: the log odds of each relation of each pair; hardly any without a model."""
        features, kinds = self.features(split), self.kinds(split)
        margins = torch.full((len(kinds), len(self.models)), NEVER)
        for column, trained in enumerate(self.models):
            if trained is None:
                continue
            model, own = trained
            rows = np.isin(kinds, own)
            if rows.any():
                found = torch.tensor(model.decision_function(features[rows])).float()
                margins[torch.from_numpy(rows), column] = found
        return margins


def load_data(parameters: DocreParameters) -> DocumentData:
    """The documents that parameters name."""
    return load_documents(
        parameters.dataset,
        parameters.data_root,
        reduced=parameters.reduced_data,
        limit=parameters.train_limit,
        generated=parameters.generated,
        orientation=parameters.orientation,
    )


def about(data: DocumentData) -> dict[str, Any]:
    """What a record says of a data set."""
    return {
        "set": PAPER_NAMES.get(data.name, data.name),
        "sizes": data.sizes,
        "relations": len(data.relations),
        "note": data.note,
        "left_out": data.report,
    }


def known_from_training(data: DocumentData, orientation: str) -> set[document_metrics.NameFact]:
    """The facts by names of the training documents, which do not count for IgnF1.

    Where a pair is listed once, which entity comes first differs between documents: both ways are.
    """
    known = document_metrics.name_facts(data.train)
    if orientation == "document" and any(d.pairs is not None for d in data.train):
        known |= {(tail, head, relation) for head, tail, relation in known}
    return known


class LinearRun(Run):
    """The floor as a run: one unit, no seed matters, and of the settings those of the data.

    The strength of the penalty is the one of `STRENGTHS` with the highest average precision on dev.
    """

    paper = "docre_ii"
    counter = "epochs_done"
    elsewhere = tuple(set(DocreParameters.model_fields) - {"generated", "orientation"})

    def __init__(
        self,
        parameters: DocreParameters,
        data: DocumentData,
        seed: int = 0,
        work_dir: Any = None,
    ) -> None:
        del work_dir  # over in seconds
        super().__init__(parameters, data, [seed], None)
        self.precision = torch.float32
        self.floor = LinearFloor(data)
        self.strength = 0.0

    load_data = staticmethod(load_data)

    @property
    def total(self) -> int:
        """One unit."""
        return 1

    @property
    def score(self) -> float:
        """F1 on the dev split, with its best threshold."""
        return self.history[-1]["dev_F1"]

    def _ranked(self, split: str) -> tuple[Tensor, Tensor, int]:
        gold = sum(len(document.gold()) for document in getattr(self.data, split))
        return self.floor.margins(split), self.floor.labels(split), gold

    def advance(self) -> dict[str, Any]:
        """Train with each strength, and keep the best."""
        found = []
        for strength in STRENGTHS:
            self.floor.fit(strength)
            found.append((document_metrics.average_precision(*self._ranked("dev")), strength))
        self.strength = max(found)[1]
        self.floor.fit(self.strength)
        tuned = document_metrics.ranked_scores(*self._ranked("dev"))
        return {"dev_F1": tuned["F1_tuned"]}

    def predict(self, split: str, threshold: float = 0.0) -> list[set[Fact]]:
        """The facts whose log odds are above a threshold, in each document."""
        documents, relations = getattr(self.data, split), self.data.relations
        pairs = [(at, pair) for at, d in enumerate(documents) for pair in d.candidates()]
        facts: list[set[Fact]] = [set() for _ in documents]
        allowed = document_metrics.within_limit(self.floor.margins(split))
        for row, relation in (allowed > threshold).nonzero().tolist():
            at, (head, tail) = pairs[row]
            facts[at].add(Fact(head, relations[relation], tail))
        return facts

    def evaluate(self, split: str, threshold: float | None = None) -> dict[str, float]:
        """The scores of `DocreRun.evaluate` that need no network; even odds are the threshold."""
        known = known_from_training(self.data, self.settings.orientation)
        scores = document_metrics.all_scores(self.predict(split), getattr(self.data, split), known)
        return scores | document_metrics.ranked_scores(*self._ranked(split), threshold=threshold)

    def describe(self) -> dict[str, Any]:
        """The data set; no pretrained weights."""
        return {
            "dataset": about(self.data),
            "protocol": protocol(self.given, self.data.protocol, tables),
            "backbone": "none",
            "parameters": {"base": "linear", "strengths": list(STRENGTHS)},
        }

    def outcome(self, seed: int) -> dict[str, Any]:
        """Scores on test and dev, F1 and AP on the training documents, and the chosen strength."""
        dev = self.evaluate("dev")
        threshold = dev["threshold"]
        if math.isinf(threshold):
            del dev["threshold"]
        scores = {f"{name}_dev": value for name, value in dev.items()}
        labelled = self.data.is_labelled("test")
        if self.data.test and labelled:
            scores = self.evaluate("test", threshold) | scores
        train = self.evaluate("train", threshold)
        scores |= {f"{name}_train": train[name] for name in ("F1", "AP")}
        notes = [self.data.note, "" if labelled else "the test split has no public labels"]
        return {"metrics": scores | {"strength": self.strength}, "notes": notes}
