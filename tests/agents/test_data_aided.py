"""Channels told by decisions: linear estimation from the other slots, neither more nor less."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from wirelessgym.agents._data_aided import groups, reestimate, told_by_data

from wirelessgym import make_agent, make_task

BATCH, SLOTS, USERS, ANTENNAS = 3, 4, 2, 3


def normal(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.complex64, generator=torch.Generator().manual_seed(seed))


def setting(slots: int = SLOTS) -> dict[str, Tensor]:
    root = normal(BATCH, USERS, ANTENNAS, ANTENNAS, seed=1)
    return {
        "mean": normal(BATCH, USERS, ANTENNAS, seed=2),
        "covariance": root @ root.mH,
        "noise_power": torch.tensor([0.1, 0.5, 1.0]),
        "symbols": normal(BATCH, slots, USERS, seed=3),
        "variance": torch.rand(BATCH, slots, USERS, generator=torch.Generator().manual_seed(4)),
    }


def direct(received: Tensor, told: dict[str, Tensor], row: int, slot: int) -> tuple[Tensor, Tensor]:
    """Mean of the channels, and sum of their errors' covariances, from a dense linear model of all slots but one."""
    mean, covariance, noise_power, symbols, variance = (told[name][row] for name in told)
    prior = torch.block_diag(*covariance)
    others = [other for other in range(SLOTS) if other != slot]
    model = torch.cat([torch.kron(symbols[other][None], torch.eye(ANTENNAS)) for other in others])
    second = covariance + mean[:, :, None] * mean[:, None].conj()
    disturbances = [torch.einsum("k,kij->ij", variance[other].to(second), second) for other in others]
    noise = torch.block_diag(*disturbances) + noise_power * torch.eye(len(others) * ANTENNAS)
    gain = prior @ model.mH @ torch.linalg.inv(model @ prior @ model.mH + noise)
    left = torch.cat([received[row, other] for other in others]) - model @ mean.flatten()
    after = (prior - gain @ model @ prior).view(USERS, ANTENNAS, USERS, ANTENNAS)
    return (mean.flatten() + gain @ left).view(USERS, ANTENNAS), torch.einsum("kikj->ij", after)


def test_it_is_the_linear_estimate_from_all_other_slots() -> None:
    told, received = setting(), normal(BATCH, SLOTS, ANTENNAS, seed=5)
    known = reestimate(**told)
    channels = known.channels(received, told["mean"])
    for row in range(BATCH):
        for slot in range(SLOTS):
            mean, unknown = direct(received, told, row, slot)
            torch.testing.assert_close(channels[row, slot], mean, rtol=1e-3, atol=1e-3)
            torch.testing.assert_close(known.unknown[row, slot], unknown, rtol=1e-3, atol=1e-3)


def test_what_a_slot_received_says_nothing_about_its_own_channels() -> None:
    told, received = setting(), normal(BATCH, SLOTS, ANTENNAS, seed=5)
    other = received.clone()
    other[:, 1] += 1
    first, second = (reestimate(**told).channels(y, told["mean"]) for y in (received, other))
    torch.testing.assert_close(first[:, 1], second[:, 1], rtol=1e-3, atol=1e-4)
    assert (first[:, 0] - second[:, 0]).abs().max() > 0.01


def test_one_slot_alone_leaves_what_was_known() -> None:
    told, received = setting(slots=1), normal(BATCH, 1, ANTENNAS, seed=5)
    channels, unknown = told_by_data(received, **told)
    torch.testing.assert_close(channels[:, 0], told["mean"], rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(unknown[:, 0], told["covariance"].sum(1), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("slots", [1, 8, 9, 100])
def test_groups_of_slots_cover_them_once_and_none_of_several_is_alone(slots: int) -> None:
    parts = groups(slots, 32)
    assert [slot for part in parts for slot in range(part.start, part.stop)] == list(range(slots))
    assert all(2 <= part.stop - part.start <= 8 for part in parts) or slots == 1


@pytest.mark.parametrize(("snr_db", "csi_snr_db", "share"), [(20, 10, 0.85), (10, 0, 0.96)])
def test_decisions_as_pilots_lower_the_error(snr_db: float, csi_snr_db: float, share: float) -> None:
    task = make_task("detection", scenario="uma-nlos-32", num_users=8, snr_db=snr_db, csi_snr_db=csi_snr_db, horizon=1)
    state, obs = task.reset(range(24), seed=4242)
    once, more = (
        task.score(state, make_agent("gmm_smc", paths=64, passes=passes).act(task, obs))["nmse"].mean() for passes in (1, 3)
    )
    assert more < share * once
