"""A classifier that goes on learning: what it knows, keeps, refuses; saved, reloaded and taught further."""

import copy
import io
import json
import random
import re
import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from crecl_data import SMALL, tiny_encoder
from safetensors.torch import load_file
from states import kept, same
from vocabulary import one_token_more

from relcl_lib import __main__ as relcl
from relcl_lib.data.marked_text import read_marked
from relcl_lib.data.sentences import RawSentence, load_sentences
from relcl_lib.lab.checkpoints import CheckpointError
from relcl_lib.lab.parameters import ParameterError
from relcl_lib.papers.crecl.classifier import ABOUT, WEIGHTS, ContinualClassifier
from relcl_lib.papers.crecl.command import build_parser, in_words
from relcl_lib.papers.crecl.parameters import FOREIGN

#: sentences of three words, the middle one of which is the relation
WORDS = ("the", "of", "in", "and", "was", "is", "by", "a")
SETTINGS = {
    name: SMALL[name] for name in ("max_length", "memory_size", "batch_size", "precision", "device")
} | {
    "epochs_classification": 4,
    "epochs_current": 6,
    "epochs_memory": 6,
    "learning_rate": 2e-3,
    "contrast_learning_rate": 2e-3,
}


def rows(word, count=20, start=0):
    return [
        RawSentence((f"a{i}", word, f"b{i}"), (0, 1), (2, 3), word)
        for i in range(start, start + count)
    ]


def begin(**changes):
    chosen = {**SETTINGS, "encoder": tiny_encoder(), **changes}
    return ContinualClassifier.begin("quick", **chosen)


def taught(*lessons, **changes):
    classifier = begin(**changes)
    for words in lessons:
        classifier.learn({word: rows(word) for word in words})
    return classifier


def equal(one, other):
    """Whether two classifiers are the same to the last bit."""
    states = [classifier.network.state_dict() for classifier in (one, other)]
    assert states[0].keys() == states[1].keys()
    return (
        all(torch.equal(states[0][name], states[1][name]) for name in states[0])
        and torch.equal(one.prototypes, other.prototypes)
        and (one.threshold, one.report, one.relations, one.lessons, one.unknown)
        == (other.threshold, other.report, other.relations, other.lessons, other.unknown)
        and [row[:4] for row in one.memory] == [row[:4] for row in other.memory]
        and [row[:4] for row in one.held_out] == [row[:4] for row in other.held_out]
    )


@pytest.fixture(scope="module")
def first_lesson():
    return taught(WORDS[:3])


@pytest.fixture
def one_lesson(first_lesson):
    """A test's own, to be taught further."""
    return copy.deepcopy(first_lesson)


@pytest.fixture(scope="module")
def two_lessons():
    return taught(WORDS[:3], WORDS[3:6])


def test_it_knows_all_it_was_taught_and_refuses_what_it_was_not(two_lessons):
    new = {word: rows(word, 10, start=50) for word in WORDS[:6]}
    scores = two_lessons.evaluate(new)
    assert scores["sentences"] == 60 and scores["accuracy_of_all"] > 60
    assert set(scores["relations"]) == set(WORDS[:6])
    asked = [row for part in new.values() for row in part]
    found = two_lessons.predict(asked)
    right = [one.nearest == row.relation for one, row in zip(found, asked, strict=True)]
    assert 100 * sum(right) / 60 == pytest.approx(scores["accuracy_of_all"])
    accepted = [one for one in found if one.accepted]
    assert 100 * len(accepted) / 60 == pytest.approx(scores["coverage"])
    assert all(one.relation == (one.nearest if one.accepted else None) for one in found)
    assert all((one.score >= two_lessons.threshold) == one.accepted for one in found)
    unknown = two_lessons.evaluate({**new, "by": rows("by", 10)})
    assert unknown["unknown"] == 10 and 0 <= unknown["unknown_refused"] <= 100
    assert unknown["accuracy_of_all"] == scores["accuracy_of_all"]  # those are counted apart
    assert all(one.accepted for one in two_lessons.predict(rows("by"), threshold=-1))
    assert not any(one.accepted for one in two_lessons.predict(rows("by"), threshold=1.1))


