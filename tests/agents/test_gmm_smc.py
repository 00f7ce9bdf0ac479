"""Detection with an uncertain channel: what its posterior leaves unknown is noise, coloured by the array."""

from __future__ import annotations

import pytest
import torch
from wirelessgym.agents.gmm_smc import whitened

from wirelessgym import make_agent, make_task


def test_white_errors_are_noise_of_the_users_summed_variance() -> None:
    task = make_task("detection", scenario="rayleigh-32", num_users=3, snr_db=8, horizon=1)
    _, obs = task.reset(range(4), seed=1)
    error = torch.tensor([0.1, 0.0, 0.3, 0.05])
    covariance = error[:, None, None, None] * torch.eye(32, dtype=torch.complex64).expand(4, 3, 32, 32)
    told = obs | {"noise_power": obs["noise_power"] + 3 * error}
    found = make_agent("smc").act(task, whitened(obs["received"], obs["csi"].mT, covariance, obs["noise_power"]))
    torch.testing.assert_close(found, make_agent("smc").act(task, told), rtol=0, atol=2e-3)


def test_whitened_noise_is_white_and_of_power_one() -> None:
    generator = torch.Generator().manual_seed(2)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, dtype=torch.complex64, generator=generator)

    root = normal(1, 2, 4, 4)
    covariance = root @ root.mH
    symbols = torch.polar(torch.ones(20000, 2), 6.28 * torch.rand(20000, 2, generator=generator))
    errors = (root[0, None] @ normal(20000, 2, 4, 1))[..., 0]
    disturbance = (errors * symbols[..., None]).sum(1) + 0.5 * normal(20000, 4)
    white = whitened(disturbance[None], torch.ones(1, 2, 4).to(torch.complex64), covariance, torch.tensor([0.25]))["received"][0]
    torch.testing.assert_close(white.mT @ white.conj() / 20000, torch.eye(4).to(torch.complex64), rtol=0, atol=0.05)


def test_a_known_channel_is_left_to_smc() -> None:
    task = make_task("detection", scenario="uma-nlos-32", num_users=4, snr_db=8, horizon=1, llrs=True)
    _, obs = task.reset(range(3), seed=1)
    ours, plain = make_agent("gmm_smc").act(task, obs), make_agent("smc").act(task, obs)
    assert isinstance(ours, dict) and isinstance(plain, dict)
    assert all(torch.equal(ours[key], plain[key]) for key in plain)


@pytest.mark.parametrize(("csi_snr_db", "share"), [(0, 0.75), (10, 0.75)])
def test_knowing_what_channels_are_like_lowers_the_error(csi_snr_db: float, share: float) -> None:
    task = make_task("detection", scenario="uma-nlos-32", num_users=6, snr_db=15, csi_snr_db=csi_snr_db, horizon=1)
    state, obs = task.reset(range(24), seed=4242)
    error = {name: task.score(state, make_agent(name).act(task, obs))["nmse"].mean() for name in ("gmm_smc", "smc")}
    assert error["gmm_smc"] < share * error["smc"]


def test_hidden_noise_power_and_too_few_paths_or_passes_are_refused() -> None:
    task = make_task("detection", scenario="uma-nlos-16", csi_snr_db=10, noise_power_observable=False)
    with pytest.raises(ValueError, match="needs the noise power"):
        make_agent("gmm_smc").act(task, task.reset(range(1), seed=0)[1])
    with pytest.raises(ValueError, match="paths: expected an integer >= 1, got 0"):
        make_agent("gmm_smc", paths=0)
    with pytest.raises(ValueError, match="passes: expected an integer >= 1, got 0"):
        make_agent("gmm_smc", passes=0)
