"""A relation classifier that one goes on teaching: CRECL for sentences of one's own.

    classifier = ContinualClassifier.begin(encoder="sentence-transformers/all-MiniLM-L6-v2")
    classifier.learn(read_marked("first.jsonl"))  # {relation: sentences}
    classifier.learn(read_marked("second.jsonl"))  # further relations; the first are remembered
    classifier.save("model")
    ContinualClassifier.load("model").predict(sentences)

What it remembers are sentences: a few of each relation to train on, and some held out, which say
where to refuse an answer, as do the scores that each new relation had while it was unknown. All of it
lies in the saved folder, so it can be taught further anywhere.
"""

from __future__ import annotations

import copy
import hashlib
import json
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from relcl_lib.continual.streams import Task, TaskStream
from relcl_lib.data.sentences import MarkedSentence, RawSentence, RelationSentences
from relcl_lib.data.weights import weights_digest, weights_folder
from relcl_lib.lab.checkpoints import (
    ENCODER,
    CheckpointError,
    check_state,
    model_named,
    read_encoder,
    read_model,
    save_model,
)
from relcl_lib.lab.files import remove_leftovers
from relcl_lib.lab.protocol import HIDDEN
from relcl_lib.lab.run import ignore
from relcl_lib.lab.runtime import drawing_from, make_generator, resolve_device
from relcl_lib.models.contrastive_network import CreclNetwork
from relcl_lib.papers.crecl.learner import Learner
from relcl_lib.papers.crecl.methods import train_crecl
from relcl_lib.papers.crecl.network import build_network
from relcl_lib.papers.crecl.parameters import CreclParameters, own_settings
from relcl_lib.papers.crecl.threshold import keep_most, refused_share, shares_below, weigh
from relcl_lib.text.markers import mark_sentences
from relcl_lib.text.pretrained import load_encoder, usable_positions

FORMAT = 1
KIND = "classifier"
ABOUT, WEIGHTS = f"{KIND}.json", f"{KIND}.safetensors"
#: share of a relation's sentences that is held out; how many of a relation at most, and are scored
#: while it is unknown
HELD_OUT, MOST_HELD_OUT = 0.2, 20
#: sentences by the name of their relation
Lessons = Mapping[str, Sequence[RawSentence]]


class Prediction(NamedTuple):
    """The relation nearest to a sentence, its cosine, and whether that is near enough."""

    nearest: str
    score: float
    accepted: bool

    @property
    def relation(self) -> str | None:
        """The answer: None where the nearest relation is refused."""
        return self.nearest if self.accepted else None