def test_what_it_keeps(two_lessons):
    # 20 sentences of each relation: 4 held out, 3 remembered.
    for name, count in (("memory", 3), ("held_out", 4)):
        kept = [row.relation for row in getattr(two_lessons, name)]
        assert {word: kept.count(word) for word in WORDS[:6]} == dict.fromkeys(WORDS[:6], count)
    assert not {row[:3] for row in two_lessons.memory} & {row[:3] for row in two_lessons.held_out}
    assert two_lessons.lessons == [
        {"new": 3, "known": 0, "sentences": 60, "held_out": 12, "memory": count}
        | {"too_long": 0, "repeated": 0, "ambiguous": 0}
        for count in (9, 18)
    ]
    assert two_lessons.prototypes.shape == (6, 32)
    assert two_lessons.network.head.linear.out_features == 3  # of the last lesson


def test_a_reload_between_lessons_changes_no_bit(tmp_path, one_lesson, two_lessons):
    folder = one_lesson.save(tmp_path / "model")
    moved = shutil.move(folder, tmp_path / "elsewhere")
    again = ContinualClassifier.load(moved, device="cpu")
    assert equal(one_lesson, again)
    torch.rand(5)  # what others draw meanwhile does not matter
    again.learn({word: rows(word) for word in WORDS[3:6]})
    assert equal(again, two_lessons)
    asked = rows("of", 5, start=80)
    assert again.predict(asked) == two_lessons.predict(asked)
    third = ContinualClassifier.load(again.save(moved), device="cpu")  # over the old one
    for one in (third, again):
        one.learn({"of": rows("of", 6, start=90), "by": rows("by", 1)})
    assert equal(third, again)
    assert {path.name for path in moved.iterdir()} == {ABOUT, WEIGHTS, "encoder", "SHA256SUMS"}
    assert load_file(moved / WEIGHTS)["prototypes"].shape == (6, 32)


def test_one_sentence_is_enough_and_leaves_nothing_to_choose_a_threshold_by():
    classifier = begin()
    counts = classifier.learn({"born in": rows("in", 1), "Größe → 高": rows("of", 1)})
    assert (counts["held_out"], counts["memory"]) == (0, 2)
    assert classifier.threshold is None and classifier.report == {}
    assert "every sentence gets an answer" in in_words(classifier)
    found = classifier.predict([*rows("in", 1), *rows("of", 1)])
    assert [one.relation for one in found] == ["born in", "Größe → 高"]
    assert all(one.accepted for one in found)
    alone = begin()
    alone.learn({"only": rows("in", 5)})
    assert alone.predict(rows("of", 1))[0].nearest == "only"
    assert alone.report == {} and alone.threshold is None and len(alone.held_out) == 1
    assert "With one relation nothing can be refused: every sentence gets 'only'" in in_words(alone)


def keys(rows):
    return {row[:3] for row in rows}


def test_what_is_held_out_stays_so_when_a_lesson_is_repeated(tmp_path):
    few = {"epochs_classification": 0, "epochs_current": 0, "epochs_memory": 0}
    classifier = begin(**few)
    lesson = {word: rows(word) for word in WORDS[:3]}
    classifier.learn(lesson)
    first = keys(classifier.held_out)
    seen = keys(row for part in lesson.values() for row in part) - first
    classifier = ContinualClassifier.load(classifier.save(tmp_path / "m"), device="cpu")
    counts = classifier.learn({"of": lesson["of"]})
    # 4 held out and 3 remembered; the 13 others were trained on, so none of them is held out now.
    assert (counts["repeated"], counts["sentences"], counts["held_out"]) == (7, 13, 0)
    counts = classifier.learn({"of": [*lesson["of"], *rows("of", 10, start=50)]})
    assert (counts["repeated"], counts["sentences"], counts["held_out"]) == (7, 23, 2)
    assert first < keys(classifier.held_out) and not keys(classifier.held_out) & seen
    assert not keys(classifier.held_out) & keys(classifier.memory)
    assert len(keys(classifier.memory)) == len(classifier.memory) == 9
    # Nothing but known ones: nothing is trained, and nothing of the model changes.
    order, lessons, before = classifier.relations, classifier.lessons, kept(classifier.network)
    counts = classifier.learn({"of": classifier.held_out[:1]})
    assert (counts["repeated"], counts["sentences"], counts["memory"]) == (1, 0, 9)
    assert counts["ambiguous"] == 0
    assert (classifier.relations, classifier.lessons) == (order, lessons)
    assert same(classifier.network, before)


