"""Inputs made to do harm: pickles that run code, archives that climb out, files that fill the memory."""

import gzip
import io
import json
import pickle
import secrets
import struct
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from processes import environment
from readers import READERS

READER = {reader.name: reader for reader in READERS}


class Call:
    """A pickle of it calls something when it is read."""

    def __init__(self, what, *arguments):
        self.what, self.arguments = what, arguments

    def __reduce__(self):
        return self.what, self.arguments


def pickles(mark):
    """Programs that would leave a file `mark`, each in the forms that a pickle has."""
    import os

    command = f"touch {mark}"
    python = f"open({str(mark)!r}, 'w').close()"
    yield from (pickle.dumps(Call(os.system, command), n) for n in range(6))
    yield from (pickle.dumps({b"data": Call(eval, python), b"labels": [0]}, n) for n in (0, 2, 5))
    yield pickle.dumps([Call(exec, python)], 4)
    yield pickle.dumps(Call(subprocess.getoutput, command), 2)
    yield pickle.dumps(np.array([Call(os.system, command)], dtype=object), 2)
    yield f"cos\nsystem\n(S'{command}'\ntR.".encode()
    yield f"(cos\nsystem\nS'{command}'\no.".encode()
    yield f"(S'{command}'\nios\nsystem\n.".encode()
    # By way of what is admitted: attributes of numpy's own functions.
    yield b"cnumpy.core.multiarray\n_reconstruct\nN}S'__globals__'\nS'x'\ns\x86b."
    yield pickle.dumps(Call(getattr, "", "__class__"), 2)
    yield pickle.dumps(Call(__import__, "os"), 2)
    yield pickle.dumps(Call(np.ndarray.tofile, np.zeros(1), str(mark)), 2)
    yield pickle.dumps(Call(np.fromfile, "/etc/hostname"), 2)
    yield b"\x82\x01."  # a code of the extension registry


def refused(name, folder):
    reader = READER[name]
    with pytest.raises(reader.errors):
        reader.read(folder)


def test_no_pickle_runs(tmp_path):
    mark, tried = tmp_path / "mark", 0
    places = {
        "cifar": ["data_batch_1", "batches.meta"],
        "mini": ["mini-imagenet-cache-train.pkl"],
        "core50-packed": ["paths.pkl", "LUP.pkl", "labels.pkl"],
        "checkpoint": ["model/state.safetensors"],
        "checkpoint-unsummed": ["model/state.safetensors"],
        "tagger-unsummed": ["model/tagger.safetensors"],
        "encoder": ["model.safetensors"],
        "features": ["hpcr/split_cifar10/*.safetensors"],
        "core50-packed ": ["core50_imgs.npz"],
    }
    for name, files in places.items():
        folder = tmp_path / name
        folder.mkdir()
        READER[name.strip()].make(folder)
        for pattern in files:
            [file] = folder.glob(pattern)
            sound = file.read_bytes()
            for hostile in pickles(mark):
                file.write_bytes(hostile)
                refused(name.strip(), folder)
                assert not mark.exists()
                tried += 1
            file.write_bytes(sound)
    (tmp_path / "encoder" / "model.safetensors").unlink()
    for hostile in pickles(mark):
        (tmp_path / "encoder" / "pytorch_model.bin").write_bytes(hostile)
        refused("encoder", tmp_path / "encoder")
        assert not mark.exists()
        tried += 1
    assert tried > 200


def test_code_beside_weights_is_not_run(tmp_path):
    mark = tmp_path / "mark"
    folder = tmp_path / "encoder"
    folder.mkdir()
    READER["encoder"].make(folder)
    (folder / "evil.py").write_text(f"open({str(mark)!r}, 'w').close()\nclass Evil: pass\n")
    config = json.loads((folder / "config.json").read_text())
    config["auto_map"] = {"AutoModel": "evil.Evil", "AutoConfig": "evil.Evil"}
    (folder / "config.json").write_text(json.dumps({**config, "model_type": "evil"}))
    refused("encoder", folder)
    (folder / "config.json").write_text(json.dumps(config))
    READER["encoder"].read(folder)  # the class that is known, not the file
    assert not mark.exists()


