"""DocRE-II on documents of one's own: a saved model, predictions line by line, official scores."""

import inspect
import io
import json
import re
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from docre_data import parameters, tiny_data
from vocabulary import one_token_more

from relcl_lib import __main__ as relcl
from relcl_lib.data.document_files import Fact, Mention
from relcl_lib.data.document_stream import Pairing, read_any
from relcl_lib.data.download import DataFormatError
from relcl_lib.lab.checkpoints import CheckpointError
from relcl_lib.lab.records import read_records
from relcl_lib.lab.runtime import DeviceError
from relcl_lib.models.pair_inference import iterate_logits
from relcl_lib.papers.docre_ii.command import (
    behind_base,
    build_parser,
    main,
    read_predictions,
    untyped,
)
from relcl_lib.papers.docre_ii.network import pair_matrix
from relcl_lib.papers.docre_ii.parameters import DocreParameters
from relcl_lib.papers.docre_ii.predictor import ABOUT, WEIGHTS, Predictor
from relcl_lib.papers.docre_ii.run import DocreRun
from relcl_lib.text.document_metrics import all_scores, fact_scores, name_facts


def as_record(document, labels=False):
    """A document in DocRED's layout."""
    vertices = [
        [
            {"name": m.name, "sent_id": m.sentence, "pos": [m.start, m.end], "type": m.type}
            for m in e
        ]
        for e in document.entities
    ]
    record = {"title": document.title, "sents": document.sentences, "vertexSet": vertices}
    if labels:
        record["labels"] = [
            {"h": f.head, "r": f.relation, "t": f.tail, "evidence": []} for f in document.facts
        ]
    return record


def as_sets(found):
    return [{Fact(f.head, f.relation, f.tail) for f in facts} for facts in found]


@pytest.fixture(scope="module")
def run():
    return DocreRun(parameters(stage1_epochs=2, classifier_rate=1e-2), tiny_data(), 0).train()


@pytest.fixture(scope="module")
def saved(run, tmp_path_factory):
    return Predictor.of(run).save(tmp_path_factory.mktemp("docre") / "model")


def test_where_dev_f1_stays_zero_the_later_epoch_is_kept(monkeypatch):
    nothing = "relcl_lib.papers.docre_ii.run.docre_metrics.fact_scores"
    monkeypatch.setattr(nothing, lambda *rest: {"F1": 0.0})
    made = DocreRun(parameters(stage1_epochs=2, stage2_epochs=2), tiny_data(4), 0).train()
    assert (made.best_epoch, made.best_score) == (4, 0)


def test_a_saved_model_says_what_the_run_says(run, saved, tmp_path):
    moved = shutil.copytree(saved, tmp_path / "elsewhere" / "model")
    for folder in (saved, moved, moved.parent):
        model = Predictor.load(folder)
        assert as_sets(model.predict(run.data.test)) == run.predict("test")[-1]
    tuned = as_sets(model.predict(run.data.test, model.threshold))
    scores = run.evaluate("test", threshold=model.threshold)
    assert fact_scores(tuned, run.data.test)["F1"] == pytest.approx(scores["F1_tuned"], abs=0.1)
    assert sum(map(len, tuned))
    assert {p.name for p in saved.iterdir()} == {ABOUT, WEIGHTS, "encoder", "SHA256SUMS"}


@pytest.mark.parametrize(
    "changes",
    [
        {"variant": "released", "markers": "boundary"},
        {"method": "ATLOP (base)"},
        {"pair_network": "concat", "encoder_layers": 2, "attention": "all"},
    ],
    ids=str,
)
def test_every_form_of_the_network_is_saved(changes, tmp_path):
    made = DocreRun(parameters(**changes), tiny_data(4), 0).train()
    before = Predictor.of(made)
    model = Predictor.load(before.save(tmp_path / "model"))
    found = model.predict(made.data.test, -100.0)
    assert found == before.predict(made.data.test, -100.0) and any(found)
    assert model.iterations == (0 if "method" in changes else 3)


def test_what_is_found_says_by_whom_and_how_sure(run):
    model = Predictor.of(run)
    by_base, *_, last = run.predict("test")
    for at, facts in enumerate(model.predict(run.data.test)):
        for fact in facts:
            known = Fact(fact.head, fact.relation, fact.tail) in by_base[at]
            assert fact.by == ("base" if known else "inference")
            assert fact.margin > 0 and 0.5 < fact.score <= 1
        assert [f.margin for f in facts] == sorted((f.margin for f in facts), reverse=True)
    assert sum(map(len, last)) == sum(map(len, model.predict(run.data.test)))


@pytest.mark.parametrize("changes", [{}, {"attention": "all"}, {"inference_layers": 2}], ids=str)
def test_what_inference_adds_names_the_pairs_it_rests_on(changes, run):
    made = run if not changes else DocreRun(parameters(**changes), tiny_data(4), 0).train()
    model = Predictor.of(made)
    limit = max(len(facts) for facts in model.predict(made.data.test, -100.0))
    assert limit
    by = {"base": 0, "inference": 0}
    for threshold in (0.0, -0.5, -2.0):
        for document, facts in zip(
            made.data.test, model.predict(made.data.test, threshold), strict=True
        ):
            count = len(document.entities)
            for fact in facts:
                by[fact.by] += 1
                if fact.by == "base":
                    assert fact.rests_on == ()
                    continue
                assert 0 < len(fact.rests_on) <= 3
                weights = [support.weight for support in fact.rests_on]
                assert weights == sorted(weights, reverse=True) and 0 < sum(weights) < 1.001
                for support in fact.rests_on:
                    pair = (support.head, support.tail)
                    assert pair != (fact.head, fact.tail)
                    assert max(pair) < count and support.head != support.tail
                    if not changes:  # one layer sees what is near
                        assert {*pair} & {fact.head, fact.tail}
    assert by["inference"]