@dataclass
class ContinualClassifier:
    """A network, the relations it knows, and the sentences that it remembers of them.

    Attributes:
        settings: of its training; they stay as they were at the beginning.
        tokenizer: the encoder's.
        network: None before the first lesson.
        encoder: name and digest of the pretrained encoder that it began with.
        relations: in the order in which they were last learned.
        memory: sentences to train on.
        held_out: sentences to choose the threshold by; nothing is ever trained on them.
        trained: digests of all sentences that it was ever trained on; none of them is held out.
        prototypes: (C, d), of the relations.
        threshold: the least cosine of an answer; None where no sentence is held out to choose it by,
            or a single relation is known, so that there is no other one to tell it from.
        unknown: of each relation that came to a model that could refuse, the places of its sentences
            among the known ones just before it was learned, see `threshold.shares_below`.
        report: what the threshold does on the sentences held out; where `unknown` has any, how many
            sentences of how many relations (`unknown_relations`), and `unknown_refused` of them.
        lessons: what was learned so far, see `learn`.
    """

    settings: CreclParameters
    tokenizer: Any
    network: CreclNetwork | None
    encoder: dict[str, str]
    relations: list[str] = field(default_factory=list)
    memory: list[RawSentence] = field(default_factory=list)
    held_out: list[RawSentence] = field(default_factory=list)
    trained: set[str] = field(default_factory=set)
    prototypes: Tensor | None = None
    threshold: float | None = None
    unknown: dict[str, list[float]] = field(default_factory=dict)
    report: dict[str, float] = field(default_factory=dict)
    lessons: list[dict[str, int]] = field(default_factory=list)
    _bert: nn.Module | None = None

    @classmethod
    def begin(cls, profile: str = "reduced", **settings: Any) -> ContinualClassifier:
        """A classifier that knows nothing yet.

        Args:
            profile: of `CreclParameters`: which encoder, and how it is trained.
            settings: further fields of it; not those that cut a benchmark into tasks.

        Raises:
            ParameterError: a setting is unknown, or has no meaning here.
        """
        chosen = own_settings(profile, settings)
        folder = weights_folder(chosen.encoder)
        about = {"name": Path(chosen.encoder).name, "digest": weights_digest(folder)}
        tokenizer, bert = load_encoder(chosen.encoder)
        return cls(chosen, tokenizer, None, about, _bert=bert)

    @property
    def device(self) -> torch.device:
        """Where the network is, or will be."""
        return resolve_device(self.settings.device)

    @property
    def room(self) -> int:
        """Tokens that a sentence may have."""
        bert = self._bert if self.network is None else self.network.encoder.network
        return min(self.settings.max_length, usable_positions(bert.config))

    # --------------------------------------------------------------- learning

    def learn(
        self,
        lessons: Lessons,
        on_phase: Callable[[Learner, str], Any] | None = None,
        on_epoch: Callable[[Learner, str], Any] | None = None,
    ) -> dict[str, int]:
        """Learn relations and keep those that are known; if it fails, all stays as it was.

        A relation that is known already is learned on: from these sentences and from what was
        remembered of it, and its memory is chosen anew from both. A fifth of a relation's sentences,
        where it has five or more, is held out: none that it was trained on before, and none that the
        lesson gives under another relation too. A sentence is the same one where its words and its
        entities are. Before training, sentences of new relations are scored as unknown ones.

        Args:
            lessons: sentences of each relation, one or more.
            on_phase: called with the learner and the phase's name after each phase of training.
            on_epoch: the same after each epoch; the learner's `history` ends with it.

        Returns:
            Counts: `new` relations and those learned on (`known`), `sentences` that were used,
            of which `held_out`, `memory` as it is now, `too_long`: sentences left out, as an entity
            lies beyond `max_length`; `repeated`: left out, as they are held out, remembered or given
            twice; `ambiguous`: of those used, given or remembered under another relation too. Where
            none is new, none is used, and nothing is trained.

        Raises:
            ValueError: there is no relation, one has no sentence that can be learned from, or an entity
                lies outside its sentence.
            TypeError: these are no sentences by relation.
        """
        if not isinstance(lessons, Mapping):
            raise TypeError("lessons must be a mapping from each relation's name to its sentences")
        for row in (row for rows in lessons.values() for row in rows):
            _check_sentence(row)
        number = len(self.lessons)
        short = {name: self._short_enough(name, rows) for name, rows in lessons.items()}
        if not short:
            raise ValueError("there is nothing to learn: no relation is given")
        usable = {name: self._fresh(name, rows) for name, rows in short.items()}
        lesson_keys = {_digest(row) for rows in usable.values() for row in rows}
        known = [row for rows in (self.memory, *short.values()) for row in rows]
        relations = Counter(key for _, key in {(row.relation, _digest(row)) for row in known})
        ambiguous = {key for key in lesson_keys if relations[key] > 1}
        seen = self.trained | {_digest(row) for row in self.memory}
        not_new = seen | ambiguous
        stay = [name for name in self.relations if name not in usable]
        held_out, train, unknown = list(self.held_out), [], {}
        for at, (name, rows) in enumerate(usable.items()):
            unseen = [n for n, row in enumerate(rows) if _digest(row) not in not_new]
            has = sum(row.relation == name for row in held_out)
            count = max(0, min(int(HELD_OUT * len(unseen)), MOST_HELD_OUT - has))
            drawn = make_generator(self._seed(number), "held out", at)
            order = torch.randperm(len(unseen), generator=drawn).tolist()
            away = {unseen[place] for place in order[:count]}
            if name not in self.relations:
                unknown[name] = [rows[unseen[place]] for place in order[:MOST_HELD_OUT]]
            held_out += [row for place, row in enumerate(rows) if place in away]
            train += [row for place, row in enumerate(rows) if place not in away]
        readable = sum(map(len, short.values()))
        sentences = sum(map(len, usable.values()))
        counts = {
            "new": len(set(usable) - set(self.relations)),
            "known": len(set(usable) & set(self.relations)),
            "sentences": sentences,
            "held_out": len(held_out) - len(self.held_out),
            "memory": len(self.memory),
            "too_long": sum(map(len, lessons.values())) - readable,
            "repeated": readable - sentences,
            "ambiguous": len(ambiguous),
        }
        if not sentences:
            return counts
        scored = self._score_unknown(unknown)
        lesson = _Lesson(self, stay, list(usable), train, self._seed(number))
        lesson.on_phase, lesson.on_epoch = on_phase or ignore, on_epoch or ignore
        train_crecl(lesson, len(lesson.stream) - 1)
        counts["memory"] = len(lesson.memory)
        after = replace(
            self,
            network=lesson.network.eval(),
            relations=[*stay, *usable],
            memory=[lesson.rows[place] for place in lesson.remembered().tolist()],
            held_out=held_out,
            trained=seen | {_digest(row) for row in train},
            prototypes=lesson.prototypes(),
            unknown=self.unknown | scored,
            lessons=[*self.lessons, counts],
            _bert=None,
        )
        after._choose_threshold()
        vars(self).update(vars(after))  # all at once, as it may have been interrupted until now
        return counts

    def without_held_out(self) -> list[str]:
        """The relations of which no sentence is held out: the report says nothing of them."""
        have = {row.relation for row in self.held_out}
        return [name for name in self.relations if name not in have]

    def _seed(self, lesson: int) -> int:
        """Each lesson draws from a seed of its own, so that its streams are no other's."""
        return self.settings.seeds[0] + lesson

    def _short_enough(self, name: str, rows: Sequence[RawSentence]) -> list[RawSentence]:
        """The sentences whose entities lie within `room` tokens, as sentences of this relation."""
        named = [row._replace(relation=name) for row in rows]
        tokens = self._tokens(_as_data(named, [name]))
        if not len(tokens.usable):
            raise ValueError(
                f"relation {name!r} has no sentence to learn from: "
                + (
                    f"in all {len(rows)} an entity lies beyond {self.room} tokens; shorten them"
                    if rows
                    else "give one, or leave it out"
                )
            )
        return [named[place] for place in tokens.usable.tolist()]

    def _fresh(self, name: str, rows: Sequence[RawSentence]) -> list[RawSentence]:
        """The different sentences that are neither held out nor remembered of this relation."""
        known = {_digest(row) for row in self.held_out}
        known |= {_digest(row) for row in self.memory if row.relation == name}
        fresh = {_digest(row): row for row in reversed(rows)}  # the first of equal ones
        fresh = [row for key, row in reversed(fresh.items()) if key not in known]
        if not fresh and name not in self.relations:
            raise ValueError(
                f"relation {name!r} has no sentence to learn from: all {len(rows)} are held out as "
                "another relation's, and nothing is trained on those; give others"
            )
        return fresh

    def _tokens(self, data: RelationSentences) -> Any:
        limits = {"max_length": self.room, "room": self.room}
        return mark_sentences(data, self.tokenizer, **limits, skip_long=True).to(self.device)

    def _score_unknown(self, rows: Mapping[str, Sequence[RawSentence]]) -> dict[str, list[float]]:
        """The places of relations' sentences among the known ones held out, if it can refuse any."""
        if self.threshold is None:
            return {}
        known = self._cosines(self.held_out)[0].amax(1)
        return {
            name: shares_below(self._cosines(part)[0].amax(1), known).tolist()
            for name, part in rows.items()
            if part
        }

    def _choose_threshold(self) -> None:
        """Choose the least cosine of an answer by the sentences held out, and say what it does.

        With sentences scored while they were unknown it is where most known ones are answered right,
        less the unknown ones answered; without, as in the first lesson, nine of ten known ones are
        answered. There is none where a single relation is known, which was learned against no other.
        """
        self.threshold, self.report = None, {}
        if len(self.relations) < 2:
            return
        cosines, places = self._cosines(self.held_out)
        if not len(places):
            return
        column = {name: at for at, name in enumerate(self.relations)}
        own = torch.tensor([column[self.held_out[at].relation] for at in places.tolist()])
        best, nearest = cosines.max(1)
        right = nearest == own
        shares = [share for part in self.unknown.values() for share in part]
        unknown = torch.tensor(shares, dtype=torch.float64)
        self.threshold = weigh(best, right, unknown) if len(unknown) else keep_most(best)
        accepted = best >= self.threshold
        self.report = {
            "held_out": len(best),
            "accuracy_of_all": 100 * float(right.double().mean()),
            "coverage": 100 * float(accepted.double().mean()),
            "accuracy": 100 * float(right[accepted].double().mean()) if accepted.any() else 0.0,
        }
        if len(unknown):
            refused = refused_share(unknown, (~accepted).double().mean())
            self.report |= {
                "unknown": len(unknown),
                "unknown_relations": len(self.unknown),
                "unknown_refused": 100 * float(refused),
            }

    # ------------------------------------------------------------- prediction

    @torch.no_grad()
    def _cosines(self, rows: Sequence[RawSentence]) -> tuple[Tensor, Tensor]:
        """Cosines (n, C) to the prototypes, on the CPU, of the sentences at places (n,) in `rows`.

        A sentence is missing where an entity of it lies beyond `room` tokens.
        """
        reader = _Reader(self, rows, [""])
        places = reader.tokens.usable.cpu()
        if not len(places):
            return torch.zeros(0, len(self.relations)), places
        h = reader.embed(places)
        return reader.network.similarities(h, self.prototypes).float().cpu(), places

    def predict(
        self, sentences: Sequence[RawSentence], threshold: float | None = None
    ) -> list[Prediction | None]:
        """What each sentence says; None for one of which an entity lies beyond `room` tokens.

        Args:
            sentences: their relations are not looked at.
            threshold: the least cosine of an answer; None takes the model's, -1 answers always.

        Raises:
            ValueError: nothing has been learned yet, or an entity lies outside its sentence.
            TypeError: these are no sentences.
        """
        if not self.relations:
            raise ValueError("this model has learned no relation yet: call learn() first")
        for row in sentences:
            _check_sentence(row)
        least = self.threshold if threshold is None else threshold
        least = -1.0 if least is None else least
        found: list[Prediction | None] = [None] * len(sentences)
        cosines, places = self._cosines(sentences)
        best, nearest = cosines.max(1)
        for place, score, at in zip(places.tolist(), best.tolist(), nearest.tolist(), strict=True):
            found[place] = Prediction(self.relations[at], score, score >= least)
        return found

    def stream(
        self,
        sentences: Iterable[RawSentence],
        *,
        threshold: float | None = None,
        chunk: int = 256,
    ) -> Iterator[Prediction | None]:
        """Yield what `predict` says of each sentence, in order; no more than a chunk is held."""
        sentences = iter(sentences)
        while held := list(islice(sentences, chunk)):
            yield from self.predict(held, threshold)

    def evaluate(self, lessons: Lessons, threshold: float | None = None) -> dict[str, Any]:
        """How it does on labelled sentences, in per cent; relations it does not know are counted apart.

        Returns:
            `sentences` of known relations, `accuracy_of_all` without refusing, `coverage`: how many
            are answered, `accuracy` of the answers (None where there are none); `too_long`: sentences
            of any relation of which an entity lies beyond `room` tokens; `relations`: accuracy without refusing of each; and
            where there are sentences of relations that it does not know, or of none
            (`NO_RELATION`), `unknown` of them, and `unknown_refused`: how many are rightly refused.
            A sentence that is too long has no answer: it counts as a wrong one in `accuracy_of_all`
            and against `coverage`, and is not among the unknown ones.
        """
        right: list[bool] = []
        answered: list[bool] = []
        refused: list[bool] = []
        each: dict[str, float] = {}
        too_long = 0
        for name, rows in lessons.items():
            found = self.predict(rows, threshold)
            too_long += sum(one is None for one in found)
            if name not in self.relations:
                refused += [not one.accepted for one in found if one is not None]
                continue
            hits = [one is not None and one.nearest == name for one in found]
            right += hits
            answered += [one is not None and one.accepted for one in found]
            each[name] = _share(hits)
        of_answers = [hit for hit, given in zip(right, answered, strict=True) if given]
        result = {
            "sentences": len(right),
            "accuracy_of_all": _share(right) if right else None,
            "coverage": _share(answered) if right else None,
            "accuracy": _share(of_answers) if of_answers else None,
            "too_long": too_long,
            "relations": each,
        }
        unknown = {"unknown": len(refused), "unknown_refused": _share(refused)} if refused else {}
        return result | unknown

    def _check(self) -> None:
        """What is wrong with a model that was read shows here, if nowhere else; ValueError names it."""
        names = self.relations
        if not all(isinstance(name, str) for name in names) or len(set(names)) < len(names):
            raise ValueError("relations are no list of different texts")
        if self.threshold is not None and not -math.inf < self.threshold < math.inf:
            raise ValueError(f"threshold {self.threshold} is no number")
        for name, shares in self.unknown.items():
            if name not in names or not all(0 <= share <= 1 for share in shares):
                raise ValueError(f"unknown: {name!r} is no relation with shares from 0 to 1")
        for row in (*self.memory, *self.held_out):
            if row.relation not in names:
                raise ValueError(f"{_as_record(row)} is no sentence of these relations")
            _check_sentence(row)
        if not all(isinstance(key, str) for key in self.trained):
            raise ValueError("trained is no list of digests")
        self.predict(self.memory[:1])

    # ----------------------------------------------------------------- folder

    def save(self, folder: str | Path) -> Path:
        """Write the model as safetensors and JSON; the folder is the old one or the new one.

        Raises:
            ValueError: nothing has been learned yet.
            CheckpointError: the folder cannot be written.
        """
        if self.network is None:
            raise ValueError("this model has learned no relation yet: there is nothing to save")
        about = {
            "format": FORMAT,
            "encoder": self.encoder,
            "settings": self.settings.model_dump(exclude=HIDDEN | {"encoder"}),
            "seed": self.settings.seeds[0],
            "relations": self.relations,
            "threshold": self.threshold,
            "unknown": self.unknown,
            "report": self.report,
            "lessons": self.lessons,
            "memory": [_as_record(row) for row in self.memory],
            "held_out": [_as_record(row) for row in self.held_out],
            "trained": sorted(self.trained),
        }
        state = {**self.network.state_dict(), "prototypes": self.prototypes}
        refuse_foreign(Path(folder))
        pretrained = (self.network.encoder.network.config, self.tokenizer)
        return save_model(folder, KIND, about, state, pretrained)

    @classmethod
    def load(cls, folder: str | Path, *, device: str = "auto") -> ContinualClassifier:
        """Read what `save` wrote: it answers, and goes on learning, as if it had never been away.

        Raises:
            CheckpointError: names what is missing, damaged or of another version.
            DeviceError: there is no such device.
        """
        resolve_device(device)  # first: a model without a fault is not to be blamed
        folder = Path(folder)
        remove_leftovers(folder.parent)
        files = f"{ABOUT}, {WEIGHTS} and {ENCODER}/"
        with model_named(folder, "model", files, "crecl learn"):
            about, state = read_model(folder, KIND, FORMAT)
            settings = CreclParameters(
                **about["settings"],
                encoder=about["encoder"]["name"],
                seeds=[about["seed"]],
                device=device,
            )
            prototypes = state.pop("prototypes")
            if len(about["relations"]) != len(prototypes):
                raise ValueError(
                    f"{len(prototypes)} prototypes for {len(about['relations'])} relations"
                )
            tokenizer, network = _rebuild(folder, settings, state)
            found = cls(settings, tokenizer, network, about["encoder"], about["relations"])
            found.memory, found.held_out = (
                [_from_record(record) for record in about[name]] for name in ("memory", "held_out")
            )
            found.prototypes = prototypes.to(found.device)
            found.threshold, found.report = about["threshold"], about["report"]
            found.unknown, found.lessons = about["unknown"], about["lessons"]
            found.trained = set(about["trained"])
            found._check()
        return found


