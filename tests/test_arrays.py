"""Beams and delays: a plane wave is one beam, an echo one delay, and nothing is lost either way."""

import math

import pytest
import torch

from wirelessgym.arrays import from_beams, from_delays, to_beams, to_delays

ROWS, COLUMNS = 3, 4


def plane_wave(row_cycles, column_cycles):
    """A wave over a panel whose antenna n has column n // ROWS and row n % ROWS."""
    antenna = torch.arange(ROWS * COLUMNS)
    cycles = row_cycles * (antenna % ROWS) + column_cycles * (antenna // ROWS)
    return torch.polar(torch.ones(antenna.shape), 2 * math.pi * cycles)


@pytest.mark.parametrize(("row", "column"), [(0, 0), (1, 0), (0, 1), (2, 3)])
def test_a_plane_wave_of_whole_cycles_over_the_panel_is_one_beam(row, column):
    beams = to_beams(plane_wave(row / ROWS, column / COLUMNS), ROWS, COLUMNS)
    expected = torch.zeros(ROWS * COLUMNS, dtype=torch.complex64)
    expected[column * ROWS + row] = math.sqrt(ROWS * COLUMNS)
    torch.testing.assert_close(beams, expected, atol=1e-5, rtol=0)


def test_polarisations_keep_to_themselves():
    wave = plane_wave(1 / ROWS, 2 / COLUMNS)
    beams = to_beams(torch.cat([wave, torch.zeros_like(wave)]), ROWS, COLUMNS)
    torch.testing.assert_close(beams, torch.cat([to_beams(wave, ROWS, COLUMNS), torch.zeros_like(wave)]))


def test_an_echo_after_whole_samples_is_one_delay():
    subcarrier = torch.arange(8)
    echo = torch.polar(torch.ones(8), -2 * math.pi * 3 * subcarrier / 8)
    expected = torch.zeros(8, dtype=torch.complex64)
    expected[3] = math.sqrt(8)
    torch.testing.assert_close(to_delays(echo), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("dim", [1, -1])
def test_there_and_back_changes_nothing_and_energy_is_kept(dim, generator):
    shape = (5, 2 * ROWS * COLUMNS, 7) if dim == 1 else (5, 7, 2 * ROWS * COLUMNS)
    h = torch.randn(shape, dtype=torch.complex64, generator=generator)
    for there, back in (
        (lambda x: to_beams(x, ROWS, COLUMNS, dim), lambda x: from_beams(x, ROWS, COLUMNS, dim)),
        (lambda x: to_delays(x, dim), lambda x: from_delays(x, dim)),
    ):
        torch.testing.assert_close(back(there(h)), h)
        torch.testing.assert_close(there(h).norm(), h.norm())
        assert not torch.allclose(there(h), h, atol=0.1)


def test_antennas_and_subcarriers_lie_on_the_last_axis_unless_told(generator):
    h = torch.randn(3, 4, ROWS * COLUMNS, dtype=torch.complex64, generator=generator)
    torch.testing.assert_close(to_beams(h, ROWS, COLUMNS), to_beams(h, ROWS, COLUMNS, dim=2))
    torch.testing.assert_close(from_beams(h, ROWS, COLUMNS), from_beams(h, ROWS, COLUMNS, dim=2))
    torch.testing.assert_close(to_delays(h), to_delays(h, dim=2))
    torch.testing.assert_close(from_delays(h), from_delays(h, dim=2))
