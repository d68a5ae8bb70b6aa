"""Flatness and components of a finished run, written into its record."""

import pytest
from gratings import gratings, make_run

from relcl_lib.data.images import load_images
from relcl_lib.lab.parameters import read_settings
from relcl_lib.lab.records import RecordError, config_hash, read_records, write_record
from relcl_lib.papers.hpcr import studies
from relcl_lib.papers.hpcr.measure import KEPT, keep_measures, main, measures
from relcl_lib.papers.hpcr.parameters import ReplayParameters
from relcl_lib.papers.hpcr.run import ReplayRun


@pytest.fixture(scope="module")
def trained():
    return make_run(gratings(), method="PCR", seeds=[0, 3], learning_rate=0.05).train()


def test_they_are_those_of_the_studies(trained):
    flat = studies.flatness(trained, draws=3)
    for index, found in enumerate(measures(trained, 3)):
        assert found["train_loss"] == pytest.approx(float(flat.loss[index]))
        changes = [found[f"loss_difference_{which}_classes"] for which in ("all", "new")]
        assert changes == pytest.approx([float(change[index]) for change in flat[1:]])
        size = trained.test_features(index)[0].shape[1]
        by_share = studies.keep_components(trained, [0.05, 0.1, 1.0], index)
        shown = [found["A_T_components_5"], found["A_T_components_10"]]
        assert shown == pytest.approx((100 * by_share[:2]).tolist())
        n = found["components_kept"]
        assert 1 <= n <= size
        before = studies.keep_components(trained, [(n - 1) / size, n / size], index)
        assert before[1] >= KEPT * by_share[2]
        assert n == 1 or before[0] < KEPT * by_share[2]


def test_a_record_gets_them_and_stays_the_same_run(trained, tmp_path):
    with pytest.raises(RecordError, match="is missing: run the sweep"):
        keep_measures(trained, 1, tmp_path)
    for record in trained.records():
        write_record(record, tmp_path)
    keep_measures(trained, 1, tmp_path)
    kept = keep_measures(trained, 2, tmp_path)
    assert read_records(tmp_path) == kept
    for record, made, found in zip(kept, trained.records(), measures(trained, 2), strict=True):
        assert config_hash(record) == config_hash(made)
        assert record.metrics == made.metrics | {n: round(v, 6) for n, v in found.items()}
        assert record.note.startswith(made.note) and record.note.count("flatness by") == 1
        assert "flatness by 2 draws" in record.note


def test_the_command_reads_the_checkpoint_of_a_sweep(tmp_path, capsys):
    words = ["method=PCR", "dataset=digits", "profile=quick", "seeds=0", "n_tasks=2"]
    words += ["stream_batch=100", "width=4"]
    folders = ["--work-dir", str(tmp_path / "work"), "--results", str(tmp_path / "results")]
    (tmp_path / "results").mkdir()
    with pytest.raises(RecordError, match="holds no checkpoint of the finished run"):
        main(["measure", *folders, *words])
    parameters = ReplayParameters.create(read_settings(words))
    run = ReplayRun(parameters, load_images("digits"), tmp_path / "work").train()
    with pytest.raises(RecordError, match="is missing: run the sweep"):
        main(["measure", *folders, *words])
    for record in run.records():
        write_record(record, tmp_path / "results")
    assert main(["measure", *folders, "--draws", "2", *words]) == 0
    (kept,) = read_records(tmp_path / "results")
    out, err = capsys.readouterr()
    assert f"components_kept {kept.metrics['components_kept']:.4g}" in out
    assert err.splitlines()[-2:] == [f"noise on the weights: {n} of 2 draws" for n in (1, 2)]
    assert kept.metrics["noise_draws"] == 2


def test_a_method_that_scores_otherwise_is_refused():
    run = make_run(gratings(), method="SCR", seeds=[0]).train()
    with pytest.raises(ValueError, match="SCR does not score images by its head"):
        measures(run, 1)
