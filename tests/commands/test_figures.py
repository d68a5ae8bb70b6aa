import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from drawn import check, dots, lines, texts, yticks
from example_records import make, run
from PIL import Image

from relcl_lib.commands.figures import COLOURS, all_figures, main, shortened
from relcl_lib.lab import plots
from relcl_lib.lab.claim_files import read_claims
from relcl_lib.lab.claims import in_words
from relcl_lib.lab.files import repository_root
from relcl_lib.papers.docre_ii.parameters import DocreParameters
from relcl_lib.papers.docre_ii.tables import TABLES as DOCRE_TABLES
from relcl_lib.papers.hpcr import figures as hpcr
from relcl_lib.papers.hpcr.tables import apart
from relcl_lib.papers.registry import PAPERS

FIGURES = all_figures()


@pytest.fixture(autouse=True)
def alone():
    plt.close("all")  # what another test left open
    with plt.rc_context():  # the command sets the look of figures
        yield
    plt.close("all")


def measured(paper, method, seed=0, **fields):
    return make(paper=paper, method=method, seed=seed, **{"accuracy_matrix": None, **fields})


#: a t-SNE comes out otherwise on another processor; what is drawn of numbers does not
OF_TSNE = {"hpcr_features.png", "crecl_two_tasks.png"}


def test_the_committed_figures_can_be_drawn_and_are_all_that_is_committed(tmp_path, monkeypatch):
    monkeypatch.setattr(plots, "embed_together", in_place_of_tsne)
    assert main(["--out", str(tmp_path)]) == 0
    assert not plt.get_fignums()  # none is kept when it is saved
    drawn = sorted(path.name for path in tmp_path.iterdir())
    always = [name for name in FIGURES if name not in OF_SWEEPS]
    assert {f"{name}.png" for name in always} <= {*drawn} <= {f"{name}.png" for name in FIGURES}
    folder = repository_root() / "figures"
    committed = {path.name for path in folder.glob("*.png")}
    assert drawn == sorted(committed - {"house.png"})  # drawn from the imports, not from records
    of_numbers = [name for name in drawn if name not in OF_TSNE]
    stale = [name for name in of_numbers if not alike(tmp_path / name, folder / name)]
    assert not stale, f"{stale}: python -m relcl_lib figures draws them anew"


def test_a_results_folder_that_is_not_there_draws_no_empty_figures(tmp_path):
    with pytest.raises(FileNotFoundError, match="typo is no folder"):
        main(["--out", str(tmp_path / "out"), "--results", str(tmp_path / "typo")])
    assert not list(tmp_path.iterdir())


#: drawn once their sweeps have records
OF_SWEEPS = ("hpcr_temperatures", "hpcr_batches")


def in_place_of_tsne(features, proxies=None):
    rows = [np.asarray(given)[:, :2] for given in (features, proxies) if given is not None]
    return rows[0], rows[-1][:0] if proxies is None else rows[1]


def alike(left, right):
    """Whether two pictures are of one size, and but a few pixels differ by more than a shade.

    One dot that moves by its own width changes about a hundred.
    """
    ours, theirs = (np.asarray(Image.open(path).convert("L"), dtype=int) for path in (left, right))
    return ours.shape == theirs.shape and (np.abs(ours - theirs) > 32).sum() <= 20


def test_one_dot_that_moves_is_seen(tmp_path):
    for name, height in (("one", 1.0), ("again", 1.0), ("moved", 1.05)):
        figure, axes = plt.subplots()
        axes.set_ylim(0, 2)
        axes.plot([0, 1, 2], [0, height, 2], "o", markersize=3)
        plots.save_figure(figure, name, tmp_path)
    assert alike(tmp_path / "one.png", tmp_path / "again.png")
    assert not alike(tmp_path / "one.png", tmp_path / "moved.png")


@pytest.mark.parametrize("name", [n for n in FIGURES if not n.startswith("hpcr")])
def test_a_figure_without_records_says_so(name):
    figure = FIGURES[name]([])
    said = [figure.get_suptitle(), *(axes.get_title() for axes in figure.axes)]
    said += [text for axes in figure.axes for text in texts(axes)]
    assert any("no records yet" in text for text in said)
    figure.draw_without_rendering()  # warns where a panel has no room