def test_equal_sentences_of_a_lesson_are_never_split():
    classifier = begin(epochs_classification=0, epochs_current=0, epochs_memory=0)
    counts = classifier.learn({"of": rows("of", 10) * 3, "in": rows("in", 10)})
    assert (counts["repeated"], counts["sentences"], counts["held_out"]) == (20, 20, 4)
    assert len(keys(classifier.held_out)) == 4
    # Under two relations: learned as both, held out as neither.
    counts = classifier.learn({"was": rows("by", 10), "is": [*rows("by", 8), *rows("is", 5)]})
    assert (counts["ambiguous"], counts["repeated"], counts["sentences"]) == (8, 0, 23)
    held_out = keys(classifier.held_out)
    assert counts["held_out"] == 1 and not held_out & keys(rows("by", 8))
    remembered = [row for row in classifier.memory if row.relation == "in"]
    assert classifier.learn({"the": remembered})["ambiguous"] == len(remembered) == 3
    away = [row for row in classifier.held_out if row.relation == "of"]
    with pytest.raises(ValueError, match="all 2 are held out as another relation's"):
        classifier.learn({"by": away})
    assert "by" not in classifier.relations


def test_the_report_says_how_little_it_rests_on():
    classifier = begin(epochs_classification=0, epochs_current=0, epochs_memory=0)
    classifier.learn({"of": rows("of", 10), "in": rows("in", 4), "by": rows("by", 1)})
    assert classifier.without_held_out() == ["in", "by"]
    classifier.report = {**classifier.report, "held_out": 2, "accuracy_of_all": 100.0}
    said = in_words(classifier)
    assert "Of 2 sentences held out 100 % (34 to 100 %)" in said  # Wilson: n / (n + 1.96^2)
    assert "2 sentences are too few to tell" in said and "nothing is said here, of: in, by." in said
    classifier.report = {**classifier.report, "held_out": 24, "accuracy_of_all": 50.0}
    said = in_words(classifier)
    assert "Of 24 sentences held out 50 % (31 to 69 %)" in said and "too few" not in said


def test_a_known_relation_learns_on_and_its_memory_is_chosen_anew(one_lesson):
    classifier = one_lesson
    old = [row for row in classifier.memory if row.relation != "of"]
    counts = classifier.learn({"of": rows("of", 30, start=100), "was": rows("was")})
    assert (counts["new"], counts["known"]) == (1, 1)
    assert classifier.relations == ["the", "in", "of", "was"]  # what was learned now is last
    assert [row for row in classifier.memory if row.relation in ("the", "in")] == old
    assert sum(row.relation == "of" for row in classifier.memory) == 3
    assert sum(row.relation == "of" for row in classifier.held_out) == 4 + 6
    assert classifier.evaluate({"of": rows("of", 10, start=200)})["sentences"] == 10
    again = begin()
    again.learn({"of": rows("of")})
    again.learn({"of": rows("of", start=50)})  # nothing but known ones
    assert again.relations == ["of"] and len(again.memory) == 3


def test_never_more_than_twenty_of_a_relation_are_held_out():
    classifier = begin(epochs_classification=0, epochs_current=0, epochs_memory=0)
    for start in (0, 500):
        classifier.learn({"of": rows("of", 300, start), "in": rows("in", 8, start)})
    held_out = [row.relation for row in classifier.held_out]
    assert (held_out.count("of"), held_out.count("in")) == (20, 2)


def best_and_right(classifier):
    """(score, whether the nearest relation is its own) of each sentence held out, by loops."""
    cosines, _ = classifier._cosines(classifier.held_out)
    own = [classifier.relations.index(row.relation) for row in classifier.held_out]
    lines = zip(cosines.tolist(), own, strict=True)
    return [(max(line), line.index(max(line)) == at) for line, at in lines]


def test_the_threshold_is_the_best_of_all(two_lessons):
    """Against every threshold between two scores, by loops."""
    known = best_and_right(two_lessons)
    unknown = [place for part in two_lessons.unknown.values() for place in part]

    def refused(least):
        share = sum(score < least for score, _ in known) / len(known)
        return sum(place < share - 1e-9 for place in unknown) / len(unknown)

    def gain(least):
        return sum(hit and score >= least for score, hit in known) / len(known) + refused(least) - 1

    scores = sorted([-2.0, *(score for score, _ in known), 2.0])
    best = max(gain((a + b) / 2) for a, b in pairwise(scores))
    assert gain(two_lessons.threshold) == pytest.approx(best)
    answered = [hit for score, hit in known if score >= two_lessons.threshold]
    report = two_lessons.report
    assert report["held_out"] == len(known) == 24
    assert report["coverage"] == pytest.approx(100 * len(answered) / len(known))
    assert report["accuracy"] == pytest.approx(100 * sum(answered) / len(answered))
    assert (report["unknown"], report["unknown_relations"]) == (60, 3)
    assert report["unknown_refused"] == pytest.approx(100 * refused(two_lessons.threshold))


