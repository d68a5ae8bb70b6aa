"""Verdicts follow from records by a rule."""

import json
import math

import pytest
from example_records import failed, run
from hypothesis import given, settings
from hypothesis import strategies as st

from relcl_lib.lab.claim_files import Claim, ClaimError, read_claims
from relcl_lib.lab.claims import (
    CONTRADICTED,
    INCONCLUSIVE,
    NOT_TESTED,
    SUPPORTED,
    VERDICTS,
    counts,
    evidence,
    first_lines,
    judge,
    markdown,
)

SETTING = {"dataset": {"stream": "Split CIFAR10"}, "command": "run it"}
HIGHER = {"metric": "A_T", "direction": "higher", "left": "HPCR", "right": "PCR"}
OTHER = {
    HIGHER["left"]: HIGHER["right"],
    HIGHER["right"]: HIGHER["left"],
    "higher": "lower",
    "lower": "higher",
    SUPPORTED: CONTRADICTED,
    CONTRADICTED: SUPPORTED,
}


def claim(*comparisons, **fields):
    given = {"id": "a", "text": "It is so.", "place": "Section 1", "settings": [SETTING]}
    compared = comparisons or (HIGHER,)
    return Claim.model_validate({**given, "comparisons": list(compared), **fields})


def runs(method, values, start=0, **fields):
    return [run(seed, method, a_t=value, **fields) for seed, value in enumerate(values, start)]


#: three runs, whose differences to three equal ones are about two points
AHEAD = [51.9, 52.0, 52.1]


def verdict(records, *comparisons, **fields):
    (line,) = judge([claim(*comparisons, **fields)], records)
    return line.verdict


# --- the rule ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "theirs, expected",
    [
        ([50.0, 51.0, 52.1], SUPPORTED),
        ([54.0, 55.0, 56.1], CONTRADICTED),
        ([50.0, 55.0, 52.0], INCONCLUSIVE),
        ([50.0, 51.0], INCONCLUSIVE),  # two common seeds
        ([52.0, 53.0, 54.0], INCONCLUSIVE),  # no difference at all
        ([], NOT_TESTED),
    ],
)
def test_the_interval_of_the_paired_differences_decides(theirs, expected):
    records = [*runs("HPCR", [52.0, 53.0, 54.0]), *runs("PCR", theirs)]
    assert verdict(records) == expected


def test_of_several_comparisons_one_is_contradicted_by_a_wider_interval():
    # Differences -1.5, -2.0, -2.8: the interval at 95 % lies below 0, that at 1 - 0.05/2 does not.
    records = [*runs("HPCR", [52.0, 53.0, 54.0]), *runs("PCR", [53.5, 55.0, 56.8])]
    assert verdict(records) == CONTRADICTED
    two = [HIGHER, HIGHER | {"right": "ER"}]
    assert verdict(records, *two) == INCONCLUSIVE
    (line,) = judge([claim(*two)], records)
    assert (
        line.outcomes[0].mean + line.outcomes[0].half < 0
        and line.outcomes[0].verdict == INCONCLUSIVE
    )
    clear = [*runs("HPCR", [52.0, 53.0, 54.0]), *runs("PCR", [57.0, 58.0, 59.1])]
    assert verdict(clear, *two) == CONTRADICTED


def test_the_numbers_are_those_of_a_paired_t_interval():
    records = [*runs("HPCR", [52.0, 54.0, 57.0]), *runs("PCR", [50.0, 53.0, 52.0])]
    (line,) = judge([claim()], records)
    (outcome,) = line.outcomes  # differences 2, 1, 5
    half = 4.302652729911275 * math.sqrt((4 / 9 + 25 / 9 + 49 / 9) / 2 / 3)
    assert (outcome.mean, outcome.half) == pytest.approx((8 / 3, half))


def test_a_record_more_changes_the_verdict_with_no_hand():
    records = [*runs("HPCR", [52.0, 53.0, 54.0]), *runs("PCR", [50.0, 51.0])]
    assert verdict(records) == INCONCLUSIVE
    assert verdict([*records, run(2, "PCR", a_t=52.1)]) == SUPPORTED


def test_two_runs_of_one_seed_are_one():
    twice = [run(0, "PCR", a_t=50.0, date=f"2026-01-0{day}") for day in (1, 3, 2)]
    records = [*runs("HPCR", [52.0, 53.0, 54.0]), *twice, run(1, "PCR", a_t=51.0)]
    (line,) = judge([claim()], records)
    assert (line.verdict, len(line.outcomes[0].left)) == (INCONCLUSIVE, 2)
    assert line.outcomes[0].right[0].date == "2026-01-03"


