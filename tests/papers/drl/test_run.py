"""The DRL run: composition of batches (check 10), heads (15), averages (11), resuming, baselines."""

from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from drl_data import make_run, tiny_data
from states import kept, same

from relcl_lib.continual.tracks import TRACKS, padded_batches
from relcl_lib.data.core50 import SessionData
from relcl_lib.lab import checkpoints
from relcl_lib.lab.run import DivergenceError
from relcl_lib.losses import cross_entropy_loss, discriminative_loss
from relcl_lib.models.taps import save_head, set_head
from relcl_lib.papers.drl.methods import METHODS
from relcl_lib.papers.drl.run import CHECK_EVERY, DrlRun
from relcl_lib.papers.drl.tables import SHARE


def watched(monkeypatch, run):
    """Train a run; return per experience the positions of each training step's batch."""
    batches, loss = [[]], run.loss

    def record(positions, **how):
        batches[-1].append(positions)
        return loss(positions, **how)

    monkeypatch.setattr(run, "loss", record)
    run.train(lambda run: batches.append([]))
    return batches[:-1]


def experience_of(run, positions):
    """Return which experience each position belongs to."""
    owner = torch.empty(len(run.data.labels), dtype=torch.int64)
    for task in run.stream:
        owner[task.train_indices] = task.index
    return owner[positions]


class TestBatches:
    """B = 16 as in the specification's check, 8 experiences of NI or 41 of NIC."""

    def test_ber_takes_b_of_each_past_experience(self, monkeypatch):
        run = make_run(method="BER", batch_size=16)
        for index, steps in enumerate(watched(monkeypatch, run)):
            assert len(steps) == 2  # 30 images, padded to 32
            for batch in steps:
                counts = torch.bincount(experience_of(run, batch), minlength=8)
                assert counts.tolist() == [16] * (index + 1) + [0] * (7 - index)
        stored = set(run.memory.contents()["position"][0].tolist())
        replayed = set(torch.cat([b[16:] for b in steps]).tolist())
        assert replayed <= stored

    def test_released_er_dies_out(self, monkeypatch):
        run = make_run(method="ER", batch_size=16, track="NIC", er="released")
        sizes = [len(steps[0]) for steps in watched(monkeypatch, run)]
        assert len(sizes) == 40
        assert (sizes[0], sizes[1], sizes[7], sizes[16]) == (16, 32, 30, 32)
        assert set(sizes[17:]) == {16}  # plain fine-tuning: what Table 3's 0.04 measured

    def test_paper_er_does_not(self, monkeypatch):
        run = make_run(method="ER", batch_size=16, track="NIC")
        assert run.settings.er == "paper"
        steps = watched(monkeypatch, run)
        assert [len(batch) for batch in steps[0]] == [16]
        assert {len(batch) for batches in steps[1:] for batch in batches} == {32}
        past = torch.cat([experience_of(run, batch[16:]) for batch in steps[-1]])
        assert (past < 39).all()
        assert len(past.unique()) > 8

    def test_shuffle_shows_every_stored_image_once(self, monkeypatch):
        run = make_run(method="Shuffle", batch_size=4)
        seen_before = []
        for index, steps in enumerate(watched(monkeypatch, run)):
            shown = torch.cat(steps)
            owner = experience_of(run, shown)
            assert (owner <= index).all()
            assert all(len(batch) == 4 for batch in steps)
            old = shown[owner < index]
            padding = 4 * len(steps) - (30 + 2 * index)
            assert len(old) == 2 * index  # what pads are the first of the current images
            assert len(set(old.tolist())) == len(old)
            assert len(shown) - len(set(shown.tolist())) == padding
            assert set(seen_before) <= set(old.tolist())  # groups are never updated
            seen_before = old.tolist()

    def test_fine_tuning_sees_the_current_experience_alone(self, monkeypatch):
        run = make_run(method="FINE-TUNE")
        for index, steps in enumerate(watched(monkeypatch, run)):
            assert (experience_of(run, torch.cat(steps)) == index).all()
        assert run.memory.filled == 0

    def test_methods_share_the_order_of_the_stream(self, monkeypatch):
        first = {}
        for method in ("FINE-TUNE", "ER", "BER", "A-GEM"):
            run = make_run(method=method)
            steps = watched(monkeypatch, run)
            kept = [s for s in steps[2] if (experience_of(run, s[:4]) == 2).all()]
            first[method] = [batch[:4].tolist() for batch in kept]
        assert first["FINE-TUNE"] == first["ER"] == first["BER"] == first["A-GEM"]


