"""The online replay loop: seeds side by side, the first step, evaluation (checks 11, 14 and 15)."""

import dataclasses
from types import SimpleNamespace

import pytest
import torch
from gratings import gratings, losses_of, make_run
from states import kept, same
from whole import in_ci

from relcl_lib.continual.memory import ReservoirMemory
from relcl_lib.data.images import as_jpeg
from relcl_lib.lab.runtime import make_generator
from relcl_lib.losses import class_counts
from relcl_lib.models.resnet import ReducedResNet18, select_seed
from relcl_lib.papers.hpcr import run as replay_run
from relcl_lib.papers.hpcr.methods import METHODS
from relcl_lib.papers.hpcr.run import ReplayRun
from relcl_lib.papers.hpcr.strategy import Strategy

#: methods with hooks of their own beside the loss
COMPARED = ("GSS", "A-GEM", "GMED", "MIR", "ER-WA", "SS-IL", "SCR", "OBC", "UER", "DER++")


def draws(seeds, task=0):
    return {p: [make_generator(s, p, task) for s in seeds] for p in Strategy.purposes}


def statistics(run):
    return {k: v for k, v in kept(run.network).items() if "running" in k}


def steps_of_task_0(run, steps):
    """Make single steps of task 0; return the losses."""
    generators, found = draws(run.seeds), []
    order = [make_generator(seed, "data order", 0) for seed in run.seeds]
    batches = torch.stack([s[0].batches(10, g) for s, g in zip(run.streams, order, strict=True)])
    run.network.train()
    for step in range(steps):
        found.append(run.training_step(batches[:, step], 0, step, run.seen(0), generators))
        run.total_step += 1
    return found, batches


