"""What each method trains on and when, and the settings it reads."""

import pytest
import torch
from crecl_data import make_run
from states import kept, same

from relcl_lib.papers.crecl import methods as crecl_methods
from relcl_lib.papers.crecl.methods import contrast
from relcl_lib.papers.crecl.parameters import METHODS, UNREAD, CreclParameters


def plan(run, task):
    """Return what a task's training does, in order, without training: phases, and memory calls."""
    found = []

    def fit(phase, task, sentences, epochs, loss, rates, **options):
        if epochs:
            trained = {name for name, part in run.network.named_children() if part in rates}
            found.append((phase, sorted(sentences.tolist()), epochs, trained, options))

    def note(name, plain):
        def noted(*args):
            found.append(name)
            return plain(*args)

        return noted

    run.fit = fit
    run.remember, run.prototypes = note("remember", run.remember), note("means", run.prototypes)
    run.procedure.train(run, task)
    del run.fit, run.remember, run.prototypes
    return found


def phases(found):
    return [entry if isinstance(entry, str) else entry[0] for entry in found]


#: method -> the second task's training
CRECL = ["classification", "remember", "means", "CL1", "CL2"]
ORDER = {
    "CRECL": CRECL,
    "CRECL+ATM": CRECL,
    "CRECL-MAG": CRECL,
    "CRECL-CL1": ["classification", "remember", "means", "CL2"],
    "CRECL-CL2": ["classification", "remember", "means", "CL1"],
    "CRECL-CL": ["classification"],
    "CRECL-K": CRECL,
    "CRECL(C)": CRECL,
    "JOINT": ["classification"],
    "RP-CRE": ["means", "classification", "remember", "means", "memory", "remember"],
    "RP-CRE+MA": [
        *("means", "classification", "memory activation", "remember", "means"),
        *("memory", "remember"),
    ],
    "RP-CRE (25 epochs)": ["means", "classification", "remember", "means", "memory", "remember"],
    "EMAR+BERT": [
        *("classification", "remember"),
        *("means", "round 1", "consolidation 1", "means", "round 2", "consolidation 2"),
    ],
}


@pytest.mark.parametrize("method", METHODS)
def test_order_and_sentences(method):
    run = make_run(method=method, epochs_warmup=0, epochs_joint=2, batch_size=16)
    plan(run, 0)
    before = sorted(run.remembered().tolist())
    found = plan(run, 1)
    assert phases(found) == ORDER[method]
    old, new = (run.stream[task].train_indices.tolist() for task in (0, 1))
    memory = sorted(run.remembered().tolist())
    trained = {entry[0]: entry[1:] for entry in found if not isinstance(entry, str)}
    classifier, contrastive = {"encoder", "head"}, {"encoder", "projector"}
    if method == "CRECL+ATM":
        contrastive = contrastive | {"attention_memory"}
    s = run.settings
    expected = {
        "classification": (sorted(new), s.epochs_classification, classifier),
        "CL1": (sorted(new), s.epochs_current, contrastive),
        "CL2": (memory, s.epochs_memory, contrastive),
        "memory": (memory, s.epochs_memory, {*classifier, "attention_memory"}),
        "memory activation": (sorted([*new, *before]), s.epochs_classification, classifier),
    }
    if method == "JOINT":
        expected["classification"] = (sorted([*old, *new]), 2, classifier)
    if method == "EMAR+BERT":
        both = (sorted([*new, *before]), s.epochs_classification, classifier)
        expected["classification"] = both
        for i in (1, 2):
            expected[f"round {i}"] = (sorted([*new, *memory]), 1, classifier)
            expected[f"consolidation {i}"] = (memory, 1, {"encoder"})
    for phase, (*what, options) in trained.items():
        assert tuple(what) == expected[phase]
        sizes = {"CL1": 16, "CL2": 4, "consolidation 1": 5, "consolidation 2": 5}
        assert options.get("batch_size") == sizes.get(phase)  # CL2: |S_k|, here 2 tasks of 2
        assert bool(options.get("fill")) is (phase in ("CL1", "CL2"))
        assert bool(options.get("fixed_order")) is (phase == "memory")


def test_emars_one_vector_serves_head_memory_prototypes_and_scores():
    run = make_run(method="EMAR+BERT", epochs_warmup=0)
    run.procedure.train(run, 0)
    network, sentences = run.network.eval(), run.remembered()
    u = network.head.hidden(run.embed(sentences))
    labels = run.memory.contents()["label"][0]
    means = torch.stack([u[labels == r].mean(0) for r in run.stream[0].classes])
    torch.testing.assert_close(run.prototypes(), means)
    scores = run.procedure.score(run, run.embed(sentences))
    torch.testing.assert_close(scores, u @ means.T)