def test_the_loss_passes_no_more_images_through_the_network_and_gem_all_that_are_stored():
    """A step after three experiences of 4 current images: forward, and back through the head."""
    counted = {}
    for method, weight in (("ER", 0.0), ("ER", 0.01), ("GEM", 0.0)):
        run = make_run(method=method, drl_weight=weight, er="paper")
        for past in range(3):
            run.train_experience(past)
        passed = {"forward": 0, "backward": 0}

        def forward(module, given, out, passed=passed):
            passed["forward"] += len(out)

        def backward(module, given, out, passed=passed):
            passed["backward"] += len(out[0])

        run.network.head.register_forward_hook(forward)
        run.network.head.register_full_backward_hook(backward)
        assert (
            run.step % CHECK_EVERY
        )  # where it looks how long the loss's gradient is, it passes more
        run.training_step(run.stream[3].train_indices[:4], run.draws(3))
        counted[method, weight > 0] = passed
    stored = run.memory.filled
    assert stored == 6
    assert counted["ER", True] == counted["ER", False] == {"forward": 8, "backward": 8}
    assert counted["GEM", False] == {"forward": 4 + stored, "backward": 4 + stored}


class TestMemory:
    def test_its_size_follows_the_length_of_videos(self):
        run = make_run(memory_size=1500)
        assert tiny_data().video_length == 6
        assert run.memory.per_experience == 30  # 1500 * 6 / 300
        assert make_run(memory_size=1).memory.per_experience == 1

    def test_a_fixed_budget(self):
        run = make_run(memory_budget=12, method="ER").train()
        assert run.memory.filled <= 12
        assert run.memory.group_sizes.tolist() == [1] * 8

    def test_gss_keeps_single_samples_of_the_stream(self):
        run = make_run(method="GSS", memory_budget=20).train()
        assert run.memory.filled == 20
        assert torch.isin(run.memory.contents()["position"][0], (~run.data.is_test).nonzero()).all()


def test_weight_zero_is_plain_cross_entropy():
    """Check 7, exact on the CPU: 20 steps of a loop that knows nothing of the loss."""
    run, plain = (make_run(method="FINE-TUNE", drl_weight=0.0) for _ in range(2))
    optimizer = torch.optim.Adam(
        plain.network.parameters(), lr=plain.settings.learning_rate, fused=True
    )
    generator = plain.draws(0)["data order"][0]
    batches = padded_batches(plain.stream[0].train_indices, 4, generator)
    draws = run.draws(0)
    plain.network.train()
    for step in range(20):
        current = batches[step % len(batches)]
        run.training_step(current, draws)
        images = plain.images[current].float() / 255
        loss = cross_entropy_loss(plain.network(images)[0], plain.labels[current])
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
    assert same(run.network, plain.network)
    other = make_run(method="FINE-TUNE", drl_weight=0.1)
    other.training_step(batches[0], other.draws(0))
    assert not torch.equal(other.network.head.weight, run.network.head.weight)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("track", TRACKS)
def test_every_method_runs_on_every_track(method, track):
    small = {"batch_size": 8, "limit": 12} if track != "NIC" else {"batch_size": 8, "limit": 6}
    run = make_run(method=method, track=track, gss_parts=2, gss_part=3, **small).train()
    assert run.valid.shape == (len(run.stream), len(run.stream.tests))
    assert ((run.valid >= 0) & (run.valid <= 1)).all()
    assert 0 <= run.test_accuracy() <= 1
    assert run.step > 0


def test_gss_looks_at_gradients_of_convolutions_that_train_in_half_precision():
    """Under autocast torch cannot vmap a batch norm; what is trained stays in half precision."""
    small = {"limit": 8, "memory_budget": 4, "gss_parts": 2, "gss_part": 2, "precision": "bfloat16"}
    run = make_run(method="GSS", backbone="reduced_resnet18", width=2, **small).train()
    assert run.memory.filled == 4
    assert run.network.precision == torch.bfloat16
    scores = run.memory.fields["_score"]
    assert ((scores >= -1.001) & (scores <= 1.001)).all() and scores.std() > 0


