"""HPCR's analyses against loops, identities and limits."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from example_records import failed
from example_records import run as record_of
from gratings import gratings, make_run
from markdown_tables import read_table
from torch import nn

from relcl_lib.lab import metrics
from relcl_lib.lab.rows import entries
from relcl_lib.lab.runtime import make_generator
from relcl_lib.losses import proxy_contrastive_loss
from relcl_lib.models.resnet import ReducedResNet18, select_seed
from relcl_lib.papers.hpcr import printed, studies, tables
from relcl_lib.papers.hpcr.methods import PCR

SHARES = [0.0, 1 / 32, 0.1, 0.5, 1.0]


@pytest.fixture(scope="module")
def trained():
    data = gratings(n_train=40)
    return make_run(data, method="PCR", seeds=[0, 3], learning_rate=0.05).train()


# --- classes --------------------------------------------------------------------------------------


def test_accuracy_by_class_is_that_of_its_test_images(trained):
    for index, record in enumerate(trained.records()):
        features, labels, _ = trained.test_features(index)
        with torch.inference_mode():
            named = select_seed(trained.network, index).head(features.unsqueeze(0))[0].argmax(1)
        right = {c: float((named[labels == c] == c).double().mean()) for c in range(6)}
        found = trained.class_accuracy[index].tolist()
        assert found == pytest.approx([*right.values()], abs=1e-6)
        order = trained.streams[index].class_order  # old classes first
        expected = [100 * right[c] for c in order]
        assert record.curves["class_accuracy"] == pytest.approx(expected, abs=1e-3)
    of_tasks = studies.in_class_order(trained, trained.class_accuracy).view(2, 3, 2).mean(-1)
    torch.testing.assert_close(of_tasks, trained.accuracy[:, -1], rtol=0, atol=1e-6)
    assert len(trained.class_accuracy.unique()) > 2


def test_classes_stand_in_the_order_they_are_met():
    orders = [(2, 0, 1), (0, 2, 1)]
    run = SimpleNamespace(streams=[SimpleNamespace(class_order=order) for order in orders])
    values = torch.tensor([[10, 11, 12], [20, 21, 22]])
    assert studies.in_class_order(run, values).tolist() == [[12, 10, 11], [20, 22, 21]]
    stacked = torch.stack([values, -values], 1)
    assert studies.in_class_order(run, stacked)[0].tolist() == [[12, 10, 11], [-12, -10, -11]]


def test_best_temperature_is_of_the_mean_over_seeds():
    by_class = {
        0.3: ([40.0, 30.0, 50.0], [40.0, 30.0, 50.0]),
        0.1: ([100.0, 0.0, 50.0], [0.0, 20.0, 50.0]),
    }
    records = [
        record_of(s, "PCR", more=tables.apart(0.09, t), curves={"class_accuracy": values})
        for t, each in by_class.items()
        for s, values in enumerate(each)
    ]
    records.append(record_of(0, "PCR", more=tables.apart(0.3, 0.3), curves=records[0].curves))
    assert studies.best_temperatures(records) == [0.1, 0.3, 0.1]
    assert studies.best_temperatures([failed(method="PCR")]) == []
    before = record_of(0, "PCR", more=tables.apart())  # recorded without accuracy by class
    assert studies.best_temperatures([before]) == []


# --- temperatures ---------------------------------------------------------------------------------


class Apart(PCR):
    """PCR with the loss that has a temperature for each part."""

    def loss(self, step):
        if step.memory is None:
            return None
        rows = step.joined()
        cosines = rows.logits * self.settings.temperature
        return 0.12 / 0.2 * proxy_contrastive_loss(cosines / 0.12, rows.labels)


def test_a_temperature_of_the_gradient_is_a_learning_rate(in_double):
    """So Fig. 2 needs no method of its own: its cells give the weights that the loss apart gives."""
    data = gratings(side=32)
    cell = make_run(data, method="PCR", **tables.apart(gradient=0.2, softmax=0.12))
    apart = make_run(data, method="PCR", temperature=0.12)
    apart.strategy = Apart(apart)
    for run in (cell, apart):
        run.train_task(0)
        run.train_task(1)
    for ours, theirs in zip(cell.network.parameters(), apart.network.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-7)
    assert tables.apart() == {"temperature": 0.09, "learning_rate": 0.1}


def test_curves_of_a_sweep_over_temperatures():
    ways = {(0.09, 0.09): 10, (0.3, 0.09): 20, (0.09, 0.3): 30, (0.3, 0.3): 40}
    matrix = [[90.0, 0, 0], [80, 70, 0], [20, 40, 90]]
    records = [
        record_of(method="PCR", more=tables.apart(*way), a_t=a_t, accuracy_matrix=matrix)
        for way, a_t in ways.items()
    ]
    records += [failed(method="PCR"), record_of(method="HPCR")]
    assert studies.temperature_parts(records) == {
        "G": {0.09: [10], 0.3: [20]},
        "P": {0.09: [10], 0.3: [30]},
    }
    assert studies.temperature_of_classes(records) == {
        "all": {0.09: [50], 0.3: [50]},
        "old": {0.09: [30], 0.3: [30]},
        "new": {0.09: [90], 0.3: [90]},
    }


def test_curves_of_a_sweep_over_memory_batches():
    records = [
        record_of(seed, method, more={"memory_batch": batch}, a_t=batch + seed)
        for method in ("PCR", "PCR+HC", "ER")
        for batch in (10, 60)
        for seed in (0, 1)
    ]
    line = {10: [10, 11], 60: [60, 61]}
    assert studies.memory_batches(records) == {"PCR": line, "PCR+HC": line}


def test_tasks_stand_beside_table_xi():
    matrices = [torch.zeros(5, 5) for _ in range(2)]
    matrices[0][-1] = torch.tensor([10.0, 20, 30, 40, 50])
    matrices[1][-1] = torch.tensor([30.0, 40, 50, 60, 70])
    records = [
        record_of(seed, "PCR+HC+HT+DER", 100, accuracy_matrix=matrix.tolist())
        for seed, matrix in enumerate(matrices)
    ]
    ten = torch.zeros(10, 10).tolist()
    elsewhere = [
        record_of(2, "PCR+HC+HT+DER", 200, accuracy_matrix=torch.zeros(5, 5).tolist()),
        record_of(2, "PCR+HC+HT+DER", 100, more={"hold_out": 0.1}),
        record_of(2, "PCR+HC+HT+DER", 100, more={"temperature": 0.2}),
        *(record_of(s, "PCR+HC+HT+DER", 100, more={"distil_from_task": 0}) for s in range(5)),
        *(record_of(s, "PCR+HC+HT+DER", 100, more={"ht": "paper"}) for s in range(5)),
        record_of(1, "PCR+HC+HT+DER", 100, variant="paper"),
        record_of(1, "PCR+HC+HT+DER", 100, dataset={"name": "cifar10", "fingerprint": "other"}),
        record_of(2, "PCR+HC+HT+DER", 100, dataset={"name": "cifar100"}, accuracy_matrix=ten),
        failed(method="PCR+HC+HT+PCD"),
    ]
    table = read_table(printed.distillations([*elsewhere, *records]))
    columns = [*(f"task {number}" for number in range(1, 6)), "average"]
    assert {who: [table[f"DER, {who}"][c] for c in columns] for who in ("paper", "ours")} == {
        "paper": ["0.3480", "0.2205", "0.4320", "0.5315", "0.7500", "0.4564"],
        "ours": [f"{value:.4f} (n=2)" for value in (0.2, 0.3, 0.4, 0.5, 0.6, 0.4)],
    }
    assert {table["PCD, ours"][column] for column in columns} == {printed.DASH}
    assert table["PCD, paper"]["task 1"] == "0.3695"


# --- principal components -------------------------------------------------------------------------


def test_components_equal_a_decomposition_by_loops(trained):
    for index in range(2):
        found = studies.keep_components(trained, SHARES, index)
        features, labels, proxies = trained.test_features(index)
        mean = features.double().mean(0)
        left, sizes, right = torch.linalg.svd(features.double() - mean, full_matrices=False)
        for place, share in enumerate(SHARES):
            kept = math.ceil(share * 32)
            projected = mean.expand(len(features), -1)
            for k in range(min(kept, len(sizes))):
                projected = projected + sizes[k] * left[:, k : k + 1] * right[k]
            unit = nn.functional.normalize(proxies.double(), dim=1)
            named = (nn.functional.normalize(projected, dim=1) @ unit.T).argmax(1)
            of_tasks = [
                np.mean([(named[labels == c] == c).double().mean() for c in task.classes])
                for task in trained.streams[index]
            ]
            assert found[place].item() == pytest.approx(np.mean(of_tasks), abs=1e-6)


def test_all_components_give_the_average_accuracy_after_each_task():
    seen = []

    def on_task(run):
        expected = metrics.average_accuracy(run.accuracy)[:, run.done - 1]
        for index in range(2):
            none, every = studies.keep_components(run, [0.0, 1.0], index).tolist()
            seen.append((every, expected[index]))
            # Without a component every image is the mean one: one class of all those seen.
            assert none == pytest.approx(1 / (2 * run.done))

    make_run(method="PCR", seeds=[0, 1]).train(on_task)
    ours, theirs = zip(*seen, strict=True)
    assert len(seen) == 6 and ours == pytest.approx(theirs, abs=1e-6)


def test_an_untrained_run_has_no_components():
    with pytest.raises(ValueError, match=r"no task is done: call run.train\(\) first"):
        studies.keep_components(make_run(), [1.0])


# --- flatness -------------------------------------------------------------------------------------


def test_loss_is_that_of_a_loop_over_images(trained):
    found = studies.flatness(trained, draws=0, per_class=3)
    assert (found.all_classes == 0).all() and (found.new_classes == 0).all()
    for s in range(2):
        alone, losses = select_seed(trained.network, s), []
        for c in range(6):
            for image in trained.images[trained.labels == c][:3]:
                logits = alone(image[None, None].float() / 255)[0][0, 0]
                losses.append(-logits.log_softmax(0)[c].item())
        assert found.loss[s].item() == pytest.approx(np.mean(losses), rel=1e-4)


def test_noise_without_size_changes_nothing_and_more_noise_more(trained):
    weights = [weight.clone() for weight in trained.network.parameters()]
    still, small, large = (
        studies.flatness(trained, draws=10, amplitude=size, per_class=3)
        for size in (0.0, 1e-3, 0.1)
    )
    assert (still.all_classes == 0).all()
    assert (small.all_classes.abs() < large.all_classes).all()
    for ours, theirs in zip(trained.network.parameters(), weights, strict=True):
        assert torch.equal(ours, theirs)


def test_noise_has_the_mean_change_of_a_loop_and_leaves_seeds_apart(trained):
    found = studies.flatness(trained, draws=3, amplitude=0.02, per_class=2)
    for s, seed in enumerate(trained.seeds):
        last = trained.streams[s].tasks[-1].classes

        def loss(network, last=last):
            of_classes = []
            for c in last:
                images = trained.images[trained.labels == c][None, :2].float() / 255
                of_classes.append(-network(images)[0][0].log_softmax(1)[:, c].mean().item())
            return np.mean(of_classes)

        draw, changes = make_generator(seed, "noise"), []
        for _ in range(3):
            moved = select_seed(trained.network, s)
            with torch.no_grad():
                for weight in moved.parameters():
                    weight += 0.02 * (2 * torch.rand(weight.shape, generator=draw) - 1)
            changes.append(loss(moved) - loss(select_seed(trained.network, s)))
        assert found.new_classes[s].item() == pytest.approx(np.mean(changes), rel=1e-3, abs=1e-5)


# --- compute and memory ---------------------------------------------------------------------------


class Twice(PCR):
    """A method that keeps a second backbone and scores the memory with it."""

    def __init__(self, run):
        super().__init__(run)
        self.former = ReducedResNet18(run.settings.width, len(run.seeds)).requires_grad_(False)

    def loss(self, step):
        self.former(step.batch.images.float() / 255)
        return super().loss(step)


def test_images_per_step_are_counted():
    found = {m: studies.budget(make_run(method=m, seeds=[0, 1])) for m in ("ER", "PCR", "HPCR")}
    # Two views of 10 images of the stream and 10 of the memory.
    assert {(b.forward, b.backward) for b in found.values()} == {(40, 40)}
    assert studies.budget(make_run(method="FINE-TUNE")).computation == 3 * 20
    assert studies.budget(make_run(method="ER", views=1)).computation == 3 * 20
    run = make_run(method="PCR")
    run.strategy = Twice(run)
    twice = studies.budget(run)
    assert (twice.forward, twice.backward) == (50, 40)
    assert twice.model / found["PCR"].model == pytest.approx(2, abs=0.05)
    assert twice.computation == 130


def test_table_viii_s_numbers_are_those_of_its_parts():
    run = make_run(gratings(n_train=40), method="PCR", seeds=[0, 3])
    found = studies.loss_and_gradients(run.train(), draws=2, per_class=5)
    assert found["A_T"] == pytest.approx(100 * float(run.accuracy[:, -1].mean()), abs=1e-4)
    old, new = (sums[:, -1].mean() for sums in run.old_and_new(run.proxy_gradients))
    flat = studies.flatness(run, draws=2, per_class=5)
    assert [*found.values()][1:] == pytest.approx(
        [float(value) for value in (old, new, *(v.mean() for v in flat))]
    )
    printed = {entry.metric for entry in entries("hpcr", "Table VIII")}
    assert {*found} == printed