def test_what_a_fact_rests_on_is_read_off_the_layer(run):
    """The weights by hand: both attentions of the one layer, in the last iteration."""
    model, document = Predictor.of(run), run.data.test[0]
    tokens = run.tokens("test")
    batch = tokens.batch(torch.tensor([0]))
    scores, cells = run.model.base(batch), pair_matrix(batch)
    inference, layer = run.model.inference, run.model.inference.layers[0]
    with torch.no_grad():
        logits = iterate_logits(inference, scores, cells, model.iterations)
        read = inference.fed_back(logits[-2])
        slots = inference.embed_features(scores.features), inference.embed_relations(read)
        memory = layer.mix(torch.cat(slots, dim=1))
        rows = torch.arange(len(cells.pairs))
        maps = [
            attend.attention_map(slot, memory, cells, rows)
            for attend, slot in zip(layer.attend, slots, strict=True)
        ]
    seen = sum(maps) / 2
    (facts,) = model.predict([document], -3.0)
    added = [fact for fact in facts if fact.by == "inference"]
    assert added
    for fact in added:
        row = ((cells.pairs[:, 1] == fact.head) & (cells.pairs[:, 2] == fact.tail)).nonzero().item()
        others = seen[row].clone()
        others[fact.head, fact.tail] = 0
        best = others.flatten().topk(3).values.tolist()
        assert [s.weight for s in fact.rests_on] == pytest.approx(best, abs=1e-4)
        for support in fact.rests_on:
            assert support.weight == pytest.approx(
                others[support.head, support.tail].item(), abs=1e-4
            )
            at = (
                (cells.pairs[:, 1] == support.head) & (cells.pairs[:, 2] == support.tail)
            ).nonzero()
            classes = read[at.item(), 1:].nonzero()[:, 0].tolist()
            assert support.relations == tuple(run.data.relations[i] for i in classes)


def test_documents_stream_in_order_whatever_the_chunk(run):
    model, seen = Predictor.of(run), []

    def documents():
        for document in run.data.test:
            seen.append(document.title)
            yield document

    whole = model.predict(run.data.test, -2.0)
    for chunk in (1, 3, 100):
        seen.clear()
        stream = model.stream(documents(), threshold=-2.0, chunk=chunk)
        first = next(stream)
        assert len(seen) == min(chunk, len(run.data.test))  # no more than a chunk is held
        found = [first, *stream]
        assert [document for document, _ in found] == list(run.data.test)
        for mine, theirs in zip((facts for _, facts in found), whole, strict=True):
            assert {f[:3] for f in mine} == {f[:3] for f in theirs}
            assert sorted(f.margin for f in mine) == pytest.approx(
                sorted(f.margin for f in theirs), abs=1e-3
            )


def test_labels_and_empty_documents_do_not_matter(run):
    model, (first, second, *_) = Predictor.of(run), run.data.test
    strange = replace(first, facts=(Fact(0, "unheard of", 1),))
    bare = replace(second, entities=second.entities[:1], facts=())
    found = model.predict([strange, bare], -2.0)
    assert as_sets(found[:1]) == as_sets(model.predict([first], -2.0)) and found[1] == []
    assert model.predict([]) == []


def long(document, filler=600):
    """The document, with its last two entities moved behind a text that no model reads to its end."""
    sentences = (
        *document.sentences,
        *[("so", "it", "goes", ".")] * filler,
        ("Ada", "at", "Lowford"),
    )
    last = len(sentences) - 1
    far = [(Mention(last, at, at + 1, "", name),) for at, name in ((0, "Ada"), (2, "Lowford"))]
    return replace(
        document, sentences=sentences, entities=(*document.entities[:-2], *far), facts=()
    )


def test_of_what_is_not_read_no_fact_is_predicted(run, saved, monkeypatch, capsys):
    model, document = Predictor.of(run), run.data.test[0]
    count = len(document.entities)
    whole, cut = model.predict([document, long(document)], -1e9)
    assert (whole.cut, whole.unread) == (False, ())
    assert (cut.cut, cut.unread) == (True, (count - 2, count - 1))
    assert {n for fact in cut for n in (fact.head, fact.tail)} == set(range(count - 2))
    predict = Predictor.predict
    monkeypatch.setattr(Predictor, "predict", lambda self, docs, *_: predict(self, docs, -1e9))
    feed(monkeypatch, [as_record(d) for d in (document, long(document))])
    assert main(["predict", "--model", str(saved)]) == 0
    shown, said = capsys.readouterr()
    lines = [json.loads(line) for line in shown.splitlines()]
    assert "cut" not in lines[0] and lines[1]["unread"] == [count - 2, count - 1]
    assert "\n1 documents are longer" in said and "2 entities" in said


def test_two_documents_of_one_title_are_named_in_a_submission(run, saved, monkeypatch, capsys):
    feed(monkeypatch, [as_record(run.data.test[0])] * 2)
    assert main(["predict", "--model", str(saved), "--submission"]) == 0
    assert f"line 2: a second {run.data.test[0].title!r}" in capsys.readouterr().err