class TestSeedsSideBySide:
    @pytest.mark.parametrize(
        "method",
        [
            *("HPCR", "ER", "ER-DVC", "ASER", *COMPARED),
            *(pytest.param(method, marks=in_ci) for method in ("OCM", "OnPro")),
        ],
    )
    def test_a_whole_run_is_that_of_separate_runs(self, in_double, method):
        # A step of the two dual-view methods takes ten times as long: they get four of them.
        data = gratings(10 if method in ("OCM", "OnPro") else 20, classes=4)
        given = {"data": data, "method": method, "n_tasks": 2}
        together = make_run(seeds=[0, 4], **given).train()
        for s, seed in enumerate([0, 4]):
            alone = make_run(seeds=[seed], **given).train()
            assert together.streams[s].class_order == alone.streams[0].class_order
            stored, own = together.memory.contents(), alone.memory.contents()
            assert torch.equal(stored["image"][s], own["image"][0])
            pairs = [(stored[name][s], own[name][0]) for name in ("logits", "features")]
            weights = [
                select_seed(run.network, i).state_dict() for run, i in ((together, s), (alone, 0))
            ]
            for ours, theirs in (*pairs, weights):
                torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)
            assert torch.equal(together.accuracy[s], alone.accuracy[0])

    def test_unequal_classes_run_one_seed_at_a_time(self):
        uneven = gratings(extra=10)
        with pytest.raises(ValueError, match=r"differ in size .* one at a time: seeds=\[0\]"):
            make_run(uneven, seeds=[0, 1, 2, 3])
        run = make_run(uneven, seeds=[0], method="ER").train()
        assert run.total_step == sum(n // 10 for n, _ in run.streams[0].sizes())

    def test_methods_share_class_order_and_data_order(self):
        """Otherwise two methods of one seed would not be compared on one stream."""
        shown = {}
        for method in ("FINE-TUNE", "ER", "HPCR"):
            run, batches = make_run(method=method), []
            step = run.training_step
            run.training_step = lambda indices, *rest, s=step, b=batches: (
                b.append(indices.tolist()),
                s(indices, *rest),
            )
            run.train()
            shown[method] = (run.streams[0].class_order, batches)
        assert shown["FINE-TUNE"] == shown["ER"] == shown["HPCR"]


class TestFirstStep:
    def test_it_trains_nothing_and_fills_the_memory(self):
        run = make_run(buffer_size=50)
        weights = kept(run.network.named_parameters())
        before = statistics(run)
        (loss,), batches = steps_of_task_0(run, 1)
        assert loss is None
        assert same(weights, run.network.named_parameters())
        after = statistics(run)
        assert all(not torch.equal(before[k], after[k]) for k in before)
        stored = run.memory.contents()
        assert run.memory.filled == 10
        assert torch.equal(stored["image"], run.images[batches[:, 0]])
        assert stored["image"].dtype == torch.uint8
        assert torch.equal(stored["label"], run.labels[batches[:, 0]])

    def test_what_is_stored_is_the_clean_rows_before_the_update(self):
        run, seen = make_run(seeds=[0, 1], buffer_size=50), []
        forward = run.network.forward
        run.network.forward = lambda x: seen.append((x, *forward(x))) or seen[-1][1:]
        _, batches = steps_of_task_0(run, 2)
        stored = run.memory.contents()
        # Forward passes: stream of step 0; stream, then memory of step 1.
        assert [len(images[0]) for images, *_ in seen] == [20, 20, 20]
        for step, (images, logits, features) in enumerate((seen[0], seen[1])):
            rows = slice(10 * step, 10 * step + 10)
            assert torch.equal(images[:, :10], run.images[batches[:, step]].float() / 255)
            assert torch.equal(stored["logits"][:, rows], logits[:, :10].detach())
            assert torch.equal(stored["features"][:, rows], features[:, :10].detach())
        norms = stored["features"].norm(dim=-1)
        assert (norms - 1).abs().min() > 1e-3  # as they came, not normalised

    def test_later_updates_leave_it(self):
        run = make_run(buffer_size=50)
        steps_of_task_0(run, 1)
        first = kept(run.memory.contents())
        weight = run.network.head.weight.detach().clone()
        steps_of_task_0(run, 3)
        assert not torch.equal(weight, run.network.head.weight)
        assert all(torch.equal(first[k], v[:, :10]) for k, v in run.memory.contents().items())

    def test_retrieval_sees_the_memory_before_the_batch(self, monkeypatch):
        run, filled = make_run(method="ER"), []
        sample = ReservoirMemory.sample
        monkeypatch.setattr(
            ReservoirMemory, "sample", lambda m, *rest: filled.append(m.filled) or sample(m, *rest)
        )
        steps_of_task_0(run, 3)
        assert filled == [0, 10, 20]


class TestEvaluation:
    @pytest.fixture(scope="class")
    def trained(self):
        return make_run(seeds=[0, 1, 2], method="ER").train()

    def test_tasks_to_come_score_nothing(self, trained):
        assert trained.accuracy.shape == (3, 3, 3)
        assert (trained.accuracy.triu(1) == 0).all()
        assert ((trained.accuracy >= 0) & (trained.accuracy <= 1)).all()
        assert trained.accuracy.diagonal(dim1=1, dim2=2).sum() > 0

    def test_no_unseen_class_is_named(self):
        run = make_run()
        unseen = ~run.seen(0)
        assert unseen.sum() == 4
        with torch.no_grad():  # proxies that would win every argmax
            run.network.head.weight[0, unseen[0]] = 1.0
            run.network.head.weight[0, ~unseen[0]] = -1.0
        masked, every = run.of_tasks(run.hits(0))
        assert masked[0, 0] >= 0.4  # all on one of two classes
        assert (every == 0).all()  # without the mask any class may be named
        run.network.head.weight.data.mul_(-1)
        masked, _ = run.of_tasks(run.hits(2))
        assert masked[0, 0] >= 0.4

    @pytest.mark.parametrize("batch", [1, 7, 1000])
    def test_the_test_batch_does_not_matter(self, trained, monkeypatch, batch):
        monkeypatch.setattr(replay_run, "TEST_BATCH", {"cpu": batch})
        found = trained.of_tasks(trained.hits(2))
        torch.testing.assert_close(found, trained.accuracies[:, :, 2], rtol=0, atol=0.0501)

    def test_it_changes_nothing(self, trained):
        trained.network.train()
        before = kept(trained.network)
        torch.manual_seed(0)
        state = torch.get_rng_state()
        trained.hits(2)
        trained.test_features()
        assert same(before, trained.network)
        assert trained.network.training
        assert torch.equal(torch.get_rng_state(), state)

    def test_folded_batch_norm_predicts_the_same(self, trained, monkeypatch):
        monkeypatch.setattr(replay_run, "fold_batch_norm", lambda network: network.eval())
        found = trained.of_tasks(trained.hits(2))
        torch.testing.assert_close(found, trained.accuracies[:, :, 2], rtol=0, atol=0.0501)
        trained.network.train()

    def test_training_goes_on_in_train_mode(self, trained):
        run = make_run(n_tasks=2)
        run.network.eval()
        before = statistics(run)
        run.train_task(1)
        after = statistics(run)
        assert all(not torch.equal(before[k], after[k]) for k in before)

    def test_features_and_proxies_for_a_picture(self, trained):
        features, labels, proxies = trained.test_features(seed_index=1, per_class=4)
        assert features.shape == (24, trained.network.head.weight.shape[-1])
        assert torch.bincount(labels).tolist() == [4] * 6
        assert torch.equal(proxies, trained.network.head.weight[1])
        alone = select_seed(trained.network, 1)
        images = trained.test_images[trained.test_labels == 0][:4].float() / 255
        with torch.inference_mode():
            torch.testing.assert_close(
                features[:4], alone(images.unsqueeze(0))[1][0], rtol=1e-3, atol=1e-4
            )


class TestSettings:
    @pytest.mark.parametrize("method", [name for name, kind in METHODS.items() if kind.iid])
    def test_all_classes_at_once_are_one_task_without_a_memory(self, method):
        run = make_run(method=method, seeds=[0, 1], n_tasks=None)
        losses = losses_of(run)
        assert len(losses) == run.total_step == 12
        assert all(loss.shape == (2,) and torch.isfinite(loss).all() for loss in losses)
        assert len(run.streams[0]) == 1 and run.accuracy.shape == (2, 1, 1)
        assert run.memory.filled == 0

    @pytest.mark.parametrize("variant", ["paper", "released"])
    @pytest.mark.parametrize(
        "changes",
        [
            {"buffer_size": 3},
            {"views": 1, "buffer_size": 1},
            {"views": 1, "hc": "on"},
            {"memory_batch": 1},
            {"head": "linear"},
            {"image_size": 8, "flip": False},
            {"hold_out": 0.5},
            {"optimizer": "adam", "learning_rate": 0.001},
            {"precision": "bfloat16"},
        ],
    )
    def test_unusual_settings_train(self, variant, changes):
        if changes.get("hold_out"):
            changes = {**changes, "stream_batch": 5}
        run = make_run(variant=variant, **changes).train()
        assert all(torch.isfinite(v).all() for v in run.network.state_dict().values())
        assert run.memory.filled == run.settings.buffer_size

    def test_hold_out_tests_on_training_images_it_does_not_train_on(self):
        run = make_run(hold_out=0.25, method="FINE-TUNE", stream_batch=5)
        assert run.streams[0].sizes() == [(30, 10)] * 3
        assert len(run.test_images) == 30
        shown = torch.cat([task.train_indices for task in run.streams[0]])
        trained = {tuple(image.flatten().tolist()) for image in run.images[shown]}
        tested = {tuple(image.flatten().tolist()) for image in run.test_images}
        assert not trained & tested
        for task in run.streams[0]:
            assert set(run.labels[task.train_indices].tolist()) == set(task.classes)
            assert set(run.test_labels[task.test_indices].tolist()) == set(task.classes)

    def test_joint_forward_mixes_the_groups_in_batch_norm(self):
        apart, joint = (make_run(method="PCR", joint_forward=j) for j in (False, True))
        first, second = (steps_of_task_0(run, 2)[0][1] for run in (apart, joint))
        assert not torch.allclose(first, second)
        assert apart.network.body.stem.norm.num_batches_tracked == 3
        assert joint.network.body.stem.norm.num_batches_tracked == 2

    def test_grey_images_get_three_channels(self):
        one = gratings()
        images = [one.train_images[:, :1], one.test_images[:, :1]]
        grey = dataclasses.replace(one, train_images=images[0], test_images=images[1])
        assert make_run(grey).images.shape == (120, 3, 16, 16)


@pytest.mark.parametrize(
    "side, classes, ratio", [(32, 10, 1.06), (32, 100, 1.08), (84, 100, 1.03), (64, 200, 1.07)]
)
def test_the_memory_ratios_of_table_xiii(side, classes, ratio):
    """One unit per pixel and per stored number, (HW3 + d + C) / HW3: a claim of the paper."""
    pixels = 3 * side * side
    features = ReducedResNet18().feature_size((side, side))
    assert (pixels + features + classes) / pixels == pytest.approx(ratio, abs=0.0051)
    assert 1 / 8 < 4 * (features + classes) / pixels < 1 / 2.9  # floats beside images of bytes


def test_reencoded_training_images_train_another_network_and_old_runs_keep_their_names(tmp_path):
    """Images held out of the training set are encoded as it is; the test set is left as it comes."""
    data = gratings()
    plain, copy = (make_run(data, tmp_path, reencode=kind) for kind in ("none", "jpeg75"))
    assert torch.equal(copy.images, as_jpeg(data.train_images))
    assert torch.equal(plain.images, data.train_images)
    assert torch.equal(copy.test_images, plain.test_images)
    held = make_run(data, hold_out=0.25, reencode="jpeg75").test_images
    among = (held.unsqueeze(1) == copy.images).flatten(2).all(-1).any(1)
    assert len(held) == 30 and among.all()
    assert plain.folder != copy.folder
    assert "reencode" not in plain.identity()["settings"]
    assert "reencode" not in plain.configuration(0)["parameters"]
    assert copy.configuration(0)["parameters"]["reencode"] == "jpeg75"
    # Both arms of a comparison on held-out images say which they are.
    arm = make_run(data, hold_out=0.25).configuration(0)["parameters"]
    assert (arm["hold_out"], arm["reencode"]) == (0.25, "none")
    assert plain.data.fingerprint == copy.data.fingerprint


class TestProxyGradients:
    def test_those_of_pcr_are_theorem_1_summed_by_loops(self):
        run, steps = make_run(method="PCR", seeds=[0, 1]), []
        loss = run.strategy.loss
        run.strategy.loss = lambda step: steps.append(step) or loss(step)
        run.train()
        expected = torch.zeros(2, 3, 6, dtype=torch.float64)
        for step in steps:
            if step.memory is None:
                continue
            rows = step.joined()
            for s in range(2):
                k = class_counts(rows.labels[s], 6)
                for logits, y in zip(rows.logits[s].double(), rows.labels[s], strict=True):
                    p = logits.detach().exp() / (k * logits.detach().exp()).sum()
                    own = torch.eye(6, dtype=torch.float64)[y]
                    expected[s, step.batch.task] -= (k * p - own) / 0.09 / len(rows.labels[s])
        total = run.proxy_gradients.double()
        torch.testing.assert_close(total, expected, rtol=1e-4, atol=1e-4)
        assert total.abs().amax() > 1
        old, new = run.old_and_new(total)
        torch.testing.assert_close(old, -new, rtol=1e-4, atol=1e-4)  # Theorem 1: they sum to 0
        assert (old[:, 0] == 0).all() and (old[:, 1:].abs() > 0.01).all()
        unmet = ~run.seen(0)
        assert (total[:, 0][unmet] == 0).all()  # classes that are not in the step

    def test_distillation_begins_with_the_second_task_and_scd_acts_through_the_features(self):
        found = {}
        for name, change in {"none": {"pcd": False, "scd": "off"}, "scd": {"pcd": False}}.items():
            found[name] = make_run(method="HPCR", **change).train().proxy_gradients
            assert found[name].sum(-1).abs().max() < 1e-3  # SCD adds nothing to Theorem 1's sum
        assert torch.equal(found["none"][:, 0], found["scd"][:, 0])
        assert not torch.equal(found["none"][:, 1:], found["scd"][:, 1:])

    def test_old_and_new_follow_each_seeds_own_order(self):
        met = torch.tensor([[[1, 1, 0, 0], [1, 1, 1, 1]], [[0, 1, 0, 1], [1, 1, 1, 1]]]).bool()
        run = SimpleNamespace(total=2, seen=lambda task: met[:, task])
        values = torch.tensor([1.0, 10, 100, 1000]).expand(2, 2, 4)
        old, new = ReplayRun.old_and_new(run, values)
        assert old.tolist() == [[0, 11], [0, 1010]] and new.tolist() == [[11, 1100], [1010, 101]]

    def test_a_record_has_the_last_tasks_where_the_head_has_proxies(self):
        run = make_run(method="PCR", seeds=[0, 3]).train()
        for index, record in enumerate(run.records()):
            by_class = run.proxy_gradients[index, -1, run.streams[index].class_order]
            assert record.curves["cumulative_gradient"] == pytest.approx(
                by_class.tolist(), abs=1e-4
            )
            for name, values in (("old", by_class[:-2]), ("new", by_class[-2:])):
                found = record.metrics[f"cumulative_gradient_{name}_classes"]
                assert found == pytest.approx(float(values.sum()), abs=1e-3)

    @pytest.mark.parametrize(
        "changes",
        [
            {"method": "ER"},
            {"method": "PCR", "head": "linear"},
            {"method": "UER"},  # its memory rows are scored by dot products
        ],
        ids=str,
    )
    def test_without_proxies_in_the_loss_there_are_none(self, changes):
        (record,) = make_run(**changes).train().records()
        assert "cumulative_gradient" not in record.curves
        assert "cumulative_gradient_old_classes" not in record.metrics

    def test_what_was_not_followed_from_the_start_is_not_recorded(self):
        run = make_run(method="PCR")
        run.advance()
        state = run.state()
        del state["run"]["proxy_gradients"]  # a checkpoint of an earlier version
        run.load(state)
        run.tasks_done = 1
        (record,) = run.train().records()
        assert "cumulative_gradient" not in record.curves