def test_a_second_configuration_is_not_mixed_in():
    def records(seeds, precision):
        return [run(s, more={"precision": precision}, protocol="paper") for s in seeds]

    chosen = hpcr.split_cifar10([*records([0, 1], "float32"), *records([0, 1, 2], "bfloat16")])
    assert [record.parameters["precision"] for record in chosen] == ["bfloat16"] * 3


@pytest.mark.parametrize(
    "change", [{"hold_out": 0.1}, {"mask": "all"}, {"learning_rate": 0.03}, {"options": {"a": 1}}]
)
def test_runs_that_tune_do_not_stand_for_the_papers_setting(change):
    tuned = [run(seed, more=change, protocol="paper") for seed in range(5)]
    usual = [run(seed, protocol="paper") for seed in range(3)]
    assert hpcr.split_cifar10([*tuned, *usual]) == usual
    assert hpcr.split_cifar10(tuned) == []
    warmer = run(method="ER-ACE", more={"temperature": 0.1}, protocol="paper")  # its own
    assert hpcr.split_cifar10([warmer]) == [warmer]


def test_methods_on_two_encodings_of_the_images_are_not_mixed():
    def records(method, seeds, content, protocol):
        about = {"name": "cifar10", "stream": "Split CIFAR10", "fingerprint": content}
        return [run(s, method=method, protocol=protocol, dataset=about) for s in range(seeds)]

    copy = [*records("HPCR", 7, "00", "reduced"), *records("PCR", 3, "00", "reduced")]
    whole = [*records("HPCR", 3, "ff", "paper"), *records("PCR", 3, "ff", "paper")]
    assert {record.protocol for record in hpcr.split_cifar10([*copy, *whole])} == {"paper"}
    assert {record.protocol for record in hpcr.split_cifar10([*copy, *whole[:4]])} == {"reduced"}


def test_components_stand_beside_table_vii():
    records = [run(s, method=m, protocol="paper") for m in ("PCR", "HPCR", "IID") for s in (0, 1)]
    (axes,) = FIGURES["hpcr_components"](records).axes
    check(axes, bars=[("PCR, n=2", 51), ("HPCR, n=2", 51)], legend=["paper", "one seed"])
    assert dots(axes)[-2:] == [(50.3, 0), (53.4, 1)]  # the paper's


def test_curves_end_beside_table_iii():
    matrix = [[80, 0, 0], [60, 70, 0], [50, 40, 90]]
    records = [
        run(s, method=m, protocol="paper").model_copy(update={"accuracy_matrix": matrix})
        for m in ("ER", "HPCR")
        for s in (0, 1)
    ]
    (axes,) = FIGURES["hpcr_curves"](records).axes
    assert [value for _, value in dots(axes)] == [41.7, 53.4]
    check(axes, legend=["ER", "HPCR", "paper, Table III", "one seed"])


def test_curves_are_of_methods_with_three_seeds_where_there_are_any():
    matrix = [[80, 0, 0], [60, 70, 0], [50, 40, 90]]
    records = [
        run(s, method=m, protocol="paper").model_copy(update={"accuracy_matrix": matrix})
        for m, seeds in (("ER", 2), ("HPCR", 3))
        for s in range(seeds)
    ]
    (axes,) = FIGURES["hpcr_curves"](records).axes
    check(axes, legend=["HPCR", "paper, Table III", "one seed"])
    novel, _ = FIGURES["hpcr_knowledge"](records).axes
    assert [*lines(novel)] == ["HPCR"]
    (axes,) = FIGURES["hpcr_curves"](records[:4]).axes
    check(axes, legend=["ER", "HPCR", "paper, Table III", "one seed"])


def test_a_component_says_whether_pairs_are_on():
    methods = ("HPCR (HC on)", "PCR+HC+HT", "PCR+HC+HT (HC on)")
    (axes,) = FIGURES["hpcr_components"]([run(0, m, protocol="paper") for m in methods]).axes
    names = ["PCR+HC+HT (HC off)", "PCR+HC+HT (HC on)", "HPCR (HC on)"]
    check(axes, bars=[(f"{name}, n=1", 51) for name in names])
    assert dots(axes) == [(51.3, 0), (51.3, 1), (53.4, 2)]


