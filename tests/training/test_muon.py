"""Muon: what its steps are, and that it learns faster than what it replaces."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from vsr.training.muon import Muon, orthogonalise


@pytest.mark.parametrize("shape", [(1, 32, 288), (3, 48, 27), (2, 16, 16), (4, 1, 9)], ids=str)
def test_orthogonalised_matrices_turn_without_stretching(shape: tuple[int, int, int]):
    matrices = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    singular = torch.linalg.svdvals(orthogonalise(matrices))
    assert singular.min() > 0.5
    assert singular.max() < 1.3


def test_orthogonalising_keeps_the_directions():
    """Singular vectors stay; only their lengths become alike."""
    matrix = torch.randn(1, 8, 20, generator=torch.Generator().manual_seed(2))
    left, _, right = torch.linalg.svd(matrix, full_matrices=False)
    lengths = left.mT @ orthogonalise(matrix) @ right.mT
    off_diagonal = lengths - torch.diag_embed(torch.diagonal(lengths, dim1=-2, dim2=-1))
    assert off_diagonal.abs().max() < 1e-4


def test_zero_matrices_stay_zero():
    assert torch.equal(orthogonalise(torch.zeros(2, 3, 4)), torch.zeros(2, 3, 4))


def test_a_first_step_has_the_size_of_adams():
    """Whatever the gradient's size, a weight moves by 0.2 learning rates in the root mean square (Liu et al., 2025)."""
    weight = nn.Parameter(torch.zeros(32, 32, 3, 3))
    weight.grad = 1e-6 * torch.randn(32, 32, 3, 3, generator=torch.Generator().manual_seed(3))
    Muon([weight], lr=0.01).step()
    assert weight.detach().square().mean().sqrt().item() == pytest.approx(0.002, rel=0.25)


def test_vectors_learn_by_adam():
    """Biases and slopes: bit for bit near to torch's own Adam."""
    ours, theirs = (nn.Parameter(torch.linspace(-1, 1, 7)) for _ in range(2))
    optimizers = Muon([ours], lr=0.01, betas=(0.9, 0.99)), torch.optim.Adam([theirs], lr=0.01, betas=(0.9, 0.99))
    for number in range(5):
        for parameter, optimizer in zip((ours, theirs), optimizers, strict=True):
            parameter.grad = torch.sin(parameter.detach() * 3 + number)
            optimizer.step()
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-7)


def test_state_survives_saving():
    """Three steps, saved and loaded in the middle, are the three steps."""

    def make() -> tuple[nn.Parameter, nn.Parameter]:
        generator = torch.Generator().manual_seed(4)
        return nn.Parameter(torch.randn(4, 3, 3, 3, generator=generator)), nn.Parameter(torch.zeros(4))

    def advance(parameters: tuple[nn.Parameter, ...], optimizer: Muon, number: int) -> None:
        for parameter in parameters:
            parameter.grad = torch.cos(parameter.detach() + number)
        optimizer.step()

    straight, broken = make(), make()
    optimizer = Muon(straight)
    for number in range(3):
        advance(straight, optimizer, number)
    first = Muon(broken)
    advance(broken, first, 0)
    second = Muon(broken)
    second.load_state_dict(first.state_dict())
    advance(broken, second, 1)
    advance(broken, second, 2)
    assert all(torch.equal(a, b) for a, b in zip(straight, broken, strict=True))


def test_muon_learns_an_ill_conditioned_filter_sooner_than_adam():
    """What it is here for: inputs whose channels nearly agree, as the colours of pictures do."""

    def train(build: type[torch.optim.Optimizer], rate: float) -> float:
        generator = torch.Generator().manual_seed(5)
        torch.manual_seed(5)
        net = nn.Sequential(nn.Conv2d(3, 16, 3), nn.LeakyReLU(0.1), nn.Conv2d(16, 4, 3))
        optimizer = build(net.parameters(), lr=rate)
        teacher = torch.randn(4, 3, 5, 5, generator=generator)
        tail: list[Tensor] = []
        for _ in range(80):
            grey = torch.rand(8, 1, 12, 12, generator=generator)
            pictures = grey + 0.05 * torch.rand(8, 3, 12, 12, generator=generator)
            loss = (net(pictures) - torch.conv2d(pictures, teacher)).square().mean()
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            tail.append(loss.detach())
        return torch.stack(tail[-10:]).mean().item()

    adam = min(train(torch.optim.Adam, rate) for rate in (1e-3, 3e-3, 1e-2))
    assert train(Muon, 2e-2) < adam
