"""The indoor office of TR 38.901, table 7.2-2: 120 m x 50 m, one station in the middle of a long wall."""

import torch

from wirelessgym.channel import Channel
from wirelessgym.registry import load_scenario


def test_users_fill_the_office_and_walk_in_every_direction():
    channel = Channel(load_scenario("uma-nlos-16", {"model": "inh", "speed_kmh": 3}), 8, 1)
    drop = channel.sample(torch.zeros(60, dtype=torch.int64), torch.arange(60))
    assert torch.equal(drop.bs_position_m, torch.tensor([0.0, 0.0, 3.0]).expand(60, 3))
    across, along, height = drop.user_position_m.flatten(0, 1).unbind(-1)
    assert (height == 1).all()
    for position, low, high in ((across, 0, 50), (along, -60, 60)):
        assert low <= position.min() < low + 2 and high - 2 < position.max() <= high
    heading = torch.atan2(*drop.velocity_mps.flatten(0, 1)[:, :2].flip(-1).unbind(-1))
    assert heading.min() < -3 and heading.max() > 3
    assert (torch.histc(heading, 8, -torch.pi, torch.pi) - 60).abs().max() < 5 * 60**0.5
    torch.testing.assert_close(drop.velocity_mps.norm(dim=-1), torch.full((60, 8), 3 / 3.6))
