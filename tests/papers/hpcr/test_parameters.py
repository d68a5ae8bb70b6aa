import pytest

from relcl_lib.lab.claim_files import read_claims
from relcl_lib.lab.parameters import ParameterError
from relcl_lib.papers.hpcr.methods import METHODS
from relcl_lib.papers.hpcr.parameters import STREAMS, ReplayParameters
from relcl_lib.papers.hpcr.tables import TABLES

#: method -> head, tasks on CIFAR-10, then hc, ht, pcd and scd as released and as printed
EXPECTED = {
    "IID": ("linear", 1, "off off False off", "off off False off"),
    "IID++": ("linear", 1, "off off False off", "off off False off"),
    "FINE-TUNE": ("linear", 5, "off off False off", "off off False off"),
    "ER": ("linear", 5, "off off False off", "off off False off"),
    "ASER": ("linear", 5, "off off False off", "off off False off"),
    "ER-DVC": ("linear", 5, "off off False off", "off off False off"),
    "OCM": ("linear", 5, "off off False off", "off off False off"),
    "OnPro": ("linear", 5, "off off False off", "off off False off"),
    "ER-ACE": ("cosine", 5, "off off False off", "off off False off"),
    **{
        name: (head, 5, "off off False off", "off off False off")
        for names, head in (
            ("GSS A-GEM GMED MIR ER-WA SS-IL SCR OBC DER++", "linear"),
            ("UER", "cosine"),
        )
        for name in names.split()
    },
    "Couple (Eq. 7)": ("cosine", 5, "off off False off", "off off False off"),
    "Couple (Eq. 8)": ("cosine", 5, "off off False off", "off off False off"),
    "PCR": ("cosine", 5, "off off False off", "off off False off"),
    "PCR+HC": ("cosine", 5, "on off False off", "on off False off"),
    "PCR+HC+HT": ("cosine", 5, "auto released False off", "auto paper False off"),
    "PCR+HC+HT+PCD": ("cosine", 5, "auto released True off", "auto paper True off"),
    "PCR+HC+HT+SCD": ("cosine", 5, "auto released False released", "auto paper False paper"),
    "PCR+HC+HT+DER": ("cosine", 5, "auto released True off", "auto paper True off"),
    "PCR+HC+HT (HC on)": ("cosine", 5, "on released False off", "on paper False off"),
    "PCR+HC+HT+PCD (HC on)": ("cosine", 5, "on released True off", "on paper True off"),
    "HPCR (HC on)": ("cosine", 5, "on released True released", "on paper True paper"),
    "HPCR": ("cosine", 5, "auto released True released", "auto paper True paper"),
}


class TestResolved:
    def test_the_table_covers_every_method(self):
        assert set(EXPECTED) == set(METHODS)

    @pytest.mark.parametrize("variant", ["released", "paper"])
    @pytest.mark.parametrize("method", EXPECTED)
    def test_switches_of_every_method_and_variant(self, method, variant):
        head, n_tasks, *switches = EXPECTED[method]
        found = ReplayParameters(method=method, variant=variant).resolved()
        chosen = f"{found.hc} {found.ht} {found.pcd} {found.scd}"
        assert chosen == switches[variant == "paper"]
        assert (found.head, found.n_tasks) == (head, n_tasks)
        printed = variant == "paper"
        assert (found.ht_counter, found.distil_from_task) == (("task", 1), ("run", 0))[printed]
        assert found.joint_forward == METHODS[method].fixed.get("joint_forward", printed)
        unset = [name for name, value in found.model_dump().items() if value is None]
        no_pairs = {"hc_form"} if found.hc != "on" else set()
        assert set(unset) - {"data_root", "image_size"} == no_pairs

    def test_what_is_given_wins_over_method_and_variant(self):
        chosen = ReplayParameters(
            method="HPCR", hc="on", ht="paper", pcd=False, scd="off", head="linear", alpha=0.0
        ).resolved()
        assert (chosen.hc, chosen.ht, chosen.pcd, chosen.scd) == ("on", "paper", False, "off")
        assert (chosen.head, chosen.alpha) == ("linear", 0.0)

    def test_the_form_of_pairs_is_read_where_there_are_pairs(self):
        def form(**changes):
            return ReplayParameters(**changes).resolved().hc_form

        assert form(method="PCR+HC") == form(memory_batch=64) == "released"
        assert form(method="PCR+HC", variant="paper") == form(hc="on", hc_form="paper") == "paper"
        assert form() is form(hc_form="paper") is form(method="ER", hc_form="paper") is None

    def test_a_method_may_have_an_optimizer_of_its_own(self):
        def found(**changes):
            chosen = ReplayParameters.create(changes).resolved()
            assert chosen.resolved() == chosen
            return chosen.optimizer, chosen.learning_rate

        assert found(method="ER") == ("sgd", 0.1)
        assert found(method="OCM") == ("adam", 1e-3)
        assert found(method="OnPro", learning_rate=0.1) == ("adam", 0.1)
        assert found(method="OnPro", optimizer="sgd", learning_rate=0.1) == ("sgd", 0.1)

    def test_resolving_twice_changes_nothing(self):
        once = ReplayParameters(method="PCR").resolved()
        assert once.resolved() == once

    def test_iid_has_one_task(self):
        with pytest.raises(ParameterError, match="IID sees all classes at once"):
            ReplayParameters(method="IID", n_tasks=5).resolved()
        assert ReplayParameters(method="IID", n_tasks=1).resolved().n_tasks == 1

    def test_constants_of_a_method_are_options(self, monkeypatch):
        monkeypatch.setattr(METHODS["ER-ACE"], "options", {"share": 0.5, "size": 3})
        found = ReplayParameters(method="ER-ACE", options={"size": 4}).resolved()
        assert found.options == {"share": 0.5, "size": 4} and found.resolved() == found
        with pytest.raises(ParameterError, match="no option 'sizes'; it has: share, size"):
            ReplayParameters(method="ER-ACE", options={"sizes": 4}).resolved()
        der = ReplayParameters(method="DER++", dataset="cifar10")
        assert (der.resolved().alpha, der.resolved().beta) == (0.1, 0.5)
        with pytest.raises(ParameterError, match="ER has no option 'size'; it has: none"):
            ReplayParameters(method="ER", options={"size": 4}).resolved()


@pytest.mark.parametrize("claim", read_claims("hpcr"), ids=lambda claim: claim.id)
def test_the_sides_of_a_claim_differ_in_nothing_but_what_it_names(claim):
    """Otherwise no records of theirs are ever paired."""
    for setting in claim.settings:
        (dataset,) = [d for d, (s, *_) in STREAMS.items() if s == setting.dataset["stream"]]
        for each in claim.comparisons:
            sides = []
            for side in (each.left, each.right):
                held = {**setting.parameters, **side.parameters, "dataset": dataset}
                made = ReplayParameters(**held, method=side.method).resolved()
                sides.append(made.model_dump(exclude={"method", *made.as_before}))
            one, other = sides
            apart = {name for name in one | other if one.get(name) != other.get(name)}
            assert apart <= {*each.differ}, (each.left, each.right)


def test_hpcr_is_compared_with_each_method_of_table_iii():
    (claim,) = [c for c in read_claims("hpcr") if c.id == "over-other-replay"]
    without = {"IID", "IID++", "FINE-TUNE", "PCR", "HPCR"}  # no replay, or with claims of their own
    rows = {cell.method for cell in TABLES["table3"].cells} - without
    assert [each.left.method for each in claim.comparisons] == ["HPCR"] * len(rows)
    assert {each.right.method for each in claim.comparisons} == rows and len(rows) == 16