def test_unknown_sentences_are_scored_by_a_model_that_never_saw_them(one_lesson, two_lessons):
    classifier = one_lesson
    assert classifier.unknown == {}
    known = [score for score, _ in best_and_right(classifier)]
    found = {}
    for word in WORDS[3:6]:
        scores = [one.score for one in classifier.predict(rows(word))]
        found[word] = sorted(sum(k < score for k in known) / len(known) for score in scores)
    # Batches round differently, which may move a score past one of the twelve known ones.
    assert two_lessons.unknown.keys() == found.keys()
    for word, part in two_lessons.unknown.items():
        assert sorted(part) == pytest.approx(found[word], abs=1 / 12 + 1e-9)
    # Sentences trained on, remembered, or held out before are not unknown, whatever their name now.
    few = {"epochs_classification": 0, "epochs_current": 0, "epochs_memory": 0}
    classifier = taught(WORDS[:2], **few)
    classifier.learn({"was": [*rows("the"), *rows("was", 7)], "of": rows("of", 40)})
    assert {name: len(part) for name, part in classifier.unknown.items()} == {"was": 7}
    classifier.learn({"is": [*rows("was", 7), *rows("is", 50)]})
    assert {name: len(part) for name, part in classifier.unknown.items()} == {"was": 7, "is": 20}


def test_the_first_lesson_keeps_nine_of_ten_and_claims_nothing_of_unknown_sentences(one_lesson):
    classifier = one_lesson
    scores = sorted(score for score, _ in best_and_right(classifier))
    assert len(scores) == 12 and scores[0] < classifier.threshold < scores[1]
    assert set(classifier.report) == {"held_out", "accuracy_of_all", "coverage", "accuracy"}
    said = in_words(classifier)
    assert "does not know get no answer has not been measured" in said and "new to it" not in said
    one = taught(WORDS[:1])  # it refuses nothing, so it has not refused the second relation either
    one.learn({"of": rows("of")})
    assert one.unknown == {} and one.threshold is not None


def test_the_report_is_near_to_what_never_taught_relations_show():
    corpus, given = load_sentences("synthetic"), {}
    for one, kind in zip(corpus.sentences, corpus.split, strict=True):
        if kind == "train":
            name = corpus.relations[one.label]
            given.setdefault(name, []).append(RawSentence(*one[:3], name))
    names = sorted(given)
    random.Random(2021).shuffle(names)
    classifier = ContinualClassifier.begin("quick", device="cpu")
    for lesson in (names[:6], names[6:12]):
        classifier.learn({name: given[name][:30] for name in lesson})
    truth = classifier.evaluate({name: given[name][:20] for name in names[12:]})["unknown_refused"]
    report = classifier.report
    assert (report["unknown"], report["unknown_relations"]) == (120, 6)
    said = in_words(classifier)
    assert "Of 120 sentences of 6 relations that were new to it" in said
    # Of six relations, so it is wide; that of 120 sentences would not be.
    low, high = map(int, re.search(r"% \((\d+) to (\d+) %\) would have got no", said).groups())
    assert high - low > 30 and low <= truth <= high


def test_sentences_that_are_too_long_are_left_out_and_counted():
    far = RawSentence(("of",) * 200, (0, 1), (198, 199), "of")
    classifier = begin(max_length=32)
    counts = classifier.learn({"of": [*rows("of", 4), far], "in": rows("in", 5)})
    assert counts["too_long"] == 1 and counts["sentences"] == 9
    assert classifier.predict([far, *rows("of", 1), far])[0::2] == [None, None]
    short = classifier.evaluate({"of": rows("of", 2)}, threshold=-1)
    scores = classifier.evaluate({"of": [far, *rows("of", 2), far], "by": [far]}, threshold=-1)
    assert (short["sentences"], short["too_long"], short["coverage"]) == (2, 0, 100)
    assert (scores["sentences"], scores["too_long"], scores["coverage"]) == (4, 3, 50)
    assert scores["accuracy_of_all"] == scores["relations"]["of"] == short["accuracy_of_all"] / 2
    assert scores["accuracy"] == short["accuracy"] and "unknown" not in scores
    before = classifier.network.state_dict()
    with pytest.raises(ValueError, match="'by' has no sentence to learn from: in all 1 an entity"):
        classifier.learn({"by": [far]})
    with pytest.raises(ValueError, match="'by' has no sentence to learn from: give one"):
        classifier.learn({"by": []})
    with pytest.raises(ValueError, match="nothing to learn"):
        classifier.learn({})
    assert "by" not in classifier.relations and before is not None


