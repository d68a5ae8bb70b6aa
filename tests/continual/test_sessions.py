"""The stand-in's sessions: disjoint parts, looks, and what they do to images."""

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance

from relcl_lib.continual.sessions import (
    LOOKS,
    TEST_SESSIONS,
    TRAIN_SESSIONS,
    Look,
    load_sessions,
    session_look,
    stand_in,
)
from relcl_lib.data.images import ImageData, load_images


def marked(classes=3, train=17, test=7, side=8):
    """Images that are all one grey: 4 times their number in their class, plus their class."""

    def split(n):
        labels = torch.arange(classes).repeat(n)
        number = torch.arange(n).repeat_interleave(classes)
        value = (40 + 4 * number + labels).byte()
        return value[:, None, None, None].expand(-1, 3, side, side).contiguous(), labels

    return ImageData("cifar10", *split(train), *split(test), tuple("abc"[:classes]), "made up")


def smooth(n=4, side=32, channels=3):
    """Smooth colour ramps with a bright disc, on which a rotation or a blur does something."""
    y, x = torch.meshgrid(*2 * (torch.linspace(-1, 1, side),), indexing="ij")
    disc = ((x - 0.3) ** 2 + y**2 < 0.2).float()
    planes = [(1 + x) / 2, (1 + y) / 2, disc][:channels]
    shades = torch.linspace(0.3, 0.9, n)[:, None, None, None]
    return (255 * shades * torch.stack(planes)).byte()


class TestParts:
    def test_they_are_disjoint_equal_and_in_file_order(self, monkeypatch):
        monkeypatch.setattr(
            "relcl_lib.continual.sessions.LOOKS", dict.fromkeys(range(1, 12), Look())
        )
        data = stand_in(marked())
        assert data.name == "CORe50-standin(cifar10)"
        assert data.sizes == {"train": 3 * 8 * 2, "test": 3 * 3 * 2}
        assert data.video_length == 2
        value = data.images[:, 0, 0, 0].long() - 40
        assert torch.equal(value % 4, data.labels)
        for sessions, per_video in ((TRAIN_SESSIONS, 2), (TEST_SESSIONS, 2)):
            for label in range(3):
                for part, session in enumerate(sessions):
                    here = (data.sessions == session) & (data.labels == label)
                    numbers = (value[here] // 4).tolist()
                    assert numbers == list(range(part * per_video, (part + 1) * per_video))

    def test_it_is_the_same_every_time(self):
        assert stand_in(marked()).fingerprint == stand_in(marked()).fingerprint
        other = stand_in(marked(side=9))
        assert other.fingerprint != stand_in(marked()).fingerprint

    def test_fifty_classes_at_most_and_300_images(self):
        data = stand_in(
            ImageData(
                "cifar100",
                torch.zeros(60 * 8, 1, 2, 2, dtype=torch.uint8),
                torch.arange(60).repeat(8),
                torch.zeros(60 * 3, 1, 2, 2, dtype=torch.uint8),
                torch.arange(60).repeat(3),
                tuple(map(str, range(60))),
                "made up",
            )
        )
        assert data.n_classes == 50
        assert data.sizes == {"train": 400, "test": 150}
        many = marked(classes=1, train=8 * 301, test=3)
        assert stand_in(many).video_length == 300

    def test_too_few_images_are_named(self):
        with pytest.raises(ValueError, match="cifar10: a class has 7 images, fewer than the 8"):
            stand_in(marked(train=7))

    def test_digits(self):
        data = load_sessions("digits")
        assert data.name == "CORe50-standin(digits)"
        assert (data.video_length, data.sizes) == (17, {"train": 1360, "test": 330})
        assert data.images.shape[1:] == (1, 8, 8)
        assert data.source == "embedded"


def test_a_set_without_sessions_keeps_its_images(monkeypatch):
    given = marked()
    monkeypatch.setattr("relcl_lib.continual.sessions.load_images", lambda name, root: given)
    data = load_sessions("mnist")
    assert torch.equal(data.images[~data.is_test], given.train_images)
    assert torch.equal(data.labels[data.is_test], given.test_labels)
    assert data.sizes == given.sizes


class TestLooks:
    def test_test_sessions_stay_inside_the_training_range(self):
        train = np.array([LOOKS[s] for s in TRAIN_SESSIONS])
        test = np.array([LOOKS[s] for s in TEST_SESSIONS])
        assert (train.min(0) <= test).all() and (test <= train.max(0)).all()
        assert len({LOOKS[s] for s in range(1, 12)}) == 11

    @pytest.mark.parametrize("session", range(1, 12))
    def test_every_session_shows_images_in_its_own_way(self, session):
        images = smooth()
        shown = session_look(images, LOOKS[session])
        assert shown.shape == images.shape and shown.dtype == torch.uint8
        assert torch.equal(shown, images) == (session == 1)
        chunked = session_look(images, LOOKS[session], chunk=3)
        assert torch.equal(chunked, shown)

    @pytest.mark.parametrize(
        "look, enhance",
        [
            (Look(brightness=0.55), ImageEnhance.Brightness),
            (Look(contrast=0.55), ImageEnhance.Contrast),
            (Look(saturation=0.2), ImageEnhance.Color),
        ],
    )
    def test_light_and_colour_are_pillows(self, look, enhance):
        images = smooth()
        factor = min(look[:3])
        for image, shown in zip(images, session_look(images, look), strict=True):
            given = Image.fromarray(image.permute(1, 2, 0).numpy())
            expected = np.asarray(enhance(given).enhance(factor)).astype(int)
            assert np.abs(shown.permute(1, 2, 0).numpy().astype(int) - expected).max() <= 3

    def test_a_rotation_is_pillows_away_from_the_border(self):
        images = smooth(2)
        shown = session_look(images, Look(rotation=20))
        for image, ours in zip(images, shown, strict=True):
            given = Image.fromarray(image.permute(1, 2, 0).numpy())
            turned = given.rotate(20, resample=Image.Resampling.BILINEAR)
            gap = np.asarray(turned).astype(int) - ours.permute(1, 2, 0).numpy().astype(int)
            assert np.abs(gap[8:24, 8:24]).mean() < 4
        assert (
            session_look(
                torch.full((1, 3, 16, 16), 200, dtype=torch.uint8), Look(rotation=20)
            ).min()
            > 190
        )

    def test_a_blur_grows_with_the_image(self):
        def edge(side):
            image = torch.zeros(1, 1, side, side, dtype=torch.uint8)
            image[..., side // 2 :] = 255
            row = session_look(image, Look(blur=2.0))[0, 0, side // 2].float()
            return ((row > 13) & (row < 242)).sum().item()

        assert edge(8) < edge(64) < edge(128)
        flat = torch.full((1, 3, 64, 64), 120, dtype=torch.uint8)
        assert torch.equal(session_look(flat, Look(blur=1.2)), flat)

    def test_grey_stays_grey(self):
        image = load_images("digits").train_images[:5]
        for look in LOOKS.values():
            assert session_look(image, look).shape == image.shape
