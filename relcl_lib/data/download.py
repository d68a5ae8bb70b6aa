"""Where a data set lies: folders looked in, hub downloads, and the two errors every loader raises.

Nothing here knows images or sentences. A loader gives `locate` a function that recognises its
files in a folder, the accepted layouts in words, and (where there is one) the hub's files.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple, TypeVar

from relcl_lib.lab.digests import hash_of
from relcl_lib.lab.files import NOT_READ, packaged_data, repository_root

DATA_VARIABLE = "RELCL_DATA"


class DataNotFoundError(FileNotFoundError):
    """A data set is in none of the places looked in; the message says what to put where."""


class DataFormatError(ValueError):
    """A data file is not what it should be; the message names file, record, field and fix."""

    def __init__(self, file: str | Path, problem: str, fix: str) -> None:
        """Compose `<file>: <problem>. <fix>.`."""
        super().__init__(f"{file}: {problem}. {fix}.")
        self.problem, self.fix = problem, fix


@dataclass(frozen=True)
class HubFiles:
    """Files of one Hugging Face repository at one commit.

    `files` maps a path in the repository to the SHA-256 of its content, or to None where it is
    not known. To move to a newer commit: take the hash of the commit from the repository's
    "Files" page, the SHA-256 of each file from the file's own page, and change both together.
    """

    repo: str
    revision: str
    files: Mapping[str, str | None]
    repo_type: str = "dataset"

    @property
    def command(self) -> str:
        """The shell command that downloads the same files into the current folder."""
        names = " ".join(self.files)
        kind = "" if self.repo_type == "model" else f"--repo-type {self.repo_type} "
        return f"hf download {self.repo} {names} {kind}--revision {self.revision} --local-dir ."


class Located(NamedTuple):
    """A folder that holds a data set, whether it came from the hub, and what was found there."""

    folder: Path
    from_hub: bool
    found: Any


def check_folder(option: str, folder: str | os.PathLike[str], holds: str) -> None:
    """Refuse what somebody gave as a folder of data; `option` is where, `holds` what it should hold.

    Raises:
        DataNotFoundError: there is no such folder.
    """
    if not (place := Path(folder).expanduser()).is_dir():
        is_file = "is a file" if place.exists() else "is not there"
        raise DataNotFoundError(
            f"{option} {folder} {is_file}. Name the folder that holds {holds} (other file names: "
            "data/README.md)"
        )


def search_folders(name: str, root: str | os.PathLike[str] | None = None) -> list[Path]:
    """List the folders in which data set `name` is looked for, first to last.

    `root` itself may be the data set's folder or a parent of it; the parent reading goes first,
    as it is the more specific one. A set that is in neither is not looked for elsewhere: other files
    of the same name would be read in place of those that were meant. Without `root` it is
    `$RELCL_DATA/<name>`, then `data/<name>` of the repository and of the current folder.
    """
    if root is not None:
        given = Path(root).expanduser()
        if not os.fspath(root) or not given.is_dir():  # a Path of "" is the current folder
            raise DataNotFoundError(
                f"{str(root)!r} is no folder. Give the folder of {name}, a folder that holds "
                f"a folder {name}/, or none at all."
            )
        return list(dict.fromkeys(folder.resolve() for folder in (given / name, given)))
    folders: list[Path] = []
    if os.environ.get(DATA_VARIABLE):
        folders.append(Path(os.environ[DATA_VARIABLE]).expanduser() / name)
    folders += [repository_root() / "data" / name, Path.cwd() / "data" / name]
    return list(dict.fromkeys(folder.resolve() for folder in folders))


def locate(
    name: str,
    holds: Callable[[Path], object],
    *,
    root: str | os.PathLike[str] | None = None,
    hub: HubFiles | None = None,
    download: bool = True,
    layouts: Sequence[str] = (),
    hint: str = "",
) -> Located:
    """Find the folder of data set `name`, downloading it where no folder holds it.

    Args:
        name: the data set's name, also the name of its folder.
        holds: looks for the data set in a folder, in any layout; what it returns counts by its
            truth value and is handed on as `found`.
        root: a folder of the caller's own, the only one looked in (see `search_folders`).
        hub: the files to download where no folder holds the set; None where there are none.
        download: False never touches the network.
        layouts: every accepted layout in words, for the error message.
        hint: what else could help, the last line of that message.

    Raises:
        DataNotFoundError: the set is nowhere and cannot be downloaded.
        DataFormatError: a downloaded file has another hash than the pinned one.
    """
    folders = search_folders(name, root)
    for folder in folders:
        if folder.is_dir() and (found := holds(folder)):
            return Located(folder, False, found)
    if hub is None:
        reason = "It has no automatic download."
    elif not download:
        reason = "Downloading was switched off (download=False)."
    else:
        try:
            folder = fetch(hub)
            found = holds(folder)
        except DataFormatError:
            raise
        # A boundary: the hub client, its HTTP library and the disk each have their own errors,
        # which differ from version to version, and all of them mean the same to the caller.
        except Exception as error:
            text = str(error).strip().splitlines()
            reason = f"Downloading {hub.repo} from the hub failed: {type(error).__name__}"
            reason += f": {text[0]}" if text else ""
            raise _not_found(name, folders, layouts, hub, reason, hint) from error
        if found:
            return Located(folder, True, found)
        reason = f"What {hub.repo} on the hub gave, in {folder}, is in none of these layouts."
    raise _not_found(name, folders, layouts, hub, reason, hint)


def locate_corpus(
    part: str, holds: Callable[[Path], object], root: str | os.PathLike[str] | None = None
) -> Path:
    """Find one layout of the generated corpus (`fewrel`, `nyt24`, `docred`): the committed files.

    `root` names a corpus written elsewhere: the folder of the layout, of the corpus, or the parent
    of it.

    Raises:
        DataNotFoundError: no such folder holds the files.
    """
    start = packaged_data() if root is None else Path(root).expanduser()
    places = [start / "synthetic" / part, start / part, start]
    for folder in places:
        if holds(folder):
            return folder
    raise DataNotFoundError(
        f"none of {', '.join(map(str, places))} holds the files of {part}/ as python -m "
        "relcl_lib.worlds.corpus writes them; root=None reads the committed ones"
    )


def is_hidden(name: str) -> bool:
    """Whether a file or folder is what systems and editors leave beside data (`.DS_Store`, `._x`)."""
    return name.startswith(".") or name in ("Thumbs.db", "desktop.ini", "__MACOSX")


def natural_key(name: str) -> list[tuple[int, str]]:
    """A sort key by which `val_10` comes after `val_9`."""
    parts = enumerate(re.split("([0-9]{1,9})", name))  # every second one is a number
    return [(int(part) if at % 2 else -1, part) for at, part in parts]


def matches(folder: Path, patterns: Iterable[str]) -> list[Path]:
    """The files of a folder that fit a pattern, those of the first pattern first; no hidden ones.

    Case does not count. A pattern that ends in `.json` is also fitted by JSON lines, `.jsonl`, and
    each by `.gz`. Of those that fit a pattern with a star in front the shortest name is first: a
    longer one has additions (`-old`, ` (1)`), which the alphabet may put before a plain one.
    """
    files = sorted(path for path in folder.iterdir() if path.is_file()) if folder.is_dir() else []
    named = [(path.name.lower(), path) for path in files if not is_hidden(path.name)]
    found: list[Path] = []
    for pattern in patterns:
        for end in ("", "l", ".gz", "l.gz") if pattern.endswith(".json") else ("", ".gz"):
            fitting = [p for name, p in named if fnmatchcase(name, (pattern + end).lower())]
            found += sorted(fitting, key=lambda p: len(p.name) * pattern.startswith("*"))
    return list(dict.fromkeys(found))


def first_match(folder: Path, patterns: Iterable[str]) -> Path | None:
    """The first of `matches`, if there is any."""
    return next(iter(matches(folder, patterns)), None)


class SplitFiles(NamedTuple):
    """The files of a data set's splits, of family number `family`.

    `note` names those that fit as well, or whose names say that they might, and are not read; and
    says where splits seem to be of different releases.
    """

    folder: Path
    family: int
    paths: dict[str, Path | None]
    note: str

    @property
    def source(self) -> str:
        """The names of the files."""
        return ", ".join(path.name for path in self.paths.values() if path is not None)


def locate_splits(
    name: str,
    families: Sequence[Mapping[str, Sequence[str]]],
    needed: Sequence[str],
    *,
    corpus: str,
    root: str | os.PathLike[str] | None,
    layouts: Sequence[str],
    hint: str,
    lacking: str = "",
) -> SplitFiles:
    """Find a data set that has a file per split: its folder, and the file of each split.

    Args:
        name: of the data set; `synthetic` is the generated corpus.
        families: names under which a set is given out, each split -> patterns of its file (see
            `matches`), of which the first that fits counts; a set is of one family, the first that
            has the needed splits.
        needed: splits without which a folder does not count.
        corpus: layout of the generated corpus, see `locate_corpus`.
        root, layouts, hint: see `locate`.
        lacking: what to do about a `root` that holds a part of the needed files; it then stands in
            place of the layouts and the hint.

    Raises:
        DataNotFoundError: no folder holds the needed files.
    """

    partly: dict[str, None] = {}  # what folders lack that hold a part

    def holds(folder: Path) -> SplitFiles | None:
        every = [
            {split: matches(folder, patterns) for split, patterns in family.items()}
            for family in families
        ]
        whole = [at for at, found in enumerate(every) if all(found[split] for split in needed)]
        if not whole:
            for family, found in zip(families, every, strict=True):
                if there := [found[split][0].name for split in family if found[split]]:
                    lacks = " and ".join(
                        f"no file for {split} ({' or '.join(family[split])})"
                        for split in needed
                        if not found[split]
                    )
                    partly[f"{folder} has {', '.join(there)}, but {lacks}."] = None
            return None
        paths = {split: found[0] if found else None for split, found in every[whole[0]].items()}
        fitting = dict.fromkeys(p for found in every for some in found.values() for p in some)
        others = [path.name for path in fitting if path not in paths.values()]
        notes = [f"{NOT_READ}: {_some(others)}"] if others else []
        read = [path.name for path in paths.values() if path]
        if len(set(map(_release, read))) > 1:
            notes.append(f"by their names {', '.join(read)} are not of one release")
        for split in (split for split, path in paths.items() if path is None):
            names = [p.name for p in matches(folder, ["*"]) if _SPLIT_WORDS[split].search(p.name)]
            like = [n for n in names if _TEXT_FILE.search(n) and n not in [*others, *read]]
            if like:
                notes.append(f"no {split} file, though {_some(like)} may be meant: rename it")
        return SplitFiles(folder, whole[0], paths, "; ".join(notes))

    if name == "synthetic":
        return holds(locate_corpus(corpus, holds, root))
    words = [
        "names: "
        + "; ".join(f"{split}: {' or '.join(names)}" for split, names in family.items())
        + " (each also as .jsonl, .gz)"
        for family in families
    ]
    try:
        return locate(name, holds, root=root, layouts=[*layouts, *words], hint=hint).found
    except DataNotFoundError as error:
        if lacking and root is not None and partly:
            raise DataNotFoundError(" ".join([*partly, lacking])) from error
        raise DataNotFoundError("\n".join([*partly, str(error)])) from error


_HELD_OUT = re.compile(r"(?<![a-z])(valid(ation)?|val|dev(elopment)?)(?![a-z])", re.IGNORECASE)
_TEXT_FILE = re.compile(r"\.(jsonl?|txt|pubtator|tsv|csv)(\.gz)?$", re.IGNORECASE)
#: split -> words in names of its files
_SPLIT_WORDS = {
    "train": re.compile(r"(?<![a-z])train(ing)?(?![a-z])", re.IGNORECASE),
    "valid": _HELD_OUT,
    "dev": _HELD_OUT,
    "test": re.compile(r"(?<![a-z])test(ing)?(?![a-z])", re.IGNORECASE),
}


def _release(name: str) -> str:
    """What is left of a file's name without its split, its ends, numbers and `annotated` (DocRED)."""
    stem = name.lower().split(".")[0]
    return re.sub(
        r"annotated|train(ing)?|valid(ation)?|val|dev(elopment)?|test(ing)?|[\W\d_]", "", stem
    )


