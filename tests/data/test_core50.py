"""CORe50 in a small copy of its layout: one frame a video, all sessions, objects and lists."""

import pickle
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from relcl_lib.continual.sessions import load_sessions
from relcl_lib.continual.tracks import domain_stream
from relcl_lib.data import core50
from relcl_lib.data.core50 import (
    CLASS_NAMES,
    SESSION_SIZES,
    TEST_SESSIONS,
    TRAIN_SESSIONS,
    load_core50,
)
from relcl_lib.data.download import DataFormatError, DataNotFoundError

PATHS = [f"s{s}/o{o}/C_{s:02d}_{o:02d}_000.png" for s in range(1, 12) for o in range(1, 51)]
SESSION = np.repeat(np.arange(1, 12), 50)
LABEL = np.tile(np.arange(50), 11)
IN_TEST = np.isin(SESSION, TEST_SESSIONS)


def where(objects, sessions):
    return np.flatnonzero(np.isin(LABEL, objects) & np.isin(SESSION, sessions)).tolist()


def lists(run):
    """Return the experiences of a run as positions, and the labels that go with them."""
    order = np.random.RandomState(run).permutation(len(TRAIN_SESSIONS))
    units = [[0, 5, 10, 15, 20, 25, 30, 35, 40, 45]]
    for b in range(1, 9):
        r = (b + 1) // 2
        units.append([5 * i + r for i in (range(5) if b % 2 else range(5, 10))])
    number = {thing: i for i, thing in enumerate(thing for unit in units for thing in unit)}
    test = np.flatnonzero(IN_TEST).tolist()
    videos = [(o, s) for o in range(50) for s in TRAIN_SESSIONS if not (o < 10 and s == 1)]
    found = {
        "ni": [where(range(50), [TRAIN_SESSIONS[i]]) for i in order],
        "nc": [where(unit, TRAIN_SESSIONS) for unit in units],
        "nicv2_391": [where(range(10), [1]), *(where([o], [s]) for o, s in videos)],
    }
    positions = {key: [*parts, test] for key, parts in found.items()}
    labels = {
        key: [[number[LABEL[i]] if key == "nc" else int(LABEL[i]) for i in part] for part in parts]
        for key, parts in positions.items()
    }
    return positions, labels


def pixels():
    generator = np.random.default_rng(0)
    shade = generator.integers(0, 256, (len(PATHS), 1, 1, 3), np.uint8)
    return np.broadcast_to(shade, (len(PATHS), 128, 128, 3))


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    """The packed archive and its pickles, with all ten runs."""
    folder = tmp_path_factory.mktemp("packed") / "core50"
    folder.mkdir()
    np.savez(folder / "core50_imgs.npz", x=pixels())
    runs = [lists(run) for run in range(10)]
    keys = ("ni", "nc", "nicv2_391")
    for name, part in (("LUP.pkl", 0), ("labels.pkl", 1)):
        table = {key: [run[part][key] for run in runs] for key in keys}
        (folder / name).write_bytes(pickle.dumps(table, protocol=2))
    (folder / "paths.pkl").write_bytes(pickle.dumps(PATHS, protocol=2))
    return folder


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """The image files and the text lists of run 0."""
    folder = tmp_path_factory.mktemp("files")
    for path, image in zip(PATHS, pixels(), strict=True):
        target = folder / "core50_128x128" / path
        target.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(target, compress_level=1)
    positions, labels = lists(0)
    places = {"ni": "batches_filelists/NI_inc", "nc": "batches_filelists/NC_inc"}
    for key, place in {**places, "nicv2_391": "NIC_v2_391"}.items():
        inner = folder / place / "run0"
        inner.mkdir(parents=True)
        width = 3 if key == "nicv2_391" else 2
        names = [f"train_batch_{i:0{width}d}" for i in range(len(positions[key]) - 1)]
        for name, part, given in zip([*names, "test"], positions[key], labels[key], strict=True):
            rows = [f"{PATHS[i]} {label}\n" for i, label in zip(part, given, strict=True)]
            (inner / f"{name}_filelist.txt").write_text("".join(rows))
    return folder


pytestmark = pytest.mark.usefixtures("no_other_data")


def load(folder, **options):
    return load_core50(folder, check_counts=False, **options)


def copy(folder, tmp_path, names):
    target = tmp_path / "core50"
    target.mkdir()
    for name in names:
        (target / name).symlink_to(folder / name)
    return target


