"""The compared methods: what each is in a special case, and each against a slow form of itself."""

import copy
import dataclasses

import pytest
import torch
import torch.nn.functional as F
from gratings import make_run, step_of
from states import kept, same

from relcl_lib.lab.runtime import make_generator
from relcl_lib.losses import cross_entropy_loss
from relcl_lib.models.resnet import select_seed
from relcl_lib.papers.hpcr.strategy import Batch, Rows

GSS = {"parts": 2, "part": 4}


def weights(run):
    return kept(run.network.named_parameters())


def trained(tasks=3, **changes):
    run = make_run(**changes)
    for task in range(tasks):
        run.train_task(task)
    return run


def batch_of(run, task=1, seed=5):
    """The next batch of a task, with new draws."""
    order = [make_generator(seed, "data order", task) for _ in run.seeds]
    indices = torch.stack(
        [s[task].batches(10, g)[0] for s, g in zip(run.streams, order, strict=True)]
    )
    draws = {p: [make_generator(s, p, 9) for s in run.seeds] for p in run.strategy.purposes}
    return Batch(run.images[indices], run.labels[indices], task, 0, 0, run.seen(task), draws)


# --- what a method is in a special case ----------------------------------------------------------


@pytest.mark.parametrize(
    "method, changes",
    [
        ("DER++", {"alpha": 0.0, "beta": 1.0}),
        ("GMED", {"options": {"stride": 0.0}}),
        ("MIR", {"views": 1, "options": {"subsample": 10}}),  # in another order, which views show
        ("GSS", {"buffer_size": 1000}),  # that is never full
    ],
)
def test_is_er(in_double, method, changes):
    held = {name: changes[name] for name in ("views", "buffer_size") if name in changes}
    er = weights(trained(method="ER", **held))
    torch.testing.assert_close(weights(trained(method=method, **changes)), er, rtol=1e-6, atol=1e-8)
    assert not same(weights(trained(method=method)), er)