def test_a_lesson_that_fails_leaves_all_as_it_was(two_lessons, tmp_path):
    classifier = ContinualClassifier.load(two_lessons.save(tmp_path / "m"), device="cpu")

    def stop(learner, phase):
        if phase == "CL1":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        classifier.learn({"by": rows("by")}, stop)
    assert equal(classifier, two_lessons)


@pytest.mark.parametrize("late", [False, True], ids=["in training", "after it"])
def test_a_first_lesson_that_fails_changes_nothing(late, one_lesson, monkeypatch):
    classifier = begin()

    def stop(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        if late:
            patched.setattr(ContinualClassifier, "_choose_threshold", stop)
        classifier.learn({word: rows(word) for word in WORDS[:3]}, None if late else stop)
    assert (classifier.network, classifier.relations, classifier.held_out) == (None, [], [])
    classifier.learn({word: rows(word) for word in WORDS[:3]})
    assert equal(classifier, one_lesson)


def test_wrong_scores_of_unknown_sentences_are_refused(two_lessons, tmp_path):
    folder = two_lessons.save(tmp_path / "m")
    about = json.loads((folder / ABOUT).read_text())
    assert about["unknown"] == two_lessons.unknown
    (folder / "SHA256SUMS").unlink()
    for wrong in ({"nobody": [0.5]}, {"of": [1.5]}):
        (folder / ABOUT).write_text(json.dumps({**about, "unknown": wrong}))
        with pytest.raises(CheckpointError, match=r"holds no model .*is no relation with shares"):
            ContinualClassifier.load(folder)


@pytest.mark.parametrize(
    "wrong, error, said",
    [
        ({"text": "a b"}, TypeError, "is no RawSentence; .* `as_marked` of one record"),
        ("a b", TypeError, "is no RawSentence"),
        (RawSentence(("a", "b"), (0, 1), (1, 9), "x"), ValueError, "an entity lies outside"),
        (RawSentence(("a", 5), (0, 1), (1, 2), "x"), ValueError, "a token is no text"),
    ],
    ids=str,
)
def test_what_is_no_sentence_is_refused_and_changes_nothing(wrong, error, said, two_lessons):
    before = copy.deepcopy(two_lessons)
    with pytest.raises(error, match=said):
        two_lessons.learn({"x": [*rows("x", 3), wrong]})
    with pytest.raises(error, match=said):
        two_lessons.predict([wrong])
    with pytest.raises(TypeError, match="a mapping from each relation's name to its sentences"):
        two_lessons.learn(rows("x", 3))
    assert equal(before, two_lessons)


def test_settings_of_benchmarks_are_refused():
    for name, value in (
        ("n_tasks", 3),
        ("method", "RP-CRE"),
        ("dataset", "fewrel"),
        ("head", "fixed"),
    ):
        with pytest.raises(ParameterError, match=f"{name}: a setting of benchmarks"):
            begin(**{name: value})
    with pytest.raises(ParameterError, match="a model has one seed"):
        begin(seeds=[1, 2])
    with pytest.raises(ParameterError, match="did you mean margin"):
        begin(margins=0.1)
    with pytest.raises(ValueError, match="no relation yet"):
        begin().predict(rows("of"))
    with pytest.raises(ValueError, match="nothing to save"):
        begin().save("nowhere")


def test_a_damaged_folder_is_named(two_lessons, tmp_path):
    folder = two_lessons.save(tmp_path / "m")
    about = json.loads((folder / ABOUT).read_text())
    assert "seeds" not in about["settings"] and str(tmp_path) not in (folder / ABOUT).read_text()
    for change in ({"format": 99}, {"relations": None}, {"memory": [{"tokens": ["a"]}]}):
        (folder / ABOUT).write_text(json.dumps({**about, **change}))
        with pytest.raises(
            CheckpointError, match=r"holds no model that can be read .*needs classifier\.json"
        ):
            ContinualClassifier.load(folder)
    (folder / ABOUT).write_text(json.dumps(about))
    (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:1000])
    with pytest.raises(CheckpointError, match="holds no model"):
        ContinualClassifier.load(folder)
    with pytest.raises(CheckpointError, match=r"nowhere is not there; name a folder .*crecl learn"):
        ContinualClassifier.load(tmp_path / "nowhere")
    with pytest.raises(CheckpointError, match=f"{ABOUT} is a file; name a folder"):
        ContinualClassifier.load(folder / ABOUT)
    again = two_lessons.save(tmp_path / "again")
    (again / "SHA256SUMS").unlink()
    one_token_more(again / "encoder")
    with pytest.raises(CheckpointError, match="tokenizer has ids beyond the"):
        ContinualClassifier.load(again)


