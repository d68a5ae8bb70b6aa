import math

import pandas as pd
import pytest
from example_records import failed, make, run

from relcl_lib.commands.tables import paper_rows
from relcl_lib.lab.compare import COMPARE_COLUMNS, compare, nearest
from relcl_lib.lab.files import NOT_READ
from relcl_lib.lab.format import TableError, format_markdown
from relcl_lib.lab.records import most_seeds
from relcl_lib.lab.rows import Row, rows_without_paper

#: Table III on Split CIFAR-10 with a memory of 200
ROWS = [
    row
    for row in paper_rows("hpcr")
    if (row.table, row.dataset) == ("Table III", "Split CIFAR10")
    and row.setting in ("buffer=none", "buffer=200")
]


def only(frame, method, metric="A_T"):
    return frame[(frame["method"] == method) & (frame["metric"] == metric)]


def test_mean_interval_and_difference():
    records = [run(seed, a_t=value) for seed, value in enumerate((51.0, 50.0, 52.0))]
    frame = compare("hpcr", ROWS, records)
    assert tuple(frame.columns) == COMPARE_COLUMNS
    (line,) = only(frame, "HPCR").to_dict("records")
    assert (line["paper"], line["paper_pm"], line["n"]) == (53.4, 1.4, 3)
    assert line["ours"] == pytest.approx(51.0)
    assert line["ours_pm"] == pytest.approx(4.302653 / math.sqrt(3), rel=1e-5)
    assert line["difference"] == pytest.approx(-2.4)
    assert line["protocol"] == "paper"
    (other,) = only(frame, "ER").to_dict("records")
    assert (other["protocol"], other["n"]) == ("not run", 0)
    assert math.isnan(other["ours"])


def test_protocols_are_never_mixed():
    records = [run(0, a_t=50.0), run(0, a_t=30.0, protocol="reduced"), run(1, a_t=52.0)]
    lines = only(compare("hpcr", ROWS, records), "HPCR")
    assert dict(zip(lines["protocol"], lines["ours"], strict=True)) == {
        "paper": 51.0,
        "reduced": 30.0,
    }
    assert set(lines["configuration"]) == {""}


def test_number_formats_are_never_mixed():
    auto = {"more": {"precision": "auto"}}
    records = [run(seed, number_format="float32", **auto) for seed in (0, 1)]
    records += [run(2, number_format="bfloat16", **auto)]
    lines = only(compare("hpcr", ROWS, records), "HPCR")
    assert dict(zip(lines["configuration"], lines["n"], strict=True)) == {
        "precision=float32": 2,
        "precision=bfloat16": 1,
    }


def test_two_copies_of_a_data_set_are_told_apart_in_words():
    about = {"name": "cifar10", "stream": "Split CIFAR10"}
    copies = ({"fingerprint": "ab" * 32, "note": "all JPEG"}, {"fingerprint": "cd" * 32})
    records = [run(dataset=about | copy) for copy in copies]
    lines = compare("hpcr", ROWS, records, only_run=True)
    assert set(lines["configuration"]) == {"data=all JPEG", "data=cdcdcdcdcdcd"}


def test_of_two_parts_of_a_data_set_the_larger_comes_first():
    """By its size where the note only names the files beside it, whatever the digests."""
    about = {"name": "cifar10", "stream": "Split CIFAR10"}
    parts = (
        {"fingerprint": "ab" * 32, "sizes": {"train": 7760}},
        {"fingerprint": "cd" * 32, "sizes": {"train": 33600}, "note": f"{NOT_READ}: part.json"},
    )
    records = [run(seed, dataset=about | part) for part in parts for seed in range(3)]
    frame = compare("hpcr", ROWS, records, only_run=True)
    said = ["data=33,600 training samples", "data=7,760 training samples"]
    assert only(frame, "HPCR")["configuration"].tolist() == said
    assert only(nearest(frame), "HPCR")["configuration"].tolist() == said[:1]
    assert {r.dataset["sizes"]["train"] for r in most_seeds(records)} == {33600}
    assert {r.dataset["sizes"]["train"] for r in most_seeds(records[:-1])} == {7760}