def test_the_warm_up_comes_first_and_has_batches_of_its_own():
    found = plan(make_run(epochs_warmup=2, warmup_batch_size=3), 0)
    assert phases(found)[:2] == ["warm-up", "classification"]
    assert found[0][2] == 2
    assert found[0][4]["batch_size"] == 3


def test_batches_of_both_contrasts_are_full():
    run = make_run(batch_size=5)
    run.remember(0)
    run.remember(1)
    shown, plain = [], run.batch
    run.batch = lambda sentences: shown.append(len(sentences)) or plain(sentences)
    prototypes = run.prototypes()
    for phase, size, pool in (("CL1", 5, len(run.stream[1].train_indices)), ("CL2", 4, 12)):
        shown.clear()
        contrast(run, phase, 1, prototypes)
        epochs = run.settings.epochs_current if phase == "CL1" else run.settings.epochs_memory
        assert shown == [size] * (epochs * -(-pool // size))


def test_a_contrast_has_one_of_two_names():
    run = make_run()
    run.remember(0)
    with pytest.raises(ValueError, match="'CL1' or 'CL2', not 'CL3'"):
        contrast(run, "CL3", 0, run.prototypes())


def test_each_of_m_passes_has_a_dropout_mask_of_its_own():
    run = make_run(dropout=0.5, memory_passes=4)
    run.remember(0)
    run.remember(1)
    seen, plain = [], run.network.similarities
    run.network.similarities = lambda h, *args, **options: (
        seen.append(h) or plain(h, *args, **options)
    )
    sentences = run.remembered()
    run.fit = lambda phase, task, pool, epochs, loss, rates, **options: loss(run.batch(pool))
    prototypes = run.prototypes()
    run.network.train()
    contrast(run, "CL2", 1, prototypes)
    (h,) = seen
    old = run.column[run.tokens.labels[sentences]] < 2
    assert len(h) == int(torch.where(old, 4, 1).sum())
    assert len(h.detach().unique(dim=0)) == len(h)


def test_prototypes_are_made_again_between_the_contrasts_if_asked(monkeypatch):
    for refresh in (False, True):
        given = []
        monkeypatch.setattr(
            crecl_methods, "contrast", lambda *args, given=given: given.append(args[-1])
        )
        run = make_run(refresh_prototypes=refresh)
        run.procedure.train(run, 0)
        assert (given[0] is given[1]) is not refresh


def test_gradients_are_clipped_a_module():
    moved = {}
    for norm in (None, 1e-14):  # far below Adam's epsilon, so that nothing moves
        run = make_run(max_grad_norm=norm)
        before = kept(run.network.encoder.network)
        crecl_methods.classify(run, 0, run.stream[0].train_indices, 1)
        after = run.network.encoder.network.state_dict()
        moved[norm] = max(float((after[n] - before[n]).abs().max()) for n in before)
    assert moved[1e-14] < 1e-3 * moved[None]


def groups_of(run, monkeypatch):
    """The parameter groups of the optimizers made, and the groups clipped in the first step of each."""
    made, clipped, plain = [], [], torch.optim.Adam
    monkeypatch.setattr(
        torch.optim, "Adam", lambda groups, **rest: made.append(groups) or plain(groups, **rest)
    )
    monkeypatch.setattr(
        torch.nn.utils, "clip_grad_norm_", lambda values, norm: clipped.append(list(values))
    )
    run.procedure.train(run, 0)
    return made, clipped


@pytest.mark.parametrize("method", ["CRECL", "RP-CRE", "EMAR+BERT", "JOINT"])
@pytest.mark.parametrize("group", ["encoder", "head"])
def test_us_layer_norm_has_the_rate_and_the_clipping_of_its_group(method, group, monkeypatch):
    run = make_run(method=method, norm_group=group, max_grad_norm=1.0, learning_rate=1e-5)
    made, clipped = groups_of(run, monkeypatch)
    norm = {id(value) for value in run.network.head.norm.parameters()}
    rows = id(run.network.head.linear.weight)
    s, seen = run.settings, 0
    for groups in made:
        rates = {id(value): entry["lr"] for entry in groups for value in entry["params"]}
        assert len(rates) == sum(len(entry["params"]) for entry in groups)  # none twice
        if rows not in rates:
            consolidates = method == "EMAR+BERT" and group == "encoder"  # its loss is on u, too
            assert (norm <= {*rates}) is consolidates
            continue
        seen += 1
        asked = {"encoder": s.learning_rate, "head": s.head_learning_rate}
        assert {rates[name] for name in norm} == {asked[group]} and rates[rows] == asked["head"]
    assert seen
    sets = [{id(value) for value in values} for values in clipped]
    assert any(norm <= ids for ids in sets)
    for ids in sets:
        assert not norm <= ids or (rows in ids) is (group == "head")


def test_the_release_and_the_paper_have_us_layer_norm_with_the_encoder():
    for variant in ("paper", "released"):
        for method in METHODS:
            assert CreclParameters.create(method=method, variant=variant).norm_group == "encoder"


@pytest.mark.parametrize("profile, apart", [("full", 0.03), ("reduced", 0.0)])
def test_the_longer_rp_cre_makes_as_many_gradient_passes_as_crecl(profile, apart):
    """On all of FewRel: 10 tasks of 8 relations with 420 sentences each."""

    def passes(method):
        s = CreclParameters.create(profile=profile, method=method).resolved()
        new, memory = 10 * 8 * 420, sum(8 * k * s.memory_size for k in range(1, 11))
        own = s.epochs_classification + (s.epochs_current if method == "CRECL" else 0)
        return own * new + s.epochs_memory * memory

    crecl, longer, usual = map(passes, ("CRECL", "RP-CRE (25 epochs)", "RP-CRE"))
    assert abs(longer / crecl - 1) <= apart
    assert usual == 380_000 and (profile != "full" or crecl == 862_000)


def test_the_released_rp_cre_chooses_memory_and_prototypes_with_dropout():
    for method in METHODS:
        of = {
            variant: CreclParameters.create(method=method, variant=variant).resolved()
            for variant in ("paper", "released")
        }
        assert not of["paper"].memory_dropout
        assert of["released"].memory_dropout is method.startswith("RP-CRE")


def test_dropout_in_the_memory_is_drawn_from_the_seed_and_reaches_no_prediction():
    still, moved, again = (
        make_run(method="RP-CRE", memory_dropout=on, memory_size=50) for on in (False, True, True)
    )
    for run in (still, moved, again):
        run.remember(0)
        run.network.eval()
    assert torch.equal(moved.prototypes(), again.prototypes())  # by the seed, not by the call
    torch.rand(3)
    assert torch.equal(moved.prototypes(), again.prototypes())
    assert not torch.allclose(moved.prototypes(), still.prototypes(), atol=1e-3)
    assert not moved.network.training
    sentences = moved.stream[0].test_indices
    assert torch.equal(moved.embed(sentences), still.embed(sentences))


def test_joint_training_learns_the_first_task_as_fine_tuning_does():
    runs = [make_run(method=method, epochs_joint=1) for method in ("JOINT", "CRECL-CL")]
    for run in runs:
        run.procedure.train(run, 0)
    assert same(*(run.network.head for run in runs))


# --- settings that a method does not read ---------------------------------------------------------

OTHER = {
    "projector_norm": False,
    "contrast_current": False,
    "contrast_memory": False,
    "refresh_prototypes": True,
    "temperature": 0.5,
    "margin": 0.1,
    "lambda1": 0.9,
    "memory_passes": 2,
    "epochs_current": 3,
    "memory_size": 2,
    "memory_selection": "random",
    "memory_dropout": True,
    "epochs_memory": 6,
    "attention_learning_rate": 0.01,
    "contrast_learning_rate": 0.01,
    "epochs_joint": 4,
}


@pytest.mark.parametrize("method", UNREAD)
def test_what_a_method_does_not_read_changes_nothing(method):
    changes = {name: OTHER[name] for name in UNREAD[method]}
    given = CreclParameters.create(profile="quick", method=method)
    changed = CreclParameters.create(profile="quick", method=method, **changes)
    assert given.resolved() == changed.resolved()
    trained = []
    for update in ({}, changes):
        run = make_run(method=method, n_tasks=2, epochs_classification=1)
        run.settings = run.settings.model_copy(update=update)
        trained.append(run.train())
    first, second = trained
    assert torch.equal(first.accuracy, second.accuracy)
    assert torch.equal(first.network.head.linear.weight, second.network.head.linear.weight)


def test_what_crecl_reads_makes_another_run():
    plain = CreclParameters.create(profile="quick").resolved()
    for name, value in OTHER.items():
        changed = CreclParameters.create(profile="quick", **{name: value}).resolved()
        assert getattr(changed, name) == value
        assert changed != plain