def test_a_device_that_is_not_there_is_named_and_not_the_folder(saved):
    assert inspect.signature(Predictor.load).parameters["device"].default == "auto"
    assert Predictor.load(saved, device="auto").device.type in ("cpu", "cuda")
    if not torch.cuda.is_available():
        with pytest.raises(DeviceError, match="cuda"):
            Predictor.load(saved, device="cuda")


def test_what_cannot_be_loaded_or_saved_is_named(run, saved, tmp_path):
    with pytest.raises(CheckpointError, match="holds no trained model"):
        Predictor.load(tmp_path)
    broken = shutil.copytree(saved, tmp_path / "broken")
    about = json.loads((broken / ABOUT).read_text())
    (broken / ABOUT).write_text(json.dumps({**about, "format": 9}))
    with pytest.raises(CheckpointError, match="format 9 found, 2 expected"):
        Predictor.load(broken)
    (broken / ABOUT).write_text(json.dumps(about))
    (broken / WEIGHTS).write_bytes(b"short")
    with pytest.raises(CheckpointError, match="docre_ii train"):
        Predictor.load(broken)
    crowded = shutil.copytree(saved, tmp_path / "crowded")
    (crowded / "SHA256SUMS").unlink()
    one_token_more(crowded / "encoder")
    with pytest.raises(CheckpointError, match="tokenizer has ids beyond the"):
        Predictor.load(crowded)
    handed = Predictor(
        DocreRun(parameters(base="stated_facts", variant="paper"), tiny_stated(), 0).model,
        *(run.tokenizer, run.settings, run.data.relations),
    )
    with pytest.raises(ValueError, match="stated_facts"):
        handed.save(tmp_path / "none")


def tiny_stated():
    from relcl_lib.data.documents import load_documents

    data = load_documents("synthetic")
    return replace(data, train=data.train[:4], dev=data.dev[:2], test=data.test[:2])


# --- commands ------------------------------------------------------------------------------------


def feed(monkeypatch, lines):
    text = b"\n".join(
        line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines
    )
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"\xef\xbb\xbf" + text)))


def test_gold_documents_of_one_title_are_refused(run, tmp_path):
    gold, found = tmp_path / "gold.json", tmp_path / "found.jsonl"
    one = as_record(next(d for d in run.data.test if d.facts), labels=True)
    gold.write_text(json.dumps([one, one]))
    found.write_text(json.dumps({"line": 1, "title": one["title"], "facts": []}) + "\n")
    with pytest.raises(DataFormatError, match=r"gold\.json.*two documents have one title"):
        main(["evaluate", "--gold", str(gold), "--predictions", str(found)])


def test_predict_and_evaluate_lines(run, saved, tmp_path, monkeypatch, capsys):
    test, gold = run.data.test, tmp_path / "gold.json"
    gold.write_text(json.dumps([as_record(document, labels=True) for document in test]))
    known = tmp_path / "train.json"
    known.write_text(json.dumps([as_record(document, labels=True) for document in run.data.train]))
    command = ["predict", "--model", str(saved), "--tuned", "--chunk", "2"]
    scored = []
    for form in ([], ["--submission"]):
        feed(monkeypatch, [as_record(document) for document in test])
        assert main([*command, *form]) == 0
        out = tmp_path / f"{len(form)}.json"
        out.write_text(capsys.readouterr().out)
        assert (
            main(
                ["evaluate", "--gold", str(gold), "--predictions", str(out), "--train", str(known)]
            )
            == 0
        )
        scored.append(json.loads(capsys.readouterr().out))
    lines = [json.loads(line) for line in (tmp_path / "0.json").read_text().splitlines()]
    assert [line["title"] for line in lines] == [document.title for document in test]
    assert [line["line"] for line in lines] == [1, 2, 3, 4]
    fact = next(fact for line in lines for fact in line["facts"])
    assert {"head", "tail", "relation", "score", "margin", "by", "head_name"} <= fact.keys()
    json.loads((tmp_path / "1.json").read_text())
    model = Predictor.load(saved)
    expected = all_scores(
        as_sets(model.predict(test, model.threshold)), test, name_facts(run.data.train)
    )
    expected = {k: v for k, v in expected.items() if not k.startswith("recall_")}
    for found in scored:
        assert {k: v for k, v in found.items() if k in expected} == pytest.approx(expected, abs=0.5)


def test_the_array_that_train_reads_is_predicted_as_its_lines_are(run, saved, monkeypatch, capsys):
    records, shown = [as_record(document, labels=True) for document in run.data.test], []
    for lines in (records, [records]):
        feed(monkeypatch, lines)
        assert main(["predict", "--model", str(saved), "--tuned"]) == 0
        shown.append(capsys.readouterr().out)
    assert shown[0] == shown[1] and len(shown[0].splitlines()) == len(records)


def test_facts_go_to_a_file_that_is_there_when_it_is_whole(
    run, saved, tmp_path, monkeypatch, capsys
):
    records, path = [as_record(document) for document in run.data.test], tmp_path / "facts.jsonl"
    command, into = ["predict", "--model", str(saved), "--tuned"], ["--out", str(path)]
    for form in ([], ["--submission"]):
        feed(monkeypatch, records)
        assert main([*command, *form]) == 0
        shown = capsys.readouterr().out
        feed(monkeypatch, records)
        assert main([*command, *form, *into, "--progress", "3"]) == 0
        out, told = capsys.readouterr()
        assert path.read_text("utf-8") == shown and not out
        found = sum(len(facts) for facts in read_predictions(path).values())
        assert [line.rpartition(", ")[0] for line in told.splitlines()][1:] == [
            f"{len(records)} documents, {found} facts, 0 skipped"
        ]
        assert told.startswith("3 documents, ")

    def failing(*_, **__):
        raise OSError("the disk is gone")
        yield

    monkeypatch.setattr(Predictor, "stream", failing)
    with pytest.raises(OSError, match="gone"):
        main([*command, *into])
    assert path.read_text("utf-8") == shown
    with pytest.raises(ValueError, match="--out"):  # before the model is read: there is none
        main(["predict", "--model", str(tmp_path / "none"), "--out", str(tmp_path)])