def test_novel_and_historical_knowledge_are_the_matrix_s():
    matrix = [[80, 0, 0], [60, 70, 0], [50, 40, 90]]
    records = [run(0, protocol="paper").model_copy(update={"accuracy_matrix": matrix})]
    novel, historical = FIGURES["hpcr_knowledge"](records).axes
    check(novel, lines={"HPCR": [(1, 80), (2, 70), (3, 90)]})
    ((_, first), *rest) = lines(historical)["HPCR"]
    assert np.isnan(first) and rest == [(2, 60), (3, 45)]


def test_proxies_stand_in_the_order_they_were_met():
    curve = {"cumulative_gradient": [1.0, 2.0, -3.0, -4.0]}
    held = {"curves": curve, "parameters": {**run(0).parameters, "buffer_size": 100}}
    records = [run(s, m, protocol="paper") for m in ("PCR", "HPCR", "ER") for s in (0, 1)]
    records = [record.model_copy(update=held) for record in records]
    (axes,) = FIGURES["hpcr_proxies"](records).axes
    assert [bar.get_height() for bar in axes.patches] == 2 * curve["cumulative_gradient"]
    check(axes, legend=["PCR, n=2", "HPCR, n=2"])
    assert not FIGURES["hpcr_proxies"](records[:0]).axes[0].patches


def test_differences_are_of_common_seeds():
    records = [run(s, "HPCR", a_t=v, protocol="paper") for s, v in enumerate((50.0, 53.0, 55.0))]
    records += [run(s, "PCR", a_t=v, protocol="paper") for s, v in enumerate((48.0, 49.0))]
    (axes,) = FIGURES["hpcr_differences"](records).axes
    assert yticks(axes) == ["HPCR − PCR"]
    assert dots(axes) == [(2, 0), (4, 0)]


def test_features_of_two_memory_batches_have_a_panel_each(monkeypatch):
    drawn = [run(0, "ER", more={"memory_batch": size}, protocol="paper") for size in (100, 10)]
    made = {r.parameters["memory_batch"]: r for r in drawn}
    shapes = {10: torch.rand(12, 4), 100: torch.rand(12, 4)}
    monkeypatch.setattr(
        hpcr,
        "read_features",
        lambda r: (shapes[r.parameters["memory_batch"]], torch.arange(12) % 3, torch.rand(3, 4)),
    )
    figure = FIGURES["hpcr_features"](list(made.values()))
    assert [axes.get_title() for axes in figure.axes] == ["ER, 10 replayed", "ER, 100 replayed"]


def test_features_are_of_one_memory(monkeypatch):
    records = [
        run(0, method, memory, protocol="paper", more={"memory_batch": 10})
        for method, memory in (("ER", 200), ("HPCR", 200), ("HPCR", 500))
    ]
    kept = torch.rand(12, 4), torch.arange(12) % 3, torch.rand(3, 4)
    monkeypatch.setattr(hpcr, "read_features", lambda record: kept)
    figure = FIGURES["hpcr_features"](records)
    assert [axes.get_title() for axes in figure.axes] == ["ER", "HPCR"]
    assert "memory 200" in figure.get_suptitle()


def test_figures_of_a_sweep_are_drawn_where_it_has_records():
    held = {**apart(), "memory_batch": 10}
    usual = [run(s, m, 1000, 50, held, protocol="paper") for m in ("PCR", "PCR+HC") for s in (0, 1)]
    assert all(FIGURES[name](usual) is FIGURES[name]([]) is None for name in OF_SWEEPS)
    matrix = [[90.0, 0, 0], [80, 70, 0], [20, 40, 90]]
    of_classes = {"accuracy_matrix": matrix, "protocol": "paper"}
    warmer = [run(0, "PCR", 1000, 50, apart(t, t), **of_classes) for t in (0.09, 0.3)]
    elsewhere = run(0, "PCR", 200, 50, apart(0.3, 0.3), **of_classes)
    both, _ = FIGURES["hpcr_temperatures"]([*warmer, elsewhere]).axes
    assert [line.get_ydata().tolist() for line in both.lines[:3]] == [[50, 50], [30, 30], [90, 90]]
    batches = [
        run(s, m, 1000, n + s, {"memory_batch": n}, protocol="paper")
        for m in ("PCR", "PCR+HC")
        for n in (10, 100)
        for s in (0, 1)
    ]
    figure = FIGURES["hpcr_batches"](
        [*batches, run(0, "PCR", 1000, 0, {"memory_batch": 10, "width": 8})]
    )
    (axes,) = figure.axes
    assert [line.get_ydata().tolist() for line in axes.lines[:2]] == 2 * [[10.5, 100.5]]
    assert "memory 1000" in axes.get_title()