def test_a_run_that_goes_on_from_another_is_none_of_its_method():
    warm = runs("HPCR", [90.0] * 4, inputs={"start_from": "ab12"}, date="2027-01-01")
    records = [*runs("HPCR", AHEAD), *runs("PCR", [50.0] * 4)]
    assert judge([claim()], [*records, *warm]) == judge([claim()], records)
    assert verdict([*warm, *records[3:]]) == NOT_TESTED


def test_unequal_seeds_are_never_compared():
    records = [*runs("HPCR", [52.0] * 4), *runs("PCR", [50.0] * 4, start=4)]
    (line,) = judge([claim()], records)
    assert (line.verdict, line.outcomes[0].left) == (INCONCLUSIVE, ())
    assert "n=0" in evidence(line)[0]


@pytest.mark.parametrize(
    "other",
    [
        {"dataset": {"name": "cifar10", "stream": "Split CIFAR10", "fingerprint": "cd34"}},
        {"variant": "paper"},
        {"inputs": {"encoder": "another"}},
        {"experiment": "another"},
        {"more": {"lr": 1.0}},
        {"protocol": "reduced"},
    ],
)
def test_what_else_differs_is_not_compared(other):
    records = [*runs("HPCR", AHEAD), *runs("PCR", [50.0] * 3, **other)]
    assert verdict(records) == NOT_TESTED


def test_what_a_comparison_names_may_differ():
    records = [*runs("HPCR", AHEAD), *runs("PCR", [50.0] * 3, more={"lr": 1.0})]
    assert verdict(records, HIGHER | {"differ": ["lr"]}) == SUPPORTED
    other = [r.model_copy(update={"protocol": "reduced"}) for r in records if r.method == "PCR"]
    assert verdict([*records[:3], *other], HIGHER | {"differ": ["lr"]}) == NOT_TESTED


def around(mean, n):
    return [mean + 0.1 * (i - (n - 1) / 2) for i in range(n)]


def several(small, large, n=4):
    """Two configurations of both methods, by what HPCR is ahead; the second has n seeds."""
    return [
        *runs("HPCR", around(50.0 + small, 3), more={"lr": 1.0}),
        *runs("PCR", [50.0] * 3, more={"lr": 1.0}),
        *runs("HPCR", around(50.0 + large, n), more={"lr": 0.1}),
        *runs("PCR", [50.0] * n, more={"lr": 0.1}),
    ]


@pytest.mark.parametrize(
    "small, large, n, expected",
    [
        (9.0, 2.0, 4, SUPPORTED),
        (-9.0, -2.0, 4, CONTRADICTED),
        (-9.0, 2.0, 4, INCONCLUSIVE),  # both have seeds enough, and disagree
        (2.0, -9.0, 2, SUPPORTED),  # two seeds decide nothing
    ],
)
def test_configurations_are_not_mixed_and_have_to_agree(small, large, n, expected):
    (line,) = judge([claim()], several(small, large, n))
    outcome = line.outcomes[0]
    assert line.verdict == expected
    assert outcome.mean == pytest.approx(large if n > 3 else small)
    assert (len(outcome.left), outcome.others) == (max(n, 3), 1)


@pytest.mark.parametrize(
    "prefer, n, expected",
    [
        ([], 4, INCONCLUSIVE),
        ([{"lr": 0.1}], 4, CONTRADICTED),
        ([{"lr": 0.5}, {"lr": 0.1}, {"lr": 1.0}], 4, CONTRADICTED),
        ([{"lr": 1.0}, {"lr": 0.1}], 4, SUPPORTED),
        ([{"lr": 0.1}], 2, SUPPORTED),  # until it has seeds enough the other counts
    ],
)
def test_of_several_configurations_that_count_which_the_claim_prefers(prefer, n, expected):
    (line,) = judge([claim(prefer=prefer)], several(9.0, -2.0, n))
    outcome = line.outcomes[0]
    assert line.verdict == expected
    if prefer:
        of_first = expected == CONTRADICTED
        assert outcome.mean == pytest.approx(-2.0 if of_first else 9.0)
        assert {record.parameters["lr"] for record in outcome.left} == {0.1 if of_first else 1.0}
    assert outcome.others == 1