def test_a_folder_that_holds_other_things_is_left_alone(two_lessons, tmp_path, capsys):
    (tmp_path / "mine").mkdir()
    for place in (tmp_path / "mine" / "notes.txt", tmp_path / "file"):
        place.write_text("years of work")
    data = write(tmp_path / "1.jsonl", WORDS[:2], 2)
    for folder in (tmp_path / "mine", tmp_path / "file"):
        with pytest.raises(CheckpointError, match=r"holds no model .*name a new folder"):
            two_lessons.save(folder)
        learn = ["crecl", "learn", "--model", str(folder), "--data", data]
        assert relcl.main([*learn, *given()]) == 2
        shown = capsys.readouterr().err
        assert "name a new folder" in shown and "classification" not in shown  # before training
    assert relcl.main([*learn[:3], str(tmp_path / "file" / "model"), *learn[4:], *given()]) == 2
    shown = capsys.readouterr().err
    assert f"the folder {tmp_path / 'file'} cannot be written to; name another" in shown
    assert (tmp_path / "mine" / "notes.txt").read_text() == (tmp_path / "file").read_text()
    assert two_lessons.save(tmp_path / "deep" / "new" / "model").is_dir()
    (tmp_path / "empty").mkdir()
    assert two_lessons.save(tmp_path / "empty") == tmp_path / "empty"


# --- the commands ---------------------------------------------------------------------------------


def line(word, i, **more):
    text = f"a{i} {word} b{i}"
    return {
        "text": text,
        "head": [0, len(f"a{i}")],
        "tail": [len(text) - len(f"b{i}"), len(text)],
        **more,
    }


def write(path, words, count=20, start=0):
    records = [line(w, i, relation=f"r-{w}") for w in words for i in range(start, start + count)]
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return str(path)


def given(*more):
    chosen = {name: value for name, value in SETTINGS.items() if name != "device"}
    chosen["encoder"] = tiny_encoder()
    return ["--profile", "quick", *(f"{name}={value}" for name, value in chosen.items()), *more]


def ask(monkeypatch, capsys, folder, lines, *more):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"\n".join(lines))))
    code = relcl.main(["crecl", "predict", "--model", str(folder), *more])
    shown = capsys.readouterr()
    return code, [json.loads(text) for text in shown.out.splitlines()], shown.err