def test_a_setting_leaves_a_method_its_colour():
    assert plots.colour_of("PCR+HC+HT (HC off)") == plots.colour_of("PCR+HC+HT")
    assert plots.colour_of("PCR, memory 100") == plots.colour_of("PCR") != plots.colour_of("PCR+HC")
    assert plots.colour_of("RP-CRE (25 epochs)") != plots.colour_of("RP-CRE")


def drl_record(method, accuracy, seed=0, track="NI", **parameters):
    held = {"memory_size": 100, "batch_size": 16, "drl_weight": 0.0, "er": "released"}
    held |= {"loss": "released", "taps": "logits", "network": "Reduced ResNet-18"}
    held |= {"width": 8, **parameters}
    place = {"dataset": {"name": "CORe50-standin(cifar10)", "track": track}}
    fields = {"protocol": "stand-in", "parameters": held, "metrics": {"test_acc": accuracy}}
    return measured("drl", method, seed, experiment="tracks", **place, **fields)


def test_a_panel_per_track_and_a_bar_with_and_without_the_loss():
    nic = {"track": "NIC", "memory_size": 50}
    records = [
        *(drl_record("BER", 60.0 + 2 * seed, seed) for seed in range(2)),
        *(drl_record("BER", 70.0 + 9 * seed, seed, drl_weight=2e-4) for seed in (0, 2)),
        *(drl_record("BER", 90.0, seed, width=20) for seed in range(3)),  # has no partner
        drl_record("BER", 99.0, drl_weight=0.5),  # a sweep of lambda
        drl_record("GEM", 99.0),
        drl_record("ER", 50.0, **nic, er="paper"),
        drl_record("ER", 10.0, **nic),
    ]
    ni, nic = FIGURES["drl_tracks"](records).axes
    # A track that was not run has no panel.
    # Both bars are of seed 0 alone, the one in common.
    check(ni, title="NI, width 8", bars=[("BER\nn=1", 60), ("BER\nn=1", 70)])
    check(nic, title="NIC, width 8", bars=[("ER\nn=1", 50), ("ER\nreleased\nn=1", 10)])


def test_of_configurations_with_as_many_seeds_in_common_the_bars_have_the_latest():
    records = [
        drl_record("ER", accuracy + width, drl_weight=weight, width=width).model_copy(
            update={"date": f"2026-11-{day}T00:00:00Z"}
        )
        for width, day in ((8, 28), (20, 21))
        for weight, accuracy in ((0.0, 40.0), (2e-4, 50.0))
    ]
    for order in (records, records[::-1]):
        (ni,) = FIGURES["drl_tracks"](order).axes
        check(ni, title="NI, width 8", bars=[("ER\nn=1", 48), ("ER\nn=1", 58)])


def test_correlations_beside_the_papers():
    kinds, pairs = ("features", "representations"), ("same", "different")
    scores = {f"r_{kind}_{pair}": 0.5 for kind in kinds for pair in pairs}
    place = {"experiment": "figure1", "dataset": {"name": "mnist", "set": "MNIST-{0,1}"}}
    fields = {"parameters": {"classifier": "closest"}, "metrics": scores}
    found = measured("drl", "MLP 2x100", **place, **fields)
    (axes,) = FIGURES["drl_similarity"]([found]).axes
    names = yticks(axes)
    assert len(names) == 8 and "no records" not in axes.get_title()
    drawn = [(names[int(row)], x) for x, row in dots(axes)]
    assert ("{0,1} representations, different classes", 0.5) in drawn
    assert ("{0,1} representations, different classes", -0.85) in drawn
    assert ("{7,9} pixels, one class", 0.38) in drawn


def relation_run(method, curve, seed=0, *, size=10, backbone="MiniLM", **changes):
    held = {"memory_size": size, "temperature": 0.08, "margin": 0.3, "n_tasks": 10}
    metrics = {f"{kind}{k}": v for kind in ("T", "current_T") for k, v in enumerate(curve, start=1)}
    place = {"experiment": "fewrel", "dataset": {"name": "fewrel", "set": "FewRel"}}
    fields = {"variant": "paper", "protocol": "reduced", "backbone": backbone, "metrics": metrics}
    fields |= {"parameters": {**held, "validation": False}, **changes}
    matrix = np.zeros((10, 10)).tolist()
    return measured("crecl", method, seed, accuracy_matrix=matrix, **place, **fields)