@pytest.mark.parametrize(
    "metric, theirs, expected",
    [
        ("infer_log10_ms", "cuda: NVIDIA H200", NOT_TESTED),
        ("train_log10_seconds", "cpu: Another, 1 threads", NOT_TESTED),
        ("train_log10_seconds", "cpu: AMD EPYC, 2 threads", SUPPORTED),
        ("train_loss", "cuda: NVIDIA H200", SUPPORTED),
    ],
)
def test_times_of_two_machines_are_no_pair(metric, theirs, expected):
    def on(device, found):
        return [
            r.model_copy(update={"device": device, "metrics": {metric: r.metrics["A_T"]}})
            for r in found
        ]

    records = on("cpu: AMD EPYC, 1 threads", runs("HPCR", AHEAD))
    records += on(theirs, runs("PCR", [50.0] * 3))
    assert verdict(records, HIGHER | {"metric": metric}) == expected


def on_samples(samples, lead, n=3, theirs="PCR", **fields):
    """n pairs on so many training samples, in which HPCR is ahead by `lead` on average."""
    about = {"name": "cifar10", "stream": "Split CIFAR10", "fingerprint": f"of {samples}"}
    about |= {"sizes": {"train": samples}}
    fields |= {"dataset": about}
    return [*runs("HPCR", around(50.0 + lead, n), **fields), *runs(theirs, [50.0] * n, **fields)]


@pytest.mark.parametrize(
    "whole, part, expected, said",
    [
        (
            on_samples(420, 2.0),
            on_samples(97, 0.05),
            SUPPORTED,
            "+2.0 [+1.8, +2.2], n=3, 420 training samples",
        ),
        (
            on_samples(420, 2.0),
            on_samples(97, -9.0, 4),
            SUPPORTED,
            "+2.0 [+1.8, +2.2], n=3, 420 training samples",
        ),
        (
            on_samples(420, 2.0, 2),
            on_samples(97, -9.0),
            CONTRADICTED,
            "-9.0 [-9.2, -8.8], n=3, 97 training samples",
        ),
        (
            on_samples(420, 2.0, 1),
            on_samples(97, -9.0, 2),
            INCONCLUSIVE,
            "-9.0, n=2, 97 training samples",
        ),
        (on_samples(420, 2.0, 2), on_samples(97, -9.0, 2), INCONCLUSIVE, "n=2"),
    ],
)
def test_of_several_contents_the_largest_with_seeds_enough_counts_and_is_named(
    whole, part, expected, said
):
    for records in ([*whole, *part], [*part, *whole]):
        (line,) = judge([claim()], records)
        assert line.verdict == expected and line.outcomes[0].others == 1
        assert said in evidence(line)[0] and "further configurations: 1" in evidence(line)[0]
    (line,) = judge([claim()], whole)
    assert "training samples" not in evidence(line)[0]  # there is no other content


def test_configurations_of_the_content_that_counts_have_to_agree():
    split = [
        *on_samples(420, 2.0, more={"lr": 1.0}),
        *on_samples(420, -2.0, more={"lr": 0.1}),
        *on_samples(97, 2.0),
    ]
    (line,) = judge([claim()], split)
    assert (line.verdict, line.outcomes[0].others) == (INCONCLUSIVE, 2)


def test_each_comparison_says_its_data_where_they_differ():
    records = [*on_samples(420, 2.0), *on_samples(97, 3.0), *on_samples(97, 4.0, theirs="ER")]
    (line,) = judge([claim(HIGHER, HIGHER | {"right": "ER"})], records)
    shown = evidence(line)
    assert "420 training samples" in shown[0] and "97 training samples" in shown[1]


@pytest.mark.parametrize("n", [3, 4])
@pytest.mark.parametrize(
    "usual, either, expected",
    [
        ({}, [], INCONCLUSIVE),
        ({"lr": 1.0, "clip": 1.0}, [], SUPPORTED),  # the records name no clip
        ({}, [{"lr": 1.0}], SUPPORTED),
        ({}, [{"lr": 0.1, "buffer_size": 200}, {"lr": 1.0, "buffer_size": 500}], CONTRADICTED),
        ({}, [{"lr": 1.0, "clip": 1.0}], NOT_TESTED),
    ],
)
def test_runs_of_other_sweeps_say_nothing_of_a_claim(usual, either, expected, n):
    line = {"settings": [{**SETTING, "either": either}], "usual": usual}
    assert verdict(several(9.0, -9.0, n), **line) == expected