@pytest.mark.parametrize("method", ["A-GEM", "SS-IL"])
def test_with_all_classes_in_one_task_is_fine_tuning(method):
    found, expected = (trained(1, method=m, n_tasks=1) for m in (method, "FINE-TUNE"))
    for ours, theirs in zip(weights(found).values(), weights(expected).values(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4)


def test_a_loss_that_is_no_value_per_seed_is_refused(monkeypatch):
    run = make_run(method="ER", seeds=[0, 1])
    monkeypatch.setattr(
        run.strategy,
        "loss",
        lambda step: F.cross_entropy(*(v.flatten(0, 1) for v in step.stream[::2])),
    )
    with pytest.raises(
        ValueError, match=r"loss of ER has the shape \(\); it is one value per seed, \(2,\)"
    ):
        run.train_task(0)


# --- A-GEM ---------------------------------------------------------------------------------------


def test_agem_takes_the_conflict_out_of_each_seeds_gradient(in_double):
    signs = set()
    for sign in (1, -1):  # the memory's logits turned, so that some seeds agree and some conflict
        run = trained(1, method="A-GEM", seeds=[0, 1, 2])
        step, parameters = step_of(run, batch_of(run)), list(run.network.parameters())
        memory = step.memory._replace(logits=sign * step.memory.logits)

        def flat(gradients):
            return torch.cat([g.reshape(3, -1) for g in gradients], dim=1)

        own, reference = (
            flat(
                torch.autograd.grad(
                    cross_entropy_loss(rows.logits, rows.labels).sum(),
                    parameters,
                    retain_graph=True,
                )
            )
            for rows in (step.stream, memory)
        )
        step = dataclasses.replace(step, memory=memory)
        run.optimizer.zero_grad()
        run.strategy.gradient(step, run.strategy.loss(step))
        left = flat([p.grad for p in parameters])
        for s in range(3):
            product = own[s] @ reference[s]
            signs.add(bool(product < 0))
            share = product / (reference[s] @ reference[s]) if product < 0 else 0.0
            torch.testing.assert_close(left[s], own[s] - share * reference[s])
    assert signs == {False, True}


def test_agem_is_the_same_in_the_printed_form():
    printed, released = (
        weights(trained(2, method="A-GEM", variant=v)) for v in ("paper", "released")
    )
    assert same(printed, released)


# --- MIR and GMED --------------------------------------------------------------------------------


def networks_of(run, views, labels):
    """Each seed's network alone, and as it is after a step on the stream."""
    found = []
    for s in range(len(run.seeds)):
        plain = select_seed(run.network, s).train()
        after = copy.deepcopy(plain)
        F.cross_entropy(after(views[s : s + 1])[0][0], labels[s].repeat(2)).backward()
        with torch.no_grad():
            for p in after.parameters():
                p -= 0.1 * p.grad
        found.append((plain, after))
    return found


def test_mir_replays_what_a_step_hurts_most(in_double):
    run = trained(1, method="MIR", seeds=[0, 1], options={"subsample": 15})
    batch, views, make = batch_of(run), [], run.views
    run.views = lambda groups: views.extend(make(groups)) or views[-1:]
    run.network.train()
    before = kept(run.network)
    replayed = run.strategy.retrieve(batch)
    stream, candidates = views
    found = run.memory.sample(15, [make_generator(s, "retrieval", 9) for s in run.seeds])
    run.network.load_state_dict(before)
    for s, (plain, after) in enumerate(networks_of(run, stream, batch.labels)):
        labels, losses = found["label"][s].repeat(2), []
        for network in (plain, after):
            with torch.no_grad():
                logits = network(candidates[s : s + 1])[0][0]
            losses.append(F.cross_entropy(logits, labels, reduction="none").view(2, 15).mean(0))
        best = (losses[1] - losses[0]).topk(10).indices
        assert torch.equal(replayed["image"][s], found["image"][s][best])


def test_a_step_at_rate_0_hurts_all_alike():
    run = trained(1, method="MIR")
    run.strategy.differentiate(batch_of(run))
    (views,) = (run.test_images[None, :6].float() / 255,)
    with torch.no_grad():
        rows = Rows(*run.strategy.after_a_step(0.0, views), run.test_labels[None, :6])
    assert (run.strategy.score(rows, rows) == 0).all()
    torch.testing.assert_close(rows.logits, run.network(views)[0].detach())


def test_scoring_moves_the_running_statistics_once():
    run = trained(1, method="MIR", options={"subsample": 15})
    views, make = [], run.views
    run.views = lambda groups: views.extend(make(groups)) or views[-1:]
    expected = copy.deepcopy(run.network).train()
    run.network.train()
    run.strategy.retrieve(batch_of(run))
    for rows in views:  # the stream's, then those that are scored
        expected(rows)
    assert same(run.network.named_buffers(), dict(expected.named_buffers()))


@pytest.mark.parametrize("sign", [1, -1])
def test_gmed_edits_towards_a_higher_loss_after_the_step(in_double, sign):
    changes = {"stride": 2.0, "regularisation": 0.3 * sign, "decay": 0.5}
    run = trained(1, method="GMED", seeds=[0, 1], options=changes)
    batch, memory, views, make = batch_of(run), kept(run.memory.fields), [], run.views
    run.views = lambda groups: views.extend(make(groups)) or views[-1:]
    slots = run.memory.draw(10, [make_generator(s, "retrieval", 9) for s in run.seeds])
    assert memory["age"].max() >= 2
    found = run.strategy.retrieve(batch)
    for s, (plain, after) in enumerate(networks_of(run, views[0], batch.labels)):
        images = (memory["image"][s][slots[s]].double() / 255).requires_grad_()
        labels = memory["label"][s][slots[s]]
        losses = [F.cross_entropy(net(images[None])[0][0], labels) for net in (after, plain)]
        gain = losses[0] - losses[1] + 0.3 * sign * losses[1]
        (gradient,) = torch.autograd.grad(gain, images)
        stride = 2.0 * 0.5 ** memory["age"][s][slots[s]].double()
        expected = images + stride[:, None, None, None] * gradient
        torch.testing.assert_close(
            found["image"][s].double(), 255 * expected.detach(), rtol=1e-5, atol=1e-4
        )
        written = run.memory.fields["image"][s][slots[s]]
        torch.testing.assert_close(written, found["image"][s].float())
        assert torch.equal(run.memory.fields["age"][s][slots[s]], memory["age"][s][slots[s]] + 1)
    untouched = torch.ones(2, 20, dtype=torch.bool).scatter(1, slots, False)
    assert torch.equal(run.memory.fields["image"][untouched], memory["image"][untouched])


# --- ER-WA, OBC, UER -----------------------------------------------------------------------------


def test_er_wa_brings_new_rows_to_the_length_of_old_ones():
    clipped = trained(1, method="ER-WA", seeds=[0, 1])
    assert clipped.network.head.weight.min() == 0 and not clipped.network.head.bias.any()
    run = trained(1, method="ER-WA", seeds=[0, 1], options={"clip": 0})
    assert same(weights(run), weights(trained(1, method="ER", seeds=[0, 1])))
    assert run.network.head.weight.min() < 0 and run.network.head.bias.any()
    weight, before = run.network.head.weight, run.network.head.weight.detach().clone()
    run.strategy.end_task(1, run.seen(1))
    for s, stream in enumerate(run.streams):
        old, new = stream[0].classes, stream[1].classes
        length = before[s].norm(dim=1)
        assert torch.equal(weight[s, list(old)], before[s, list(old)])
        gamma = length[list(old)].mean() / length[list(new)].mean()
        torch.testing.assert_close(weight[s, list(new)], gamma * before[s, list(new)])
        unseen = list(stream[2].classes)
        assert torch.equal(weight[s, unseen], before[s, unseen])
    with torch.no_grad():
        weight.div_(weight.norm(dim=-1, keepdim=True))
    alike = weight.detach().clone()
    run.strategy.end_task(2, run.seen(2))
    torch.testing.assert_close(weight.detach(), alike)  # gamma is 1: ER


def test_obcs_body_is_ers_where_the_second_head_starts_as_ers_head(in_double):
    er, run = make_run(method="ER"), make_run(method="OBC")
    run.strategy.surrogate.load_state_dict(er.network.head.state_dict())
    for task in range(2):
        er.train_task(task)
        run.train_task(task)
    ours, theirs = (kept(each.network.body.named_parameters()) for each in (run, er))
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-12)
    assert same(run.strategy.surrogate, er.network.head)