def test_learn_predict_and_evaluate_as_commands(tmp_path, monkeypatch, capsys):
    folder, first = tmp_path / "model", write(tmp_path / "1.jsonl", WORDS[:3])
    learn = ["crecl", "learn", "--model", str(folder), "--device", "cpu"]
    assert relcl.main([*learn, "--data", first, *given()]) == 0
    shown = capsys.readouterr()
    report = json.loads(shown.out)
    assert (report["new"], report["relations"], report["held_out"]) == (3, 3, 12)
    assert report["without_held_out"] == []
    told = [line.partition(", loss ")[0] for line in shown.err.splitlines() if "epoch" in line]
    epochs = [f"step 1 of 3, classification: epoch {epoch}/4" for epoch in range(1, 5)]
    assert told[:4] == epochs and "CL" not in shown.err
    assert told[-1].startswith("step 3 of 3, contrastive learning on the memory: epoch ")
    assert report["threshold"] == round(report["threshold"], 4)
    assert "Of 12 sentences held out" in shown.err and "not been measured" in shown.err
    second = write(tmp_path / "2.jsonl", WORDS[3:6])
    assert relcl.main([*learn, "--data", second, "--relation", "r-and", "--relation", "r-was"]) == 0
    shown = capsys.readouterr()
    second_report = json.loads(shown.out)
    assert (second_report["relations"], second_report["unknown_relations"]) == (5, 2)
    assert "Of 40 sentences of 2 relations that were new to it" in shown.err
    assert relcl.main([*learn, "--data", first, "--relation", "r-of"]) == 0
    shown = capsys.readouterr()
    assert json.loads(shown.out)["repeated"] == 7 and "7 sentences known already" in shown.err
    both = tmp_path / "both.jsonl"
    both.write_text("".join(json.dumps(line("by", 1, relation=f"r-{w}")) + "\n" for w in WORDS[:2]))
    assert relcl.main([*learn, "--data", str(both)]) == 0
    assert "1 sentences are given under more than one relation" in capsys.readouterr().err

    strange = [b"{", b"", json.dumps({"text": "no entities"}).encode(), b"\xff\xfe"]
    far = line("of", 1) | {"text": "a1 " + "of " * 300 + "b1", "tail": [903, 905]}
    lines = [json.dumps(line(w, 70)).encode() for w in WORDS[:5]]
    lines = [*lines[:2], *strange, json.dumps(far).encode(), *lines[2:]]
    for chunk in ("1", "256"):
        code, found, errors = ask(monkeypatch, capsys, folder, lines, "--chunk", chunk)
        assert code == 1 and [one["line"] for one in found] == [1, 2, 8, 9, 10]
        for number, words in (
            (3, ""),
            (5, "E11"),
            (6, ""),
            (7, "an entity lies beyond 128 tokens"),
        ):
            assert any(f"line {number} skipped" in e and words in e for e in errors.splitlines())
        right = [one["nearest"] == f"r-{w}" for one, w in zip(found, WORDS, strict=False)]
        assert sum(right) >= 3
        assert all(one["relation"] in (None, one["nearest"]) for one in found)
    code, found, _ = ask(monkeypatch, capsys, folder, lines[:2], "--threshold", "-1")
    assert code == 0 and all(one["relation"] == one["nearest"] for one in found)

    array = [b"[" + b", ".join(lines[:2]) + b"]"]
    code, again, told = ask(monkeypatch, capsys, folder, array, "--threshold", "-1")
    assert (code, again) == (0, found)
    assert told.startswith("2 sentences, 2 answered, 0 skipped, ") and told.count("\n") == 1
    out = tmp_path / "relations.jsonl"
    always = ("--threshold", "-1", "--out", str(out))
    assert ask(monkeypatch, capsys, folder, lines[:2], *always)[:2] == (0, [])
    assert [json.loads(text) for text in out.read_text().splitlines()] == found

    test = write(tmp_path / "test.jsonl", WORDS[:6], 5, start=60)
    assert relcl.main(["crecl", "evaluate", "--model", str(folder), "--data", test]) == 0
    scores = json.loads(capsys.readouterr().out)
    assert (scores["sentences"], scores["unknown"]) == (25, 5) and len(scores["relations"]) == 5
    with pytest.raises(SystemExit):
        build_parser().parse_args(["evaluate", "--help"])
    said = capsys.readouterr().out
    assert set(scores) <= set(re.findall(r"^  (\w+)  +\w", said, re.MULTILINE))
    with pytest.raises(SystemExit):
        build_parser().parse_args(["predict", "--help"])
    said = capsys.readouterr().out
    (shown,) = (json.loads(text) for text in said.splitlines() if '"nearest"' in text)
    assert shown.keys() == found[0].keys()
    assert "(default: 256)" in said and "(default: 1000)" in said
    none = tmp_path / "none.jsonl"
    none.write_text(Path(test).read_text() + json.dumps(line("a", 70, relation=None)) + "\n")
    for threshold, refused in (("-1", 0), ("1", 100)):  # as the model does not know it
        words = ["--data", str(none), "--threshold", threshold]
        assert relcl.main(["crecl", "evaluate", "--model", str(folder), *words]) == 0
        with_none = json.loads(capsys.readouterr().out)
        assert (with_none["sentences"], with_none["unknown"]) == (25, 6)
        assert with_none["unknown_refused"] == refused and len(with_none["relations"]) == 5
    assert relcl.main([*learn, "--data", str(none)]) == 2
    assert "record 31, field relation: is null" in capsys.readouterr().err
    with Path(test).open("a") as file:
        file.write(json.dumps(far | {"relation": "r-of"}) + "\n")
    assert relcl.main(["crecl", "evaluate", "--model", str(folder), "--data", test]) == 0
    shown = capsys.readouterr()
    assert json.loads(shown.out)["sentences"] == 26 and json.loads(shown.out)["too_long"] == 1
    assert "1 sentences have no answer: an entity lies beyond 128 tokens" in shown.err