def _some(names: Sequence[str], most: int = 8) -> str:
    """The first names of a list, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _contents(folder: Path) -> str:
    """What a folder holds, in words."""
    if not folder.is_dir():
        return "no such folder"
    entries = sorted(path for path in folder.iterdir() if not is_hidden(path.name))
    return "holds " + (_some([p.name + "/" * p.is_dir() for p in entries]) or "nothing")


def _not_found(
    name: str,
    folders: Sequence[Path],
    layouts: Sequence[str],
    hub: HubFiles | None,
    reason: str,
    hint: str,
) -> DataNotFoundError:
    """Say where was looked, what may lie there and how to get it."""
    lines = [f"{name} was found in none of these folders:"]
    lines += [f"  {folder} ({_contents(folder)})" for folder in folders]
    if layouts:
        lines += ["Put one of these into any of them:"]
        lines += [f"  - {layout}" for layout in layouts]
    lines.append(reason)
    if hub is not None:
        lines.append(f"On a machine with a network, in that folder: {hub.command}")
    given = "root=... (of a command: --data, --data-root)"
    lines.append(f"A folder elsewhere is given by {given} or by ${DATA_VARIABLE} (its parent).")
    return DataNotFoundError("\n".join([*lines, hint] if hint else lines))


#: seconds before each further try of a download
WAITS = (0.5, 2.0)
T = TypeVar("T")


def fetch(hub: HubFiles) -> Path:
    """Download the files of `hub` into the hub's own cache and return their common folder.

    Files already in that cache at this revision cost no request. A file whose SHA-256 is not the pinned
    one, or the one by which the hub names it, is removed from the cache and fetched anew.

    Raises:
        DataNotFoundError: a file could not be had in several tries.
        DataFormatError: each try gave another content than the pinned one.
    """
    from huggingface_hub import hf_hub_download

    folder = Path()
    for name, digest in hub.files.items():

        def download(name: str = name, digest: str | None = digest) -> Path:
            options = {"repo_type": hub.repo_type, "revision": hub.revision}
            local = Path(hf_hub_download(hub.repo, name, **options))
            where = f"{hub.repo}@{hub.revision[:7]}/{name}"
            check_blob(local, where, digest, f"fetch the file by hand: {hub.command}")
            return local

        local = patiently(download, f"{hub.repo}/{name}")
        folder = local.parents[len(PurePosixPath(name).parts) - 1]
    return folder


def patiently(download: Callable[[], T], what: str) -> T:
    """What `download` returns, tried again where the line or the file was bad.

    Raises:
        DataNotFoundError: it failed each time, or in a way that another try would not mend.
        DataFormatError: what came was damaged each time.
    """
    from huggingface_hub import constants

    for tries, wait in enumerate((*WAITS, None), start=1):
        try:
            return download()
        # A boundary: the hub client, its HTTP library and the disk each have their own errors.
        except Exception as error:
            status = getattr(getattr(error, "response", None), "status_code", None) or 0
            hopeless = constants.HF_HUB_OFFLINE or 400 <= status < 500
            if wait is None or (hopeless and not isinstance(error, DataFormatError)):
                if isinstance(error, DataFormatError):
                    raise
                first = (str(error).strip().splitlines() or [""])[0]
                raise DataNotFoundError(
                    f"{what} could not be downloaded ({tries} tries; {type(error).__name__}: {first})"
                ) from error
            time.sleep(wait)
    raise AssertionError  # the last wait is None


def check_blob(local: Path, where: str, digest: str | None = None, otherwise: str = "") -> None:
    """Remove a file of the hub's cache that is not what it should be, and what kills left of it.

    Args:
        local: where it lies: a link to a file that is named by its SHA-256, if the hub knows that.
        where: what errors call it.
        digest: the SHA-256 that is expected; None takes that of the name.
        otherwise: what to do if it happens again.

    Raises:
        DataFormatError: it had another content; it is gone.
    """
    blob = local.resolve()
    if digest is None and re.fullmatch("[0-9a-f]{64}", blob.name):
        digest = blob.name
    if digest is None or (found := hash_of(local)) == digest:
        for leftover in blob.parent.glob(
            f"{blob.name}.*incomplete"
        ):  # of a process that was killed
            leftover.unlink(missing_ok=True)
        return
    blob.unlink(missing_ok=True)
    local.unlink(missing_ok=True)
    raise DataFormatError(
        where,
        f"the download has SHA-256 {found}, not {digest}",
        "It was removed; load again, and if it happens again "
        + (otherwise or "try from another network"),
    )


def check_md5(path: Path, md5: str | None) -> None:
    """Compare an original archive with the MD5 its authors' mirrors agree on (None: no check)."""
    if md5 is not None and (found := hash_of(path, "md5")) != md5:
        raise DataFormatError(
            path,
            f"its MD5 is {found}, not {md5}: the download is incomplete or another file",
            "Download it again; an archive you packed yourself is read once it is extracted",
        )
