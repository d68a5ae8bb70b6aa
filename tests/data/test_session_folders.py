"""Images of one's own with sessions: what is read, in which order, and what each fault is called."""

import numpy as np
import pytest
import torch
from PIL import Image

from relcl_lib.__main__ import main
from relcl_lib.continual.sessions import load_sessions
from relcl_lib.continual.tracks import domain_stream
from relcl_lib.data.download import DataFormatError, DataNotFoundError
from relcl_lib.data.session_folders import load_session_folders
from relcl_lib.lab.records import read_records
from relcl_lib.papers.drl.parameters import DrlParameters
from relcl_lib.papers.drl.run import DrlRun

SESSIONS = ("morning", "test_garden", "evening 10", "evening 2", "Test_cellar")
CLASSES = ("cup", "box", "ball")


def colour(session, name, number=0):
    return 20 * SESSIONS.index(session) + 70 * CLASSES.index(name) + number


def write(folder, session, name, number=0, size=(8, 8), ending="png"):
    file = folder / session / name / f"{number}.{ending}"
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (colour(session, name, number), 0, 255)).save(file)
    return file


@pytest.fixture
def kitchen(tmp_path):
    """Five sessions of three classes, 3 images each; no ball in the morning."""
    folder = tmp_path / "kitchen"
    for session in SESSIONS:
        for name in CLASSES:
            if (session, name) != ("morning", "ball"):
                for number in (1, 10, 2):
                    write(folder, session, name, number)
    (folder / "licence.txt").write_text("mine")
    (folder / ".DS_Store").write_text("x")
    (folder / "morning" / "cup" / "Thumbs.db").write_text("x")
    return folder


def test_sessions_classes_and_images_are_in_the_order_of_their_names(kitchen):
    data = load_session_folders(kitchen)
    assert data.name == "kitchen"
    assert data.class_names == ("ball", "box", "cup")
    order = "sessions 1 evening 2, 2 evening 10, 3 morning, 4 Test_cellar, 5 test_garden"
    assert data.note == f"{order}; not read: licence.txt"
    assert (data.train_sessions, data.test_sessions) == ([1, 2, 3], (4, 5))
    assert data.sizes == {"train": 24, "test": 18}
    assert data.video_length == 3
    assert data.images.shape == (42, 3, 8, 8)
    names = {1: "evening 2", 2: "evening 10", 3: "morning", 4: "Test_cellar", 5: "test_garden"}
    for session, name in names.items():
        for label, kind in enumerate(data.class_names):
            found = data.images[(data.sessions == session) & (data.labels == label)]
            numbers = [] if (session, kind) == (3, "ball") else [1, 2, 10]
            assert found[:, 0, 0, 0].tolist() == [colour(name, kind, n) for n in numbers]
            assert (found[:, 2] == 255).all()


def test_a_name_may_hold_any_digit(kitchen):
    (kitchen / "morning").rename(kitchen / "room 2²")  # a digit that is no number
    assert "3 room 2²" in load_session_folders(kitchen).note


def test_a_session_that_tests_makes_other_content(kitchen):
    before = load_session_folders(kitchen).fingerprint
    (kitchen / "Test_cellar").rename(kitchen / "attic")
    (kitchen / "evening 2").rename(kitchen / "test 2")
    assert load_session_folders(kitchen).fingerprint != before


def test_a_folder_is_named_or_looked_for(kitchen, tmp_path, monkeypatch):
    expected = load_session_folders(kitchen).fingerprint
    kitchen.rename(tmp_path / "own")
    assert load_session_folders(tmp_path).fingerprint == expected
    monkeypatch.setenv("RELCL_DATA", str(tmp_path))
    assert load_sessions("own").fingerprint == expected
    monkeypatch.setattr("relcl_lib.data.download.search_folders", lambda name, root: [])
    with pytest.raises(DataNotFoundError, match="SESSION/CLASS/IMAGE"):
        load_sessions("own")
    monkeypatch.undo()
    with pytest.raises(DataNotFoundError, match="is no folder"):
        load_sessions("own", tmp_path / "missing")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataNotFoundError, match="'' is no folder"):  # not the current one
        load_sessions("own", "")


def test_sizes_are_brought_to_one_where_one_is_given(kitchen):
    write(kitchen, "morning", "cup", 3, size=(12, 9), ending="jpg")
    with pytest.raises(DataFormatError, match=r"3\.jpg: it has 12x9 pixels, .* 8x8.*image_size=64"):
        load_session_folders(kitchen)
    assert load_session_folders(kitchen, side=16).images.shape == (43, 3, 16, 16)


def test_images_stand_upright_as_a_camera_noted_it(kitchen):
    upright = load_session_folders(kitchen)
    for file in kitchen.glob("*/*/*.png"):
        with Image.open(file) as image:
            turned = image.convert("RGB").transpose(Image.Transpose.ROTATE_90)
        turned.putpixel((0, 7), (9, 9, 9))  # the upper left, once it is turned back
        notes = Image.Exif()
        notes[274] = 6  # the camera was held on its side
        turned.save(file, exif=notes)
    found = load_session_folders(kitchen).images
    assert (found[:, :, 0, 0] == 9).all()
    assert torch.equal(found[:, :, 1:], upright.images[:, :, 1:])