def _check_sentence(row: Any) -> None:
    if not isinstance(row, RawSentence):
        raise TypeError(
            f"{row!r} is no RawSentence; `relcl_lib.data.marked_text` makes some: `read_marked` of a "
            "file, `as_marked` of one record"
        )
    if not all(isinstance(token, str) for token in row.tokens):
        raise ValueError(f"{_as_record(row)}: a token is no text")
    for start, end in (row.head, row.tail):
        if not (type(start) is type(end) is int and 0 <= start < end <= len(row.tokens)):
            raise ValueError(f"{_as_record(row)}: an entity lies outside its sentence")


def refuse_foreign(folder: Path) -> None:
    """Leave a folder alone that holds other things than a model: saving one replaces all of it.

    Raises:
        CheckpointError: it does, or it is a file.
    """
    remove_leftovers(folder.parent)  # of a process killed while it saved: the model may be there
    if folder.is_dir():
        foreign = any(folder.iterdir()) and not (folder / ABOUT).is_file()
    else:
        foreign = folder.exists()
    if foreign:
        raise CheckpointError(
            f"{folder} is there and holds no model ({ABOUT}), and a model would replace what it "
            "holds: name a new folder"
        )


class _Reader(Learner):
    """A classifier's network over some sentences."""

    def __init__(
        self, owner: ContinualClassifier, rows: Sequence[RawSentence], relations: Sequence[str]
    ) -> None:
        self.settings, self.device, self.history = owner.settings, owner.device, []
        self.rows, self.data = list(rows), _as_data(rows, relations)
        self.tokens = owner._tokens(self.data)
        self.network = owner.network


