"""The random view A of section 3.4 of the HPCR specification, against PIL and against formulas."""

import colorsys
import itertools
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageEnhance

from relcl_lib.continual.augment import COLOUR_OPERATIONS, Augmentation, crop_and_flip, two_views

BRIGHTNESS, CONTRAST, SATURATION, HUE = range(4)
NEVER = torch.zeros(1, dtype=torch.bool)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def images(n=1, height=32, width=32, seed=0):
    """Smooth random images of 8-bit values in [0, 1]."""
    coarse = torch.rand(n, 3, 5, 5, generator=generator(seed))
    smooth = F.interpolate(coarse, (height, width), mode="bilinear", align_corners=True)
    return (255 * smooth).round() / 255


def to_pil(image):
    return Image.fromarray((255 * image).round().byte().permute(1, 2, 0).numpy())


def from_pil(image):
    return torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1).float() / 255


def drawn(n=1, **changes):
    """Parameters that leave an image of 32 x 32 as it is, except for what is changed."""
    identity = {
        "box": torch.tensor([[0.0, 0.0, 32.0, 32.0]]).repeat(n, 1),
        "flip": torch.zeros(n, dtype=torch.bool),
        "jitter": torch.zeros(n, dtype=torch.bool),
        "grey": torch.zeros(n, dtype=torch.bool),
        "factors": torch.tensor([[1.0, 1.0, 1.0, 0.0]]).repeat(n, 1),
        "order": torch.arange(4).repeat(n, 1),
    }
    return {**identity, **changes}


boxes = st.tuples(st.integers(1, 32), st.integers(1, 32)).flatmap(
    lambda size: st.tuples(
        st.integers(0, 32 - size[0]),
        st.integers(0, 32 - size[1]),
        st.just(size[0]),
        st.just(size[1]),
    )
)


class TestCropAndFlip:
    @given(boxes, st.booleans())
    @settings(max_examples=80, deadline=None)
    def test_is_crop_then_resize_then_flip(self, box, flip):
        batch, (left, top, w, h) = images(seed=sum(box)), box
        found = crop_and_flip(batch, torch.tensor([box], dtype=torch.float32), torch.tensor([flip]))
        cut = batch[:, :, top : top + h, left : left + w]
        expected = F.interpolate(cut, (32, 32), mode="bilinear", align_corners=False)
        torch.testing.assert_close(
            found, expected.flip(-1) if flip else expected, rtol=0, atol=2e-5
        )

    @given(boxes)
    @settings(max_examples=80, deadline=None)
    def test_is_pils_within_8_bit_rounding(self, box):
        batch, (left, top, w, h) = images(seed=sum(box)), box
        found = crop_and_flip(batch, torch.tensor([box], dtype=torch.float32), NEVER)
        cut = to_pil(batch[0]).crop((left, top, left + w, top + h))
        expected = from_pil(cut.resize((32, 32), Image.Resampling.BILINEAR))
        assert (found[0] - expected).abs().max() <= 1.5 / 255

    def test_the_whole_image_is_the_identity(self):
        batch = images(3, 20, 28)
        whole = torch.tensor([0.0, 0.0, 28.0, 20.0]).repeat(3, 1)
        flip = torch.tensor([False, True, False])
        found = crop_and_flip(batch, whole, flip)
        torch.testing.assert_close(found[0], batch[0], rtol=0, atol=1e-5)
        torch.testing.assert_close(found[1], batch[1].flip(-1), rtol=0, atol=1e-5)

    def test_half_precision_keeps_its_pixels(self):
        batch, whole = images(1, 84, 84).bfloat16(), torch.tensor([[0.0, 0.0, 84.0, 84.0]])
        found = crop_and_flip(batch, whole, torch.tensor([False]))
        torch.testing.assert_close(found, batch, rtol=0, atol=0.01)

    def test_every_image_has_its_own_box(self):
        batch = images(2)
        both = torch.tensor([[3.0, 4.0, 10.0, 20.0], [0.0, 1.0, 30.0, 9.0]])
        flip = torch.tensor([True, False])
        together = crop_and_flip(batch, both, flip)
        for i in range(2):
            alone = crop_and_flip(batch[i : i + 1], both[i : i + 1], flip[i : i + 1])
            assert torch.equal(together[i], alone[0])