def test_the_help_shows_a_document_that_is_read_and_a_facts_fields(run, saved, monkeypatch, capsys):
    with pytest.raises(SystemExit):
        main(["predict", "--help"])
    shown = capsys.readouterr().out.split("\n\n")
    document, line = (json.loads(part) for part in shown if part.startswith("{"))
    feed(monkeypatch, [document, *(as_record(document) for document in run.data.test)])
    assert main(["predict", "--model", str(saved), "--tuned"]) == 0
    first, *others = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert first["title"] == document["title"]
    written = next(line for line in others if line["facts"])
    assert line.keys() == written.keys() and line["title"] == document["title"]
    assert line["facts"][0].keys() == written["facts"][0].keys()
    assert all(f"(default: {usual})" in " ".join(shown[-1].split()) for usual in (64, 100))


def test_nothing_found_is_a_valid_submission(saved, monkeypatch, capsys):
    feed(monkeypatch, [])
    assert main(["predict", "--model", str(saved), "--submission"]) == 0
    assert json.loads(capsys.readouterr().out) == []


def test_malformed_lines_are_named_and_skipped(run, saved, monkeypatch, capsys):
    good = as_record(run.data.test[0])
    bad = [b'{"title": 3', {"title": "x"}, b"\xff", [1], {**good, "vertexSet": [[{"name": "a"}]]}]
    feed(monkeypatch, [good, *bad, b"", good])
    assert main(["predict", "--model", str(saved)]) == 1
    out, err = capsys.readouterr()
    assert [json.loads(line)["line"] for line in out.splitlines()] == [1, 8]
    for number in range(2, 7):
        assert f"line {number} skipped: " in err
    for number, said in (
        (2, "no JSON: "),
        (3, "has no field sents. Write it in DocRED's layout"),
        (4, "not UTF-8 at byte 1; iconv"),
        (5, "is a list, no object\n"),  # what to write was said
        (6, f"({good['title']!r}), field vertexSet: entity 0: no field pos"),
    ):
        assert f"line {number} skipped: {said}" in err


def test_whatever_its_labels_are_a_document_is_predicted(run, saved, monkeypatch, capsys):
    good = as_record(run.data.test[0])
    labels = [
        {},
        "none",
        [{"h": 0, "t": 1, "r": 5}],
        [{"head": 0}],
        [{"h": 0, "t": 0, "r": "P1"}],
        [[0]],
    ]
    feed(monkeypatch, [good, *({**good, "labels": each} for each in labels)])
    assert main(["predict", "--model", str(saved)]) == 0
    first, *others = map(json.loads, capsys.readouterr().out.splitlines())
    assert len(others) == len(labels) and all(o["facts"] == first["facts"] for o in others)


def test_a_document_over_several_lines_is_one_error(run, saved, monkeypatch):
    feed(monkeypatch, json.dumps(as_record(run.data.test[0]), indent=1).encode().split(b"\n"))
    with pytest.raises(ValueError, match="a record over several lines: give one record per line"):
        main(["predict", "--model", str(saved)])


def test_a_mention_beside_its_words_is_said(run, saved, monkeypatch, capsys):
    good, off = (as_record(document, labels=True) for document in run.data.test[:2])
    mention = off["vertexSet"][0][0]
    mention["name"] = "Italy"
    feed(monkeypatch, [good, off])
    assert main(["predict", "--model", str(saved)]) == 0
    said = capsys.readouterr().err
    count = sum(len(mentions) for record in (good, off) for mentions in record["vertexSet"])
    assert f"1 of {count} mentions has another name than the words at their pos" in said
    start, end = mention["pos"]
    words = " ".join(off["sents"][mention["sent_id"]][start:end])
    assert (
        f"(document at line 2 {off['title']!r}, entity 0: 'Italy', but {words!r} stands at" in said
    )
    feed(monkeypatch, [good])
    assert main(["predict", "--model", str(saved)]) == 0
    assert "another name" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("record", "said"),
    [
        ({"title": "unknown", "h_idx": 0, "t_idx": 1, "r": "P17"}, "not in"),
        ({"title": "A", "h_idx": 0, "t_idx": 99, "r": "P17"}, "names an entity that is not there"),
        ({"title": "A", "h_idx": "0", "t_idx": 1, "r": "P17"}, "no numbers of entities"),
        ({"title": "A", "h_idx": 0, "t_idx": 1, "r": None}, "record 1: the relation None is no"),
        ({"title": "A", "facts": None}, "record 1: field facts: None is no list"),
        ({"title": "A", "h_idx": 0, "r": "P17"}, "record 1: no field t_idx"),
        ({"h_idx": 0, "t_idx": 1, "r": "P17"}, "record 1: no field title"),
        ("text", "record 1"),
    ],
    ids=str,
)
def test_predictions_that_do_not_fit_are_named(record, said, run, tmp_path):
    gold, mine = tmp_path / "gold.json", tmp_path / "mine.json"
    gold.write_text(json.dumps([as_record(replace(run.data.test[0], title="A"), labels=True)]))
    mine.write_text(json.dumps([record]))
    with pytest.raises(DataFormatError, match=said):
        main(["evaluate", "--gold", str(gold), "--predictions", str(mine)])