class TestWhole:
    def test_packed(self, packed):
        data = load(packed.parent)
        assert (data.name, data.source, data.valid_every) == ("core50", "packed archive", 20)
        assert data.images.shape == (550, 3, 128, 128)
        assert data.images.dtype == torch.uint8
        assert torch.equal(data.images[7, :, 5, 9], torch.from_numpy(pixels()[7, 5, 9].copy()))
        assert data.labels.tolist() == LABEL.tolist()
        assert data.sessions.tolist() == SESSION.tolist()
        assert data.sizes == {"train": 400, "test": 150}
        assert data.class_names == CLASS_NAMES
        assert (CLASS_NAMES[0], CLASS_NAMES[49]) == ("plug adapter 1", "remote control 5")

    def test_files_and_text_lists_say_the_same(self, packed, files):
        one, two = load(packed), load(files)
        assert two.source == "image files"
        # Files come in the order of sessions, objects and frames, as the packed archive has them.
        assert torch.equal(one.images, two.images)
        for track in ("NI", "Multi-Task-NC", "NIC"):
            pairs = zip(one.experiences[track], two.experiences[track], strict=True)
            assert all(torch.equal(a, b) for a, b in pairs)
        assert one.fingerprint == two.fingerprint

    def test_hidden_files_do_not_matter(self, files):
        plain = load(files)
        inside = files / "core50_128x128" / "s1" / "o1"
        hidden = [inside / "._C_01_01_000.png", inside / ".DS_Store"]
        for file in hidden:
            file.write_bytes(b"Bud1")
        assert load(files).fingerprint == plain.fingerprint
        for file in hidden:
            file.unlink()

    def test_runs_differ(self, packed):
        first, second = load(packed, order=0), load(packed, order=3)
        assert first.fingerprint != second.fingerprint
        assert [s.tolist() for s in second.experiences["NI"][:-1]] == lists(3)[0]["ni"][:-1]
        with pytest.raises(ValueError, match="runs 0 to 9"):
            load(packed, order=10)

    def test_python_2_wrote_bytes(self, packed, tmp_path):
        folder = copy(packed, tmp_path, ["core50_imgs.npz", "LUP.pkl", "labels.pkl"])
        bytes_list = b"(lp0\n" + b"".join(b"S'%s'\na" % p.encode() for p in PATHS) + b"."
        (folder / "paths.pkl").write_bytes(bytes_list)
        assert load(folder).labels.tolist() == LABEL.tolist()

    def test_by_name(self, packed, monkeypatch):
        monkeypatch.setattr(core50, "SESSION_SIZES", (50,) * 11)
        assert load_sessions("core50", packed.parent).sizes == {"train": 400, "test": 150}

    def test_the_official_numbers(self):
        assert sum(SESSION_SIZES) == 164_866
        assert sum(SESSION_SIZES[s - 1] for s in TRAIN_SESSIONS) == 119_894
        assert sum(SESSION_SIZES[s - 1] for s in TEST_SESSIONS) == 44_972
        assert len(range(0, 44_972, 20)) == 2249


class TestTracks:
    def test_ni(self, packed):
        stream = domain_stream("NI", load(packed))
        assert stream.sizes() == [(50, 150)] * 8
        assert not stream.multi_head
        assert torch.equal(stream.labels, torch.from_numpy(LABEL))
        assert [len(v) for v in stream.validation] == [8]

    def test_multi_task_nc(self, packed):
        data = load(packed)
        stream = domain_stream("Multi-Task-NC", data)
        assert [len(task.classes) for task in stream] == [10] + 8 * [5]
        assert sorted(stream.class_order) == list(range(50))
        assert stream.multi_head
        # Renumbered in order of first appearance: task 0 has 0-9, task 1 has 10-14, ...
        seen = 0
        for index, task in enumerate(stream):
            assert stream.task_classes(index) == list(range(seen, seen + len(task.classes)))
            assert set(stream.labels[task.test_indices].tolist()) == set(stream.task_classes(index))
            seen += len(task.classes)
        assert sum(len(test) for test in stream.tests) == 150

    def test_nic(self, packed):
        data = load(packed)
        stream = domain_stream("NIC", data)
        assert len(stream) == 391
        assert [len(task.classes) for task in stream] == [10] + 390 * [1]
        together = torch.cat([task.train_indices for task in stream]).sort().values
        assert torch.equal(together, (~data.is_test).nonzero()[:, 0])


