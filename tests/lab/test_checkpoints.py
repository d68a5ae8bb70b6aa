import errno
import os

import pytest
import torch
from gratings import gratings, make_run

from relcl_lib.lab import checkpoints
from relcl_lib.lab.checkpoints import CheckpointError, optimizer_state, restore_optimizer, run_name

STATE = {"a": torch.rand(3, 4), "b": torch.tensor(7), "c": torch.arange(5, dtype=torch.uint8)}


def equal(first, second):
    return first.keys() == second.keys() and all(
        torch.equal(first[name], second[name]) for name in first
    )


class TestFiles:
    def test_round_trip(self, tmp_path):
        assert checkpoints.load(tmp_path / "run") is None
        checkpoints.save(tmp_path / "run", STATE, {"epoch": 3, "seconds": 0.1})
        state, progress = checkpoints.load(tmp_path / "run")
        assert equal(state, STATE)
        assert all(state[name].dtype == STATE[name].dtype for name in STATE)
        assert progress == {"epoch": 3, "seconds": 0.1}
        checkpoints.save(tmp_path / "run", {"z": torch.zeros(1)}, {"epoch": 4})
        assert checkpoints.load(tmp_path / "run")[1] == {"epoch": 4}
        assert [path.name for path in tmp_path.iterdir()] == ["run"]

    def test_any_memory_layout(self, tmp_path):
        image = torch.rand(2, 3, 4, 4).to(memory_format=torch.channels_last)
        whole = torch.rand(6)
        checkpoints.save(tmp_path / "run", {"image": image, "part": whole[::2]}, {})
        state, _ = checkpoints.load(tmp_path / "run")
        assert torch.equal(state["image"], image)
        assert torch.equal(state["part"], whole[::2])

    @pytest.mark.parametrize("name", ["state.safetensors", "progress.json"])
    @pytest.mark.parametrize("damage", ["cut", "gone", "garbage"])
    def test_unreadable(self, tmp_path, name, damage):
        folder = tmp_path / "run"
        checkpoints.save(folder, STATE, {"epoch": 3})
        file = folder / name
        whole = file.read_bytes()
        if damage == "gone":
            file.unlink()
        else:
            file.write_bytes(whole[: len(whole) // 2] if damage == "cut" else b"\x00garbage" * 20)
        with pytest.raises(CheckpointError, match="delete that folder") as error:
            checkpoints.load(folder)
        assert str(folder) in str(error.value)

    @pytest.mark.parametrize("failing", ["save_file", "write_text"])
    def test_a_full_disk_leaves_the_old_one(self, tmp_path, monkeypatch, failing):
        folder = tmp_path / "run"
        checkpoints.save(folder, STATE, {"epoch": 3})

        def full(*_, **__):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        with monkeypatch.context() as patch:
            if failing == "save_file":
                patch.setattr(checkpoints, "save_file", full)
            else:
                patch.setattr(type(folder), "write_text", full)
            with pytest.raises(CheckpointError, match="free some space") as error:
                checkpoints.save(folder, {"a": torch.zeros(1)}, {"epoch": 4})
        assert str(folder) in str(error.value)
        state, progress = checkpoints.load(folder)
        assert equal(state, STATE)
        assert progress == {"epoch": 3}
        assert [path.name for path in tmp_path.iterdir()] == ["run"]

    def test_a_folder_that_cannot_be(self, tmp_path):
        (tmp_path / "file").write_text("in the way")
        with pytest.raises(CheckpointError, match="cannot write the checkpoint"):
            checkpoints.save(tmp_path / "file" / "run", STATE, {})

    def test_run_name_depends_on_content_not_on_order(self):
        assert run_name({"a": 1, "b": [2]}) == run_name({"b": [2], "a": 1})
        assert run_name({"a": 1}) != run_name({"a": 2})
        assert len(run_name({})) == 12


@pytest.mark.parametrize("kind", ["SGD", "Adam"])
def test_an_optimizer_goes_on_as_if_never_stopped(tmp_path, kind):
    def network():
        torch.manual_seed(0)
        return torch.nn.Sequential(
            torch.nn.Conv2d(3, 4, 3), torch.nn.Flatten(), torch.nn.Linear(16, 2)
        )

    def steps(net, optimizer, first, last):
        for seed in range(first, last):
            x = torch.rand(5, 3, 4, 4, generator=torch.Generator().manual_seed(seed))
            optimizer.zero_grad()
            net(x).square().sum().backward()
            optimizer.step()

    make = {
        "SGD": lambda net: torch.optim.SGD(net.parameters(), lr=0.01),
        "Adam": lambda net: torch.optim.Adam(net.parameters(), lr=0.01),
    }[kind]
    whole = network()
    optimizer = make(whole)
    steps(whole, optimizer, 0, 3)
    state = {f"o.{k}": v for k, v in optimizer_state(optimizer).items()}
    assert len(state) == (12 if kind == "Adam" else 0)  # step and two moments of four tensors
    checkpoints.save(tmp_path / "c", {**state, **whole.state_dict()}, {})
    steps(whole, optimizer, 3, 6)

    found, _ = checkpoints.load(tmp_path / "c")
    again = network()
    again.load_state_dict({k: v for k, v in found.items() if not k.startswith("o.")})
    optimizer = make(again)
    restore_optimizer(optimizer, checkpoints.part(found, "o."))
    steps(again, optimizer, 3, 6)
    assert equal(whole.state_dict(), again.state_dict())


class TestRuns:
    @pytest.mark.parametrize("optimizer", ["sgd", "adam"])
    def test_stopped_after_each_task_and_resumed(self, tmp_path, optimizer):
        changes = {"optimizer": optimizer, "learning_rate": 0.01, "seeds": [0, 1]}
        whole = make_run(**changes).train()

        class Stop(Exception):
            pass

        def stop(run):
            raise Stop

        for _ in range(3):
            with pytest.raises(Stop):
                make_run(work_dir=tmp_path, **changes).train(stop)
        done = []
        resumed = make_run(work_dir=tmp_path, **changes).train(done.append)
        assert not done  # nothing was left to train
        assert torch.equal(whole.accuracy, resumed.accuracy)
        assert equal(whole.network.state_dict(), resumed.network.state_dict())
        assert equal(whole.memory.state_dict(), resumed.memory.state_dict())
        assert resumed.total_step == whole.total_step
        assert resumed.seconds > 0

    def test_a_checkpoint_belongs_to_one_configuration(self, tmp_path):
        folder = make_run(work_dir=tmp_path).folder
        others = [{"beta": 0.4}, {"seeds": [1]}, {"method": "ER"}, {"variant": "paper"}]
        folders = [make_run(work_dir=tmp_path, **other).folder for other in others]
        folders.append(make_run(gratings(seed=1), tmp_path).folder)  # other pixels
        assert len({folder, *folders}) == 6
        assert make_run(work_dir=tmp_path).folder == folder

    def test_a_damaged_checkpoint_stops_the_run(self, tmp_path):
        run = make_run(work_dir=tmp_path).train()
        (run.folder / "checkpoint" / "progress.json").write_text("{")
        with pytest.raises(CheckpointError, match="checkpoint"):
            make_run(work_dir=tmp_path).train()
