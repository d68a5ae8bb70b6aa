"""Records for the tests of records and tables."""

from relcl_lib.lab.records import Record


def make(**changes):
    values = {
        "paper": "hpcr",
        "experiment": "split_cifar10",
        "method": "IID++",
        "variant": "released",
        "dataset": {"name": "cifar10", "stream": "Split CIFAR10", "fingerprint": "ab12"},
        "protocol": "paper",
        "backbone": "resnet18-nf20",
        "parameters": {"buffer_size": 200, "lr": 0.1, "clip": None, "taus": [0.05, 0.16]},
        "seed": 0,
        "metrics": {"A_T": 51.0, "AAA": 67.9},
        "accuracy_matrix": [[80.0, 0.0], [60.5, 70.0]],
        "seconds": 123.4,
        "device": "cpu",
    }
    return Record(**{**values, **changes})


def failed(**changes):
    return make(metrics={}, accuracy_matrix=None, note="failed: out of memory", **changes)


def run(seed=0, method="HPCR", buffer_size=200, a_t=51.0, more=None, **changes):
    return make(
        method=method,
        seed=seed,
        parameters={"buffer_size": buffer_size, **(more or {})},
        metrics={"A_T": a_t, "AAA": 67.0, "F_T": 20.0, "F_T_released": 16.0},
        **changes,
    )
