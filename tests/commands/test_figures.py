import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
from example_records import make, run

matplotlib.use("agg")

from relcl_lib.commands.figures import all_figures, main
from relcl_lib.lab.files import repository_root
from relcl_lib.papers.docre_ii.parameters import DocreParameters
from relcl_lib.papers.docre_ii.tables import TABLES as DOCRE_TABLES
from relcl_lib.papers.hpcr import figures as hpcr

FIGURES = all_figures()


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def test_the_committed_figures_can_be_drawn_and_are_all_that_is_committed(tmp_path):
    assert main(["--out", str(tmp_path)]) == 0
    drawn = sorted(path.name for path in tmp_path.iterdir())
    assert drawn == sorted(f"{name}.png" for name in FIGURES)
    assert drawn == sorted(path.name for path in (repository_root() / "figures").glob("*.png"))


@pytest.mark.parametrize("name", [n for n in FIGURES if not n.startswith("hpcr")])
def test_a_figure_without_records_says_so(name):
    figure = FIGURES[name]([])
    texts = [figure.get_suptitle(), *(axes.get_title() for axes in figure.axes)]
    texts += [text.get_text() for axes in figure.axes for text in axes.texts]
    assert any("no records yet" in text for text in texts)


def test_a_second_configuration_is_not_mixed_in():
    def records(seeds, precision):
        return [run(s, more={"precision": precision}, protocol="paper") for s in seeds]

    chosen = hpcr._cifar10([*records([0, 1], "float32"), *records([0, 1, 2], "bfloat16")])
    assert [record.parameters["precision"] for record in chosen] == ["bfloat16"] * 3


def ablation(method, f1, seed=0, vectors="random", **parameters):
    held = {"dilations": [1, 2, 4, 1, 1, 1], "residual": True, "threshold": "adaptive"}
    held |= {"word_vectors": vectors, "gate": "released", "type_map": "paper", **parameters}
    return make(
        paper="fastre",
        experiment="nyt10",
        method=method,
        seed=seed,
        dataset={"name": "nyt10", "set": "NYT10"},
        protocol="reduced",
        parameters=held,
        metrics={"F1": f1},
        accuracy_matrix=None,
    )


