"""Turned panels: rotations, polarisation and element patterns against the vectors that TR 38.901, section 7.1, draws."""

import math

import pytest
import torch

from wirelessgym.channel.geometry import direction, element_amplitude, panel_field, seen_from


def some(shape, low, high, seed):
    return low + (high - low) * torch.rand(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


ZENITH, AZIMUTH = some(50, 0.1, math.pi - 0.1, 1), some(50, -math.pi, math.pi, 2)
ORIENTATION = some((50, 3), -math.pi, math.pi, 3)  # bearing, downtilt and slant


def about(axis, angle):
    """Rotation matrices about one axis, shape (..., 3, 3)."""
    turn = torch.zeros(*angle.shape, 3, 3, dtype=torch.float64)
    turn[..., axis, axis] = 1
    one, other = (axis + 1) % 3, (axis + 2) % 3
    turn[..., one, one], turn[..., other, other] = angle.cos(), angle.cos()
    turn[..., other, one], turn[..., one, other] = angle.sin(), -angle.sin()
    return turn


def rotation(orientation):
    """Slant, then downtilt, then bearing."""
    bearing, tilt, slant = orientation.unbind(-1)
    return about(2, bearing) @ about(1, tilt) @ about(0, slant)


def vector(zenith, azimuth):
    return torch.stack(direction(zenith, azimuth), -1)


def unit_vectors(zenith, azimuth):
    """In the direction of growing zenith, and of growing azimuth."""
    up = torch.stack((zenith.cos() * azimuth.cos(), zenith.cos() * azimuth.sin(), -zenith.sin()), -1)
    return up, torch.stack((-azimuth.sin(), azimuth.cos(), torch.zeros_like(azimuth)), -1)


def degrees(*angles):
    return torch.deg2rad(torch.tensor(angles, dtype=torch.float64))


def test_directions_count_from_the_zenith_and_from_the_x_axis():
    zenith, azimuth = degrees(0, 90, 90, 180), degrees(0, 0, 90, 0)
    expected = torch.tensor([[0, 0, 1], [1, 0, 0], [0, 1, 0], [0, 0, -1]], dtype=torch.float64)
    torch.testing.assert_close(vector(zenith, azimuth), expected, atol=1e-12, rtol=0)


@pytest.mark.parametrize("orientation", [ORIENTATION, ORIENTATION * torch.tensor([1, 1, 0])], ids=["slanted", "upright"])
def test_a_panel_is_turned_by_slant_then_downtilt_then_bearing(orientation):
    local, _, _ = seen_from(orientation, ZENITH, AZIMUTH)
    torch.testing.assert_close(torch.stack(local, -1), (rotation(orientation).mT @ vector(ZENITH, AZIMUTH)[..., None])[..., 0])


def test_a_panel_tilted_down_looks_down():
    (ahead, _, _), _, _ = seen_from(degrees(0, 10, 0), degrees(100, 90, 80), degrees(0, 0, 0))
    assert ahead.argmax() == 0


@pytest.mark.parametrize("orientation", [ORIENTATION, ORIENTATION * torch.tensor([1, 1, 0])], ids=["slanted", "upright"])
def test_polarisation_turns_as_the_panels_unit_vectors_do(orientation):
    local, cosine, sine = seen_from(orientation, ZENITH, AZIMUTH)
    local_up, _ = unit_vectors(local[2].acos(), torch.atan2(local[1], local[0]))
    global_up = (rotation(orientation) @ local_up[..., None])[..., 0]
    up, across = unit_vectors(ZENITH, AZIMUTH)
    torch.testing.assert_close(cosine, (up * global_up).sum(-1))
    torch.testing.assert_close(sine, (across * global_up).sum(-1))


def test_looking_along_the_panels_own_axis_polarisation_does_not_turn():
    nothing = torch.zeros(1, dtype=torch.float64)
    _, *turn = seen_from(torch.zeros(1, 3, dtype=torch.float64), nothing, nothing)
    assert [part.item() for part in turn] == [1, 0]


@pytest.mark.parametrize(
    ("zenith_deg", "azimuth_deg", "gain_dbi"),
    [
        (90, 0, 8),
        (90, 32.5, 5),
        (90, -32.5, 5),
        (57.5, 0, 5),
        (122.5, 0, 5),
        (90, 65, -4),
        (122.5, 32.5, 2),
        (90, 180, -22),
        (0, 0, -22),
    ],
)
def test_an_elements_gain_falls_with_the_square_of_the_angle_to_30_db_below_its_peak(zenith_deg, azimuth_deg, gain_dbi):
    amplitude = element_amplitude(direction(degrees(zenith_deg), degrees(azimuth_deg)), "38.901")
    assert 20 * math.log10(amplitude.item()) == pytest.approx(gain_dbi, abs=1e-6)
    assert element_amplitude(direction(degrees(zenith_deg), degrees(azimuth_deg)), "omni").item() == 1


def test_an_element_has_a_gain_however_its_direction_is_rounded():
    rounded = torch.tensor([[1 + 1e-6, 0, 0], [-1 - 1e-6, 0, 0], [0, 0, 1 + 1e-6], [0, 0, -1 - 1e-6]])
    assert bool(element_amplitude(rounded.unbind(-1), "38.901").isfinite().all())


def test_a_slant_shares_the_field_between_polarisations_and_loses_nothing():
    slants = (-math.pi / 4, 0.0, math.pi / 4)
    zenith_field, azimuth_field, local = panel_field(ZENITH, AZIMUTH, ORIENTATION, "38.901", slants)
    power = (zenith_field.square() + azimuth_field.square()).sqrt()
    torch.testing.assert_close(power, element_amplitude(local, "38.901")[:, None].expand(-1, 3))
    # Crossed elements are orthogonal, and an upright panel's vertical element has no azimuth component.
    crossed = zenith_field[:, 0] * zenith_field[:, 2] + azimuth_field[:, 0] * azimuth_field[:, 2]
    torch.testing.assert_close(crossed, torch.zeros_like(crossed), atol=1e-12, rtol=0)
    upright = panel_field(ZENITH, AZIMUTH, torch.zeros(3, dtype=torch.float64), "omni", (0.0, math.pi / 2))
    torch.testing.assert_close(upright[0], torch.tensor([[1.0, 0.0]], dtype=torch.float64).expand(50, -1), atol=1e-12, rtol=0)
    torch.testing.assert_close(upright[1], torch.tensor([[0.0, 1.0]], dtype=torch.float64).expand(50, -1), atol=1e-12, rtol=0)
