import mmap
import platform
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch

from relcl_lib.lab import runtime
from relcl_lib.lab.runtime import (
    DeviceError,
    current_commit,
    is_watched,
    make_generator,
    resident_memory_bytes,
    resolve_device,
    resolve_precision,
    run_facts,
    seeded_initialisation,
)

CPU = torch.device("cpu")


class TestDevice:
    def test_auto_follows_the_machine(self, monkeypatch):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        assert resolve_device() == CPU
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        assert resolve_device("auto") == torch.device("cuda")
        assert resolve_device("cpu") == CPU

    @pytest.mark.parametrize("name", ["cuda", "cuda:0"])
    def test_cuda_where_there_is_none(self, monkeypatch, name):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        with pytest.raises(DeviceError, match=rf"'{name}' .* sees 0 CUDA .* device='cpu'"):
            resolve_device(name)

    def test_cuda_beyond_the_last(self, monkeypatch):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
        assert resolve_device("cuda:1").index == 1
        with pytest.raises(DeviceError, match="sees 2 CUDA"):
            resolve_device("cuda:2")

    def test_a_name_that_is_none(self):
        with pytest.raises(DeviceError, match="'gpu' is not a device"):
            resolve_device("gpu")


class TestPrecision:
    @pytest.mark.parametrize("fast", [False, True])
    def test_auto_is_bfloat16_only_on_a_cpu_that_has_it(self, monkeypatch, fast):
        monkeypatch.setattr(runtime, "has_fast_bfloat16", lambda device: fast)
        expected = torch.bfloat16 if fast else torch.float32
        assert resolve_precision("auto", CPU) == expected
        assert resolve_precision("auto", torch.device("cuda")) == torch.float32

    def test_named(self):
        assert resolve_precision("float32", CPU) == torch.float32
        assert resolve_precision("bfloat16", CPU) == torch.bfloat16
        with pytest.raises(ValueError, match="'float16' must be"):
            resolve_precision("float16", CPU)


class TestGenerators:
    def test_reproducible_and_distinct(self):
        names = [(0, "class order"), (1, "class order"), (0, "data order"), (0, "data order", 0)]
        names += [(0, "data order", 1), (0, "data order", 1, 0), (10, "data order"), (0, "init")]
        draws = [torch.rand(4, generator=make_generator(*name)).tolist() for name in names]
        assert draws == [torch.rand(4, generator=make_generator(*name)).tolist() for name in names]
        assert len({tuple(draw) for draw in draws}) == len(names)

    def test_the_same_in_every_version(self):
        """Recorded runs could not be repeated if these numbers moved."""
        assert make_generator(0, "class order").initial_seed() == 0x7E5FD311735E240B
        assert make_generator(2, "retrieval", 3).initial_seed() == 0x5124A0125F884790

    def test_independent_of_the_global_generator(self):
        torch.manual_seed(1)
        first = torch.rand(3, generator=make_generator(0, "x"))
        before = torch.get_rng_state()
        assert torch.equal(torch.rand(3, generator=make_generator(0, "x")), first)
        assert torch.equal(torch.get_rng_state(), before)

    def test_no_gpu_is_seeded_beside_the_one_that_draws(self, monkeypatch):
        def forbidden(seed):
            raise AssertionError("torch.manual_seed seeds every GPU")

        monkeypatch.setattr(torch, "manual_seed", forbidden)
        monkeypatch.setattr(torch.cuda, "manual_seed_all", forbidden)
        with seeded_initialisation(3):
            first = torch.rand(3)
        with seeded_initialisation(3):
            assert torch.equal(torch.rand(3), first)

    def test_initialisation_inside_the_block_only(self):
        torch.manual_seed(5)
        expected = torch.rand(2)
        torch.manual_seed(5)
        with seeded_initialisation(3):
            first = torch.nn.Linear(3, 3).weight
        assert torch.equal(torch.rand(2), expected)
        with seeded_initialisation(3):
            assert torch.equal(torch.nn.Linear(3, 3).weight, first)
        with seeded_initialisation(4):
            assert not torch.equal(torch.nn.Linear(3, 3).weight, first)