def test_five_relations_written_by_hand_are_taught_in_two_lessons():
    cases = Path(__file__).parents[2] / "cases" / "own_relations"
    first, second, test = (
        read_marked(cases / f"{name}.jsonl") for name in ("first", "second", "test")
    )
    assert set(test) == {*first, *second} and not set(first) & set(second)
    assert {len(found) for found in (first | second).values()} == {12}
    assert {len(found) for found in test.values()} == {3}
    told = [row for lesson in (first, second, test) for found in lesson.values() for row in found]
    assert len({row.tokens for row in told}) == 75
    few = {"epochs_classification": 1, "epochs_current": 1, "epochs_memory": 1}
    classifier = ContinualClassifier.begin("quick", **few, device="cpu")
    for lesson in (first, second):
        counts = classifier.learn(lesson)
        assert (counts["too_long"], counts["repeated"], counts["ambiguous"]) == (0, 0, 0)
        assert counts["held_out"] == 2 * counts["new"]
    assert classifier.relations == [*first, *second]
    scores = classifier.evaluate(test)
    assert scores["sentences"] == 15 and set(scores["relations"]) == set(test)


def test_a_model_keeps_its_encoder_and_its_settings(tmp_path, capsys):
    from relcl_lib.data.weights import weights_folder

    folder, data = tmp_path / "model", write(tmp_path / "1.jsonl", WORDS[:2], 5)
    learn = ["crecl", "learn", "--model", str(folder), "--data", data, "--device", "cpu"]
    quick = [
        "epochs_classification=0",
        "epochs_current=0",
        "epochs_memory=0",
        f"encoder={tiny_encoder()}",
    ]
    assert relcl.main([*learn, "--profile", "quick", *quick]) == 0
    assert relcl.main([*learn, *quick]) == 0  # the same ones may be said again
    for words, said in (
        ([f"encoder={weights_folder('tiny')}"], "began with the encoder"),
        (["epochs_memory=3"], "began with 0 and keeps its settings"),
        (["epochs_memori=3"], "unknown parameter 'epochs_memori'"),
        (["--profile", "quick"], "--profile is for a new model"),
        (["--relation", "r-xyz"], "has no relation 'r-xyz'; it has r-of, r-the"),
    ):
        capsys.readouterr()
        assert relcl.main([*learn, *words]) == 2
        assert said in capsys.readouterr().err
    assert (
        relcl.main(
            ["crecl", "learn", "--model", str(tmp_path / "x"), "--data", str(tmp_path / "no")]
        )
        == 2
    )
    assert f"{tmp_path / 'no'} is not there. Name a file" in capsys.readouterr().err


@pytest.mark.parametrize(
    "word, said",
    [
        (
            "colour=3",
            "unknown parameter 'colour'. Valid names: attend_pads, batch_size",
        ),
        ("epochs_memori=3", "unknown parameter 'epochs_memori'; did you mean epochs_memory"),
        ("epochs_memory=many", "parameter epochs_memory"),
        ("n_tasks=3", "n_tasks: a setting of benchmarks"),
        ("epoch_joint=3", "unknown parameter 'epoch_joint'; did you mean epochs_current?"),
        ("profile=ful", "'ful' is not a profile"),
    ],
)
def test_settings_are_checked_before_torch_is_loaded(word, said, tmp_path):
    data = write(tmp_path / "1.jsonl", WORDS[:2], 2)
    words = ["crecl", "learn", "--model", str(tmp_path / "m"), "--data", data, word]
    code = (
        "import sys; from relcl_lib.__main__ import main; code = main(sys.argv[1:]); "
        "sys.exit(100 if 'torch' in sys.modules else code)"
    )
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True)
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("error: ") and said in done.stderr


@pytest.mark.parametrize("value", ["2", "-1.01", "nan", "high"])
@pytest.mark.parametrize("command", ["predict", "evaluate"])
def test_a_threshold_that_is_no_cosine_is_refused(command, value, capsys):
    with pytest.raises(SystemExit):
        build_parser().parse_args([command, "--model", "m", "--threshold", value])
    assert "argument --threshold" in capsys.readouterr().err


def test_the_help_of_learn_lists_every_setting_with_its_default(capsys):
    with pytest.raises(SystemExit):
        build_parser().parse_args(["learn", "--help"])
    said = capsys.readouterr().out
    assert "settings are for it alone" in said and "Each further" in said
    model = ContinualClassifier.begin("reduced", encoder=tiny_encoder(), device="cpu")
    for name, value in model.settings.model_dump().items():
        listed = f"\n  {name}=" in said
        assert listed == (name not in (*FOREIGN, "profile", "device"))
        if isinstance(value, int | float) and not isinstance(value, bool) and listed:
            assert f"\n  {name}={value}" in said