ABSOLUTE = f"{tempfile.gettempdir()}/outside-{secrets.token_hex(8)}"  # nobody else's
NAMES = ("../outside", "../../outside", ABSOLUTE, "a/../../outside", "..\\outside")


def test_archives_do_not_climb_out(tmp_path):
    inside = tmp_path / "inside"
    inside.mkdir()
    READER["tiny-zip"].make(inside)
    with zipfile.ZipFile(inside / "tiny.zip", "a") as archive:
        for name in NAMES:
            archive.writestr(name, "x")
            archive.writestr(f"tiny-imagenet-200/train/n1/images/{name}.JPEG", "x")
    READER["tiny-zip"].read(inside)
    with tarfile.open(inside / "cifar.tar.gz", "w:gz") as archive:
        for name in NAMES:
            archive.addfile(tarfile.TarInfo(name), io.BytesIO(b""))
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE):
            link = tarfile.TarInfo("cifar-10-batches-py/data_batch_1")
            link.type, link.linkname = kind, "/etc/passwd"
            archive.addfile(link)
    refused("cifar-tar", inside)
    assert sorted(path.name for path in tmp_path.rglob("*")) == [
        "cifar.tar.gz",
        "inside",
        "tiny.zip",
    ]
    assert not Path(ABSOLUTE).exists()


# --- what grows ----------------------------------------------------------------------------------

GROWN = 3 << 30


def zeros(file, head=b"", size=GROWN, opened=gzip.open, level=9):
    """A gzip file that unpacks to zeros after its beginning."""
    with opened(file, "wb", compresslevel=level) as stream:
        stream.write(head)
        for _ in range(size >> 24):
            stream.write(bytes(1 << 24))


def bomb_mnist(folder):
    READER["mnist-gz"].make(folder)
    zeros(
        folder / "train-images-idx3-ubyte.gz", b"\0\0\x08\x03" + struct.pack(">3I", 4 << 20, 28, 28)
    )


def bomb_json(folder):
    zeros(folder / "a.json.gz")


def bomb_vectors(folder):
    zeros(folder / "a.txt.gz", b"word ")


def bomb_vectors_zip(folder):
    with (
        zipfile.ZipFile(folder / "a.zip", "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive,
        archive.open("a.txt", "w", force_zip64=True) as stream,
    ):
        for _ in range(GROWN >> 24):
            stream.write(b"1" * (1 << 24))


def bomb_tar(folder):
    class Zeros(io.RawIOBase):
        def read(self, size=-1):
            return bytes(size)

    with tarfile.open(folder / "cifar.tar.gz", "w:gz") as archive:
        info = tarfile.TarInfo("cifar-10-batches-py/data_batch_1")
        info.size = GROWN
        archive.addfile(info, Zeros())


def bomb_zip(folder):
    READER["tiny-zip"].make(folder)
    with zipfile.ZipFile(folder / "tiny.zip", "a", zipfile.ZIP_DEFLATED) as archive:
        name = "tiny-imagenet-200/train/n1/images/z.JPEG"
        with archive.open(name, "w", force_zip64=True) as stream:
            for _ in range(GROWN >> 24):
                stream.write(bytes(1 << 24))


def bomb_packed(folder):
    READER["core50-packed"].make(folder)
    file = folder / "core50_imgs.npz"
    with (
        zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("x.npy", "w", force_zip64=True) as stream,
    ):
        head = io.BytesIO()
        about = {"descr": "|u1", "fortran_order": False, "shape": (GROWN // 49152, 128, 128, 3)}
        np.lib.format.write_array_header_1_0(head, about)
        stream.write(head.getvalue())
        for _ in range(GROWN >> 24):
            stream.write(bytes(1 << 24))


def bomb_parquet(folder):
    import pyarrow as pa
    import pyarrow.parquet as pq
    from PIL import Image

    READER["parquet"].make(folder)
    out, rows = io.BytesIO(), GROWN // 3072
    Image.new("RGB", (32, 32)).save(out, "PNG")
    places = pa.array(np.zeros(rows, np.int8))
    images = pa.DictionaryArray.from_arrays(places, pa.array([out.getvalue()]))
    table = pa.table({"img": images.cast(pa.binary()), "label": pa.array(np.zeros(rows, np.int8))})
    pq.write_table(table, folder / "train-0.parquet", compression="zstd")


def bomb_nested(folder):
    """Lists of lists that are one list: 2^40 labels in a few hundred bytes."""
    READER["cifar"].make(folder)
    labels = [0, 1]
    for _ in range(40):
        labels = [labels, labels]
    table = {b"data": np.zeros((2, 3072), np.uint8), b"labels": labels}
    (folder / "data_batch_1").write_bytes(pickle.dumps(table, 2))


def bomb_names(folder):
    READER["cifar"].make(folder)
    name = ["a"]
    for _ in range(40):
        name = [name, name]
    (folder / "batches.meta").write_bytes(pickle.dumps({b"label_names": [name]}, 2))


def bomb_unfilled(folder):
    """An array without content, of a size that the pickle only names."""
    READER["cifar"].make(folder)
    made = pickle.dumps(np.zeros((2, 3072), np.uint8), 2).replace(
        b"K\x00\x85", b"J\0\0\0\x70\x85", 1
    )
    (folder / "data_batch_1").write_bytes(made)


def bomb_deep(folder):
    (folder / "a.json").write_text("[" * 200_000)


def bomb_image(folder):
    """An image of a few bytes that says it has 16 billion pixels."""
    from PIL import Image

    READER["tiny"].make(folder)
    out = io.BytesIO()
    Image.new("1", (16, 16)).save(out, "PNG")
    made = bytearray(out.getvalue())
    made[16:24] = struct.pack(">2I", 1 << 17, 1 << 17)
    (folder / "train" / "n1" / "images" / "n1_0.JPEG").write_bytes(made)


def bomb_config(folder):
    READER["encoder"].make(folder)
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"num_hidden_layers": 10**6}))