def test_ablation_bars_share_their_word_vectors_and_leave_other_structures_out():
    records = [
        *(ablation("FastRE", 70.0 + seed, seed) for seed in range(2)),
        ablation("FastRE", 99.0, vectors="GloVe"),
        ablation("FastRE", 10.0, dilations=[1, 2, 4]),
        ablation("-Gated Unit", 60.0, gate="none"),
    ]
    (axes,) = FIGURES["fastre_ablation"](records).axes
    assert [bar.get_width() for bar in axes.patches] == [70.5, 60.0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["FastRE", "-Gated Unit"]
    diamonds = [c.get_offsets() for c in axes.collections if hasattr(c, "get_offsets")]
    assert any(np.allclose(found, [[73.8, 0], [69.4, 1]]) for found in diamonds if len(found) == 2)
    assert "reduced" in axes.get_title()


def drl_record(method, accuracy, seed=0, track="NI", **parameters):
    held = {"memory_size": 100, "batch_size": 16, "drl_weight": 0.0, "er": "released"}
    held |= {"loss": "released", "taps": "logits", "network": "Reduced ResNet-18", **parameters}
    return make(
        paper="drl",
        experiment="tracks",
        method=method,
        seed=seed,
        dataset={"name": "CORe50-standin(cifar10)", "track": track},
        protocol="stand-in",
        parameters=held,
        metrics={"test_acc": accuracy},
        accuracy_matrix=None,
    )


def test_a_panel_a_track_and_a_bar_with_and_without_the_loss():
    nic = {"track": "NIC", "memory_size": 50}
    records = [
        *(drl_record("BER", 60.0 + 2 * seed, seed) for seed in range(2)),
        drl_record("BER", 70.0, drl_weight=2e-4),
        drl_record("BER", 99.0, drl_weight=0.5),  # a sweep of lambda
        drl_record("GEM", 99.0),
        drl_record("ER", 50.0, **nic, er="paper"),
        drl_record("ER", 10.0, **nic),
    ]
    ni, nic = FIGURES["drl_tracks"](records).axes
    titles = [axes.get_title() for axes in (ni, nic)]
    assert titles == ["NI", "NIC"]  # a track that was not run has no panel
    assert [bar.get_height() for bar in ni.patches] == [61.0, 70.0]
    assert [label.get_text() for label in ni.get_xticklabels()] == ["BER"]
    assert [bar.get_height() for bar in nic.patches] == [50.0, 10.0]
    assert [label.get_text() for label in nic.get_xticklabels()] == ["ER", "ER\nreleased"]


def test_correlations_beside_the_papers():
    kinds, pairs = ("features", "representations"), ("same", "different")
    scores = {f"r_{kind}_{pair}": 0.5 for kind in kinds for pair in pairs}
    found = make(
        paper="drl",
        experiment="figure1",
        method="MLP 2x100",
        dataset={"name": "mnist", "set": "MNIST-{0,1}"},
        parameters={"classifier": "closest"},
        metrics=scores,
        accuracy_matrix=None,
    )
    (axes,) = FIGURES["drl_similarity"]([found]).axes
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert len(names) == 8 and "no records" not in axes.get_title()
    dots = [c.get_offsets().tolist() for c in axes.collections]
    drawn = [[names[int(row)], round(x, 2)] for offsets in dots for x, row in offsets]
    assert ["{0,1} representations, different classes", 0.5] in drawn
    assert ["{0,1} representations, different classes", -0.85] in drawn
    assert ["{7,9} features, one class", 0.38] in drawn


def relation_run(method, curve, seed=0, *, size=10, backbone="MiniLM", **changes):
    held = {"memory_size": size, "temperature": 0.08, "margin": 0.3, "n_tasks": 10}
    metrics = {f"{kind}{k}": v for kind in ("T", "current_T") for k, v in enumerate(curve, start=1)}
    values = {
        "experiment": "fewrel",
        "variant": "paper",
        "protocol": "reduced",
        "dataset": {"name": "fewrel", "set": "FewRel"},
        "parameters": {**held, "validation": False},
        "accuracy_matrix": np.zeros((10, 10)).tolist(),
    }
    chosen = {**values, **changes}
    return make(
        paper="crecl", method=method, seed=seed, backbone=backbone, metrics=metrics, **chosen
    )


FALLING = [90.0 - k for k in range(10)]


def test_relation_curves_have_one_encoder_and_protocol_and_the_usual_settings():
    records = [
        *(relation_run("CRECL", FALLING, seed) for seed in range(2)),
        relation_run("RP-CRE", [value - 5 for value in FALLING]),
        relation_run("JOINT", [99.0] * 10, backbone="bert-base-uncased"),
        relation_run("RP-CRE", [1.0] * 10, seed=1, size=5),
        relation_run("FINE-TUNE", [2.0] * 10, variant="released"),
    ]
    figure = FIGURES["crecl_curves"](records)
    left, right = (
        {line.get_label(): line.get_ydata() for line in axes.lines if line.get_marker() == "o"}
        for axes in figure.axes
    )
    assert list(left) == ["CRECL", "RP-CRE"]
    np.testing.assert_allclose(left["CRECL"], FALLING)
    assert list(right) == ["CRECL"]
    np.testing.assert_allclose(right["CRECL"], [5] * 10)  # seed 0's alone, as RP-CRE has no other
    assert "reduced, MiniLM" in figure.get_suptitle()


def test_relation_ablation_draws_historical_and_current():
    records = [relation_run(name, FALLING) for name in ("CRECL-CL", "CRECL", "RP-CRE")]
    figure = FIGURES["crecl_ablation"](records)
    for axes in figure.axes:
        assert [line.get_label() for line in axes.lines] == ["CRECL", "CRECL-CL"]


def test_relation_memory_sizes_stand_beside_table_2():
    records = [relation_run("CRECL", FALLING, size=size) for size in (5, 10)]
    (axes,) = FIGURES["crecl_memory_sizes"](records).axes
    np.testing.assert_allclose(axes.lines[0].get_xydata(), [[5, 81], [10, 81]])
    printed = dict(axes.collections[-1].get_offsets())
    assert printed == {5: 80.2, 10: 82.7, 15: 83.5, 20: 85.2}


def test_relation_memory_sizes_are_means_of_the_same_seeds():
    records = [
        relation_run("CRECL", FALLING, seed, size=size) for seed in (0, 1) for size in (5, 10)
    ]
    records.append(relation_run("CRECL", [1.0] * 10, seed=2, size=10))
    records += [relation_run("RP-CRE", FALLING, seed=size, size=size) for size in (5, 10)]
    (axes,) = FIGURES["crecl_memory_sizes"](records).axes
    np.testing.assert_allclose(axes.lines[0].get_xydata(), [[5, 81], [10, 81]])
    np.testing.assert_allclose(axes.lines[1].get_xydata(), [[5, 81], [10, 81]])  # none in common


def document_run(cell, seed=0, **metrics):
    """A record as the sweep's cell makes it."""
    settings = DocreParameters.create({**cell, "profile": "full"}).resolved()
    dataset = cell["dataset"]
    return make(
        paper="docre_ii",
        experiment=dataset,
        method=cell["method"],
        seed=seed,
        dataset={"name": dataset, "set": {"cdr": "CDR"}.get(dataset, dataset)},
        protocol="stand-in" if dataset == "synthetic" else "reduced",
        parameters=settings.model_dump(exclude={"dataset", "encoder", "method", "seeds"}),
        metrics=metrics,
        accuracy_matrix=None,
    )


def test_each_data_set_stands_beside_its_own_base():
    cdr, text = DOCRE_TABLES["table1"].runs("cdr")[0], DOCRE_TABLES["text"].runs("synthetic")[0]
    alone = DOCRE_TABLES["alone"].runs("synthetic")
    records = [
        *(document_run(cdr, seed, F1=60.0 + seed, F1_base=58.0) for seed in range(2)),
        document_run({**cdr, "inference_layers": 4}, F1=99.0, F1_base=99.0),
        document_run(text, F1=70.0, F1_base=71.5),
        document_run(alone[1], F1=98.0, F1_base=83.0),  # not a base that reads
    ]
    (axes,) = FIGURES["docre_gain"](records).axes
    assert [bar.get_height() for bar in axes.patches] == [58.0, 71.5, 60.5, 70.0]
    assert axes.get_legend_handles_labels()[1] == ["base", "base + inference"]
    names = [label.get_text() for label in axes.get_xticklabels()]
    assert names == ["CDR (reduced)\n+2.5, n = 2", "synthetic (stand-in)\n-1.5, n = 1"]


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
    assert [bar.get_width() for bar in axes.patches] == [0.0, 60.0, 20.0]
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names == ["stated facts (base)", "DocRE-II, N_I=2", "w/o ECA, N_I=2"]