def test_iid_pp_draws_from_all_training_images():
    run = make_run(method="IID++", n_tasks=None, memory_batch=200)
    batch = batch_of(run, 0)
    found = run.strategy.retrieve(batch)
    pool, drawn = (
        [(image.numpy().tobytes(), int(label)) for image, label in zip(images, labels, strict=True)]
        for images, labels in (
            (run.images, run.labels),
            (found["image"][0], found["label"][0]),
        )
    )
    assert {*drawn} <= {*pool} and len(drawn) == 200  # each with its own label
    assert {label for _, label in drawn} == set(range(run.data.n_classes))


def test_obcs_first_head_learns_from_replay_alone(monkeypatch):
    run = make_run(method="OBC", options={"batch": 3})
    head = kept(run.network.head)
    batch = batch_of(run, 0)
    step = step_of(run, batch)
    run.strategy.update(step, run.strategy.loss(step))
    assert same(head, run.network.head)  # nothing to replay yet
    run.strategy.store(step)
    step = step_of(run, batch_of(run, 0))
    surrogate = kept(run.strategy.surrogate)
    expected = sum(
        cross_entropy_loss(run.strategy.surrogate(r.features), r.labels)
        for r in (step.stream, step.memory)
    )
    torch.testing.assert_close(run.strategy.loss(step), expected)
    drawn, more = [], run.strategy.more
    monkeypatch.setattr(run.strategy, "more", lambda *given: drawn.append(more(*given)) or drawn[0])
    run.strategy.update(step, run.strategy.loss(step))
    (_, rows), weight = drawn[0], head["weight"].clone().requires_grad_()
    assert rows.labels.shape == (1, 3 * run.settings.views)
    F.cross_entropy(rows.features[0] @ weight[0].T + head["bias"][0], rows.labels[0]).backward()
    moved = weight.detach() - run.settings.learning_rate * weight.grad
    torch.testing.assert_close(run.network.head.weight.detach(), moved)
    assert not same(surrogate, run.strategy.surrogate)
    assert all(p.grad is None for p in run.network.body.parameters())
    assert all(p.grad is None for p in run.strategy.surrogate.parameters())


