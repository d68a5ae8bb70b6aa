"""What the tracks, variants and profiles of DRL set, and what they refuse."""

import pytest

from relcl_lib.lab.parameters import ParameterError
from relcl_lib.papers.drl.parameters import BACKBONES, TRACKS, DrlParameters


def resolved(**given):
    return DrlParameters.create(given, profile="full").resolved()


@pytest.mark.parametrize("profile", DrlParameters.profiles)
def test_profiles(profile):
    chosen = DrlParameters.create(profile=profile).resolved()
    assert (
        None
        not in chosen.model_dump(
            exclude={"data_root", "limit", "memory_budget", "image_size"}
        ).values()
    )
    expected = {"quick": "digits", "reduced": "cifar10", "full": "core50"}
    assert chosen.dataset == expected[profile]
    assert chosen.resolved() == chosen


@pytest.mark.parametrize(
    "track, method, batch, memory, weight, frozen",
    [
        ("NI", "BER", 16, 1500, 1e-3, 1),
        ("Multi-Task-NC", "ER", 16, 500, 2e-4, 1),
        ("NIC", "Shuffle", 32, 50, 1e-5, 2),
    ],
)
def test_what_was_submitted(track, method, batch, memory, weight, frozen):
    chosen = resolved(track=track, backbone="timm/resnest50d.in1k")
    assert (chosen.method, chosen.batch_size, chosen.memory_size) == (method, batch, memory)
    assert (chosen.drl_weight, chosen.freeze_stages) == (weight, frozen)
    assert (chosen.optimizer, chosen.learning_rate, chosen.epochs) == ("sgd", 0.01, 1)
    assert (chosen.loss, chosen.taps, chosen.heads) == ("released", "logits", "released")


def test_variants():
    printed = resolved(track="NI", variant="paper")
    assert (printed.loss, printed.taps, printed.er, printed.freeze_stages) == (
        "paper",
        "all",
        "paper",
        0,
    )
    released = resolved(track="Multi-Task-NC")
    assert (released.loss, released.er) == ("released", "released")
    # floor(B / i) replays nothing with more experiences than B: only who asks for it gets it there.
    assert resolved(track="NIC").er == "paper"
    assert resolved(track="NIC", er="released").er == "released"


def test_baselines_run_without_the_loss_unless_told():
    for method in ("FINE-TUNE", "GEM", "A-GEM", "GSS"):
        assert resolved(method=method).drl_weight == 0
        assert resolved(method=method, drl_weight=0.1).drl_weight == 0.1
    assert resolved(method="ER", drl_weight=0.0).drl_weight == 0


def test_data_sets_bring_backbones():
    assert resolved().backbone == "microsoft/resnet-50"
    for dataset, backbone in BACKBONES.items():
        chosen = resolved(dataset=dataset)
        assert chosen.backbone == backbone
        assert chosen.track == ("Disjoint" if dataset == "mnist" else "NI")
        assert chosen.freeze_stages == (1 if dataset == "core50" else 0)
    mnist = resolved(dataset="mnist")
    assert (mnist.taps, mnist.optimizer, mnist.limit) == ("all", "adam", 1000)
    assert resolved(dataset="mnist", taps="logits").taps == "logits"
    with pytest.raises(ParameterError, match="mnist has no sessions"):
        resolved(dataset="mnist", track="NI")


def test_bad_input():
    with pytest.raises(ParameterError, match=r"drl_weigth.*did you mean drl_weight"):
        resolved(drl_weigth=0.1)
    with pytest.raises(ParameterError, match="parameter drl_weight"):
        resolved(drl_weight=-1.0)
    with pytest.raises(ParameterError, match="parameter order"):
        resolved(order=10)
    assert set(TRACKS) == {"NI", "Multi-Task-NC", "NIC", "Disjoint"}


def test_quick_runs_of_a_convolutional_network_have_its_rate_and_a_narrow_one():
    digits = DrlParameters.create(profile="quick").resolved()
    assert (digits.backbone, digits.learning_rate) == ("mlp", 3e-3)
    for given in ({"dataset": "own"}, {"dataset": "cifar10"}, {"backbone": "reduced_resnet18"}):
        run = DrlParameters.create(given, profile="quick").resolved()
        assert (run.backbone, run.learning_rate, run.width) == ("reduced_resnet18", 0.1, 8)
        assert DrlParameters.create(given, learning_rate=0.2).learning_rate == 0.2
    assert DrlParameters.create(dataset="cifar10", profile="full").width == 20