class TestShares:
    def test_the_share_of_the_gradient_is_that_of_the_two_terms(self):
        """By two separate backward passes over a copy of the network."""
        run, plain = make_run(drl_weight=0.3), make_run(drl_weight=0.0)
        positions = run.stream[0].train_indices[:8]
        run.loss(positions, watched=True)
        logits, taps = plain.network(plain.pixels(positions))
        labels = plain.labels_of(positions)
        terms = [0.3 * discriminative_loss(taps, labels), cross_entropy_loss(logits, labels)]
        lengths = []
        for term in terms:
            plain.network.zero_grad()
            term.backward(retain_graph=True)
            lengths.append(torch.cat([p.grad.ravel() for p in plain.parameters]).norm())
        (found,) = run._shares_seen
        assert float(found) == pytest.approx(100 * float(lengths[0] / lengths[1]), rel=1e-4)

    def test_they_are_kept_by_experience_and_change_nothing(self, monkeypatch):
        run = make_run(method="ER", drl_weight=0.01, epochs=8, limit=24).train()
        monkeypatch.setattr(DrlRun, "_note_share", lambda *terms: None)
        other = make_run(method="ER", drl_weight=0.01, epochs=8, limit=24).train()
        assert same(run.network, other.network)
        assert len(run.shares) in (7, 8) and all(share > 0 for share in run.shares)
        assert not other.shares

    def test_a_reference_gradient_is_not_looked_at(self):
        """GEM takes one per past experience, at any step."""
        run = make_run(method="GEM", drl_weight=0.01, limit=24)
        lengths, shares = run.first_lengths, len(run._shares_seen)
        run.gradient(run.stream[0].train_indices[:8])
        assert run.step == 0 and run.first_lengths == lengths and len(run._shares_seen) == shares

    def test_a_record_has_them_where_every_experience_was_looked_at(self):
        run = make_run(method="ER", drl_weight=0.01, epochs=16, limit=24, batch_size=6).train()
        assert run.record().curves[SHARE] == pytest.approx(run.shares, rel=1e-3)
        assert len(run.shares) == 8
        assert set(make_run(method="ER", drl_weight=0.0, limit=8).train().record().curves) == {
            "validation"
        }

    def test_a_checkpoint_of_before_they_were_kept_is_gone_on_from(self, tmp_path):
        given = {"method": "ER", "drl_weight": 0.01, "epochs": 16, "limit": 24, "batch_size": 6}
        run = make_run(work_dir=tmp_path, **given)
        run.advance()
        run.experiences_done = 1
        run.save()
        state, progress = checkpoints.load(run.folder / "checkpoint")
        del progress["shares"]
        checkpoints.save(run.folder / "checkpoint", state, progress)
        resumed = make_run(work_dir=tmp_path, **given).train()
        assert same(resumed.network, make_run(**given).train().network)
        assert len(resumed.shares) == 7
        assert set(resumed.record().curves) == {"validation"}  # not of every experience


def test_it_learns():
    run = make_run(method="BER", epochs=10, learning_rate=3e-3).train()
    assert run.valid[-1].mean() > 0.5
    assert run.test_accuracy() > 0.5  # of 5 classes


