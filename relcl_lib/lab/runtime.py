"""The machine a run sees: device, number format, random generators, and the facts a record keeps."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import hashlib
import importlib.metadata
import os
import platform
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeVar

import torch

Item = TypeVar("Item")

PACKAGES_IN_RECORDS = ("torch", "transformers", "kornia", "numpy", "scikit-learn")


class DeviceError(RuntimeError):
    """The device asked for is not on this machine."""


def resolve_device(device: str = "auto") -> torch.device:
    """The device of a name: `auto` (CUDA if there is one, else the CPU), `cpu`, `cuda` or `cuda:n`.

    Raises:
        DeviceError: there is no such device here.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        found = torch.device(device)
    except RuntimeError as error:
        raise DeviceError(
            f"device={device!r} is not a device; use 'auto', 'cpu' or 'cuda'"
        ) from error
    if found.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (found.index or 0) >= count:
            raise DeviceError(
                f"device={device!r} was asked for, but torch {torch.__version__} sees {count} CUDA "
                "devices here; use device='cpu' or 'auto', or install a CUDA build of torch"
            )
    return found


def has_fast_bfloat16(device: torch.device) -> bool:
    """Whether a device multiplies bfloat16 in hardware; elsewhere it is emulated, and slower."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    names = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(getattr(torch.cpu, name, bool)() for name in names)


def resolve_precision(precision: str, device: torch.device) -> torch.dtype:
    """The number format of matrix products, from `auto`, `float32` or `bfloat16`.

    `auto` is bfloat16 on a CPU that has it in hardware and float32 elsewhere: on a GPU the small
    networks here are bound by launches, not by arithmetic, so nothing would be won. With float32 on a
    GPU torch's convolutions, not its matrix products, round what they read to TF32's 10 bits of
    mantissa; `torch.backends.cudnn.allow_tf32 = False` turns that off.
    """
    if precision == "auto":
        fast = device.type == "cpu" and has_fast_bfloat16(device)
        return torch.bfloat16 if fast else torch.float32
    if precision not in ("float32", "bfloat16"):
        raise ValueError(f"precision={precision!r} must be 'auto', 'float32' or 'bfloat16'")
    return getattr(torch, precision)


def precision_name(precision: torch.dtype) -> str:
    """The name of a number format, as `resolve_precision` reads it and records keep it."""
    return str(precision).removeprefix("torch.")


def make_generator(seed: int, purpose: str, *indices: int) -> torch.Generator:
    """A CPU generator that depends only on the seed, the purpose and the indices.

    With one generator per purpose (`class order`, `data order`, `retrieval`, ...) what one method
    draws never shifts another method's stream; since it is derived anew for each task, a resumed run
    needs no saved state. Draws are made on the CPU, so a run on a GPU sees the same numbers.
    """
    text = "/".join([str(seed), purpose, *map(str, indices)])
    digest = hashlib.sha256(text.encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)


@contextlib.contextmanager
def seeded_initialisation(seed: int) -> Iterator[None]:
    """Inside the block torch's default initialisers draw from the seed's `init` generator."""
    with drawing_from(make_generator(seed, "init"), torch.device("cpu")):
        yield


@contextlib.contextmanager
def drawing_from(generator: torch.Generator, device: torch.device) -> Iterator[None]:
    """Inside the block torch's own generator, which dropout and initialisers use, follows another."""
    # Not `torch.manual_seed`, which seeds the generators of all GPUs, those too that are not restored.
    seed, on_gpu = generator.initial_seed(), device.type == "cuda"
    with torch.random.fork_rng(devices=[device] if on_gpu else []):
        torch.default_generator.manual_seed(seed)
        if on_gpu:
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        yield


def keep_freed_memory() -> None:
    """Let this process keep the blocks it frees, up to 128 MiB each (glibc; elsewhere: nothing).

    Otherwise each block of over 32 MiB goes back to the system when it is freed, and the next one is
    mapped anew page by page: a third of a training step whose attention maps are that large. What
    is kept serves the next step only if nothing that outlives a step lies in between, and it fits
    only where blocks are of like size: let go of the gradients at a step's end, and loop over
    `releasing_memory(batches)`, or the process grows to a multiple of what it uses.
    """
    if platform.libc_ver()[0] == "glibc":
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(-1, 2**31 - 1)  # M_TRIM_THRESHOLD
        mallopt(-3, 128 * 2**20)  # M_MMAP_THRESHOLD


def releasing_memory(items: Iterable[Item]) -> Iterator[Item]:
    """Yield the items; after every 16 of them, and at the end, freed memory goes to the system.

    What `keep_freed_memory` keeps would grow from one odd-sized batch to the next. Giving it back
    and mapping it anew costs half a second for each 5 GiB.
    """
    release = ctypes.CDLL(None).malloc_trim if platform.libc_ver()[0] == "glibc" else lambda _: 0
    for number, item in enumerate(items, start=1):
        yield item
        if not number % 16:
            release(0)
    release(0)


def is_watched() -> bool:
    """Whether a person is likely to be looking, so that bars and live curves are worth drawing.

    True in a terminal and in a kernel that JupyterLab or VS Code started; false under papermill,
    nbval, CI, and where `RELCL_HEADLESS` is set (a bar would fill a saved notebook with lines).
    """
    if os.environ.get("RELCL_HEADLESS") or os.environ.get("CI"):
        return False
    if "ipykernel" in sys.modules:
        return "JPY_SESSION_NAME" in os.environ or "VSCODE_PID" in os.environ
    return sys.stderr.isatty()


def peak_memory_bytes(device: torch.device) -> int:
    """The peak memory so far: allocated on a GPU since its peak was reset; on a CPU what the process,
    whatever else it did before, has held at most.
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    import resource  # there is none on Windows, where all else is to work

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def resident_memory_bytes() -> int:
    """What the process holds in the machine's memory now; where that is not told, its peak so far."""
    with contextlib.suppress(OSError):
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGESIZE")
    return peak_memory_bytes(torch.device("cpu"))


def device_name(device: torch.device) -> str:
    """A device's name for a record, e.g. `cpu: AMD EPYC, 2 threads`."""
    if device.type == "cuda":
        return f"cuda: {torch.cuda.get_device_name(device)}"
    model = platform.processor() or platform.machine()
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    return f"cpu: {model}, {torch.get_num_threads()} threads"


@functools.cache
def current_commit() -> str:
    """The checkout's commit, with `-dirty` if library files differ from it; `unknown` elsewhere.

    Elsewhere is also an installed library: the checkout around it is somebody else's. It is read once
    in a process, whose code stays as it was when the checkout moves on.
    """
    library = Path(__file__).resolve().parents[1]

    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", "-C", str(library), *arguments], capture_output=True, text=True, check=True
        ).stdout.strip()

    try:
        git("ls-files", "--error-unmatch", __file__)
        changed = git("status", "--porcelain", "--", ".")
        return git("rev-parse", "HEAD") + ("-dirty" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def run_facts(device: torch.device) -> dict:
    """The fields of a record that say where a run happened: device, versions, commit, memory."""
    versions = {"python": platform.python_version()}
    for package in PACKAGES_IN_RECORDS:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[package] = importlib.metadata.version(package)
    versions["torch"] = torch.__version__  # says which build: +cpu, +cu130
    return {
        "device": device_name(device),
        "versions": versions,
        "commit": current_commit(),
        "peak_memory_bytes": peak_memory_bytes(device),
    }