def test_both_forms_of_predictions_are_read(tmp_path):
    path = tmp_path / "facts.json"
    path.write_text(
        '{"title": "A", "facts": [{"head": 0, "relation": "r", "tail": 1}]}\n{"title": "B", "facts": []}\n'
    )
    assert read_predictions(path) == {"A": {Fact(0, "r", 1)}, "B": set()}
    path.write_text('[{"title": "A", "h_idx": 0, "t_idx": 1, "r": "r", "evidence": []}]')
    assert read_predictions(path) == {"A": {Fact(0, "r", 1)}}


def test_train_writes_a_model_and_is_not_trained_again(tmp_path, capsys):
    from docre_data import SMALL, encoder_folder

    data, folder = tiny_data(4), tmp_path / "data"
    folder.mkdir()
    for name in ("train", "dev"):
        rows = [as_record(document, labels=True) for document in getattr(data, name)]
        if name == "dev":
            rows[1]["vertexSet"][0][0]["name"] = "Italy"
        (folder / f"{name}.json").write_text(json.dumps(rows))
    settings = [f"{k}={v}" for k, v in SMALL.items() if k not in ("dataset", "seeds")]
    command = ["train", "--data", str(folder), "--out", str(tmp_path / "out"), *settings]
    command.append(f"encoder={encoder_folder()}")
    assert main(command) == 0
    out, err = capsys.readouterr()
    assert "stage 2 epoch 2/2" in err and "F1_dev" in out
    assert err.startswith(f"data: own, train.json, dev.json of {folder}")
    assert re.search(r"\n1 of \d+ mentions has another name .*\(dev\.json, record 2 ", err)
    last = re.findall(r"stage 2 .*dev F1 ([\d.]+)", err)
    nothing = not any(map(float, last))
    assert ("was 0 in each epoch of stage 2; the last is saved" in err) is nothing
    [record] = read_records(tmp_path / "out" / "results")
    scores = record.metrics
    assert ("train longer" in err) is (scores["F1_dev"] < scores["F1_base_dev"])
    model = Predictor.load(tmp_path / "out")
    assert model.note["data"] == "own" and model.relations
    (folder / "test.json").write_text(json.dumps([as_record(document) for document in data.test]))
    assert main(command) == 0  # an unlabelled test file changes nothing
    out, err = capsys.readouterr()
    assert "loss" not in err and "F1_dev" in out
    assert "\nalready trained: nothing was trained anew\n" in err
    assert Predictor.load(tmp_path / "out").predict(data.test) == model.predict(data.test)
    with pytest.raises(CheckpointError, match=r"other data or with other settings.*another --out"):
        main([*command, "seeds=[1]"])
    with pytest.raises(CheckpointError, match="holds model of a training of one seed"):
        main([*command, "seeds=[0,1]"])
    assert Predictor.load(tmp_path / "out").note["seed"] == 0


