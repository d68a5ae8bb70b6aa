"""Damaged inputs for every reader, in a process of its own that may neither write nor run anything.

    PYTHONPATH=.:tests/helpers python tests/helpers/damage.py FOLDER COUNT [READER [SEED]]

Each input is one reader's small valid one with damage drawn from (reader, seed), so one line of what is
found is enough to make it again: `damage.py FOLDER 1 READER SEED`. Prints one JSON object a reader.
"""

import contextlib
import faulthandler
import json
import os
import random
import resource
import shutil
import signal
import sys
import time
import traceback
import warnings
import zlib
from pathlib import Path

from peak import peak_mib

SECONDS = 10  # of processor time: a machine may have others to serve
MEMORY = 2 << 30
NUMBERS = ("-1", "0", "1e999", "99999999999", "0.5", "null", "true", '"x"', "[]", "{}", "NaN")
NUMBERS += ('"\\ud800"', "-0", "[[[[]]]]", "1" * 5000, '{"a":1}', "2147483648")


class Hang(BaseException):
    """A reader took longer than any may."""


# --- damage --------------------------------------------------------------------------------------


def damaged(draw, data, others):
    """One of many ways to damage a file's bytes; `others` are those of the files beside it."""
    ways = [flip, overwrite, cut, drop, double, splice, swap, cells]
    if data[:1] in b"[{" and len(data) < 1 << 20:
        ways += [node, node, node]
    for _ in range(draw.choice((1, 1, 1, 2, 3))):
        data = draw.choice(ways)(draw, data, others)
    return data


def flip(draw, data, others):
    data = bytearray(data)
    for _ in range(draw.choice((1, 1, 2, 8)) if data else 0):
        data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
    return bytes(data)


def overwrite(draw, data, others):
    data = bytearray(data)
    for _ in range(draw.choice((1, 4, 16)) if data else 0):
        data[draw.randrange(len(data))] = draw.choice(
            (0, 255, 10, 34, 45, 48, 57, draw.randrange(256))
        )
    return bytes(data)


def _span(draw, data):
    start = draw.randrange(len(data) + 1)
    return start, min(
        len(data), start + draw.choice((1, 4, 64, 4096, draw.randrange(len(data) + 1)))
    )


def cut(draw, data, others):
    return data[: draw.choice((draw.randrange(len(data) + 1), max(0, len(data) - 1), 0, 10))]


def drop(draw, data, others):
    start, end = _span(draw, data)
    return data[:start] + data[end:]


def double(draw, data, others):
    start, end = _span(draw, data)
    return data[:end] + data[start:end] * draw.choice((1, 1, 20)) + data[end:]


def splice(draw, data, others):
    other = draw.choice([*others, data, os.urandom(0), bytes(64), b"\xff" * 64])
    start, end = _span(draw, other)
    at = draw.randrange(len(data) + 1)
    return (
        data[:at] + other[start:end] + data[draw.choice((at, min(len(data), at + end - start))) :]
    )


def swap(draw, data, others):
    (a, b), (c, d) = sorted((_span(draw, data), _span(draw, data)))
    return data if b > c else data[:a] + data[c:d] + data[b:c] + data[a:b] + data[d:]


def cells(draw, data, others):
    """Swap, repeat or replace one of the parts between separators: lines, columns, words."""
    parts = data.split(mark := draw.choice((b"\n", b"\t", b",", b" ", b'"', b":")))
    one, two = draw.randrange(len(parts)), draw.randrange(len(parts))
    kind = draw.randrange(4)
    if kind == 0:
        parts[one], parts[two] = parts[two], parts[one]
    elif kind == 1:
        parts[one] = parts[two]
    elif kind == 2:
        parts[one] = draw.choice(NUMBERS).encode()
    else:
        del parts[one]
    return mark.join(parts)


def node(draw, data, others):
    """Replace, swap or delete a value of a JSON text."""
    try:
        root = json.loads(data)
    except ValueError:  # JSON lines, or damaged already
        lines = data.split(b"\n")
        at = draw.randrange(len(lines))
        with contextlib.suppress(ValueError):
            json.loads(lines[at])
            lines[at] = node(draw, lines[at], others)
        return b"\n".join(lines)
    places = []

    def walk(value):
        if isinstance(value, dict | list):
            keys = value if isinstance(value, dict) else range(len(value))
            places.extend((value, key) for key in keys)
            for key in keys:
                walk(value[key])

    walk(root)
    if not places:
        return draw.choice(NUMBERS).encode()
    (holder, key), (other, name) = draw.choice(places), draw.choice(places)
    kind = draw.randrange(4)
    if kind == 0:
        del holder[key]
    elif kind == 1:
        holder[key] = json.loads(json.dumps(other[name]))
    elif kind == 2:
        value = draw.choice(NUMBERS)
        holder[key] = 7 if len(value) > 100 else json.loads(value)
    else:
        holder[key] = draw.choice((str(holder[key]), [holder[key]], {"x": holder[key]}, -7, 10**9))
    return json.dumps(root, ensure_ascii=draw.random() < 0.8).encode("utf-8", "surrogatepass")


# --- a place to read in --------------------------------------------------------------------------


