"""The printed tables, pivoted: every number of the paper stands where it should, ours beside it."""

import pytest
from example_records import run
from markdown_tables import read_table

from relcl_lib.lab.format import TableError
from relcl_lib.lab.rows import entries, parse_setting
from relcl_lib.papers.hpcr import printed
from relcl_lib.papers.hpcr.studies import Budget

CIFAR10 = "Split CIFAR10"


@pytest.mark.parametrize(
    "table", [t for t in printed.LAYOUTS if t not in ("Table II", "Table XII")]
)
def test_every_printed_number_stands_once(table):
    """Without records a row and a column are one number."""
    paper = entries("hpcr", table)
    for dataset in dict.fromkeys(entry.dataset for entry in paper):
        for metric in dict.fromkeys(e.metric for e in paper if e.dataset == dataset):
            found = read_table(printed.beside(table, [], dataset, metric=metric))
            shown = [text for texts in found.values() for text in texts.values()]
            values = [float(text.split(" ± ")[0]) for text in shown if text != printed.DASH]
            wanted = [e for e in paper if (e.dataset, e.metric) == (dataset, metric)]
            # A method without a memory stands at each of the three sizes.
            alone = [e.value for e in wanted if "buffer=none" in e.setting]
            assert {e.value for e in wanted} == {*values}
            assert len(values) == len(wanted) + 2 * len(alone)


def test_a_number_stands_in_its_row_and_column():
    table = read_table(printed.beside("Table IX", [], metric="A_T"))
    for entry in entries("hpcr", "Table IX"):
        if entry.metric == "A_T":
            low, high = (parse_setting(entry.setting)[name] for name in ("tau_min", "tau_max"))
            assert table[f"τ_min {low}"][f"τ_max {high}"] == f"{entry.value:.1f}"
    assert (
        read_table(printed.beside("Table III", []))["PCR"]["Tiny-ImageNet, memory 10000"]
        == "19.6 ± 0.8"
    )


def test_ours_is_of_the_configuration_with_the_most_seeds_and_says_its_protocol():
    def records(seeds, a_t, **changes):
        return [run(s, "PCR", a_t=a_t + s, **changes) for s in seeds]

    few, many = records([0], 40.0), records([0, 1], 50.0, protocol="reduced")
    table = read_table(printed.beside("Table III", [*few, *many], CIFAR10))
    assert table["PCR"]["memory 200: ours"] == "50.5 (n=2)\\*"
    assert table["PCR"]["memory 200: paper"] == "50.3 ± 1.5"
    assert table["PCR"]["memory 500: ours"] == table["ER"]["memory 200: ours"] == printed.DASH
    assert "\\* protocol `reduced`" in printed.beside("Table III", many, CIFAR10)
    as_many = records([0, 1], 60.0, protocol="paper")
    table = read_table(printed.beside("Table III", [*as_many, *many], CIFAR10))
    assert table["PCR"]["memory 200: ours"] == "60.5 (n=2)"


def test_the_readings_of_forgetting_accuracy_over_the_stream_and_hc_are_named():
    record = run(0)
    record.metrics.update(AAA=70.0, AAA_all=60.0, F_T_released_all=12.0)
    for name, first, expected in (
        ("Table V", "A", ["66.0 ± 2.7", "70.0 (n=1)", "60.0 (n=1)"]),
        ("Table VI", "F", ["20.6 ± 2.4", "20.0 (n=1)", "16.0 (n=1)", "12.0 (n=1)"]),
    ):
        cells = read_table(printed.beside(name, [record], CIFAR10))["HPCR"]
        ours = [who for metric, who in printed.OURS.items() if metric[0] == first]
        assert [cells[f"memory 200: {who}"] for who in ("paper", *ours)] == expected