def test_folders_without_an_image_are_told(kitchen):
    (kitchen / "evening 2" / "mug").mkdir()
    (kitchen / "attic").mkdir()
    data = load_session_folders(kitchen)
    assert data.class_names == ("ball", "box", "cup")
    assert "without an image: attic, evening 2/mug; not read: licence.txt" in data.note


def test_grey_and_transparent_images_have_three_channels(kitchen):
    for mode, number in (("L", 4), ("RGBA", 5), ("P", 6)):
        Image.new(mode, (8, 8)).save(kitchen / "morning" / "cup" / f"{number}.png")
    assert load_session_folders(kitchen).images.shape[1:] == (3, 8, 8)


def broken(kitchen):
    (kitchen / "morning" / "cup" / "7.png").write_bytes(b"no image")


def remove(*parts):
    def act(kitchen):
        for session in SESSIONS:
            if session.lower().startswith("test") == parts[1]:
                for file in (kitchen / session / parts[0]).glob("*"):
                    file.unlink()

    return act


def sixteen_bits(kitchen):
    pixels = np.full((8, 8), 1000, np.uint16)
    Image.fromarray(pixels).save(kitchen / "morning" / "cup" / "7.png")


def rename(old, new):
    return lambda kitchen: (kitchen / old).rename(kitchen / new)


def no_tests(kitchen):
    rename("test_garden", "garden")(kitchen)
    rename("Test_cellar", "cellar")(kitchen)


def all_test(kitchen):
    for session in SESSIONS:
        if not session.lower().startswith("test"):
            rename(session, f"test {session}")(kitchen)


@pytest.mark.parametrize(
    "fault, says",
    [
        (broken, r"7\.png: it cannot be decoded as an image"),
        (sixteen_bits, r"7\.png: its pixels have more than 8 bits .*mode I.*Save it with 8 bits"),
        (no_tests, "kitchen: no session tests. Begin the name of one"),
        (all_test, "kitchen: all sessions test, none trains"),
        (remove("cup", True), "class 'cup' is in no session that tests"),
        (remove("cup", False), "class 'cup' is in no session that trains"),
        (
            lambda k: write(k, "morning", "cup").rename(k / "0.png"),
            "0.png: an image outside a sess",
        ),
        (
            lambda k: write(k, "morning", "cup").rename(k / "morning" / "0.png"),
            "beside the folders",
        ),
        (lambda k: (k / "morning" / "cup" / "notes.txt").write_text("x"), r"notes\.txt: no image"),
        (lambda k: (k / "morning" / "cup" / "more").mkdir(), "more: a folder where images"),
    ],
)
def test_each_fault_is_named_with_its_place(kitchen, fault, says):
    fault(kitchen)
    with pytest.raises(DataFormatError, match=says):
        load_session_folders(kitchen)


def test_one_class_and_no_image(tmp_path):
    for session in ("a", "test b"):
        write(tmp_path, "morning", "cup").rename(tmp_path / "x.png")
        (tmp_path / session / "cup").mkdir(parents=True)
        (tmp_path / "x.png").rename(tmp_path / session / "cup" / "x.png")
    with pytest.raises(DataFormatError, match=r"one class alone \(cup\)"):
        load_session_folders(tmp_path)
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(DataFormatError, match="no image in SESSION/CLASS/"):
        load_session_folders(empty)


def test_the_tracks_are_of_its_sessions(kitchen):
    data = load_session_folders(kitchen)
    ni, nc, nic = (domain_stream(track, data) for track in ("NI", "Multi-Task-NC", "NIC"))
    assert sorted(len(task.train_indices) for task in ni) == [6, 9, 9]
    assert [len(task.classes) for task in nc] == [1, 1, 1]
    assert all(len(test) == 6 for test in nc.tests)
    assert len(nic) == 8  # 3 x 3 videos, one of them absent
    for stream in (ni, nc, nic):
        shown = torch.cat([task.train_indices for task in stream])
        assert sorted(shown.tolist()) == (~data.is_test).nonzero()[:, 0].tolist()


def test_a_run_and_its_record_name_the_folder_and_no_path(kitchen, tmp_path):
    given = {"dataset": "own", "data_root": str(kitchen), "width": 2, "device": "cpu"}
    given |= {"image_size": 16, "method": "ER", "batch_size": 4, "precision": "float32"}
    run = DrlRun(
        DrlParameters.create(given, profile="full"),
        DrlRun.load_data(DrlParameters.create(given, profile="full")),
    )
    record = run.train().record()
    assert (record.experiment, record.dataset["name"]) == ("ni_own", "kitchen")
    assert record.protocol == "stand-in"
    assert record.dataset["sizes"] == {"train": 24, "test": 18}
    assert str(tmp_path) not in record.model_dump_json()
    assert np.isfinite(record.metrics["test_acc"])


@pytest.mark.usefixtures("one_process")
def test_a_sweep_takes_it_by_its_place(kitchen, tmp_path, capsys):
    words = ["bounds", "--dataset", "own", "--data-root", str(kitchen), "--device", "cpu"]
    words += ["--set", "width=2", "precision=float32", "batch_size=4", "--methods", "FINE-TUNE"]
    words += ["--results", str(tmp_path / "out"), "--work-dir", str(tmp_path / "work")]
    assert main(["drl", "sweep", *words]) == 0, capsys.readouterr().out
    assert {r.experiment for r in read_records(tmp_path / "out")} == {
        "ni_own",
        "multi_task_nc_own",
        "nic_own",
    }