class TestColours:
    @pytest.mark.parametrize("factor", [0.6, 0.9, 1.0, 1.4])
    @pytest.mark.parametrize(
        "kind, enhance",
        [
            (BRIGHTNESS, ImageEnhance.Brightness),
            (CONTRAST, ImageEnhance.Contrast),
            (SATURATION, ImageEnhance.Color),
        ],
    )
    def test_factors_are_pils_within_8_bit_rounding(self, kind, enhance, factor):
        for image in images(4, seed=kind):
            expected = from_pil(enhance(to_pil(image)).enhance(factor))
            found = COLOUR_OPERATIONS[kind](image.unsqueeze(0), torch.tensor([factor])).clamp(0, 1)
            # PIL rounds the grey image (and its mean) before it blends, then the result.
            assert (found[0] - expected).abs().max() <= 1.5 / 255

    @pytest.mark.parametrize("turns", [-0.1, -0.03, 0.0, 0.07, 0.1])
    def test_hue_turns_the_colour_circle(self, turns):
        image = torch.rand(1, 3, 6, 6, generator=generator(4))
        found = COLOUR_OPERATIONS[HUE](image, torch.tensor([2 * math.pi * turns]))
        for y in range(6):
            for x in range(6):
                h, s, v = colorsys.rgb_to_hsv(*image[0, :, y, x].tolist())
                expected = colorsys.hsv_to_rgb((h + turns) % 1, s, v)
                assert found[0, :, y, x].tolist() == pytest.approx(expected, abs=2e-4)

    def test_the_four_follow_the_drawn_order(self):
        orders = list(itertools.permutations(range(4)))
        batch = images(len(orders), seed=1)
        factors = torch.tensor([[1.4, 0.6, 1.3, 0.4]]).repeat(len(orders), 1)
        factors += 0.1 * torch.rand(factors.shape, generator=generator(2))
        jitter = torch.ones(len(orders), dtype=torch.bool)
        jitter[7] = False
        values = {"factors": factors, "order": torch.tensor(orders), "jitter": jitter}
        given = batch.clone()
        found = Augmentation().apply(batch, drawn(len(orders), **values))
        assert torch.equal(batch, given)
        for i, order in enumerate(orders):
            expected = batch[i : i + 1]
            for kind in order if jitter[i] else ():
                expected = COLOUR_OPERATIONS[kind](expected, factors[i, kind : kind + 1]).clamp(
                    0, 1
                )
            torch.testing.assert_close(found[i : i + 1], expected, rtol=0, atol=1e-5)
        assert (found[0] - found[1]).abs().max() > 0.02

    def test_neither_shapes_nor_operations_depend_on_what_was_drawn(self):
        """On tensors without values, where reading one to decide is an error: a GPU never waits."""
        parameters = Augmentation().draw(5, (8, 8), generator())
        parameters = {name: value.to("meta") for name, value in parameters.items()}
        found = Augmentation().apply(torch.empty(5, 3, 8, 8, device="meta"), parameters)
        assert found.shape == (5, 3, 8, 8)

    def test_no_jitter_leaves_the_colours(self):
        batch = images(2)
        factors = torch.tensor([[1.4, 0.6, 1.3, 0.4]]).repeat(2, 1)
        found = Augmentation().apply(batch, drawn(2, factors=factors))
        torch.testing.assert_close(found, batch, rtol=0, atol=1e-5)

    def test_grey_has_three_equal_channels_of_the_usual_weights(self):
        batch = images(2)
        found = Augmentation().apply(batch, drawn(2, grey=torch.tensor([True, False])))
        weights = torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)
        expected = (batch[0] * weights).sum(0)
        for channel in found[0]:
            torch.testing.assert_close(channel, expected, rtol=0, atol=1e-4)
        torch.testing.assert_close(found[1], batch[1], rtol=0, atol=1e-5)


