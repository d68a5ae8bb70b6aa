"""FastRE's claims pair the runs they mean: with CasRel on an encoder, on GloVe first, of one form."""

from itertools import chain

import pytest
from fastre_data import parameters, tiny_data

from relcl_lib.data.weights import weights_folder
from relcl_lib.lab.claim_files import read_claims
from relcl_lib.lab.claims import CONTRADICTED, NOT_TESTED, SUPPORTED, judge
from relcl_lib.lab.records import Record
from relcl_lib.papers.fastre.run import FastreRun

CLAIMS = {claim.id: claim for claim in read_claims("fastre")}
DEFAULT = [1, 2, 4, 1, 1, 1]


def records(metrics, n=3, device="cpu: one, 1 threads", **changes):
    """Records of a run's true configuration, as if on NYT10; `metrics` are name -> value of seed 0."""
    run = FastreRun(parameters(**{"dilations": DEFAULT, **changes}), tiny_data())
    held = run.configuration()
    held["dataset"]["set"] = "NYT10"
    rest = {"seconds": 1.0, "device": device, "protocol": "reduced"}
    found = []
    for seed in range(n):
        moved = {name: value + 0.01 * seed for name, value in metrics.items()}
        found.append(Record(**{**held, **rest, "seed": seed, "metrics": moved}))
    return found


def verdict(name, found):
    return judge([CLAIMS[name]], found)[0]


@pytest.fixture(scope="module")
def vectors(tmp_path_factory):
    """A file of vectors of 50 numbers."""
    file = tmp_path_factory.mktemp("glove") / "glove.6B.50d.txt"
    file.write_text("".join(f"{word} {'0.5 ' * 49}0.1\n" for word in ("was", "is")))
    return str(file)


def glove(metrics, vectors, **changes):
    return records(metrics, word_vectors=vectors, min_count=2, vector_size=300, **changes)


def casrel(metrics, **changes):
    given = {"method": "CasRel", "encoder": str(weights_folder("tiny")), "vector_size": 300}
    return records(metrics, **given, **changes)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_casrel_on_an_encoder_is_paired_with_fastre_on_glove(vectors, precision):
    ours = glove({"F1": 60.0}, vectors)
    theirs = casrel({"F1": 50.5}, encoder_precision=precision)
    for record in theirs:
        record.metrics["F1"] += record.seed  # so that the differences have a spread
    assert theirs[0].number_format == precision
    assert verdict("over-casrel", [*ours, *theirs]).verdict == SUPPORTED
    given = {"method": "CasRel tagger + FastRE encoder", "word_vectors": vectors}
    tagger = records({"F1": 40.0}, **given)
    assert verdict("casrel-tagger", [*tagger, *theirs]).verdict == SUPPORTED


def test_speeds_are_compared_on_one_machine(vectors):
    names = ("train_log10_seconds", "infer_log10_ms")
    ours = glove(dict.fromkeys(names, 1.0), vectors)
    found = {}
    for device in ("cpu: one, 2 threads", "cuda: one"):
        theirs = casrel(dict.fromkeys(names, 3.0), device=device)
        for record in theirs:
            record.metrics.update(dict.fromkeys(names, 3.0 + record.seed / 10))
        found[device] = verdict("speed", [*ours, *theirs]).verdict
    assert list(found.values()) == [SUPPORTED, NOT_TESTED]


def test_gloves_runs_count_once_there_are_enough(vectors):
    def both(make, ahead, **changes):
        ours = make({"F1": 60.0 + ahead}, **changes)
        theirs = make({"F1": 60.0}, method="-Residual Connection", **changes)
        for record in theirs:
            record.metrics["F1"] += record.seed / 10
        return [*ours, *theirs]

    random = both(records, 5, vector_size=300)
    other = both(records, -4, word_vectors=str(weights_folder("tiny")))
    on_glove = both(glove, -5, vectors=vectors)
    assert verdict("residual", [*random, *other]).verdict == SUPPORTED
    (outcome,) = verdict("residual", [*random, *other, *on_glove]).outcomes
    assert outcome.mean == pytest.approx(-5, abs=0.2)
    assert outcome.verdict == CONTRADICTED
    few = both(glove, -5, vectors=vectors, n=2)
    assert verdict("residual", [*random, *other, *few]).verdict == SUPPORTED


@pytest.mark.parametrize("name", ["attention-on-boundaries", "gradients-of-function-words"])
def test_other_forms_of_fastre_do_not_speak_for_it(name):
    claim = CLAIMS[name]
    high = [comparison.metric for comparison in claim.comparisons]
    low = [comparison.right.metric for comparison in claim.comparisons]

    def shown(ahead, **changes):
        found = records({**dict.fromkeys(high, ahead), **dict.fromkeys(low, 1.0)}, **changes)
        for record in found:
            record.metrics.update(dict.fromkeys(high, ahead + record.seed / 10))
        return found

    forms = [
        shown(0.1, exact_release=True),
        shown(0.1, variant="paper"),
        shown(0.1, dilations=[1, 2, 4]),
        shown(0.1, gate="none"),
    ]
    for form in forms:
        assert verdict(name, form).verdict == NOT_TESTED
        assert verdict(name, [*form, *shown(2.0)]).verdict == SUPPORTED


def test_dilation_is_judged_between_six_blocks_and_six(vectors):
    """Of the structures of Table 4 only one is the network that dilation is taken out of."""
    flat = glove({"F1": 60.0}, vectors, method="-Dilated Convolution", dilations=[1] * 6)
    for record in flat:
        record.metrics["F1"] += record.seed / 10
    deep = [1, 2, 4, 1, 2, 4, 1, 1, 1]
    structures = [
        glove({"F1": ahead}, vectors, dilations=dilations)
        for ahead, dilations in ((70.0, DEFAULT), (50.0, deep), (40.0, [1, 2, 4]))
    ]
    (outcome,) = verdict("dilation", [*flat, *chain(*structures)]).outcomes
    assert outcome.mean == pytest.approx(10, abs=0.2)
    assert outcome.others == 0