@pytest.mark.parametrize(
    "terminal, kernel, names, watched",
    [
        (True, False, (), True),
        (False, False, (), False),
        (True, False, ("RELCL_HEADLESS",), False),
        (True, False, ("CI",), False),
        (False, True, (), False),  # papermill and nbval start kernels too
        (False, True, ("JPY_SESSION_NAME",), True),
        (False, True, ("VSCODE_PID",), True),
        (False, True, ("JPY_SESSION_NAME", "RELCL_HEADLESS"), False),
    ],
)
def test_a_person_is_looking(monkeypatch, terminal, kernel, names, watched):
    for name in ("RELCL_HEADLESS", "CI", "JPY_SESSION_NAME", "VSCODE_PID"):
        monkeypatch.delenv(name, raising=False)
    for name in names:
        monkeypatch.setenv(name, "1")
    monkeypatch.delitem(sys.modules, "ipykernel", raising=False)
    if kernel:
        monkeypatch.setitem(sys.modules, "ipykernel", object())
    monkeypatch.setattr(sys, "stderr", SimpleNamespace(isatty=lambda: terminal))
    found = is_watched()
    monkeypatch.undo()  # pytest writes to the real stream
    assert found is watched


class TestFacts:
    @pytest.fixture(autouse=True)
    def read_anew(self):
        """The commit is read once in a process."""
        current_commit.cache_clear()
        yield
        current_commit.cache_clear()

    def test_no_commit_outside_git(self, monkeypatch, tmp_path):
        monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
        monkeypatch.setattr(runtime, "__file__", str(tmp_path / "relcl_lib" / "lab" / "runtime.py"))
        assert current_commit() == "unknown"

    def test_no_commit_without_git(self, monkeypatch):
        monkeypatch.setenv("PATH", "")
        assert current_commit() == "unknown"

    def test_commit_of_a_checkout(self, monkeypatch, tmp_path):
        library = tmp_path / "relcl_lib" / "lab"
        library.mkdir(parents=True)
        (library / "runtime.py").write_text("x = 1\n")

        def git(*arguments):
            user = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
            subprocess.run(["git", *user, "-C", str(tmp_path), *arguments], check=True)

        try:
            git("init", "-q")
            git("add", ".")
            git("commit", "-q", "--no-gpg-sign", "--no-verify", "-m", "first")
        except OSError:
            pytest.skip("git is not installed")
        monkeypatch.setattr(runtime, "__file__", str(library / "runtime.py"))
        clean = current_commit()
        assert len(clean) == 40
        (tmp_path / "notes.txt").write_text("not the library")
        current_commit.cache_clear()
        assert current_commit() == clean
        (library / "runtime.py").write_text("x = 2\n")
        assert current_commit() == clean  # the code that this process runs is not changed
        current_commit.cache_clear()
        assert current_commit() == clean + "-dirty"
        # The library installed below somebody else's checkout is no part of it.
        installed = tmp_path / "venv" / "relcl_lib" / "lab" / "runtime.py"
        installed.parent.mkdir(parents=True)
        installed.write_text("x = 1\n")
        monkeypatch.setattr(runtime, "__file__", str(installed))
        current_commit.cache_clear()
        assert current_commit() == "unknown"

    def test_what_a_record_keeps(self):
        facts = run_facts(CPU)
        assert facts["device"].startswith("cpu: ")
        assert facts["versions"]["torch"] == torch.__version__
        assert facts["peak_memory_bytes"] > 10_000_000

    def test_resident_memory_goes_up_with_what_is_held(self):
        before = resident_memory_bytes()
        size = 64 * 2**20
        with mmap.mmap(-1, size) as held:  # fresh pages, unlike an allocator's
            held.write(bytes(size))
            assert resident_memory_bytes() >= before + 0.9 * size
        assert before > 10_000_000


FREED_MEMORY = """
import torch
from relcl_lib.lab.runtime import keep_freed_memory, releasing_memory

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096 / 2**20

keep_freed_memory()
before = resident()
def allocate(step):
    blocks = [torch.ones(64 * 2**18) for _ in range(4)]  # 64 MiB each
    blocks.insert(0, torch.ones(1))  # outlives them
    return blocks[0]
kept = [allocate(0)]
print(resident() - before)
for step in releasing_memory(range(3)):
    kept.append(allocate(step))
print(resident() - before)
assert [*releasing_memory(range(40))] == [*range(40)] and [*releasing_memory([])] == []
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other allocators are left alone")
def test_freed_memory_is_kept_until_a_loop_releases_it():
    command = [sys.executable, "-c", FREED_MEMORY]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    kept, released = (float(line) for line in done.stdout.split())
    assert kept > 200
    assert released < 50
