import pytest
import torch
from crecl_data import make_run

from relcl_lib.lab.records import config_hash
from relcl_lib.papers.crecl import figures
from relcl_lib.papers.crecl.separation import (
    DRAWN,
    EACH,
    FEATURES,
    few_of,
    instances,
    read_features,
    separation,
)


def test_clusters_apart_and_mixed():
    g = torch.Generator().manual_seed(0)
    labels = torch.arange(40) % 4
    tasks = labels // 2
    centres = torch.tensor([[0.0, 0.0], [0.0, 9.0], [9.0, 0.0], [9.0, 9.0]])
    noise = 0.3 * torch.randn(40, 2, generator=g)
    apart = separation(centres[labels] + noise, labels, tasks)
    assert apart["silhouette"] > 0.8
    assert apart["mixed"] == 0.0
    mixed = separation(noise, labels, tasks)
    assert mixed["silhouette"] < 0.1
    expected = 0
    for i in range(40):  # by hand: the nearest other point of each old one
        if tasks[i] == 0:
            others = [j for j in range(40) if j != i]
            nearest = min(others, key=lambda j: float((noise[i] - noise[j]).norm()))
            expected += int(tasks[nearest] == 1)
    assert mixed["mixed"] == pytest.approx(100 * expected / 20)


def test_no_silhouette_where_each_relation_has_one_point_or_there_is_one():
    points = torch.tensor([[0.0], [1.0], [5.0], [6.0]])
    tasks = torch.tensor([0, 0, 1, 1])
    for labels in (torch.arange(4), torch.zeros(4, dtype=torch.long)):
        assert separation(points, labels, tasks) == {"mixed": 0.0}
    # Of one relation's pair the silhouette is (b - a) / b, of points alone in theirs 0: by hand.
    found = separation(points, torch.tensor([0, 0, 1, 2]), tasks)
    assert found["silhouette"] == pytest.approx((4 / 5 + 3 / 4) / 4)


def test_a_run_on_one_sentence_per_relation_goes_on():
    run = make_run(train_limit=1).train()
    names = {
        f"mixed_{space}_{phase}" for space in "hs" for phase in ("classification", "CL1", "CL2")
    }
    assert set(run.separation) == names <= set(run.record().metrics)


def test_instances_are_the_two_tasks_training_sentences():
    run = make_run()
    found = instances(run, 0, 2)
    assert found.h.shape == (48, 32)
    assert found.projections.shape == (48, 16)
    torch.testing.assert_close(found.projections.norm(dim=1), torch.ones(48))
    for task in (0, 2):
        assert set(found.labels[found.tasks == task].tolist()) == set(run.stream[task].classes)


def test_a_run_notes_the_first_two_tasks_after_each_phase_of_the_second(tmp_path):
    seen = {}

    def look(run, phase):
        if run.tasks_done == 1:
            found = instances(run)
            for space, features in (("h", found.h), ("s", found.projections)):
                values = separation(features, found.labels, found.tasks)
                seen.update({f"{name}_{space}_{phase}": v for name, v in values.items()})

    run = make_run(work_dir=tmp_path).train(on_phase=look)
    assert run.separation == seen
    assert len(seen) == 2 * 2 * 3
    assert run.record().metrics["mixed_s_CL2"] == pytest.approx(seen["mixed_s_CL2"], abs=1e-4)
    assert make_run(work_dir=tmp_path).train().separation == seen  # read from the checkpoint
    assert make_run(method="RP-CRE").train().separation == {}


def test_a_run_with_checkpoints_leaves_what_figures_1_and_5_draw(tmp_path, monkeypatch):
    frames = {}

    def look(run, phase):
        if run.tasks_done == 1:
            frames[phase] = instances(run)

    run = make_run(work_dir=tmp_path).train(on_phase=look)
    path = run.folder / FEATURES
    found, about = read_features(path)
    assert list(found) == list(frames) == ["classification", "CL1", "CL2"]
    for phase, whole in frames.items():
        part = found[phase]
        assert torch.equal(part.labels, few_of(whole)["labels"]) and len(part.labels) == 48
        torch.testing.assert_close(part.projections.float(), whole.projections, atol=1e-3, rtol=0)
    record = run.record()
    assert about["record"] == config_hash(record)
    assert about["names"] == list(run.data.relation_names)
    figure = figures.two_tasks([record], path)
    titles = [axes.get_title() for axes in figure.axes]
    assert titles == ["before contrast (Figure 1)", "after CL1", "after CL2 (Figure 5)"]
    assert "Synthetic (stand-in" in figure.get_suptitle()
    other = record.model_copy(update={"seed": 5})
    assert "no records yet" in figures.two_tasks([other], path).get_suptitle()


def test_few_are_the_first_sentences_of_the_first_relations_of_each_task():
    run = make_run(n_tasks=1)
    whole = instances(run, 0, 0)
    many = whole._replace(
        h=whole.h.repeat(9, 1),
        projections=whole.projections.repeat(9, 1),
        labels=whole.labels.repeat(9),
        tasks=torch.arange(2).repeat_interleave(len(whole.labels) * 9 // 2),
    )
    few = few_of(many)
    for task in (0, 1):
        labels = few["labels"][few["tasks"] == task]
        assert len(labels.unique()) == DRAWN
        assert labels.bincount().max() == EACH
    assert few["h"].dtype == torch.float16