def test_of_two_readings_those_stand_that_were_run():
    plain = "PCR+HC+HT (PCR_CT)"
    on, off = f"{plain}, HC on", f"{plain}, HC off"
    with_hc, without = run(0, "PCR+HC+HT (HC on)"), run(0, "PCR+HC+HT", a_t=49.0)
    for records, expected in (
        ([], {plain: None}),
        ([run(0)], {plain: printed.DASH}),
        ([with_hc], {on: "51.0 (n=1)"}),
        ([with_hc, without], {on: "51.0 (n=1)", off: "49.0 (n=1)"}),
    ):
        table = read_table(printed.beside("Table VII", iter(records), CIFAR10))
        assert {name for name in table if plain in name} == {*expected}
        for name, ours in expected.items():
            paper = "memory 200: paper" if records else "memory 200"
            assert table[name][paper] == "51.3 ± 1.6"
            assert table[name].get("memory 200: ours") == ours


def test_numbers_that_no_record_holds_stand_in_columns_of_their_own():
    table = read_table(printed.quoted("Table II", {"digits": {"class 1 (old)": 0.09}}))
    assert table["class 1 (old)"] == {"CIFAR-10: paper": "0.01", "digits": "0.09"}
    assert table["class 10 (new)"] == {"CIFAR-10: paper": "0.2", "digits": printed.DASH}
    by_key = read_table(printed.quoted("Table VIII", {"digits": {"train_loss": 0.5}}))
    assert by_key["training loss"]["digits"] == "0.5"
    in_order = read_table(printed.quoted("Table II", {"digits": range(10)}))
    assert [texts["digits"] for texts in in_order.values()] == [*"0123456789"]
    assert read_table(printed.quoted("Table XII"))["OCM"]["computation"] == "16"
    with pytest.raises(TableError, match="no row 'class 11'; it has: class 1"):
        printed.quoted("Table II", {"digits": {"class 11": 0.09}})
    with pytest.raises(
        TableError, match="'Table I', Split CIFAR10; there are: Table II, Table III"
    ):
        printed.beside("Table I", [], CIFAR10)


def test_budgets_are_multiples_of_er_s():
    found = {"ER": Budget(40, 40, 100), "OCM": Budget(400, 280, 210)}
    table = read_table(printed.budgets(found))
    ours = ["40", "40", "1", "1"], ["400", "280", "8", "2.1"]
    for method, values in zip(found, ours, strict=True):
        assert [*table[method].values()][3:] == values
    assert [*table["OCM"].values()][:3] == ["16", "2", "1"]
    assert (
        table["HPCR"]["computation: paper"] == "1" and table["HPCR"]["images back"] == printed.DASH
    )


def test_control_stands_with_as_many_floats_and_with_as_many_bytes():
    records = [
        run(0, "PCR+HC+HT", buffer_size=122, a_t=47.0),
        run(0, "PCR+HC+HT", buffer_size=106, a_t=46.0),
        run(0, "HPCR", buffer_size=100, a_t=48.0),
    ]
    found = read_table(printed.memory(records))["CIFAR-10"]
    assert found == {
        "image + features + logits": "3072 + 160 + 10",
        "memory beside images alone: as the paper counts": "× 1.06",
        "memory beside images alone: in bytes": "× 1.22",
        "Control: paper": "47.7 ± 1.5",
        "Control: ours, as the paper counts": "memory 106: 46.0 (n=1)",
        "Control: ours, in bytes": "memory 122: 47.0 (n=1)",
        "HPCR: paper": "memory 100: 48.3 ± 1.5",
        "HPCR: ours": "48.0 (n=1)",
    }


def test_a_row_without_a_memory_has_each_data_set_s_own_number():
    sets = ("Split CIFAR100", "Split MiniImageNet", "Split TinyImageNet")
    lines = printed.beside("Table III", [], *sets).splitlines()
    (iid,) = (line for line in lines if line.startswith("| IID |"))
    cells = [cell.strip() for cell in iid.strip("|").split("|")][1:]
    assert cells == ["17.3 ± 0.8"] * 3 + ["18.2 ± 1.1"] * 3 + ["17.3 ± 1.7"] * 3
