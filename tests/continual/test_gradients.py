"""Per-sample gradients against one backward pass a sample; GEM, A-GEM (check 13) and GSS."""

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from states import kept, same

from relcl_lib.continual.gradients import (
    cosines,
    flatten_gradients,
    group_gradients,
    per_sample_gradients,
    project_agem,
    project_gem,
    write_gradient,
)
from relcl_lib.losses import cross_entropy_loss
from relcl_lib.models.taps import tapped_network


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def one_by_one(network, images, labels):
    rows, parameters = [], [p for p in network.parameters() if p.requires_grad]
    network.eval()
    for image, label in zip(images, labels, strict=True):
        loss = cross_entropy_loss(network(image[None])[0], label[None])
        found = torch.autograd.grad(loss, parameters)
        rows.append(torch.cat([g.ravel() for g in found]))
    return torch.stack(rows)


class TestPerSample:
    @pytest.mark.parametrize("backbone, side", [("mlp", 8), ("reduced_resnet18", 8)])
    def test_is_one_backward_a_sample(self, backbone, side):
        network = tapped_network(backbone, 3, (3, side, side), width=4)
        network.train()
        before = kept(network)
        images, labels = draw(6, 3, side, side), torch.tensor([0, 1, 2, 2, 1, 0])
        found = per_sample_gradients(network, images, labels)
        assert network.training
        assert same(before, network)
        torch.testing.assert_close(found, one_by_one(network, images, labels), rtol=1e-4, atol=1e-5)
        chunked = per_sample_gradients(network, images, labels, chunk_size=4)
        torch.testing.assert_close(chunked, found, rtol=1e-4, atol=1e-5)

    def test_frozen_parameters_have_no_column(self):
        network = tapped_network("mlp", 3, (1, 4, 4))
        network.freeze(1)
        found = per_sample_gradients(network, draw(2, 1, 4, 4), torch.tensor([0, 1]))
        assert found.shape == (2, sum(p.numel() for p in network.parameters() if p.requires_grad))
        assert found.shape[1] < sum(p.numel() for p in network.parameters())

    def test_groups_are_means(self):
        network = tapped_network("mlp", 3, (1, 4, 4))
        images, labels = draw(2, 5, 1, 4, 4), torch.randint(3, (2, 5))
        each = per_sample_gradients(network, images.flatten(0, 1), labels.flatten())
        found = group_gradients(network, images, labels)
        torch.testing.assert_close(found, each.view(2, 5, -1).mean(1), rtol=1e-4, atol=1e-6)

    def test_cosines_by_a_double_loop(self):
        left, right = draw(4, 7), draw(3, 7, seed=1)
        left[2] = 0  # a sample fitted perfectly
        right[0] *= 1e-9  # and one fitted well
        for a in range(4):
            for b in range(3):
                norm = float(left[a].norm() * right[b].norm())
                expected = float(left[a] @ right[b]) / norm if norm else 0.0
                assert cosines(left, right)[a, b].item() == pytest.approx(expected, abs=1e-4)
        assert not cosines(left).isnan().any()


def test_flat_gradients_go_back_where_they_came_from():
    network = tapped_network("mlp", 3, (1, 4, 4))
    network(draw(2, 1, 4, 4))[1][0].sum().backward()  # the head is not reached
    parameters = list(network.parameters())
    flat = flatten_gradients([p.grad for p in parameters], parameters)
    assert flat.shape == (sum(p.numel() for p in parameters),)
    assert parameters[-1].grad is None
    write_gradient(parameters, 2 * flat)
    assert torch.equal(flatten_gradients([p.grad for p in parameters], parameters), 2 * flat)
    assert (parameters[-1].grad == 0).all()


class TestAgem:
    def test_a_conflict_is_taken_out(self):
        gradient, reference = draw(50), draw(50, seed=1)
        reference = reference if gradient @ reference < 0 else -reference
        bent = project_agem(gradient, reference)
        assert (bent @ reference).item() == pytest.approx(0, abs=1e-5)
        assert (bent @ gradient).item() > 0

    def test_agreement_changes_nothing(self):
        gradient = draw(50)
        assert torch.equal(project_agem(gradient, gradient + 0.1), gradient)
        assert torch.equal(project_agem(gradient, torch.zeros(50)), gradient)

    def test_several_are_each_by_itself(self):
        gradient, reference = draw(6, 50), draw(6, 50, seed=1)
        together = project_agem(gradient, reference)
        for g, r, found in zip(gradient, reference, together, strict=True):
            torch.testing.assert_close(found, project_agem(g, r))
        assert 0 < (together != gradient).any(1).sum() < 6


class TestGem:
    def test_one_task_is_agem(self):
        gradient, reference = draw(50), draw(50, seed=1)
        reference = reference if gradient @ reference < 0 else -reference
        for scale in (1.0, 1e-4, 1e4):  # the ridge must not depend on the gradients' length
            found = project_gem(scale * gradient, scale * reference[None])
            expected = project_agem(scale * gradient, scale * reference)
            torch.testing.assert_close(found, expected, rtol=0, atol=2e-3 * scale)

    @pytest.mark.parametrize("seed", range(5))
    @pytest.mark.parametrize("margin", [0.0, 0.5])
    def test_is_the_quadratic_program(self, seed, margin):
        references = draw(4, 6, seed=seed)
        gradient = -references.mean(0) + 0.3 * draw(6, seed=seed + 50)
        bent = project_gem(gradient, references, margin=margin)
        gram = (references @ references.T).double().numpy()
        gram += 1e-3 * gram.diagonal().max() * np.eye(4)
        linear = (references @ gradient).double().numpy()
        best = minimize(
            lambda v: v @ gram @ v / 2 + linear @ v,
            np.full(4, margin + 1.0),
            jac=lambda v: gram @ v + linear,
            bounds=[(margin, None)] * 4,
            options={"ftol": 1e-15, "gtol": 1e-12},
        )
        expected = gradient + torch.from_numpy(best.x).float() @ references
        torch.testing.assert_close(bent, expected, rtol=1e-3, atol=1e-3)
        if not margin:
            slack = 2e-3 * references.square().sum(1).max() * best.x.max()
            assert (references @ bent >= -float(slack)).all()

    def test_agreement_changes_nothing(self):
        gradient = draw(20)
        references = torch.stack([gradient, 2 * gradient])
        assert torch.equal(project_gem(gradient, references), gradient)

    def test_a_diverged_training_is_named(self):
        with pytest.raises(ValueError, match="not finite"):
            project_gem(torch.full((3,), -float("nan")), torch.ones(2, 3))