FALLING = [90.0 - k for k in range(10)]
BY_TASK = [(k + 1, value) for k, value in enumerate(FALLING)]


def test_relation_curves_have_one_encoder_and_protocol_and_the_usual_settings():
    records = [
        *(relation_run("CRECL", FALLING, seed) for seed in range(2)),
        relation_run("RP-CRE", [value - 5 for value in FALLING]),
        relation_run("JOINT", [99.0] * 10, backbone="bert-base-uncased"),
        relation_run("RP-CRE", [1.0] * 10, seed=1, size=5),
        relation_run("FINE-TUNE", [2.0] * 10, variant="released"),
    ]
    figure = FIGURES["crecl_curves"](records)
    left, right = figure.axes
    behind = [(k, value - 5) for k, value in BY_TASK]
    check(left, lines={"CRECL, n=2": BY_TASK, "RP-CRE, n=1": behind})
    # The lead is seed 0's alone, as RP-CRE has no other.
    legend = ["CRECL, n=2", "RP-CRE, n=1", "CRECL, n=1, right"]
    check(right, lines={"CRECL, n=1, right": [(k, 5) for k, _ in BY_TASK]}, legend=legend)
    check(left, legend=[])
    assert right.get_ylim()[1] < 10  # not the left one's 0 to 100
    assert "reduced, MiniLM" in figure.get_suptitle()


def test_relation_ablation_draws_historical_and_current():
    records = [relation_run(name, FALLING) for name in ("CRECL-CL", "CRECL", "RP-CRE")]
    records.append(relation_run("CRECL-K", [value - 2 for value in FALLING]))
    left, right, *below = FIGURES["crecl_ablation"](records).axes
    both = {"CRECL, n=1": BY_TASK, "CRECL-CL, n=1": BY_TASK}
    check(left, title="historical tasks", lines=both)
    check(right, title="current tasks", lines=both)
    for axes in below:
        check(axes, lines={"CRECL-K, n=1": [(k, -2) for k, _ in BY_TASK]})


def test_relation_memory_sizes_stand_beside_table_2():
    records = [relation_run("CRECL", FALLING, size=size) for size in (5, 10)]
    left, right = FIGURES["crecl_memory_sizes"](records).axes
    check(left, lines={"CRECL": [(5, 81), (10, 81)]}, legend=["CRECL", "one seed", "CRECL, paper"])
    assert dots(left)[-4:] == [(5, 80.2), (10, 82.7), (15, 83.5), (20, 85.2)]
    assert dots(right) == []


def test_relation_memory_sizes_are_means_and_differences_of_the_same_seeds():
    records = [
        relation_run("CRECL", FALLING, seed, size=size) for seed in (0, 1) for size in (5, 10)
    ]
    records.append(relation_run("CRECL", [1.0] * 10, seed=2, size=10))
    records += [
        relation_run("RP-CRE", [v - size for v in FALLING], seed, size=size)
        for seed, size in ((0, 5), (0, 10), (1, 10), (3, 10))
    ]
    left, right = FIGURES["crecl_memory_sizes"](records).axes
    check(left, lines={"CRECL": [(5, 81), (10, 81)]})
    assert dots(right) == [(5, 0), (10, 1), (10, 1)]
    assert yticks(right) == ["L = 5", "L = 10"] and texts(right) == ["+5.0, n=1", "+10, n=2"]


def document_run(cell, seed=0, **metrics):
    """A record as the sweep's cell makes it."""
    settings = DocreParameters.create({**cell, "profile": "full"}).resolved()
    dataset = cell["dataset"]
    place = {"name": dataset, "set": {"cdr": "CDR"}.get(dataset, dataset)}
    fields = {"protocol": "stand-in" if dataset == "synthetic" else "reduced", "metrics": metrics}
    held = settings.model_dump(exclude={"dataset", "encoder", "method", "seeds"})
    fields |= {"experiment": dataset, "dataset": place, "parameters": held}
    return measured("docre_ii", cell["method"], seed, **fields)