class Watch:
    """Notes what no reader may do: write outside its folder, start a process, unpickle, connect."""

    WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
    NEVER = (
        "os.system",
        "os.exec",
        "os.posix_spawn",
        "os.fork",
        "subprocess.Popen",
        "pickle.find_class",
    )
    NEVER += (
        "socket.connect",
        "os.forkpty",
        "pty.spawn",
        "code.__new__",
        "ctypes.dlopen",
        "shutil.move",
    )
    CHANGES = (
        "os.remove",
        "os.rename",
        "os.mkdir",
        "os.rmdir",
        "os.symlink",
        "os.link",
        "os.chmod",
    )

    def __init__(self, folder):
        self.inside = os.path.realpath(folder)
        self.on, self.seen = False, []
        sys.addaudithook(self.hook)

    def hook(self, event, arguments):
        if not self.on:
            return
        if event in self.NEVER and arguments != (None,):  # the library itself is no stranger
            self.seen.append(f"{event} {str(arguments)[:200]}")
        elif event == "open" and isinstance(arguments[0], str | bytes):
            path, mode, flags = arguments
            if (mode and set(mode) & set("wax+")) or (
                isinstance(flags, int) and flags & self.WRITES
            ):
                self.place(event, path)
        elif event in self.CHANGES:
            self.place(event, arguments[0])

    def place(self, event, path):
        path = os.path.realpath(os.fsdecode(path)) if isinstance(path, str | bytes) else str(path)
        if not path.startswith(self.inside + os.sep) and path != os.devnull:
            self.seen.append(f"{event} {path}")


class Runner:
    """Reads damaged inputs one after another and sorts what comes of it."""

    def __init__(self, folder, state):
        self.folder, self.state = Path(folder), state
        self.folder.mkdir(parents=True, exist_ok=True)
        os.chdir(self.folder)
        self.watch = Watch(folder)
        signal.signal(signal.SIGPROF, self.alarm)

    @staticmethod
    def alarm(*_):
        raise Hang

    def prepare(self, reader):
        self.reader, self.place = reader, self.folder / reader.name
        shutil.rmtree(self.place, ignore_errors=True)
        self.place.mkdir()
        reader.make(self.place)
        files = sorted(p for p in self.place.rglob("*") if p.is_file())
        self.sound = {file: file.read_bytes() for file in files}
        self.victims = [f for f in files if reader.damages(f.relative_to(self.place).as_posix())]
        reader.check(reader.read(self.place))  # whole, it is read; and every import is done
        self.dirty = []

    def tidy(self):
        for file, content in self.sound.items():
            if file in self.dirty or not file.exists():
                file.write_bytes(content)
        self.dirty = []

    def once(self, seed):
        """Damage, read, and say what happened: accepted, refused, or what must not be."""
        draw = random.Random(f"{self.reader.name} {seed}")
        self.tidy()
        for _ in range(draw.choice((1, 1, 1, 2))):
            victim = draw.choice(self.victims)
            others = [self.sound[f] for f in self.victims if f != victim][:8]
            victim.write_bytes(damaged(draw, victim.read_bytes(), others))
            self.dirty.append(victim)
        self.state(f"{self.reader.name} {seed}")
        return self.read()

    def read(self):
        from relcl_lib.lab.errors import explains_itself

        self.watch.seen.clear()
        # Where no signal is looked at, or nothing is done but waiting.
        faulthandler.dump_traceback_later(30 * SECONDS, exit=True)
        began, self.watch.on = time.process_time(), True
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        try:
            value = self.reader.read(self.place)
            signal.setitimer(signal.ITIMER_PROF, 0)
            self.watch.on = False
            self.reader.check(value)
            outcome = "accepted"
        except self.reader.errors as error:
            known = explains_itself(error) or type(error) is not ValueError
            outcome = "refused" if known and str(error) else self.wrong(error)
        except BaseException as error:
            outcome = self.wrong(error)
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
            faulthandler.cancel_dump_traceback_later()
            self.watch.on = False
        if self.watch.seen:
            return f"did: {self.watch.seen[0]}"
        if time.process_time() - began > SECONDS:
            return "took longer than 10 s"
        return outcome

    @staticmethod
    def wrong(error):
        frames = traceback.extract_tb(error.__traceback__)
        inside = [f for f in frames if "relcl_lib" in f.filename or "readers.py" in f.filename]
        place = " < ".join(f"{Path(f.filename).name}:{f.lineno}" for f in reversed(inside[-4:]))
        kind = "harmful" if isinstance(error, AssertionError) else "raised"
        return f"{kind} {type(error).__name__}: {str(error)[:200]!r} at {place}"


def limit_memory():
    """From here on this process gets 2 GiB more than it has."""
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    size = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (size + MEMORY, hard))


def main(folder, count, only="", seed=""):
    from readers import READERS

    faulthandler.enable()
    warnings.simplefilter("ignore")
    known = Path(folder) / "state"
    known.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(known, os.O_CREAT | os.O_RDWR)

    def state(text):
        os.pwrite(handle, text.ljust(80).encode(), 0)

    runner = Runner(Path(folder) / "inside", state)
    chosen = [r for r in READERS if not only or r.name in only.split(",")]
    total = sum(reader.share for reader in chosen)
    for reader in chosen:
        hard = resource.getrlimit(resource.RLIMIT_AS)[1]
        resource.setrlimit(resource.RLIMIT_AS, (hard, hard))
        runner.prepare(reader)
        limit_memory()
        here = max(1, round(int(count) * reader.share / total))
        found = {"reader": reader.name, "tried": 0, "accepted": 0, "refused": 0, "wrong": {}}
        began = time.monotonic()
        start = int(seed) if seed else zlib.crc32(reader.name.encode()) % 1000 * 1000
        for one in range(start, start + here):
            outcome = runner.once(one)
            found["tried"] += 1
            if outcome in found:
                found[outcome] += 1
            else:
                place = outcome.split(": ")[0] + outcome.rpartition(" at ")[2]
                seen = found["wrong"].setdefault(place, [0, one, outcome])
                seen[0] += 1
        found["seconds"] = round(time.monotonic() - began, 1)
        found["peak_mib"] = round(peak_mib())
        print(json.dumps(found), flush=True)
        shutil.rmtree(runner.place)


if __name__ == "__main__":
    main(*sys.argv[1:])