class TestBaselines:
    def test_agem_and_gem_bend_the_step(self, monkeypatch):
        for method in ("GEM", "A-GEM"):
            run = make_run(method=method, gem_margin=0.0)
            run.train_experience(0)
            current, draws = run.stream[1].train_indices[:4], run.draws(1)
            stored = run.memory.contents()["position"][0]
            opposite = -2 * run.gradient(current)
            monkeypatch.setattr(run, "gradient", lambda positions, g=opposite: g)
            run.training_step(current, draws)
            # The memory wants the opposite: nothing of the gradient is left (GEM's ridge apart).
            step = torch.cat([p.grad.ravel() for p in run.parameters])
            assert len(stored) == 2
            assert step.norm() < 5e-3 * opposite.norm()

    @pytest.mark.parametrize("backbone", ["mlp", "reduced_resnet18"])
    def test_past_tasks_have_gradients_through_their_own_heads(self, backbone):
        """Naively: put the head of each task in, take the gradient, average over the images."""
        small = {"width": 2, "precision": "float32"} if backbone == "reduced_resnet18" else {}
        shared = {"track": "Multi-Task-NC", "method": "A-GEM", "limit": 8, "backbone": backbone}
        run = make_run(**shared, heads="task", **small)
        for index in range(3):
            run.train_experience(index)
            run._end_experience()
        run.network.eval()  # batch norm would tie the images of a batch together
        positions = torch.cat([run.stream[task].train_indices[:2] for task in (2, 0, 1)])
        found = run.gradient(positions)
        live, naive = save_head(run.network), torch.zeros_like(found)
        trunk = torch.cat(
            [
                torch.full((p.numel(),), not name.startswith(run.network.layout.head))
                for name, p in run.network.network.named_parameters()
            ]
        )
        for group, task in zip(positions.split(2), (2, 0, 1), strict=True):
            set_head(run.network, run.heads[task])
            other = make_run(**shared, **small)
            other.network, other.parameters = run.network, run.parameters
            naive += other.gradient(group) / 3
        set_head(run.network, live)
        torch.testing.assert_close(found[trunk], naive[trunk], rtol=1e-4, atol=1e-6)
        assert found[trunk].norm() > 0
        assert not found[~trunk].any()  # the live head is no past task's
        released = make_run(**shared, **small)
        released.network, released.parameters = run.network, run.parameters
        # The live head is zero here, at a task's start, so nothing gets through to the trunk.
        assert not released.gradient(positions)[trunk].any()

    @pytest.mark.parametrize("method", ["GEM", "A-GEM"])
    def test_they_run_with_them(self, method):
        run = make_run(track="Multi-Task-NC", method=method, limit=8, heads="task").train()
        other = make_run(track="Multi-Task-NC", method=method, limit=8).train()
        assert run.valid.shape == (5, 5)
        assert not same(run.network, other.network)

    def test_a_gradient_leaves_gradients_alone(self):
        run = make_run()
        run.training_step(run.stream[0].train_indices[:4], run.draws(0))
        before = [p.grad.clone() for p in run.parameters]
        run.gradient(run.stream[0].train_indices[4:8])
        assert all(torch.equal(a, p.grad) for a, p in zip(before, run.parameters, strict=True))


class TestJoint:
    @pytest.mark.parametrize("track", ["NI", "Multi-Task-NC", "NIC"])
    def test_it_sees_all_experiences_at_once_and_is_tested_as_the_others(self, monkeypatch, track):
        other = make_run(track=track, method="FINE-TUNE")
        run = make_run(track=track, method="JOINT", heads="masked")
        (steps,) = watched(monkeypatch, run)
        shown, images = torch.cat(steps).tolist(), ~run.data.is_test
        assert set(shown) == set(images.nonzero()[:, 0].tolist())
        assert len(shown) - len(set(shown)) < run.settings.batch_size
        assert run.valid.shape == (1, len(other.stream.tests))
        assert all(map(torch.equal, run.stream.tests, other.stream.tests))
        assert torch.equal(run.stream.labels, other.stream.labels)
        (record,) = run.records()
        assert record.accuracy_matrix is None  # there is one experience
        assert record.curves["validation"] == pytest.approx([run.score], abs=1e-3)

    def test_its_one_head_serves_every_task(self):
        given = {"track": "Multi-Task-NC", "method": "JOINT", "epochs": 8, "learning_rate": 3e-3}
        run = make_run(**given, heads="masked").train()
        assert len(run.heads) == 1
        assert run.test_accuracy() == 1  # one class a task here, and the task is told