def test_the_line_that_counts_is_a_decided_one():
    far = {"protocol": "stand-in"}
    near = [*runs("HPCR", [50.1]), *runs("PCR", [50.0])]
    decided = [*runs("HPCR", [40.0, 40.1, 40.2], **far), *runs("PCR", [50.0] * 3, **far)]
    lines = judge([claim()], [*near, *decided])
    assert [line.verdict for line in lines] == [INCONCLUSIVE, CONTRADICTED]
    assert first_lines(lines) == lines[1:]


@pytest.mark.parametrize(
    "second, expected",
    [
        ([52.0, 52.1, 52.3], SUPPORTED),
        ([50.0, 52.0, 49.0], INCONCLUSIVE),  # it has to hold there too
        ([40.0, 40.1, 40.2], CONTRADICTED),
        ([40.0, 40.1], SUPPORTED),  # seeds too few to say
        ([], SUPPORTED),
    ],
)
def test_at_a_scale_it_has_to_hold_in_every_setting(second, expected):
    other = {"dataset": {"stream": "Split CIFAR100"}, "command": "run that"}
    elsewhere = {"dataset": {"name": "cifar100", "stream": "Split CIFAR100"}}
    ours = [*runs("HPCR", AHEAD), *runs("PCR", [50.0] * 3)]
    ours += [*runs("HPCR", second, **elsewhere), *runs("PCR", [50.0] * 3, **elsewhere)]
    lines = judge([claim(settings=[SETTING, other])], ours)
    assert [line.verdict for line in first_lines(lines)] == [expected]


def test_equal_differences_tell_of_no_spread():
    assert verdict([*runs("HPCR", [50.3] * 3), *runs("PCR", [50.0] * 3)]) == INCONCLUSIVE


def test_runs_of_two_number_formats_are_no_pair():
    half = [r.model_copy(update={"number_format": "bfloat16"}) for r in runs("HPCR", AHEAD)]
    assert verdict([*half, *runs("PCR", [50.0] * 3)]) == NOT_TESTED
    assert verdict([*half, *runs("PCR", [50.0] * 3), *runs("HPCR", AHEAD)]) == SUPPORTED


def test_each_scale_has_a_line_the_papers_first():
    ours = [*runs("HPCR", AHEAD), *runs("PCR", [50.0] * 3)]
    small = [r.model_copy(update={"protocol": "reduced"}) for r in ours[:-1]]
    lines = judge([claim()], [*small, *ours])
    assert [(line.scale, line.verdict) for line in lines] == [
        ("paper", SUPPORTED),
        ("reduced", INCONCLUSIVE),
    ]
    assert first_lines(lines) == lines[:1]


def test_failed_runs_and_missing_metrics_do_not_count():
    broken = failed(method="PCR", seed=2, parameters={"buffer_size": 200})
    records = [*runs("HPCR", AHEAD), *runs("PCR", [50.0, 51.0]), broken]
    assert verdict(records) == INCONCLUSIVE
    assert verdict(records, HIGHER | {"metric": "F1"}) == NOT_TESTED


@pytest.mark.parametrize(
    "margin, expected", [(0.0, INCONCLUSIVE), (-1.0, SUPPORTED), (1.0, CONTRADICTED)]
)
def test_no_worse_than_is_a_negative_margin(margin, expected):
    records = [*runs("HPCR", [50.1, 50.0, 49.9]), *runs("PCR", [50.0] * 3)]
    assert verdict(records, HIGHER | {"margin": margin}) == expected


def test_two_metrics_of_one_run_and_a_number():
    records = runs("HPCR", [52.0, 53.0, 54.0])
    assert verdict(records, HIGHER | {"right": {"metric": "AAA"}}) == CONTRADICTED  # it is 67
    assert verdict(records, HIGHER | {"right": {"value": 40.0}}) == SUPPORTED
    assert verdict(records, HIGHER | {"right": {"metric": "F1"}}) == NOT_TESTED


