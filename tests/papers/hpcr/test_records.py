import json

import pytest
import torch
from gratings import gratings, make_run, parameters

from relcl_lib.lab.records import RecordError, as_dict, config_hash, read_record, read_records
from relcl_lib.papers.hpcr import records as replay_records
from relcl_lib.papers.hpcr.records import configuration, run_metrics, run_records, train_or_read
from relcl_lib.papers.hpcr.run import ReplayRun

DATA = gratings()


@pytest.fixture
def trained(monkeypatch):
    """The seeds of every run that was trained, in order."""
    seeds, train = [], ReplayRun.train

    def counted(run, on_task=None):
        seeds.append(run.seeds)
        return train(run, on_task)

    monkeypatch.setattr(ReplayRun, "train", counted)
    return seeds


def read(tmp_path, **changes):
    return train_or_read(parameters(**changes), data=DATA, results=tmp_path / "results")


class TestRecords:
    def test_fields(self):
        run = make_run(DATA, seeds=[0, 2], method="PCR", buffer_size=30).train()
        records = run_records(run, note="a test")
        assert [record.seed for record in records] == [0, 2]
        for s, record in enumerate(records):
            assert (record.paper, record.experiment) == ("hpcr", "split_cifar10")
            assert (record.method, record.variant, record.protocol) == (
                "PCR",
                "released",
                "reduced",
            )
            assert record.backbone == "Reduced ResNet-18, width 4"
            assert record.dataset["name"] == "cifar10"
            assert record.dataset["stream"] == "Split CIFAR10"
            assert record.dataset["sizes"] == {"train": 120, "test": 60}
            assert record.dataset["fingerprint"] == DATA.fingerprint
            assert record.parameters["buffer_size"] == 30
            assert record.parameters["precision"] == "float32"  # what ran, not "auto"
            assert None not in (record.parameters["ht"], record.parameters["n_tasks"])
            assert not {"device", "seeds", "seed", "data_root"} & set(record.parameters)
            matrix = torch.tensor(record.accuracy_matrix)
            torch.testing.assert_close(matrix, 100 * run.accuracy[s], rtol=0, atol=1e-3)
            assert record.metrics["A_T"] == pytest.approx(float(matrix[-1].mean()), abs=1e-3)
            assert record.device.startswith("cpu")
            assert record.seconds == pytest.approx(run.seconds / 2, abs=0.01)
            assert record.peak_memory_bytes > 0
            assert "a test" in record.note and "2 seeds side by side" in record.note
            order = " ".join(map(str, run.streams[s].class_order))
            assert f"class order {order}" in record.note
            json.dumps(as_dict(record), allow_nan=False)

    def test_a_run_that_is_not_done_has_none(self):
        with pytest.raises(ValueError, match=r"0 of 3 tasks are done: call run\.train"):
            run_records(make_run(DATA))

    def test_metrics_of_the_specifications_matrix(self):
        found = run_metrics([[80.0, 0, 0], [60.0, 70, 0], [50.0, 40, 90]])
        assert found == pytest.approx(
            {"A_T": 60.0, "AAA": 68.3333, "F_T": 30.0, "F_T_released": 20.0}, abs=1e-3
        )

    def test_iid_has_one_task_and_forgets_nothing(self):
        (record,) = run_records(make_run(DATA, method="IID", n_tasks=None).train())
        assert record.metrics["F_T"] == record.metrics["F_T_released"] == 0
        assert record.metrics["A_T"] == record.metrics["AAA"]

    def test_neighbours_and_device_are_no_part_of_a_configuration(self):
        alone, beside = make_run(DATA, seeds=[1]), make_run(DATA, seeds=[0, 1])
        assert config_hash(configuration(alone, 1)) == config_hash(configuration(beside, 1))
        other = make_run(DATA, seeds=[1], beta=0.25)
        assert config_hash(configuration(alone, 1)) != config_hash(configuration(other, 1))


