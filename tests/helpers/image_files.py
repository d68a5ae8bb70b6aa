"""Small image sets in every layout that is read."""

import gzip
import io
import pickle
import struct
import tarfile
import zipfile

import numpy as np
from PIL import Image

from relcl_lib.data.archives import MINI_FILES


def pixels(n, size=32, seed=0, channels=3):
    """Random images: (n, size, size, 3), or (n, size, size) with one channel."""
    shape = (n, size, size, channels) if channels > 1 else (n, size, size)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def png(array):
    stream = io.BytesIO()
    Image.fromarray(array).save(stream, "PNG")
    return stream.getvalue()


def write_parquet(path, arrays, labels, image="img", label="label", metadata=None, **options):
    """A file of the hub's layout; what is no array is taken as an image's bytes."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    path.parent.mkdir(parents=True, exist_ok=True)
    blobs = [a if isinstance(a, bytes | None) else png(a) for a in arrays]
    column = pa.array(
        [{"bytes": b, "path": None} for b in blobs],
        pa.struct([("bytes", pa.binary()), ("path", pa.string())]),
    )
    table = pa.table({image: column, label: labels})
    pq.write_table(table.replace_schema_metadata(metadata), path, **options)
    return path


def cifar_batch(n, start=0):
    rng = np.random.default_rng(start)
    return {
        b"data": rng.integers(0, 256, (n, 3072), dtype=np.uint8),
        b"labels": [(start + i) % 10 for i in range(n)],
        b"fine_labels": [(start + i) % 100 for i in range(n)],
    }


def cifar10_files(n=10, **changes):
    files = {f"data_batch_{i}": cifar_batch(n, i) for i in range(1, 6)}
    files["test_batch"] = cifar_batch(n, 6)
    files["batches.meta"] = {b"label_names": [f"class{i}".encode() for i in range(10)]}
    return files | changes


def write_cifar(folder, files):
    folder.mkdir(parents=True, exist_ok=True)
    for name, value in files.items():
        (folder / name).write_bytes(pickle.dumps(value, 2))
    return folder


def write_cifar_tar(path, files, inner):
    # Backwards: the order inside an archive is nobody's promise.
    with tarfile.open(path, "w:gz") as archive:
        for name, value in reversed(files.items()):
            info, content = tarfile.TarInfo(f"{inner}/{name}"), pickle.dumps(value, 2)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def idx(array):
    return struct.pack(f">4B{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


def write_mnist(folder, n=12, zipped=False, dot=False, **changes):
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    for split, count in (("train", n), ("t10k", n // 2)):
        pixels = rng.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        labels = np.arange(count, dtype=np.uint8) % 10
        for stem, array in ((f"{split}-images", pixels), (f"{split}-labels", labels)):
            content = changes.get(stem.replace("-", "_"), idx(array))
            name = f"{stem}{'.' if dot else '-'}idx{array.ndim}-ubyte{'.gz' if zipped else ''}"
            (folder / name).write_bytes(gzip.compress(content) if zipped else content)
    return folder


def jpeg(value, mode="RGB", size=(64, 64)):
    stream = io.BytesIO()
    Image.new(mode, size, value).save(stream, "JPEG")
    return stream.getvalue()


def write_tiny(folder, wnids=("n02", "n01"), annotations=None, **changes):
    images = folder / "val" / "images"
    images.mkdir(parents=True)
    (folder / "wnids.txt").write_text("\n".join(wnids))
    for k, wnid in enumerate(wnids):
        inner = folder / "train" / wnid / "images"
        inner.mkdir(parents=True)
        for i in range(3):
            content = jpeg(60 * k + 20 * i, "L") if i == 2 else jpeg((60 * k + 20 * i, 0, 0))
            (inner / f"{wnid}_{i}.JPEG").write_bytes(changes.get(f"{wnid}_{i}", content))
        (images / f"val_{k}.JPEG").write_bytes(jpeg((0, 0, 200)))
    rows = annotations or [f"val_{k}.JPEG\t{w}\t0\t0\t9\t9" for k, w in enumerate(wnids)]
    (folder / "val" / "val_annotations.txt").write_text("\n".join(rows) + "\n")
    return folder


def zip_of(folder, path, inner="tiny-imagenet-200/"):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(folder.rglob("*"), reverse=True):
            if file.is_file():
                archive.write(file, inner + str(file.relative_to(folder)))
    return path


def write_mini(folder, per_class=12, class_dict=True, **changes):
    folder.mkdir(parents=True, exist_ok=True)
    start = 0
    for name, n_classes in MINI_FILES.items():
        n = n_classes * per_class
        data = np.zeros((n, 4, 4, 3), np.uint8)
        data[:, 0, 0, 0] = start + np.arange(n) // per_class  # the class, in the red corner
        data[:, 0, 0, 1] = np.arange(n) % per_class
        table = {"image_data": data}
        if class_dict:
            runs = np.arange(n).reshape(n_classes, per_class).tolist()
            table["class_dict"] = {f"n{k}": run for k, run in enumerate(runs)}
        (folder / name).write_bytes(changes.get(name, pickle.dumps(table, 2)))
        start += n_classes
    return folder