class _Lesson(_Reader):
    """One lesson: the relations that stay, which the memory stands for, then those learned now."""

    def __init__(
        self,
        owner: ContinualClassifier,
        stay: Sequence[str],
        learned: Sequence[str],
        new: Sequence[RawSentence],
        seed: int,
    ) -> None:
        relations = [*stay, *learned]
        super().__init__(owner, [*owner.memory, *new], relations)
        self.seed = seed
        labels = self.data.labels
        old = (labels < len(stay)).nonzero().squeeze(1)  # all of it memory
        nothing = labels.new_zeros(0)
        tasks = [Task(0, tuple(range(len(stay))), old, nothing)] if stay else []
        now = tuple(range(len(stay), len(relations)))
        tasks.append(Task(len(tasks), now, (labels >= len(stay)).nonzero().squeeze(1), nothing))
        self.take_up(TaskStream(tuple(tasks), tuple(range(len(relations)))))
        if stay:  # no more than the memory's size of each, so all are kept as they are
            fields = {"label": labels[old][None], "sentence": old[None]}
            unread = torch.zeros(1, len(old), 1)
            self.memory.add([make_generator(seed, "memory")], features=unread, **fields)
        if owner.network is None:
            longest = self.tokens.ids.shape[1]
            bert = copy.deepcopy(owner._bert)  # as it is taken apart, and this lesson may fail
            built = (owner.settings, owner.tokenizer, bert, self.stream, seed, longest)
            self.network = build_network(*built, attends=False).to(self.device)
        else:
            self.network = copy.deepcopy(owner.network)

    def renew_head(self, task: int) -> None:
        """Put a head for the task's relations in place of the last one."""
        old, rows = self.network.head.linear, len(self.stream[task].classes)
        with drawing_from(make_generator(self.seed, "head", task), self.device):
            fresh = nn.Linear(old.in_features, rows, bias=old.bias is not None)
        self.network.head.linear = fresh.to(self.device)