class TestWrongFiles:
    def test_nowhere(self, tmp_path):
        with pytest.raises(DataNotFoundError, match=r"(?s)core50_128x128\.zip.*NIC_v2_391"):
            load_core50(None)

    def test_missing_sessions_are_named(self, files, tmp_path):
        folder = tmp_path / "core50"
        folder.mkdir()
        tree = folder / "core50_128x128"
        shutil.copytree(files / "core50_128x128", tree)
        shutil.rmtree(tree / "s3")
        shutil.rmtree(tree / "s10")
        (tree / PATHS[220]).unlink()
        with pytest.raises(DataFormatError, match=r"s3 is missing.*s10 is missing.*check_counts"):
            load_core50(folder)
        (folder / "paths.pkl").write_bytes(pickle.dumps(PATHS))
        message = (
            r"sessions s3, s10 are missing; 1 of 50 images of s5, 1 of 50 images of s11 are missing "
            r"\(the first: s3/o1/C_03_01_000\.png\)"
        )
        (tree / PATHS[500]).unlink()
        with pytest.raises(DataFormatError, match=message):
            load(folder)

    def test_too_few_images_of_a_session(self, packed):
        with pytest.raises(DataFormatError, match=r"incomplete: s1: 50 of 14989; s2: 50 of 14986"):
            load_core50(packed)

    def test_labels_that_disagree_with_the_image_count(self, packed, tmp_path):
        folder = copy(packed, tmp_path, ["core50_imgs.npz", "LUP.pkl", "paths.pkl"])
        table = pickle.loads((packed / "labels.pkl").read_bytes())
        table["ni"][0][2].pop()
        (folder / "labels.pkl").write_bytes(pickle.dumps(table))
        with pytest.raises(
            DataFormatError, match=r"LUP.pkl: NI, experience 2: 50 images but 49 lab"
        ):
            load(folder)

    @pytest.mark.parametrize("key, track", [("ni", "NI"), ("nc", "Multi-Task-NC")])
    def test_a_label_that_is_another_objects(self, packed, tmp_path, key, track):
        folder = copy(packed, tmp_path, ["core50_imgs.npz", "LUP.pkl", "paths.pkl"])
        table = pickle.loads((packed / "labels.pkl").read_bytes())
        table[key][0][-1][4] = 33
        (folder / "labels.pkl").write_bytes(pickle.dumps(table))
        with pytest.raises(DataFormatError, match=rf"{track}, test: .*object 5 has label"):
            load(folder)

    def test_a_position_beyond_the_images(self, packed, tmp_path):
        folder = copy(packed, tmp_path, ["core50_imgs.npz", "labels.pkl", "paths.pkl"])
        table = pickle.loads((packed / "LUP.pkl").read_bytes())
        table["nicv2_391"][0][9][0] = 550
        (folder / "LUP.pkl").write_bytes(pickle.dumps(table))
        with pytest.raises(DataFormatError, match=r"NIC, experience 9: position 550 .* 550 images"):
            load(folder)

    def test_another_number_of_experiences(self, packed, tmp_path):
        folder = copy(packed, tmp_path, ["core50_imgs.npz", "labels.pkl", "paths.pkl"])
        table = pickle.loads((packed / "LUP.pkl").read_bytes())
        table["ni"][0].pop()
        (folder / "LUP.pkl").write_bytes(pickle.dumps(table))
        with pytest.raises(DataFormatError, match=r"ni, run 0: 8 lists, not 8 experiences and"):
            load(folder)

    def test_a_packed_archive_of_other_images(self, packed, tmp_path):
        folder = copy(packed, tmp_path, ["LUP.pkl", "labels.pkl", "paths.pkl"])
        archive = folder / "core50_imgs.npz"
        np.savez(archive, x=np.zeros((3, 128, 128, 3), np.uint8))
        with pytest.raises(DataFormatError, match=r"holds 3 images, paths\.pkl names 550"):
            load(folder)
        np.savez(archive, x=np.zeros((550, 32, 32, 3), np.uint8))
        with pytest.raises(DataFormatError, match=r"not uint8 \(N, 128, 128, 3\)"):
            load(folder)
        archive.write_bytes((packed / "core50_imgs.npz").read_bytes()[:5000])
        with pytest.raises(DataFormatError, match="no complete archive with an array x"):
            load(folder)

    def test_no_lists_and_no_pickle_of_code(self, packed, files, tmp_path):
        folder = copy(packed, tmp_path, ["core50_imgs.npz", "paths.pkl"])
        with pytest.raises(DataFormatError, match=r"no protocol lists\. Put there LUP\.pkl"):
            load(folder)
        (folder / "LUP.pkl").write_bytes(b"cos\nsystem\n(S'true'\ntR.")
        shutil.copy(packed / "labels.pkl", folder)
        with pytest.raises(DataFormatError, match=r"asks for .*system, refused"):
            load(folder)

    def test_a_text_list_with_a_strange_line(self, files, tmp_path):
        folder = copy(files, tmp_path, ["core50_128x128", "NIC_v2_391"])
        inner = folder / "batches_filelists" / "NI_inc" / "run0"
        shutil.copytree(files / "batches_filelists" / "NI_inc" / "run0", inner)
        stream = domain_stream("NI", load(folder))
        assert len(stream) == 8
        with pytest.raises(ValueError, match="no lists for the track Multi-Task-NC"):
            domain_stream("Multi-Task-NC", load(folder))
        (inner / "train_batch_03_filelist.txt").write_text("s1/o1/C_01_01_999.png 0\n")
        with pytest.raises(
            DataFormatError, match=r"train_batch_03.*record 0: .*_999\.png 0' is no im"
        ):
            load(folder)
        (inner / "test_filelist.txt").unlink()
        (inner / "train_batch_03_filelist.txt").write_text(f"{PATHS[0]} 0\n")
        with pytest.raises(DataFormatError, match=r"test_filelist\.txt: there is no such file"):
            load(folder)

    def test_a_name_that_says_two_objects(self, packed, tmp_path):
        folder = copy(packed, tmp_path, ["core50_imgs.npz", "LUP.pkl", "labels.pkl"])
        wrong = ["s1/o1/C_01_02_000.png", *PATHS[1:]]
        (folder / "paths.pkl").write_bytes(pickle.dumps(wrong))
        with pytest.raises(DataFormatError, match="Keep the names"):
            load(folder)
