"""How HPCR and its baselines reduce to each other: checks 6, 7 and 10 of the HPCR specification."""

import dataclasses
from functools import cache
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from gratings import make_run
from states import kept, same

from relcl_lib.losses import (
    contrastive,
    cross_entropy_loss,
    dynamic_temperature_weight,
    proxy_contrastive_loss,
    supervised_contrastive_loss,
)
from relcl_lib.papers.hpcr.methods import METHODS
from relcl_lib.papers.hpcr.parameters import ReplayParameters
from relcl_lib.papers.hpcr.strategies import proxies
from relcl_lib.papers.hpcr.strategy import Batch, Rows, Step


def train(**changes):
    return kept(make_run(**changes).train().network)


@cache
def plain():
    """HPCR as it is by default, with a period that its few steps reach."""
    return train(ht_period=7)


class TestUnderOneSeed:
    def test_without_distillation_hpcr_is_pcr_hc_ht(self):
        expected = train(method="PCR+HC+HT")
        assert same(train(method="HPCR", alpha=0.0, beta=0.0), expected)
        assert same(train(method="HPCR", pcd=False, scd="off"), expected)
        assert not same(train(method="HPCR"), expected)

    def test_without_the_schedule_too_it_is_pcr(self):
        expected = train(method="PCR")
        assert same(train(method="HPCR", alpha=0.0, beta=0.0, ht="off"), expected)
        assert not same(train(method="PCR+HC+HT"), expected)
        # Pairs only count where they are forced on: 20 images are too few for "auto".
        assert same(train(method="PCR", hc="auto"), expected)
        assert same(train(method="PCR+HC", hc="off"), expected)
        assert not same(train(method="PCR+HC"), expected)

    @pytest.mark.parametrize(
        "change, row", [({"scd": "off"}, "PCR+HC+HT+PCD"), ({"pcd": False}, "PCR+HC+HT+SCD")]
    )
    def test_without_one_distillation_it_is_the_row_with_the_other_alone(self, change, row):
        expected = train(method=row)
        assert same(train(method="HPCR", **change), expected)
        assert not same(train(method="HPCR"), expected)

    def test_the_first_task_knows_no_distillation(self):
        runs = [make_run(method=method) for method in ("HPCR", "PCR+HC+HT")]
        for task, equal in ((0, True), (1, False)):
            for run in runs:
                run.train_task(task)
            assert same(*(run.network for run in runs)) is equal

    def test_the_paper_distils_from_the_first_step(self):
        runs = [make_run(distil_from_task=first) for first in (0, 1)]
        for run in runs:
            run.train_task(0)
        assert not same(*(run.network for run in runs))

    @pytest.mark.parametrize(
        "changes",
        [
            {"variant": "paper"},
            {"ht": "paper"},
            {"ht_counter": "run"},
            {"scd": "paper"},
            {"joint_forward": True},
            {"views": 1},
        ],
    )
    def test_every_switch_makes_a_difference(self, changes):
        assert not same(train(ht_period=7, **changes), plain())


class TestDynamicTemperature:
    @pytest.mark.parametrize("form", ["released", "paper"])
    def test_under_sgd_it_is_a_cyclic_learning_rate(self, in_double, form):
        """Check 6: weights equal to rounding after any number of steps."""
        with_weight = make_run(method="PCR+HC+HT", ht=form, ht_period=8).train()
        with_rate = make_run(method="PCR")
        step_of = with_rate.training_step

        def step(indices, task, step, *rest):
            rate = 0.1 * dynamic_temperature_weight(step, period=8, variant=form)
            with_rate.optimizer.param_groups[0]["lr"] = rate
            return step_of(indices, task, step, *rest)

        with_rate.training_step = step
        with_rate.train()
        states = (run.network.state_dict() for run in (with_weight, with_rate))
        torch.testing.assert_close(*states, rtol=1e-6, atol=1e-7)
        assert torch.equal(with_weight.accuracy, with_rate.accuracy)

    def test_adam_does_not_feel_a_constant_weight(self, in_double, monkeypatch):
        changes = {"optimizer": "adam", "learning_rate": 0.001, "method": "PCR+HC+HT"}
        found = []
        for weight in (1.0, 1.7):
            monkeypatch.setattr(proxies, "dynamic_temperature_weight", lambda *_, w=weight, **__: w)
            found.append(train(**changes))
        assert not same(*found)
        # 11 steps move a weight by up to 0.011.
        torch.testing.assert_close(*found, rtol=1e-3, atol=2e-4)

    @pytest.mark.parametrize(
        "counter, expected", [("task", [1, 2, 3, 0, 1, 2, 3]), ("run", [1, 2, 3, 4, 5, 6, 7])]
    )
    def test_where_the_step_counter_starts(self, monkeypatch, counter, expected):
        counted = []
        monkeypatch.setattr(
            proxies,
            "dynamic_temperature_weight",
            lambda step, **_: counted.append(step) or 1.0,
        )
        run = make_run(method="PCR+HC+HT", ht_counter=counter)
        run.train_task(0)
        run.train_task(1)
        assert counted == expected  # the run's first step trains nothing

    def test_distillation_is_not_scaled(self, monkeypatch):
        step = made_up_step(task=1)
        parts = []
        for weight in (0.0, 1.0, 2.0):
            monkeypatch.setattr(proxies, "dynamic_temperature_weight", lambda *_, w=weight, **__: w)
            parts.append(loss_of("HPCR", step))
        torch.testing.assert_close(parts[2] - parts[1], parts[1] - parts[0])
        rows = step.joined()
        torch.testing.assert_close(
            parts[1] - parts[0], proxy_contrastive_loss(rows.logits, rows.labels)
        )
        assert (parts[0] > 0).all()