def _as_data(rows: Sequence[RawSentence], relations: Sequence[str]) -> RelationSentences:
    """Sentences as the learner reads them; one whose relation is not among these gets label 0."""
    label = {name: at for at, name in enumerate(relations)}
    sentences = tuple(
        MarkedSentence(row.tokens, row.head, row.tail, label.get(row.relation, 0)) for row in rows
    )
    names, places = tuple(relations), tuple(row.place for row in rows)
    nothing = (None,) * len(rows)
    return RelationSentences("own", "reduced", names, names, sentences, nothing, {}, places=places)


def _digest(row: RawSentence) -> str:
    """What two sentences share that have the same words and entities, whatever their relation."""
    text = json.dumps([row.tokens, row.head, row.tail])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _as_record(row: RawSentence) -> dict[str, Any]:
    return {"relation": row.relation, "tokens": row.tokens, "head": row.head, "tail": row.tail}


def _from_record(record: Mapping[str, Any]) -> RawSentence:
    tokens, head, tail = (tuple(record[name]) for name in ("tokens", "head", "tail"))
    return RawSentence(tokens, head, tail, record["relation"], place="a remembered sentence")


def _share(found: Sequence[bool]) -> float:
    return 100 * sum(found) / len(found) if found else 0.0


def _rebuild(
    folder: Path, settings: CreclParameters, state: Mapping[str, Tensor]
) -> tuple[Any, CreclNetwork]:
    """Tokenizer and network of a saved model, in eval mode."""
    from transformers import AutoModel

    config, tokenizer = read_encoder(folder, state)
    rows = tuple(range(len(state["head.linear.weight"])))
    nothing = torch.zeros(0, dtype=torch.long)
    stream = TaskStream((Task(0, rows, nothing, nothing),), rows)

    def build() -> CreclNetwork:
        bert = AutoModel.from_config(config, trust_remote_code=False).float()
        return build_network(settings, tokenizer, bert, stream, 0, longest=0, attends=False)

    check_state(build, state)
    network = build()
    network.load_state_dict(state)
    return tokenizer, network.to(resolve_device(settings.device)).eval()