@pytest.mark.parametrize(
    ("changes", "label"),
    [
        ({"more": {"alpha": 1.0}}, "alpha=1"),
        ({"more": {"dataset": "x", "method": "y"}}, "dataset=x, method=y"),
        ({"experiment": "ablation"}, "experiment=ablation"),
        (
            {"dataset": {"name": "cifar10", "stream": "Split CIFAR10", "fingerprint": "f"}},
            "data=f",
        ),
    ],
)
def test_configurations_are_never_mixed(changes, label):
    frame = compare("hpcr", ROWS, [run(0), run(1), run(2, **changes)])
    lines = only(frame, "HPCR")
    assert sorted(lines["n"]) == [1, 2]
    assert label in lines["configuration"].tolist()


def test_what_sets_one_row_s_configurations_apart_is_said_of_every_row():
    def of(method, precision):
        return run(method=method, more={"precision": precision}, number_format=precision)

    records = [of("HPCR", "float32"), of("HPCR", "bfloat16"), of("PCR", "bfloat16")]
    frame = compare("hpcr", ROWS, records)
    assert set(only(frame, "PCR")["configuration"]) == {"precision=bfloat16"}
    assert len(only(frame, "HPCR")) == 2 and set(only(frame, "ER")["configuration"]) == {""}
    alone = compare("hpcr", ROWS, records[1:])
    assert set(alone["configuration"]) == {""}


def test_encoders_of_one_name_are_told_apart_by_their_digests():
    def of(seed, name, digest):
        return run(seed, backbone=name, inputs={"encoder": digest})

    ours = [of(0, "best", "ab12cd34"), of(1, "best", "ab12cd34")]
    frame = only(compare("hpcr", ROWS, [*ours, of(0, "best", "ef56ab78")]), "HPCR")
    assert set(frame["configuration"]) == {"encoder=best (ab12cd)", "encoder=best (ef56ab)"}
    frame = only(compare("hpcr", ROWS, [*ours, of(0, "other", "ef56ab78")]), "HPCR")
    assert set(frame["configuration"]) == {"encoder=best", "encoder=other"}
    (line,) = only(compare("hpcr", ROWS, [ours[0], of(1, "copy", "ab12cd34")]), "HPCR").to_dict(
        "records"
    )
    assert (line["n"], line["configuration"]) == (2, "")


def test_the_same_run_twice_is_an_error():
    with pytest.raises(TableError, match="same configuration and seed"):
        compare("hpcr", ROWS, [run(0), run(0, a_t=40.0)])


def test_failed_runs_are_shown_as_failed_and_never_averaged():
    lost = failed(method="HPCR", parameters={"buffer_size": 200}, seed=5)
    frame = compare("hpcr", ROWS, [lost], only_run=True)
    assert frame[["method", "protocol"]].to_numpy().tolist() == [["HPCR", "failed"]]
    assert "| failed |" in format_markdown(frame)
    beside = only(compare("hpcr", ROWS, [lost, run(0)]), "HPCR")
    assert beside[["n", "protocol"]].to_numpy().tolist() == [[1, "paper"], [0, "failed"]]


def test_only_run_and_other_papers():
    frame = compare("hpcr", ROWS, [run(), run(paper="drl", method="ER")], only_run=True)
    assert frame["method"].tolist() == ["HPCR"]
    assert compare("hpcr", ROWS, [], only_run=True).empty


def test_a_fraction_in_the_paper_becomes_per_cent():
    row = Row(
        "Table 1",
        "CORe50-NI",
        "network=ResNet50;mem=100;bs=32;lambda=0",
        "Shuffle",
        "test_acc",
        record_metric="accuracy",
        paper_scale=100.0,
    )
    record = make(paper="drl", method="Shuffle", metrics={"accuracy": 75.0})
    frame = compare("drl", [row], [record])
    assert frame["paper"].tolist() == [79.0]
    assert frame["difference"].tolist() == [pytest.approx(-4.0)]


def test_a_row_the_paper_does_not_have_shows_a_dash():
    digits = run(dataset={"name": "digits", "stream": "Split digits"}, protocol="stand-in")
    frame = compare("hpcr", rows_without_paper([digits]), [digits, run()])
    assert frame["n"].tolist() == [1] * 4
    text = format_markdown(frame).splitlines()
    assert text[0].startswith("**Split digits**: memory 200; protocol stand-in; ")
    assert text[2].startswith("| Method | final accuracy A_T (%) | ")
    assert text[4].startswith("| HPCR | 51.0 | ")


def test_frames_are_typed():
    frame = compare("hpcr", ROWS, [run()])
    for name in ("paper", "paper_pm", "ours", "ours_pm", "difference"):
        assert pd.api.types.is_float_dtype(frame[name])
    assert pd.api.types.is_integer_dtype(frame["n"])