class TestTrainOrRead:
    def test_a_finished_cell_is_never_run_twice(self, tmp_path, trained):
        first = read(tmp_path, seeds=[0, 1], method="ER")
        assert trained == [[0, 1]]
        again = read(tmp_path, seeds=[0, 1], method="ER")
        assert trained == [[0, 1]]
        assert [as_dict(r) for r in again] == [as_dict(r) for r in first]
        assert [as_dict(r) for r in read(tmp_path, seeds=[1], method="ER")] == [as_dict(first[1])]
        assert trained == [[0, 1]]

    def test_only_the_missing_seeds_are_trained(self, tmp_path, trained):
        read(tmp_path, seeds=[1], method="ER")
        records = read(tmp_path, seeds=[2, 1, 0], method="ER")
        assert trained == [[1], [2, 0]]
        assert [record.seed for record in records] == [2, 1, 0]
        assert len(read_records(tmp_path / "results")) == 3

    def test_another_setting_is_another_cell(self, tmp_path, trained):
        read(tmp_path, method="ER")
        read(tmp_path, method="ER", buffer_size=25)
        assert len(trained) == 2

    def test_a_failure_is_recorded_and_tried_again(self, tmp_path, monkeypatch):
        def broken(run, *_):
            raise RuntimeError("the machine is on fire")

        with monkeypatch.context() as patch:
            patch.setattr(ReplayRun, "train_task", broken)
            with pytest.raises(RuntimeError, match="on fire"):
                read(tmp_path, seeds=[0, 1], method="ER")
        failed = read_records(tmp_path / "results", include_failed=True)
        assert [record.seed for record in failed] == [0, 1]
        assert all(record.failed and "on fire" in record.note for record in failed)
        assert all(not record.metrics and record.accuracy_matrix is None for record in failed)
        assert not read_records(tmp_path / "results")

        records = read(tmp_path, seeds=[0, 1], method="ER")
        assert not any(record.failed for record in records)
        files = list((tmp_path / "results").rglob("*.json"))
        assert len(files) == 2
        assert not any(read_record(path).failed for path in files)

    def test_an_interrupted_run_is_no_failure(self, tmp_path, monkeypatch):
        def stopped(run, *_):
            raise KeyboardInterrupt

        monkeypatch.setattr(ReplayRun, "train_task", stopped)
        with pytest.raises(KeyboardInterrupt):
            read(tmp_path, method="ER")
        assert not read_records(tmp_path / "results", include_failed=True)

    def test_a_folder_that_cannot_be_written_stops_before_the_training(self, tmp_path, trained):
        (tmp_path / "results").write_text("a file where the folder should be")
        with pytest.raises(RecordError, match=r"results.*Nothing was run"):
            read(tmp_path, method="ER")
        assert not trained
        assert [path.name for path in tmp_path.iterdir()] == ["results"]

    def test_a_disk_full_after_the_training_loses_nothing(self, tmp_path, trained, monkeypatch):
        given = parameters(method="ER")
        places = {"data": DATA, "results": tmp_path / "results", "work_dir": tmp_path / "work"}

        def full(record, root):
            raise RecordError("no space left")

        with monkeypatch.context() as patch:
            patch.setattr(replay_records, "write_record", full)
            with pytest.raises(RecordError, match="no space"):
                train_or_read(given, **places)
        # The checkpoint hands the trained run to the next try.
        steps = []
        (record,) = train_or_read(given, **places, on_task=steps.append)
        assert not steps
        assert not record.failed

    def test_data_is_loaded_by_name(self, tmp_path, monkeypatch):
        asked = []
        monkeypatch.setattr(
            replay_records, "load_images", lambda *given: asked.append(given) or DATA
        )
        given = parameters(method="FINE-TUNE", data_root="some/folder")
        train_or_read(given, results=tmp_path)
        assert asked == [("cifar10", "some/folder")]

    def test_progress_is_reported(self, tmp_path):
        done = []
        train_or_read(
            parameters(method="ER"),
            data=DATA,
            results=tmp_path,
            on_task=lambda run: done.append(run.tasks_done),
        )
        assert done == [1, 2, 3]