@pytest.mark.parametrize(
    "metric, found, expected",
    [
        ("{}_dev", {"A_T_dev": 0.0, "AAA_dev": -1.0}, SUPPORTED),
        ("{}_dev", {"A_T_dev": 0.0, "AAA_dev": 1.0}, CONTRADICTED),
        ("{}_dev", {"A_T": 0.0, "AAA": -1.0}, NOT_TESTED),
        (None, {"A_T_dev": 0.0, "AAA_dev": -1.0}, NOT_TESTED),
        (None, {"A_T": 0.0, "AAA": -1.0}, SUPPORTED),
    ],
)
def test_a_setting_may_have_its_own_metrics(metric, found, expected):
    records = [
        record.model_copy(
            update={"metrics": {k: v * (1 + 0.1 * record.seed) for k, v in found.items()}}
        )
        for record in runs("HPCR", AHEAD)
    ]
    settings = [SETTING | {"metric": metric}]
    assert verdict(records, HIGHER | {"right": {"metric": "AAA"}}, settings=settings) == expected


@pytest.mark.parametrize(
    "theirs, expected",
    [
        ({"PCR": 50.0, "ER": 50.0}, SUPPORTED),
        ({"PCR": 50.0}, INCONCLUSIVE),
        ({"PCR": 50.0, "ER": 60.0}, CONTRADICTED),
        ({"ER": 60.0}, CONTRADICTED),
        ({}, NOT_TESTED),
    ],
)
def test_of_several_comparisons_all_must_hold(theirs, expected):
    records = runs("HPCR", AHEAD)
    records += [record for method, a_t in theirs.items() for record in runs(method, [a_t] * 3)]
    assert verdict(records, HIGHER, HIGHER | {"right": "ER"}) == expected


numbers = st.lists(st.floats(0, 100).map(lambda value: round(value, 2)), max_size=6)


@settings(deadline=None)  # the first interval loads SciPy
@given(numbers, numbers, st.sampled_from([0.0, 0.5, -3.0]), st.sampled_from(["higher", "lower"]))
def test_the_other_way_round_the_verdict_is_the_other(ours, theirs, margin, direction):
    records = [*runs("HPCR", ours), *runs("PCR", theirs)]
    one = HIGHER | {"margin": margin, "direction": direction}
    found = verdict(records, one)
    assert verdict(records, one | {"left": "PCR", "right": "HPCR", "margin": -margin}) == OTHER.get(
        found, found
    )
    against = one | {"direction": OTHER[direction], "margin": -margin}
    assert verdict(records, against) == OTHER.get(found, found)
    shuffled = records[::-1] + records
    assert verdict(shuffled, one) == found


# --- what is shown -------------------------------------------------------------------------------


def test_a_test_and_what_is_missing():
    shown = claim(comparisons=[], settings=[], test="tests/lab/test_claims.py::test_x")
    refuted = shown.model_copy(update={"id": "b", "shows": CONTRADICTED})
    missing = claim(id="c", comparisons=[], settings=[], missing="There is no such method.")
    lines = judge([shown, refuted, missing], [])
    assert [line.verdict for line in lines] == [SUPPORTED, CONTRADICTED, NOT_TESTED]
    assert [line.scale for line in lines] == ["test", "test", ""]
    assert evidence(lines[2]) == ["There is no such method."]


@pytest.mark.parametrize(
    "protocol, theirs, expected",
    [
        ("paper", [50.0] * 3, []),
        ("paper", [50.0], ["to test: `run it`"]),
        ("reduced", [50.0], ["to test: `run it less`"]),
        ("reduced", [], ["to test: `run it`"]),
    ],
)
def test_an_open_claim_names_its_command(protocol, theirs, expected):
    records = [*runs("HPCR", AHEAD), *runs("PCR", theirs)]
    records = [record.model_copy(update={"protocol": protocol}) for record in records]
    (line,) = judge([claim(settings=[SETTING | {"smaller": "less"}])], records)
    assert [text for text in evidence(line) if "to test" in text] == expected


