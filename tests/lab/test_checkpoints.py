import errno
import os
from pathlib import Path

import pytest
import torch

from relcl_lib.lab import checkpoints, files
from relcl_lib.lab.checkpoints import (
    CheckpointError,
    find_model,
    model_folders,
    optimizer_state,
    restore_optimizer,
    run_folder,
)

STATE = {"a": torch.rand(3, 4), "b": torch.tensor(7), "c": torch.arange(5, dtype=torch.uint8)}


def equal(first, second):
    return first.keys() == second.keys() and all(
        torch.equal(first[name], second[name]) for name in first
    )


def test_one_model_and_one_per_seed_never_lie_side_by_side(tmp_path):
    assert model_folders(tmp_path, [3]) == {3: tmp_path / "model"}
    several = model_folders(tmp_path, [0, 1])
    assert several == {seed: tmp_path / f"model-seed{seed}" for seed in (0, 1)}
    (tmp_path / "model").mkdir()
    with pytest.raises(CheckpointError, match=r"holds model of a training of one seed.*--out"):
        model_folders(tmp_path, [0, 1])
    (tmp_path / "model").rmdir()
    for folder in several.values():
        folder.mkdir()
    with pytest.raises(CheckpointError, match=r"model-seed0, model-seed1 of a training of several"):
        model_folders(tmp_path, [3])


def test_where_a_model_lies_is_found_or_said(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("model-seed0", "model-seed1"):
        (tmp_path / "out" / name).mkdir(parents=True)
        (tmp_path / "out" / name / "a.json").touch()
    with pytest.raises(CheckpointError, match="one model per seed: model-seed0, model-seed1"):
        find_model(tmp_path / "out", "a.json")
    first = tmp_path / "out" / "model-seed0"
    assert (
        find_model(Path("~", "out", "model-seed0"), "a.json")
        == find_model(first, "a.json")
        == first
    )
    moved = first.rename(tmp_path / "model")
    assert find_model(tmp_path, "a.json") == moved


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

    def test_one_that_a_killed_process_put_aside_is_put_back(self, tmp_path):
        checkpoints.save(tmp_path / "run", STATE, {"epoch": 3})
        # A number of ours that we did not hand out: from before a restart.
        aside, half = (f".run.{k}-{files._HOST}-{os.getpid()}-00ff" for k in ("old", "tmp"))
        (tmp_path / "run").rename(tmp_path / aside)
        (tmp_path / half).mkdir()
        state, progress = checkpoints.load(tmp_path / "run")
        assert equal(state, STATE) and progress == {"epoch": 3}
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

    @pytest.mark.parametrize("kind", ["checkpoint", "model"])
    def test_a_file_that_may_not_grow_is_one_too(self, tmp_path, kind):
        resource = pytest.importorskip("resource")
        folder, large = tmp_path / "run", {"a": torch.zeros(100_000)}
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, before[1]))
        try:
            with pytest.raises(CheckpointError, match="cannot write"):
                if kind == "model":
                    checkpoints.save_model(folder, "tagger", {}, large)
                else:
                    checkpoints.save(folder, large, {})
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        assert not list(tmp_path.iterdir())

    @pytest.mark.parametrize("number", [float("nan"), float("inf")])
    def test_a_model_that_could_not_be_read_leaves_the_old_one(self, tmp_path, number):
        good, bad = torch.zeros(3), torch.tensor([0.0, number, 0.0])
        checkpoints.save_model(tmp_path / "m", "tagger", {"format": 1}, {"a": good})
        with pytest.raises(CheckpointError, match=r"not saved to .*: b is not finite.*lower learn"):
            checkpoints.save_model(tmp_path / "m", "tagger", {"format": 1}, {"a": good, "b": bad})
        assert list(checkpoints.read_model(tmp_path / "m", "tagger", 1)[1]) == ["a"]

    def test_a_folder_that_cannot_be(self, tmp_path):
        (tmp_path / "file").write_text("in the way")
        with pytest.raises(CheckpointError, match="cannot write the checkpoint"):
            checkpoints.save(tmp_path / "file" / "run", STATE, {})

    def test_a_run_folder_depends_on_content_not_on_order(self):
        def name(identity):
            return run_folder("work", "digits", lambda: identity).name

        assert name({"a": 1, "b": [2]}) == name({"b": [2], "a": 1})
        assert name({"a": 1}) != name({"a": 2})
        assert len(name({})) == len("digits-") + 12
        assert run_folder(None, "digits", lambda: 1 / 0) is None


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
    restore_optimizer(optimizer, checkpoints.split(found)["o"])
    steps(again, optimizer, 3, 6)
    assert equal(whole.state_dict(), again.state_dict())