def test_each_data_set_stands_beside_its_own_base():
    cdr, text = DOCRE_TABLES["table1"].runs("cdr")[0], DOCRE_TABLES["text"].runs("synthetic")[0]
    alone = DOCRE_TABLES["alone"].runs("synthetic")
    records = [
        *(document_run(cdr, seed, F1=60.0 + seed, F1_base=58.0) for seed in range(2)),
        document_run({**cdr, "inference_layers": 4}, F1=99.0, F1_base=99.0),
        document_run(text, F1=70.0, F1_base=71.5, AP=73.0, AP_base=72.5),
        document_run(alone[1], F1=98.0, F1_base=83.0),  # not a base that reads
    ]
    (axes,) = FIGURES["docre_gain"](records).axes
    cdr = "CDR\nreduced, n = 2\nF1 +2.5"
    f1, ap = (f"generated\ndocuments\nstand-in, n = 1\n{gain}" for gain in ("F1 -1.5", "AP +0.5"))
    check(axes, bars=[(cdr, 58), (cdr, 60.5), (f1, 71.5), (f1, 70), (ap, 72.5), (ap, 73)])
    check(axes.figure, legend=["ATLOP", "DocRE-II"])


def test_recall_of_inferred_facts_begins_with_the_base():
    recalls = {"recall_inferred": 60.0, "recall_inferred_base": 0.0}
    cells = {
        (c["method"], c["inference_layers"]): c for c in DOCRE_TABLES["alone"].runs("synthetic")
    }
    whole, without = cells["DocRE-II", 2], cells["w/o ECA", 2]
    records = [
        *(document_run(whole, seed, **recalls) for seed in range(2)),
        document_run(without, **{**recalls, "recall_inferred": 20.0}),
        document_run({**without, "base": "atlop"}, seed=1, **{**recalls, "recall_inferred": 99.0}),
    ]
    (axes,) = FIGURES["docre_inferred"](records).axes
    names = ("stated facts (base)", "DocRE-II, layers $N_I$ = 2", "w/o ECA, layers $N_I$ = 2")
    check(axes, bars=list(zip(names, (0, 60, 20), strict=True)))
    assert axes.get_title() == "Inference alone: mean of 1 or 2 seeds"
    five = [document_run(whole, seed, **recalls) for seed in range(5)]
    (axes,) = FIGURES["docre_inferred"](five).axes
    assert axes.get_title() == "Inference alone: mean of 5 seeds, 95 % intervals"


def drawn_at(axes):
    """The height of the only error bar."""
    (drawn,) = axes.containers
    return drawn[0].get_ydata()[0]


@pytest.mark.parametrize(
    ("text", "short"),
    [
        ("A beats B (here on C) by far, with D.", "A beats B by far, with D"),
        ("Each counts: without one, A (or B) is lower.", "Each counts"),
        ("A is above B; in the paper by 1.2 points.", "A is above B"),
    ],
)
def test_a_claim_is_shortened_to_its_first_part(text, short):
    assert shortened(text) == short


def test_what_the_claims_figure_calls_a_comparison_leaves_room_for_the_differences():
    claims = [claim for name in PAPERS for claim in read_claims(name)]
    compared = [(claim, each) for claim in claims for each in claim.comparisons]
    longest, claim = max((len(each.label or in_words(each)), c.id) for c, each in compared)
    assert longest <= 80, f"{claim}: give the comparison a label"


def test_the_claims_figure_turns_differences_as_claimed_and_colours_the_verdict():
    def runs(method, values):
        return [run(s, method, a_t=v, protocol="paper") for s, v in enumerate(values)]

    records = [*runs("PCR", [50.0, 51.0, 52.0]), *runs("ER", [41.0, 42.0, 43.1])]
    panel, *others = FIGURES["claims"](records).axes
    # Its comparison with ER-ACE has no records.
    assert yticks(panel) == ["PCR − ER, final accuracy A_T (n=3)"]
    (claim,) = panel.texts
    said = "PCR alone, the method that HPCR extends, ends above ER and ER-ACE (paper)"
    assert claim.get_text() == said and claim.get_position()[1] < drawn_at(panel)
    (drawn,) = panel.containers
    assert drawn[0].get_xdata() == pytest.approx([9 - 0.1 / 3])
    assert drawn[0].get_color() == COLOURS["supported"]
    assert [yticks(axes) for axes in others] == [[]] * 4