def test_uer_has_cosines_for_the_stream_and_dot_products_for_the_memory():
    run = trained(1, method="UER", seeds=[0, 1])
    step = step_of(run, batch_of(run))
    weight = run.network.head.weight
    for s in range(2):
        z, w = step.stream.features[s], weight[s]
        cosine = F.normalize(z, dim=1) @ F.normalize(w, dim=1).T / 0.09
        expected = F.cross_entropy(cosine, step.stream.labels[s])
        dots = step.memory.features[s] @ w.T
        expected = expected + F.cross_entropy(dots, step.memory.labels[s])
        torch.testing.assert_close(run.strategy.loss(step)[s], expected, rtol=1e-4, atol=1e-4)
    run.network.eval()
    images = run.test_images[:5].float().expand(2, -1, -1, -1, -1) / 255
    features = run.network(images)[1]
    scores = run.strategy.scorer(run.network)(images)
    torch.testing.assert_close(scores[1], features[1] @ weight[1].T)


# --- DER++, SS-IL --------------------------------------------------------------------------------


def test_der_pp_by_a_loop(in_double):
    run = trained(1, method="DER++", seeds=[0, 1], alpha=0.3, beta=0.7)
    step = step_of(run, batch_of(run))
    found = run.strategy.loss(step)
    generators = {
        p: [make_generator(s, f"more {p}", 9) for s in run.seeds] for p in ("retrieval", "views")
    }
    step.batch.draws.update({f"more {p}": g for p, g in generators.items()})
    stored, rows = run.strategy.more(step.batch, 10)
    for s in range(2):
        gaps = [
            (rows.logits[s, i] - stored["logits"][s, i % 10]).square().mean() for i in range(20)
        ]
        expected = F.cross_entropy(step.stream.logits[s], step.stream.labels[s])
        expected = expected + 0.7 * F.cross_entropy(step.memory.logits[s], step.memory.labels[s])
        torch.testing.assert_close(found[s], expected + 0.3 * sum(gaps) / 20)


def test_table_xis_der_is_the_mean_over_all_logits():
    run = trained(1, method="PCR+HC+HT+DER")
    step = step_of(run, batch_of(run))
    gap = step.memory.logits - step.stored["logits"].repeat(1, 2, 1)
    torch.testing.assert_close(run.strategy.distilled_logits(step), gap.square().mean((1, 2)))


@pytest.mark.parametrize("online", [0, 1])
def test_ss_il_by_loops_over_tasks_and_rows(in_double, online):
    run = trained(2, method="SS-IL", seeds=[0, 1], options={"online": online})
    step = step_of(run, batch_of(run, 2))
    assert (step.stored["task"] < 2).all()
    step.stored["task"][0, 3] = 2  # as where a seed has no former image: it counts for nothing
    found, taught = run.strategy.loss(step), run.strategy.taught
    for s, stream in enumerate(run.streams):
        tasks = [list(stream[t].classes) for t in range(3)]
        former = [i for i in range(20) if step.stored["task"][s, i % 10] < 2]

        def losses(rows, chosen, places, s=s):
            places = [(rows.logits[s, i, chosen], int(rows.labels[s, i])) for i in places]
            found = [F.cross_entropy(x, torch.tensor(chosen.index(y))) for x, y in places]
            return torch.stack(found)

        def distilled(logits, teacher, tasks=tasks[:2]):
            kinds = [
                ((logits[:, t] / 2).log_softmax(1), (teacher[:, t] / 2).softmax(1)) for t in tasks
            ]
            return sum(F.kl_div(new, old, reduction="batchmean") for new, old in kinds)

        new = losses(step.stream, tasks[2], range(20))
        old = losses(step.memory, tasks[0] + tasks[1], former)
        if online:
            rows = step.memory.logits[s, former], taught[s, 20:][former]
            expected = new.mean() + old.mean() + distilled(*rows)
        else:
            logits = torch.cat([step.stream.logits[s], step.memory.logits[s]])
            expected = torch.cat([new, old]).mean() + 4 * distilled(logits, taught[s])
        torch.testing.assert_close(found[s], expected)
    assert run.strategy.distillation(taught, taught, 2).abs().max() < 1e-6


def test_ss_ils_teacher_is_the_network_of_the_last_task():
    run = trained(1, method="SS-IL")
    assert same(run.strategy.teacher, run.network)
    run.train_task(1)
    assert same(run.strategy.teacher, run.network)
    assert not any(p.requires_grad for p in run.strategy.teacher.parameters())
    assert len(run.optimizer.param_groups[0]["params"]) == len(list(run.network.parameters()))


# --- SCR -----------------------------------------------------------------------------------------