def test_tables_of_verdicts_and_of_counts():
    records = [*runs("HPCR", [52.5, 53.0, 54.0]), *runs("PCR", [50.0, 51.0, 52.0])]
    small = [record.model_copy(update={"protocol": "stand-in"}) for record in records[1:]]
    lines = judge([claim()], [*records, *small])
    table = markdown(lines, page="hpcr").splitlines()
    assert table[2].startswith(
        '| <a id="hpcr-a"></a>It is so. <sub>Section 1</sub> | **supported** | paper: Split CIFAR-10 | '
        "*final accuracy A_T*<br>HPCR − PCR: +2.2 [+1.4, +2.9], n=3<details><summary>records</summary>"
        "records of seeds [0](data/results/hpcr/split_cifar10/hpcr-seed0-"
    )
    assert table[3].startswith("|   | **inconclusive** | stand-in: Split CIFAR-10 | ")
    assert "<summary>records and command</summary>" in table[3] and "`run " in table[3]
    plain = markdown(lines)
    assert "<a id" not in plain and "](" not in plain
    (row,) = markdown(lines[:1], lesson="hpcr").splitlines()[2:]
    assert row == plain.splitlines()[2].replace("It is so.", "[It is so.](../RESULTS.md#hpcr-a)")
    tested = judge(
        [claim(comparisons=[], settings=[], test="tests/lab/test_claims.py::test_x")], []
    )
    for place, path in ({"lesson": "hpcr"}, "../tests"), ({"page": "hpcr"}, "tests"):
        assert f"| [`test_x`]({path}/lab/test_claims.py) |" in markdown(tested, **place)
    assert "| `tests/lab/test_claims.py::test_x` |" in markdown(tested)
    assert counts({"HPCR": lines, "DRL": []}).splitlines()[2:] == [
        "| HPCR | 1 | 1 (1 paper) | 0 | 0 | 0 |",
        "| DRL | 0 | 0 | 0 | 0 | 0 |",
        "| all | 1 | 1 | 0 | 0 | 0 |",
    ]
    assert len(VERDICTS) == 4


# --- files ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes, said",
    [
        ({"place": ""}, "claim 'a': place: "),
        ({"plaec": "x"}, "claim 'a': plaec: Extra inputs are not permitted"),
        ({"comparisons": []}, "claim 'a': a claim has comparisons, or a test, or says"),
        ({"settings": []}, "claim 'a': comparisons need settings"),
        ({"id": 3}, "claim 3: id: "),
        ({"comparisons": [HIGHER | {"margin": "2"}]}, "claim 'a': comparisons.0.margin: "),
        ({"comparisons": [HIGHER | {"differ": ["seed"]}]}, "seed may not differ"),
        ({"comparisons": [HIGHER | {"left": {"value": 1.0}}]}, "the left side needs a method"),
        ({"comparisons": [HIGHER | {"right": {}}]}, "comparisons.0.right: a side has either"),
        ({"test": "test_x"}, "claim 'a': test: "),
    ],
)
def test_a_malformed_claim_names_file_claim_field_and_remedy(tmp_path, changes, said):
    path = tmp_path / "hpcr.json"
    good = json.loads(claim().model_dump_json(exclude_defaults=True))
    path.write_text(json.dumps([good | changes]))
    with pytest.raises(ClaimError) as error:
        read_claims("hpcr", tmp_path)
    assert str(path) in str(error.value) and said in str(error.value)
    assert "Correct that field" in str(error.value)


def test_a_file_of_claims_is_a_list_without_repetition(tmp_path):
    good = json.loads(claim().model_dump_json(exclude_defaults=True))
    for text, said in [
        ("{}", "claims are a JSON list, not a dict"),
        ("[", "cannot be read as claims"),
        (json.dumps([good, good]), "claim 'a': field id: it occurs twice; rename one"),
    ]:
        (tmp_path / "hpcr.json").write_text(text)
        with pytest.raises(ClaimError, match=said):
            read_claims("hpcr", tmp_path)
    with pytest.raises(ClaimError, match=r"drl\.json cannot be read"):
        read_claims("drl", tmp_path)
    (tmp_path / "hpcr.json").write_text(json.dumps([good]))
    assert read_claims("hpcr", tmp_path) == (claim(),)


def test_what_claims_share_stands_once_in_a_file(tmp_path):
    good = json.loads(claim().model_dump_json(exclude_defaults=True))
    (own,) = good["settings"]
    shared = {
        "usual": {"a": 1},
        "prefer": [{"b": 2}],
        "settings": [{"dataset": own["dataset"], "smaller": "--few"}],
    }
    other = good | {"id": "b", "usual": {"a": 3}}
    other["settings"] = [own | {"smaller": "--none"}, own | {"dataset": {"set": "another"}}]
    (tmp_path / "hpcr.json").write_text(json.dumps(shared | {"claims": [good, other]}))
    first, second = read_claims("hpcr", tmp_path)
    assert (first.usual, first.prefer) == ({"a": 1}, ({"b": 2},))
    assert [setting.smaller for setting in first.settings] == ["--few"]
    assert second.usual == {"a": 3}  # what a claim says itself stands above
    assert [setting.smaller for setting in second.settings] == ["--none", ""]