def test_a_folder_that_lacks_a_file_is_not_passed_over_for_another(tmp_path, monkeypatch, capsys):
    """`data/own` of the current folder once took the place of the folder that was named."""
    rows = [as_record(document, labels=True) for document in tiny_data(4).train]
    folder, other = tmp_path / "mine", tmp_path / "data" / "own"
    for place, names in ((folder, ["train"]), (other, ["train", "dev"])):
        place.mkdir(parents=True)
        for name in names:
            (place / f"{name}.json").write_text(json.dumps(rows))
    monkeypatch.chdir(tmp_path)
    command = ["docre_ii", "train", "--data", str(folder), "--out", str(tmp_path / "out")]
    assert relcl.main(command) == 2
    said = capsys.readouterr().err
    assert said.startswith(
        f"error: {folder} has train.json, but no file for dev (dev.json). A training"
    )
    assert said.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_what_is_mistyped_is_named_as_it_was_typed(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    for given, said in (("nowhere", "is not there"), (tmp_path / "file", "is a file")):
        words = ["train", "--data", str(given), "--out", str(tmp_path / "out")]
        assert relcl.main(["docre_ii", *words]) == 2
        shown = capsys.readouterr().err
        assert shown.startswith(
            f"error: --data {given} {said}. Name the folder that holds train.json and dev.json"
        )
    assert not (tmp_path / "out").exists()


def test_a_model_that_is_behind_its_own_base_on_dev_is_said_to_be():
    said = behind_base({"F1_dev": 41.2, "F1_base_dev": 45})
    assert "41.20 after stage 2" in said and "45.00 of the base" in said
    assert "stage2_epochs" in said
    for metrics in ({"F1_dev": 45.0, "F1_base_dev": 45.0}, {"F1_dev": 4.0}, {}):
        assert behind_base(metrics) == ""


# --- the PubTator format ---------------------------------------------------------------------------

#: kinds and relations that no data set of the papers has; the last document is for predictions only
BANDS = (
    ("r1", "Aurora", "Tallinn", "Mari Kask", "violin"),
    ("r2", "Boreas", "Riga", "Ilze Berg", "flute"),
    ("r3", "Cirrus", "Vilnius", "Jonas Rim", "cello"),
)


def as_pubtator(name, band, place, person, instrument, *, labelled=True):
    title = f"{band} is a band from {place}."
    abstract = f"Its singer is {person}, who plays the {instrument}."
    text = f"{title} {abstract}"
    lines = [f"{name}|t|{title}", f"{name}|a|{abstract}"]
    for mention, kind in (
        (band, "Band"),
        (place, "Place"),
        (person, "Person"),
        (instrument, "Thing"),
    ):
        at = text.index(mention)
        row = (name, at, at + len(mention), mention, kind, f"{kind}:{mention}")
        lines.append("\t".join(map(str, row)))
    if labelled:
        related = (
            ("from", f"Band:{band}", f"Place:{place}"),
            ("member", f"Person:{person}", f"Band:{band}"),  # against the order of the text
            ("plays", f"Person:{person}", f"Thing:{instrument}"),
        )
        lines += ["\t".join((name, *relation)) for relation in related]
    return "\n".join([*lines, ""])


@pytest.mark.parametrize("orientation", ["document", "kind"])
def test_pubtator_of_any_kinds_is_trained_on_predicted_and_scored(
    orientation, tmp_path, monkeypatch, capsys
):
    from docre_data import SMALL, encoder_folder

    data, out = tmp_path / "data", tmp_path / "out"
    data.mkdir()
    (data / "train.pubtator").write_text("\n".join(as_pubtator(*band) for band in BANDS[:2]))
    (data / "dev.pubtator").write_text(as_pubtator(*BANDS[2]))
    settings = {**SMALL, "encoder": encoder_folder(), "orientation": orientation}
    words = [f"{k}={v}" for k, v in settings.items() if k not in ("dataset", "seeds")]
    assert main(["train", "--data", str(data), "--out", str(out), *words]) == 0
    capsys.readouterr()
    model = Predictor.load(out)
    assert model.relations == ("from", "member", "plays")

    # Whatever it has learned: with every pair above the threshold its candidates are seen.
    plain = "\r\n".join(as_pubtator(*band, labelled=False) for band in BANDS).replace("\n", "\r\n")
    predict = Predictor.predict
    monkeypatch.setattr(Predictor, "predict", lambda self, docs, *_: predict(self, docs, -1e9))
    feed(monkeypatch, [plain.encode()])
    assert main(["predict", "--model", str(out)]) == 0
    shown, complaints = capsys.readouterr()
    lines = [json.loads(line) for line in shown.splitlines()]
    assert [line["title"] for line in lines] == ["r1", "r2", "r3"]
    assert complaints.startswith("3 documents, ") and complaints.count("\n") == 1
    for line, band in zip(lines, BANDS, strict=True):
        names = {fact["head_name"] for fact in line["facts"]} | {
            fact["tail_name"] for fact in line["facts"]
        }
        assert names == set(band[1:])
        pairs = {(fact["head"], fact["tail"]) for fact in line["facts"]}
        assert len(pairs) == (6 if orientation == "document" else 12)
        assert (
            all(head < tail for head, tail in pairs)
            if orientation == "document"
            else (1, 0) in pairs
        )

    # Right facts alone score 100, in the direction that the model has.
    gold, mine = tmp_path / "gold.txt", tmp_path / "mine.jsonl"
    gold.write_text("\n".join(as_pubtator(*band) for band in BANDS))
    ends = {"from": (0, 1), "member": (2, 0), "plays": (2, 3)}
    if orientation == "document":
        ends["member"] = (0, 2)
    right = [{"head": h, "relation": r, "tail": t} for r, (h, t) in ends.items()]
    rows = [json.dumps({"title": band[0], "facts": right}) for band in BANDS]
    mine.write_text("\n".join(rows))
    command = ["evaluate", "--gold", str(gold), "--predictions", str(mine)]
    for directed in ([], ["--directed"]):
        assert main([*command, *directed, "--train", str(data / "train.pubtator")]) == 0
        scores = json.loads(capsys.readouterr().out)
        wrong = directed and orientation == "document"
        assert scores["F1"] == pytest.approx(66.67 if wrong else 100)
        assert scores["Intra-F1"] == scores["F1"] or wrong
        assert "IgnF1" in scores
    gold.write_text("\n".join(as_pubtator(*band, labelled=False) for band in BANDS))
    with pytest.raises(DataFormatError, match="no document has a relation"):
        main(command)


def test_which_entity_comes_first_changes_no_score_of_undirected_facts(tmp_path, capsys):
    """A pair known from training is known in a document that has its entities the other way round."""
    texts = {
        "t": "Aspirin gave ulcer.",
        "one": "Aspirin gave ulcer and rash.",
        "two": "Ulcer and rash came with aspirin.",
    }
    ids = {"aspirin": "C1", "ulcer": "D1", "rash": "D2"}

    def block(name):
        lines = [f"{name}|t|{texts[name]}", f"{name}|a|It did."]
        for word, identifier in ids.items():
            at = texts[name].lower().find(word)
            if at >= 0:
                kind = "Chemical" if identifier == "C1" else "Disease"
                found = texts[name][at : at + len(word)].lower()
                row = (name, at, at + len(word), texts[name][at : at + len(word)], kind, identifier)
                lines.append("\t".join(map(str, row)))
                assert found == word
        return "\n".join([*lines, "\t".join((name, "CID", "C1", "D1")), ""])

    train = tmp_path / "train.txt"
    train.write_text(block("t").replace("Aspirin\t", "aspirin\t").replace("Aspirin", "aspirin"))
    scores = []
    for name in ("one", "two"):
        gold, mine = tmp_path / f"{name}.txt", tmp_path / f"{name}.jsonl"
        gold.write_text(block(name).replace("Aspirin", "aspirin").replace("Ulcer", "ulcer"))
        documents, _ = read_any(gold)
        at = {m[0].name: i for i, m in enumerate(documents[0].entities)}
        facts = [
            {"head": at["aspirin"], "relation": "CID", "tail": at[d]} for d in ("ulcer", "rash")
        ]
        mine.write_text(json.dumps({"title": name, "facts": facts}))
        command = ["--gold", str(gold), "--predictions", str(mine), "--train", str(train)]
        assert main(["evaluate", *command]) == 0
        scores.append(json.loads(capsys.readouterr().out))
    assert scores[0]["IgnF1"] == scores[1]["IgnF1"] < scores[0]["F1"]


def test_by_the_mesh_tree_pairs_of_more_general_diseases_do_not_count(run, tmp_path, capsys):
    gold, mine, tree = (tmp_path / name for name in ("gold.txt", "mine.jsonl", "tree.txt"))
    text, ids = "Aspirin gave ulcer, pain and rash.", {"Aspirin": "C1", "ulcer": "D1"}
    ids |= {"pain": "D2", "rash": "D3"}
    lines = [f"one|t|{text}", "one|a|It did."]
    for word, identifier in ids.items():
        at, kind = text.index(word), "Chemical" if identifier == "C1" else "Disease"
        lines.append("\t".join(map(str, ("one", at, at + len(word), word, kind, identifier))))
    gold.write_text("\n".join([*lines, "one\tCID\tC1\tD1", ""]))
    facts = [{"head": 0, "relation": "CID", "tail": tail} for tail in (1, 2)]
    mine.write_text(json.dumps({"title": "one", "facts": facts}))
    command = ["evaluate", "--gold", str(gold), "--predictions", str(mine)]
    # Number of the disease that is predicted beside the right one -> precision with the tree.
    tree.write_text("C1\tD2\tpain\nC1.5\tD1\tulcer\nC2\tD3\trash\n")
    for other, precision in ((2, 100.0), (3, 50.0)):
        facts[1]["tail"] = other
        mine.write_text(json.dumps({"title": "one", "facts": facts}))
        assert main(command) == 0
        assert json.loads(capsys.readouterr().out)["precision"] == 50
        assert main([*command, "--mesh", str(tree)]) == 0
        shown = capsys.readouterr()
        assert json.loads(shown.out)["precision"] == precision
        assert json.loads(shown.out)["recall"] == 100
        assert f"leaves out 1 pairs, {int(precision == 100)} predicted" in shown.err
    gold.write_text(json.dumps([as_record(run.data.test[0], labels=True)]))
    with pytest.raises(DataFormatError, match=r"no identifiers.*Leave out --mesh"):
        main([*command, "--mesh", str(tree)])


def test_predictions_of_a_part_and_of_other_relations_are_said(run, tmp_path, capsys):
    gold, mine = tmp_path / "gold.json", tmp_path / "mine.jsonl"
    gold.write_text(json.dumps([as_record(d, labels=True) for d in run.data.test]))
    fact = {"head": 0, "relation": "P9999", "tail": 1}
    mine.write_text(json.dumps({"title": run.data.test[0].title, "facts": [fact]}))
    command = ["evaluate", "--gold", str(gold), "--predictions", str(mine)]
    assert main(command) == 0
    said = capsys.readouterr().err
    assert "3 of 4 gold documents do not occur" in said
    assert "1 relations that the gold file does not have, 'P9999' among them" in said
    rows = [
        {"title": d.title, "facts": [f._asdict() for f in map(Fact._make, d.facts)]}
        for d in run.data.test
    ]
    mine.write_text("\n".join(map(json.dumps, rows)))
    assert main(command) == 0
    assert not capsys.readouterr().err  # nothing is missing


def test_more_entities_than_typed_markers_tell_apart_skip_their_document_alone(
    run, saved, monkeypatch, capsys
):
    documents, most = run.data.test, min(len(d.entities) for d in run.data.test)
    fits = [n for n, d in enumerate(documents, start=1) if len(d.entities) <= most]
    monkeypatch.setattr(Predictor, "most_entities", most)
    feed(monkeypatch, [as_record(document) for document in documents])
    assert 0 < len(fits) < len(documents)
    assert main(["predict", "--model", str(saved)]) == 1
    shown = capsys.readouterr()
    assert [json.loads(line)["line"] for line in shown.out.splitlines()] == fits
    assert shown.err.count("skipped: it has") == len(documents) - len(fits)
    assert f"tell {most} apart" in shown.err


def test_kinds_that_typed_markers_do_not_know_are_named():
    data = tiny_data(2)
    document = data.train[0]
    other = tuple(tuple(m._replace(type="Chem") for m in e) for e in document.entities)
    assert untyped(replace(data, train=(replace(document, entities=other),))) == "Chem"
    known = tuple(tuple(m._replace(type="PER") for m in e) for e in document.entities)
    assert untyped(replace(data, train=(replace(document, entities=known),))) == ""


@pytest.mark.parametrize("setting", ["method=logistic regression", "base=stated_facts"])
def test_what_leaves_no_model_is_refused_before_it_is_trained(setting, tmp_path, capsys):
    folder = tmp_path / "data"
    folder.mkdir()
    command = ["docre_ii", "train", "--data", str(folder), "--out", str(tmp_path / "out"), setting]
    assert relcl.main(command) == 2
    assert "leaves no model that can read documents" in capsys.readouterr().err


def test_the_help_explains_each_score(capsys):
    with pytest.raises(SystemExit):
        main(["evaluate", "--help"])
    said = capsys.readouterr().out
    assert all(name in said for name in ("IgnF1:", "Intra-F1,", "Infer-F1:", "Infer-F1_all:"))
    assert "in the order of their first mention line" not in build_parser().description


@pytest.mark.parametrize("tuned", [True, False])
def test_a_threshold_that_dev_could_not_choose_is_said(tuned, run, tmp_path, monkeypatch, capsys):
    made = Predictor.of(run)
    assert made.note["tuned"] is True
    made.note["tuned"] = tuned
    made.save(tmp_path / "model")
    monkeypatch.setenv("HOME", str(tmp_path))
    feed(monkeypatch, [])
    assert main(["predict", "--model", str(Path("~", "model")), "--tuned"]) == 0
    assert ("--tuned changes nothing" in capsys.readouterr().err) is not tuned


def test_relations_that_cannot_count_are_said(tmp_path, capsys):
    gold, mine = tmp_path / "gold.txt", tmp_path / "mine.jsonl"
    lost = "r1\tfrom\tBand:Aurora\tPlace:Nowhere"
    gold.write_text(as_pubtator(*BANDS[0]).rstrip("\n") + f"\n{lost}\n")
    mine.write_text(json.dumps({"title": "r1", "facts": []}))
    assert main(["evaluate", "--gold", str(gold), "--predictions", str(mine)]) == 0
    assert "1 relations name an entity that has no mention" in capsys.readouterr().err


def test_a_pubtator_document_that_cannot_be_read_is_named_and_skipped(saved, monkeypatch, capsys):
    good = as_pubtator(*BANDS[0], labelled=False)
    offset = good.replace("Tallinn\tPlace", "Elsewhere\tPlace").replace("r1", "r2")
    bare = "r9|t|A title\nr9|a|and more\nr9\t0\t1\tA\tKind\n"
    feed(monkeypatch, [part.encode() for part in ("\n" + good, offset, bare)] + [b"r4|t|\xff", b""])
    assert main(["predict", "--model", str(saved)]) == 1
    out, err = capsys.readouterr()
    assert [json.loads(line)["title"] for line in out.splitlines()] == ["r1", "r9"]
    assert [json.loads(line)["line"] for line in out.splitlines()] == [2, 16]
    assert "document at line 9 skipped: " in err and "fields start and end" in err
    assert "document at line 20 skipped: " in err
    assert "1 mentions have no identifier and were left out" in err


def test_a_model_of_two_kinds_asks_for_their_pairs_alone(run):
    document = replace(run.data.test[0], facts=None, pairs=None)
    kinds = [mentions[0].type for mentions in document.entities]
    one, other = list(dict.fromkeys(kinds))[:2]
    first = [min(mention[:2] for mention in mentions) for mentions in document.entities]
    for once in (False, True):
        listed = Pairing((one, other), once)(document).pairs
        assert listed
        for head, tail in listed:
            assert {kinds[head], kinds[tail]} == {one, other}
            assert first[head] <= first[tail] if once else kinds[head] == one
        assert len(listed) == kinds.count(one) * kinds.count(other)
    assert Pairing()(document).pairs is None
    given = replace(document, pairs=((0, 1),))
    assert Pairing((one, other), True)(given) is given


def test_documents_of_other_kinds_than_the_models_are_said(run, tmp_path, monkeypatch, capsys):
    for kinds, said in (((), False), (("Chemical", "Disease"), True)):
        model = Predictor.of(run)
        model.pairing = Pairing(kinds or None)
        model.save(tmp_path / "model")
        feed(monkeypatch, [as_record(document) for document in run.data.test])
        assert main(["predict", "--model", str(tmp_path / "model")]) == 0
        err = capsys.readouterr().err
        assert ("4 documents lack entities of the kinds Chemical and Disease" in err) is said
        assert all(kind in err for kind in ("PER", "LOC")) is said


def test_the_pairs_of_a_data_set_are_the_models(run, tmp_path):
    listed = [
        replace(d, pairs=tuple(p for p in d.candidates() if p[0] < p[1])) for d in run.data.train
    ]
    listed = [replace(d, facts=tuple(f for f in d.facts if f.head < f.tail)) for d in listed]
    data = replace(run.data, train=tuple(listed))
    for name, orientation, pairing in (
        ("mine", "document", Pairing(None, True)),
        ("mine", "kind", Pairing()),
        ("cdr", "document", Pairing(("Chemical", "Disease"), True)),
        ("cdr", "kind", Pairing(("Chemical", "Disease"), False)),
    ):
        made = DocreRun(parameters(orientation=orientation), replace(data, name=name), 0)
        model = Predictor.of(made)
        assert model.pairing == pairing
        assert Predictor.load(model.save(tmp_path / name / orientation)).pairing == pairing
    assert Predictor.of(run).pairing == Pairing()


def test_the_help_of_train_lists_every_setting_with_its_default(capsys):
    with pytest.raises(SystemExit):
        main(["train", "--help"])
    said = capsys.readouterr().out
    for name in set(DocreParameters.model_fields) - {"profile", "data_root"}:
        assert f"\n  {name}=" in said
    assert "train.json and dev.json in DocRED's layout" in said
    for line in ("dataset=own", "seeds=[0]", "encoder=bert-base-cased", "stage1_epochs=30"):
        assert f"\n  {line} " in said or f"\n  {line}\n" in said