def test_scr_contrasts_projections_and_names_the_nearest_mean():
    run = trained(1, method="SCR", seeds=[0, 1])
    assert same(run.network.head, make_run(method="SCR", seeds=[0, 1]).network.head)
    sizes, forward = [], run.network.forward
    run.network.forward = lambda x: sizes.append(x.shape[1]) or forward(x)
    step = step_of(run, batch_of(run))
    run.network.forward = forward
    assert sizes == [20, 20]  # stream and memory, a pass a view
    rows = step.joined()
    for s in range(2):
        z = F.normalize(run.strategy.projection(rows.features)[s], dim=1)
        total = 0.0
        for i in range(40):
            others = [j for j in range(40) if j != i]
            log_sum = torch.logsumexp(z[i] @ z[others].T / 0.07, 0)
            same_class = [j for j in others if rows.labels[s, j] == rows.labels[s, i]]
            total = total + sum(log_sum - z[i] @ z[j] / 0.07 for j in same_class) / len(same_class)
        torch.testing.assert_close(run.strategy.loss(step)[s], total / 40, rtol=1e-4, atol=1e-4)
    run.network.eval()
    scores = run.strategy.scorer(run.network)
    stored = run.memory.contents()
    features, labels = F.normalize(run.network(stored["image"] / 255)[1], dim=-1), stored["label"]
    of_class = F.one_hot(labels, 6).to(features.dtype)
    means, there = F.normalize(of_class.mT @ features, dim=-1), of_class.sum(1) > 0
    images = run.test_images[:8].float().expand(2, -1, -1, -1, -1) / 255
    features = run.network(images)[1]
    nearest = torch.cdist(F.normalize(features, dim=-1), means)
    nearest = nearest.masked_fill(~there.unsqueeze(1), torch.inf).argmin(-1)
    assert torch.equal(scores(images).argmax(-1), nearest)


# --- GSS -----------------------------------------------------------------------------------------


def test_gss_scores_by_one_backward_a_group(in_double):
    run = trained(1, method="GSS", seeds=[0, 1], buffer_size=50, options=GSS)
    assert len(run.memory) < 50  # there is room, so every image is scored
    batch = batch_of(run)
    score, batch_score = run.strategy.scores(step_of(run, batch))
    slots = run.memory.draw(8, [make_generator(s, "parts", 9) for s in run.seeds])
    stored = run.memory.contents()
    for s in range(2):
        network = select_seed(run.network, s)

        def gradient(images, labels, network=network):
            logits, _ = network(images[None].float() / 255)
            found = torch.autograd.grad(F.cross_entropy(logits[0], labels), network.parameters())
            return torch.cat([g.ravel() for g in found])

        parts = [
            gradient(stored["image"][s][part], stored["label"][s][part])
            for part in slots[s].split(4)
        ]

        def best(own, parts=parts):
            return max(float(F.cosine_similarity(own, part, dim=0)) for part in parts)

        images, labels = batch.images[s], batch.labels[s]
        assert float(batch_score[s]) == pytest.approx(best(gradient(images, labels)), abs=1e-6)
        each = [best(gradient(images[i : i + 1], labels[i : i + 1])) for i in range(10)]
        assert score[s].tolist() == pytest.approx(each, abs=1e-6)


def test_where_the_memory_is_full_no_image_of_a_batch_like_it_is_scored(in_double):
    run = trained(1, method="GSS", seeds=[0, 1], buffer_size=30, options=GSS)
    score, batch_score = run.strategy.scores(step_of(run, batch_of(run, task=0)))
    assert len(run.memory) == 30 and (batch_score >= 0).all()
    assert score.shape == (2, 10) and not score.any()


def test_a_batch_like_the_memory_challenges_nothing(monkeypatch):
    run = trained(1, method="GSS", options=GSS)
    assert run.memory.filled == 20
    groups, gradients = [], run.strategy.gradients
    run.strategy.gradients = lambda x, y, n: groups.append(n) or gradients(x, y, n).abs()
    before = kept(run.memory.fields)
    step = step_of(run, batch_of(run))
    run.strategy.store(step)
    assert groups == [2, 1]  # its samples' gradients are not asked for
    assert same(before, run.memory.fields)
    run.strategy.gradients = lambda x, y, n: gradients(x, y, n).abs() * (-1 if n == 1 else 1)
    run.strategy.store(step)
    assert not same(before, run.memory.fields)