def made_up_step(classes=6, n=10, task=0, images=20, seen=None):
    """Two seeds; n images a group, two views each."""
    generator = torch.Generator().manual_seed(0)

    def rows():
        labels = torch.randint(classes, (2, n), generator=generator).repeat(1, 2)
        logits = 5 * torch.randn(2, 2 * n, classes, generator=generator)
        return Rows(logits, torch.rand(2, 2 * n, 8, generator=generator), labels)

    stored = {
        "logits": torch.randn(2, n, classes, generator=generator),
        "features": torch.rand(2, n, 8, generator=generator),
    }
    seen = torch.ones(2, classes, dtype=torch.bool) if seen is None else seen
    stored["label"] = torch.zeros(2, n).long()
    incoming = torch.zeros(2, images - n, 0), torch.zeros(2, images - n)
    return Step(Batch(*incoming, task, 3, 3, seen, {}), rows(), rows(), stored)


def loss_of(method, step, **changes):
    """The loss of a method; its run is only asked for its settings."""
    settings = ReplayParameters(method=method, **changes).resolved()
    return METHODS[method](SimpleNamespace(settings=settings)).loss(step)


class TestLosses:
    def test_pairs_switch_on_by_the_number_of_images(self):
        """Check 7: 10 + 10 images leave them out, 10 + 64 (Table IV) bring them in."""

        def loss(images, hc):
            return loss_of("PCR", made_up_step(images=images), hc=hc)

        on, off = loss(20, "on"), loss(20, "off")
        assert not torch.allclose(on, off)
        for images, expected in ((20, off), (59, off), (60, on), (74, on), (110, on)):
            assert torch.equal(loss(images, "auto"), expected)

    def test_a_run_counts_images_before_augmentation(self):
        seen = []

        run = make_run(method="HPCR", memory_batch=64, buffer_size=64)
        loss = run.strategy.loss
        run.strategy.loss = lambda step: seen.append(step.size) or loss(step)
        run.train()
        assert seen == [10, 20, 30, 40, 50, 60, 70, 74, 74, 74, 74, 74]

    def test_er_with_a_cosine_head_is_pcr_with_every_count_one(self, monkeypatch):
        step = made_up_step()
        rows = step.joined()
        monkeypatch.setattr(
            contrastive, "class_counts", lambda labels, n: torch.ones(*labels.shape[:-1], n).long()
        )
        joint = proxy_contrastive_loss(rows.logits, rows.labels)
        torch.testing.assert_close(joint, cross_entropy_loss(rows.logits, rows.labels))
        # ER adds the means of two groups of equal size.
        torch.testing.assert_close(loss_of("ER", step), 2 * joint)
        seen = torch.tensor([1, 1, 1, 1, 0, 1])
        monkeypatch.setattr(
            contrastive, "class_counts", lambda labels, n: seen.expand(*labels.shape[:-1], n)
        )
        labels = torch.tensor([5, 3, 2, 1, 0]).repeat(2, 8)
        masked = rows.logits.masked_fill(seen == 0, -torch.inf)
        torch.testing.assert_close(
            proxy_contrastive_loss(rows.logits, labels), cross_entropy_loss(masked, labels)
        )

    def test_memory_rows_come_first_and_both_views_share_what_was_stored(self):
        step = made_up_step(task=1)
        joined = step.joined()
        assert torch.equal(joined.labels[:, :20], step.memory.labels)
        assert torch.equal(joined.features[:, 20:], step.stream.features)
        both = proxies.for_both_views(step.stored["logits"], step.memory.logits)
        assert torch.equal(both[:, :10], both[:, 10:])

    def test_er_ace_leaves_old_classes_out_of_the_streams_softmax(self):
        seen = torch.tensor([[1, 1, 1, 1, 0, 0]] * 2).bool()
        step = made_up_step(seen=seen)
        labels = torch.tensor([2, 3]).repeat(2, 10)
        logits = step.stream.logits.clone().requires_grad_()
        step = dataclasses.replace(step, stream=Rows(logits, step.stream.features, labels))
        loss = loss_of("ER-ACE", step)
        loss.sum().backward()
        assert (logits.grad[..., [0, 1]] == 0).all()  # seen, not in the batch
        assert (logits.grad[..., [2, 3, 4, 5]] != 0).any(1).all()  # in the batch, or never seen
        expected = cross_entropy_loss(logits[..., 2:], labels - 2)
        memory = cross_entropy_loss(step.memory.logits, step.memory.labels)
        torch.testing.assert_close(loss, expected + memory)

    def test_er_ace_is_er_where_the_stream_has_all_classes_seen(self, in_double):
        """ER with ER-ACE's head: its loss, and its first task, in which no class is old."""
        seen = torch.tensor([[1, 1, 1, 1, 0, 0]] * 2).bool()
        step, labels = made_up_step(seen=seen), torch.tensor([0, 1, 2, 3]).repeat(2, 5)
        step = dataclasses.replace(step, stream=step.stream._replace(labels=labels))
        own = {"head": "cosine", "temperature": 0.1}
        assert torch.equal(loss_of("ER-ACE", step), loss_of("ER", step, **own))
        runs = [make_run(method="ER-ACE"), make_run(method="ER", **own)]
        for task, equal in ((0, True), (1, False)):
            for run in runs:
                run.train_task(task)
            assert same(*(run.network for run in runs)) is equal

    def test_the_couples_need_a_memory(self):
        alone = dataclasses.replace(made_up_step(), memory=None, stored={})
        for method in ("Couple (Eq. 7)", "Couple (Eq. 8)", "HPCR"):
            assert loss_of(method, alone) is None
        assert torch.equal(
            loss_of("ER", alone),
            cross_entropy_loss(alone.stream.logits, alone.stream.labels),
        )

    def test_couple_1_is_one_cross_entropy_of_all_rows_and_their_contrast(self):
        step = made_up_step(seen=torch.tensor([[1, 1, 1, 1, 1, 0]] * 2).bool())
        clamp = [
            Rows(r.logits, r.features, r.labels.clamp(max=4)) for r in (step.stream, step.memory)
        ]
        step = dataclasses.replace(step, stream=clamp[0], memory=clamp[1])
        rows = step.joined()
        entropies = F.cross_entropy(rows.logits[0, :, :5], rows.labels[0])
        contrast = supervised_contrastive_loss(rows.features, rows.labels, temperature=0.09)[0]
        torch.testing.assert_close(loss_of("Couple (Eq. 7)", step)[0], entropies + contrast)

    def test_couple_2_holds_all_seen_proxies_and_the_other_rows(self):
        seen = torch.tensor([[1, 1, 1, 1, 1, 0]] * 2).bool()
        step = made_up_step(seen=seen)
        clamp = [
            Rows(r.logits, r.features, r.labels.clamp(max=4)) for r in (step.stream, step.memory)
        ]
        step = dataclasses.replace(step, stream=clamp[0], memory=clamp[1])
        rows, total = step.joined(), 0.0
        unit = rows.features[0] / (rows.features[0].norm(dim=1, keepdim=True) + 1e-6)
        for i in range(40):
            own = rows.logits[0, i, rows.labels[0, i]]
            pairs = [(unit[i] @ unit[j] / 0.09).exp() for j in range(40) if j != i]
            total += (rows.logits[0, i, :5].exp().sum() + sum(pairs)).log() - own
        torch.testing.assert_close(
            loss_of("Couple (Eq. 8)", step)[0], total / 40, rtol=1e-4, atol=1e-4
        )
