"""A small stand-in and parameters for the tests of DRL."""

from functools import cache

from gratings import gratings

from relcl_lib.continual.sessions import stand_in
from relcl_lib.papers.drl.parameters import DrlParameters
from relcl_lib.papers.drl.run import DrlRun

SMALL = {
    "profile": "full",
    "dataset": "cifar10",
    "backbone": "mlp",
    "batch_size": 4,
    "memory_size": 100,  # a video has 6 images here, not 300: 2 an experience
    "device": "cpu",
}


@cache
def tiny_data():
    """Return 5 classes in 11 sessions of 6 and 5 images."""
    return stand_in(gratings(n_train=48, n_test=15, classes=5, side=8))


def parameters(**changes):
    return DrlParameters.create({**SMALL, **changes})


def make_run(seed=0, work_dir=None, data=None, **changes):
    return DrlRun(parameters(**changes), tiny_data() if data is None else data, seed, work_dir)