class TestHeads:
    def test_they_are_kept_and_the_live_one_starts_from_zero(self):
        run = make_run(track="Multi-Task-NC", method="ER")
        heads = []
        run.train(lambda run: heads.append([kept(head) for head in run.heads]))
        assert len(run.heads) == 5
        assert all((value == 0).all() for value in save_head(run.network).values())
        for before, later in pairwise(heads):
            assert all(map(same, before, later))
        first, second = (run.correct(run.stream.tests) for _ in range(2))
        assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
        assert all((value == 0).all() for value in save_head(run.network).values())

    def test_masked_heads_name_no_other_tasks_class(self):
        run = make_run(track="Multi-Task-NC", method="FINE-TUNE", limit=8).train()
        with torch.no_grad():
            for task, head in enumerate(run.heads):  # each shouts the next task's classes
                head["bias"][run.stream.task_classes((task + 1) % 5)] += 100
        assert run.test_accuracy() == 0
        masked = make_run(
            track="Multi-Task-NC", method="FINE-TUNE", limit=8, heads="masked"
        ).train()
        masked.heads = run.heads
        assert masked.test_accuracy() == 1  # one class a task here

    def test_tasks_to_come_count_and_set_the_ceiling(self):
        """Check 11: right on tasks seen and wrong on the others averages 5/9 over nine tasks."""
        images = torch.zeros(450, 1, 2, 2, dtype=torch.uint8)
        labels = torch.arange(50).repeat(9)
        sessions = torch.repeat_interleave(torch.tensor([1, 2, 4, 5, 6, 8, 9, 3, 7]), 50)
        names = tuple(map(str, range(50)))
        data = SessionData("CORe50-standin(cifar100)", images, labels, sessions, names, "made up")
        run = make_run(track="Multi-Task-NC", data=data, dataset="cifar100")
        assert run.valid.shape == (9, 9)
        run.valid = torch.ones(9, 9).tril()
        assert run.outcome(0)["metrics"]["avg_valid_acc"] == pytest.approx(100 * 5 / 9)

    def test_one_head_is_left_alone(self):
        run = make_run(method="ER", limit=8).train()
        assert not run.heads
        assert save_head(run.network)["weight"].abs().sum() > 0


class TestDivergence:
    def test_the_printed_loss_ends_with_a_message(self):
        run = make_run(loss="paper", drl_weight=1.0, epochs=20, learning_rate=0.05)
        with pytest.raises(DivergenceError, match=r"step \d+: representation \d.*loss='paper_cos'"):
            run.train()

    @pytest.mark.parametrize("loss", ["released", "paper_cos"])
    def test_the_other_forms_go_on(self, loss):
        make_run(loss=loss, drl_weight=0.01, epochs=4, learning_rate=0.01, limit=12).train()

    def test_a_loss_that_is_not_finite(self):
        run = make_run(method="FINE-TUNE", optimizer="sgd", learning_rate=1e30)
        with pytest.raises(DivergenceError, match=r"the loss is .* in experience 0.*use a lower"):
            run.train()

    def test_gss_stops_before_it_scores_what_is_not_finite(self):
        run = make_run(method="GSS", memory_budget=20, optimizer="sgd", learning_rate=1e30)
        with pytest.raises(DivergenceError, match=r"GSS cannot score.*smaller learning_rate"):
            run.train()

    @pytest.mark.parametrize(
        "loss, advice", [("paper", "loss='paper_cos'"), ("paper_cos", "smaller learning_rate")]
    )
    def test_the_advice_is_no_form_that_is_used(self, loss, advice):
        run = make_run(loss=loss, drl_weight=0.5)
        run._check_lengths([torch.ones(2, 3)])
        with pytest.raises(DivergenceError) as caught:
            run._check_lengths([torch.full((2, 3), 200.0)])
        said = (
            "step 0: representation 0 is 200 times as long as at first (or as 1, if that was less);"
        )
        assert str(caught.value).startswith(said) and str(caught.value).endswith(advice)
        with pytest.raises(DivergenceError, match="representation 0 is not finite; "):
            run._check_lengths([torch.full((2, 3), float("nan"))])


def test_convolutional_networks_see_images_as_pretrained_ones_do():
    run = make_run(backbone="reduced_resnet18", width=2, image_size=16, precision="float32")
    assert run.images.shape[1:] == (3, 16, 16)
    pixels = run.pixels(torch.tensor([0, 5]))
    back = pixels * torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
    back = 255 * (back + torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1))
    torch.testing.assert_close(back, run.images[[0, 5]].float(), rtol=0, atol=1e-3)
    grey = replace(tiny_data(), images=tiny_data().images[:, :1])
    assert make_run(data=grey, backbone="reduced_resnet18", width=2).images.shape[1] == 3
    assert make_run(data=grey).images.shape[1] == 1