def bomb_tagger(folder):
    READER["tagger-unsummed"].make(folder)
    file = folder / "model" / "tagger.json"
    about = json.loads(file.read_text())
    about["encoder_config"] |= {"hidden": 1 << 20}
    file.write_text(json.dumps(about))


BOMBS = {
    "bomb_mnist": "mnist-gz",
    "bomb_json": "triples",
    "bomb_vectors": "vectors",
    "bomb_vectors_zip": "vectors",
    "bomb_tar": "cifar-tar",
    "bomb_zip": "tiny-zip",
    "bomb_packed": "core50-packed",
    "bomb_parquet": "parquet",
    "bomb_nested": "cifar",
    "bomb_names": "cifar",
    "bomb_unfilled": "cifar",
    "bomb_deep": "triples",
    "bomb_image": "tiny",
    "bomb_config": "encoder",
    "bomb_tagger": "tagger-unsummed",
}
#: the sample
QUICK = ("bomb_nested", "bomb_unfilled")
READ = """
import json, sys, time, warnings
from pathlib import Path
from damage import limit_memory
from peak import peak_mib
from readers import READERS
warnings.simplefilter("ignore")
reader = {reader.name: reader for reader in READERS}[sys.argv[1]]
sound = Path(sys.argv[2]) / "sound"
sound.mkdir()
reader.make(sound)
reader.read(sound)
limit_memory()
before, began = peak_mib(), time.process_time()
try:
    reader.read(Path(sys.argv[2]) / "bomb")
    said = "accepted"
except reader.errors as error:
    said = f"refused: {error}"
grown = round(peak_mib() - before)
print(json.dumps({"said": said, "seconds": time.process_time() - began, "grown_mib": grown}))
"""


@pytest.mark.parametrize("bomb", BOMBS)
def test_what_grows_is_refused_before_it_has(tmp_path, long, tell, bomb):
    if not long and bomb not in QUICK:
        pytest.skip("in make test-hard")
    (tmp_path / "bomb").mkdir()
    globals()[bomb](tmp_path / "bomb")
    command = [sys.executable, "-c", READ, BOMBS[bomb], str(tmp_path)]
    done = subprocess.run(
        command, env=environment(), capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["said"].startswith("refused") and found["seconds"] < 10, found
    assert found["grown_mib"] < 1024, found
    tell(f"{found['seconds']:.1f} s, {found['grown_mib']} MiB: {found['said'][-150:]}")