class TestDraw:
    N = 20_000

    @pytest.fixture(scope="class")
    def many(self):
        return Augmentation().draw(self.N, (32, 32), generator())

    def test_frequencies(self, many):
        for name, chance in (("flip", 0.5), ("jitter", 0.8), ("grey", 0.2)):
            assert many[name].float().mean().item() == pytest.approx(chance, abs=0.02)

    def test_factors_are_uniform_in_their_ranges(self, many):
        reach = torch.tensor([0.4, 0.4, 0.4, 0.2 * math.pi])
        place = (many["factors"] - torch.tensor([1.0, 1, 1, 0])) / reach  # in [-1, 1]
        assert place.abs().max() <= 1 + 1e-6
        assert (place.mean(0).abs() < 0.02).all()
        assert ((place.square().mean(0) - 1 / 3).abs() < 0.02).all()
        assert (torch.corrcoef(place.T) - torch.eye(4)).abs().max() < 0.03

    def test_all_orders_occur_alike(self, many):
        assert (many["order"].sort(1).values == torch.arange(4)).all()
        code = (many["order"] * torch.tensor([64, 16, 4, 1])).sum(1)
        shares = code.unique(return_counts=True)[1] / self.N
        assert len(shares) == 24
        assert (shares - 1 / 24).abs().max() < 0.01

    def test_boxes_lie_inside_and_have_the_papers_distribution(self, many):
        left, top, w, h = many["box"].unbind(1)
        assert torch.equal(many["box"], many["box"].round())
        assert (left >= 0).all() and (top >= 0).all() and (w >= 1).all() and (h >= 1).all()
        assert (left + w <= 32).all() and (top + h <= 32).all()
        # Both ranges hold up to the rounding of the sides to whole pixels.
        assert (w * h / 1024).min() > 0.18 and (w / h).max() < 1.45 and (h / w).max() < 1.45

        # One image at a time, exactly as section 3.4 words it.
        rng, areas, ratios = np.random.default_rng(0), [], []
        for _ in range(5000):
            for _ in range(10):
                area = rng.uniform(0.2, 1) * 1024
                ratio = math.exp(rng.uniform(math.log(3 / 4), math.log(4 / 3)))
                one_w, one_h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
                if 0 < one_w <= 32 and 0 < one_h <= 32:
                    break
            else:
                one_w = one_h = 32
            areas.append(one_w * one_h / 1024)
            ratios.append(math.log(one_w / one_h))
        levels = np.linspace(0.05, 0.95, 10)
        for found, expected in (((w * h / 1024), areas), ((w / h).log(), ratios)):
            gap = np.quantile(found.numpy(), levels) - np.quantile(expected, levels)
            assert np.abs(gap).max() < 0.03
        # The place is uniform over all that fit.
        slack = 32 - w
        assert (left / slack)[slack > 5].mean().item() == pytest.approx(0.5, abs=0.02)

    def test_an_impossible_ratio_falls_back_to_the_whole_image(self):
        wide = Augmentation(scale=(0.9, 1.0), ratio=(3.0, 4.0)).draw(5, (20, 24), generator())
        assert (wide["box"] == torch.tensor([0.0, 0, 24, 20])).all()

    def test_no_flips_where_told(self):
        assert not Augmentation(flip=0.0).draw(500, (8, 8), generator())["flip"].any()


class TestCalls:
    def test_deterministic_and_leaves_its_input(self):
        batch = images(16)
        before = batch.clone()
        first, again = (Augmentation()(batch, generator(3)) for _ in range(2))
        assert torch.equal(first, again)
        assert torch.equal(batch, before)
        assert not torch.equal(Augmentation()(batch, generator(4)), first)

    @given(st.integers(0, 10**6), st.sampled_from([8, 16, 32]))
    @settings(max_examples=20, deadline=None)
    def test_output_stays_an_image(self, seed, side):
        batch = torch.rand(20, 3, side, side, generator=generator(seed)).round()  # extreme colours
        views = Augmentation()(batch, generator(seed))
        assert views.shape == batch.shape
        assert torch.isfinite(views).all()
        assert views.min() >= -1e-6 and views.max() <= 1 + 1e-6

    def test_two_views_of_a_seed_are_the_same_alone_and_beside_others(self):
        groups = [images(3 * n, seed=n).view(3, n, 3, 32, 32) for n in (4, 6)]
        generators = [[generator(10 * g + s) for s in range(3)] for g in range(2)]
        together = two_views(Augmentation(), groups, generators)
        assert [tuple(group.shape) for group in together] == [(3, 8, 3, 32, 32), (3, 12, 3, 32, 32)]
        for s in range(3):
            own = [[generator(10 * g + s)] for g in range(2)]
            alone = two_views(Augmentation(), [group[s : s + 1] for group in groups], own)
            for ours, theirs, clean in zip(together, alone, groups, strict=True):
                torch.testing.assert_close(ours[s], theirs[0], rtol=0, atol=1e-6)
                assert torch.equal(
                    ours[s, : clean.shape[1]], clean[s]
                )  # the clean views come first
