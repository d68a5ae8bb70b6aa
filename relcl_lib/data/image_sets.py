"""The image data sets by name: shapes, counts, hashes, and where their files come from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from relcl_lib.data import archives
from relcl_lib.data.download import HubFiles
from relcl_lib.data.image_files import RawSplits


@dataclass(frozen=True)
class ImageSet:
    """What is known of an image data set before any file is read.

    `n_labels` counts the labels its files use: more than `n_classes` for a part of a set's classes.
    `original` finds the original archive or its folder in a folder; `read` reads what it found,
    given the archive's official MD5. `layouts` are the accepted layouts in words. `lossless` says
    that it was published without loss, so that a JPEG of it is another image.
    """

    shape: tuple[int, int, int]
    n_classes: int
    counts: tuple[int, int]
    n_labels: int = 0
    names: tuple[str, ...] | None = None
    label_columns: tuple[str, ...] = ("label",)
    subfolders: tuple[str, ...] = ("", "data")
    test_files: str = "test*.parquet"
    hub: HubFiles | None = None
    original: Callable[[Path], Path | None] = lambda folder: None
    read: Callable[[Path, str | None], RawSplits] | None = None
    layouts: tuple[str, ...] = ()
    md5: str | None = None
    note: str = ""
    lossless: bool = True

    @property
    def label_range(self) -> int:
        """Labels in the files are 0..label_range-1."""
        return self.n_labels or self.n_classes


_SHARD = "{}-00000-of-00001.parquet"
_HUB_WORDS = "the hub's parquet files train*.parquet and {}, there or in a subfolder {}"
_DIGITS = tuple(map(str, range(10)))


def _first(*paths: Path) -> Path | None:
    return next((path for path in paths if path.exists()), None)


def _cifar(name: str, n: int, md5: str, revision: str, train: str, test: str) -> ImageSet:
    """CIFAR-10 and CIFAR-100 differ in names only."""
    stem, config = (f"cifar-{n}-python", "plain_text" if n == 10 else "cifar100")
    inner = "cifar-10-batches-py" if n == 10 else stem
    batch = "data_batch_1" if n == 10 else "train"

    def original(folder: Path) -> Path | None:
        if (folder / batch).is_file():
            return folder
        return _first(folder / inner, folder / f"{stem}.tar.gz")

    columns = ("label",) if n == 10 else ("fine_label", "label")
    words = "airplane automobile bird cat deer dog frog horse ship truck"
    return ImageSet(
        shape=(3, 32, 32),
        n_classes=n,
        counts=(50_000, 10_000),
        names=tuple(words.split()) if n == 10 else None,
        label_columns=columns,
        subfolders=("", "data", config),
        hub=HubFiles(
            f"uoft-cs/{name}",
            revision,
            {
                f"{config}/{_SHARD.format('train')}": train,
                f"{config}/{_SHARD.format('test')}": test,
            },
        ),
        original=original,
        read=lambda path, md5: archives.read_cifar(path, name, n, md5),
        layouts=(
            _HUB_WORDS.format("test*.parquet", f"data/ or {config}/"),
            f"{stem}.tar.gz of https://www.cs.toronto.edu/~kriz/cifar.html, or its folder {inner}/",
        ),
        md5=md5,
    )


def _mnist_folder(folder: Path) -> Path | None:
    for inner in (folder, folder / "raw", folder / "MNIST" / "raw"):
        if archives.idx_file(inner, "train-images", 3):
            return inner
    return None


def _tiny_folder(folder: Path) -> Path | None:
    if (folder / "wnids.txt").is_file() or all((folder / s).is_dir() for s in ("train", "val")):
        return folder
    return _first(folder / "tiny-imagenet-200", folder / "tiny-imagenet-200.zip")


def _tiny(**known: object) -> ImageSet:
    return ImageSet(
        shape=(3, 64, 64),
        lossless=False,
        subfolders=("", "data"),
        test_files="val*.parquet",  # the set's own test images have no labels
        original=_tiny_folder,
        read=lambda path, md5: archives.read_tiny_imagenet(path, (3, 64, 64), md5),
        **known,
    )


# Revisions are commits of the hub's repositories and the SHA-256 those of their files at that
# commit (None: not known; the counts are checked). `HubFiles` says how to move to newer ones.
SPECS: dict[str, ImageSet] = {
    "digits": ImageSet(shape=(1, 8, 8), n_classes=10, counts=(1400, 340), names=_DIGITS),
    "cifar10": _cifar(
        "cifar10",
        10,
        "c58f30108f718f92721af3b95e74349a",
        "0b2714987fa478483af9968de7c934580d0bb9a2",
        "8428b53a88a11ac374111006708df51469e315a22ac6d66470afd9c78d2ae883",
        "841389e6f2d64f28bf17310e430aebac20ec3ba611a3c5e231dc93c645ce84de",
    ),
    "cifar100": _cifar(
        "cifar100",
        100,
        "eb9058c3a382ffc7106e4002c42a8d85",
        "aadb3af77e9048adbea6b47c21a81e47dd092ae5",
        "694865d6b990e234804f01268586c41e88bcbbb75e20858432c05ad4081aca23",
        "98776c529bb146a9c791229df74a5cf076be9b43d82dbbd334b6a7788d73dc68",
    ),
    "mnist": ImageSet(
        shape=(1, 28, 28),
        n_classes=10,
        counts=(60_000, 10_000),
        names=_DIGITS,
        subfolders=("", "data", "mnist"),
        hub=HubFiles(
            "ylecun/mnist",
            "77f3279092a1c1579b2250db8eafed0ad422088c",
            {
                f"mnist/{_SHARD.format('train')}": (
                    "f2c01285a9f89399335b00ee4e8d499dc4e46db5e39c74903ce5618d895eb3bf"
                ),
                f"mnist/{_SHARD.format('test')}": (
                    "d49fcf556ce25b002b302e318ce4a11098bbfe5d4499c3f35d7c72297c52374b"
                ),
            },
        ),
        original=_mnist_folder,
        read=lambda path, md5: archives.read_mnist(path, 10),
        layouts=(
            _HUB_WORDS.format("test*.parquet", "data/ or mnist/"),
            "train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte and "
            "t10k-labels-idx1-ubyte, each plain or .gz, there or in MNIST/raw/",
        ),
    ),
    "tiny_imagenet": _tiny(
        n_classes=200,
        counts=(100_000, 10_000),
        hub=HubFiles(
            "zh-plus/tiny-imagenet",
            "5a77092c28e51558c5586e9c5eb71a7e17a5e43f",
            {
                "data/train-00000-of-00001-1359597a978bc4fa.parquet": None,
                "data/valid-00000-of-00001-70d52db3c749a935.parquet": None,
            },
        ),
        layouts=(
            _HUB_WORDS.format("val*.parquet", "data/"),
            "tiny-imagenet-200.zip of http://cs231n.stanford.edu/tiny-imagenet-200.zip, or its "
            "folder tiny-imagenet-200/",
        ),
        md5="90528d7ca1a48142e341f4ef8d21d0de",
    ),
    "tiny_imagenet_100": _tiny(
        n_classes=100,
        counts=(50_000, 5_000),
        n_labels=200,
        layouts=(
            _HUB_WORDS.format("val*.parquet", "data/") + ", filtered to 100 classes",
            "a folder of Tiny-ImageNet's own layout whose wnids.txt lists 100 classes",
        ),
        note="100 of the 200 classes of Tiny-ImageNet",
    ),
    "mini_imagenet": ImageSet(
        shape=(3, 84, 84),
        n_classes=100,
        counts=(50_000, 10_000),
        original=lambda folder: _first(*(folder / name for name in archives.MINI_FILES)),
        read=lambda path, md5: archives.read_mini_imagenet(path.parent, (3, 84, 84)),
        layouts=(
            "mini-imagenet-cache-train.pkl, -val.pkl and -test.pkl of "
            "https://www.kaggle.com/datasets/whitemoon/miniimagenet",
        ),
    ),
}
