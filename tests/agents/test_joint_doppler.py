"""Plane waves found between bins, their Doppler spectra and their joint prediction, against closed forms and dense matrices."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from wirelessgym.agents._doppler import FREQUENCIES
from wirelessgym.agents._joint_doppler import Band, Overlapping, band, overlapping, own_directions, posterior, to_band
from wirelessgym.agents._plane_waves import PlaneWaves, find_plane_waves

PAST, FUTURE, HIGHEST = 16, 4, 0.13
SIZES = [8, 4, 24]
CPU = torch.device("cpu")


def gaussian(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.complex64, generator=torch.Generator().manual_seed(seed))


def waves_at(*place: tuple[float, float, float], sizes: list[int] | None = None) -> PlaneWaves:
    where = torch.tensor(place)[None]
    present = torch.ones(1, len(place), dtype=torch.bool)
    return PlaneWaves(where, present, tuple(sizes or SIZES))


def snapshots_of(found: PlaneWaves, num_snapshots: int, noise_power: float, seed: int = 1) -> Tensor:
    """Unit power per entry and wave, amplitudes Gaussian from snapshot to snapshot."""
    entries = found.values().shape[-1]
    amplitude = gaussian(1, num_snapshots, found.values().shape[1], seed=seed) * math.sqrt(entries)
    return amplitude @ found.values() + math.sqrt(noise_power) * gaussian(1, num_snapshots, entries, seed=seed + 1)


def within() -> Band:
    return band(PAST, FUTURE, HIGHEST, CPU)


def turned(seen: Overlapping, spectrum: Tensor, turns: int) -> Tensor:
    own = own_directions(seen, spectrum, within())
    for _ in range(turns):
        spectrum = own.turn(spectrum)
    return spectrum


def two_in_one_bin() -> tuple[Overlapping, PlaneWaves, Tensor]:
    """Two waves two thirds of a bin apart, of different Doppler shifts, as they are seen in two polarisations with noise."""
    found = waves_at((0.11, 0.06, -0.2), (0.11, 0.06, -0.2 + 0.67 / SIZES[2]))
    doppler = torch.tensor([0.07, -0.04])
    tones = torch.polar(torch.ones(2, PAST), 2 * math.pi * doppler[:, None] * torch.arange(PAST))
    amplitude = gaussian(2, 2, 1, seed=6) * tones * math.sqrt(found.values().shape[-1])  # (polarisations, waves, past)
    slots = torch.einsum("pwt,wn->tpn", amplitude, found.values()[0])
    slots = slots + 0.5 * gaussian(*slots.shape, seed=7)
    snapshots = to_band(slots.movedim(0, -1), within().basis).movedim(-1, 0)[None]
    return overlapping(found, snapshots, torch.tensor([0.25])), found, slots[None]


@pytest.mark.parametrize("sizes", [[8, 4, 24], [1, 1, 40], [5, 1, 1]], ids=str)
def test_a_wave_between_the_bins_is_found_where_it_is(sizes: list[int]) -> None:
    place = tuple((0.37 + k) / size if size > 1 else 0.0 for k, size in enumerate(sizes))
    snapshots = snapshots_of(waves_at(place, sizes=sizes), 6, 0.01).unflatten(2, sizes)
    found = find_plane_waves(snapshots, torch.tensor([0.01]), most=20, false_alarms=0.01)
    assert found.present.tolist() == [[True]]
    off = (found.place[0, 0] - torch.tensor(place) + 0.5) % 1 - 0.5
    assert (off.abs() * torch.tensor(sizes) < 0.02).all()


def test_a_place_is_as_exact_as_the_cramer_rao_bound_allows() -> None:
    # Per axis: 1 / (2 * SNR * snapshots * entries * (2 pi)^2 * mean square place), as if the others were known; they are
    # counted from the centre and so do not interfere.
    noise_power, num_snapshots, place = 0.1, 6, (0.21, -0.13, 0.333)
    truth = waves_at(place)
    errors = []
    for seed in range(24):
        snapshots = snapshots_of(truth, num_snapshots, noise_power, seed=2 * seed + 10)
        power = (snapshots @ truth.values().mH).abs().square().mean() / truth.values().shape[-1]
        found = find_plane_waves(snapshots.unflatten(2, SIZES), torch.tensor([noise_power]), most=20, false_alarms=0.01)
        off = (found.place[0, 0] - torch.tensor(place) + 0.5) % 1 - 0.5
        errors.append(off * (power / noise_power).sqrt())
    square = torch.stack(errors).square().mean(0)
    spread = torch.tensor([(size**2 - 1) / 12 for size in SIZES])
    bound = 1 / (2 * num_snapshots * math.prod(SIZES) * (2 * math.pi) ** 2 * spread)
    assert (square / bound < 1.9).all() and (square / bound > 0.5).all()


def test_noise_is_taken_for_waves_as_often_as_asked() -> None:
    noise = gaussian(300, 7, math.prod(SIZES), seed=3).unflatten(2, SIZES)
    counts = find_plane_waves(noise, torch.ones(300), most=10, false_alarms=0.5).present.sum(1).float()
    assert 0.2 < counts.mean() < 1.0
    assert find_plane_waves(noise, torch.ones(300), most=10, false_alarms=1e-4).present.float().sum() <= 1


def test_no_more_waves_are_found_than_asked_for() -> None:
    rich = gaussian(3, 4, math.prod(SIZES)).unflatten(2, SIZES)
    assert find_plane_waves(rich, torch.full((3,), 1e-3), most=5, false_alarms=0.1).present.sum(1).tolist() == [5, 5, 5]


def test_two_waves_in_one_bin_are_told_apart() -> None:
    truth = waves_at((0.11, 0.06, -0.2), (0.11, 0.06, -0.2 + 0.67 / SIZES[2]))
    snapshots = snapshots_of(truth, 7, 0.01).unflatten(2, SIZES)
    found = find_plane_waves(snapshots, torch.tensor([0.01]), most=20, false_alarms=0.01)
    values = found.values()[0]
    amplitude = torch.linalg.lstsq(values.mT, truth.values()[0].mT).solution
    assert (values.mT @ amplitude - truth.values()[0].mT).abs().square().sum() < 0.01


def test_the_band_holds_every_wave_within_it() -> None:
    here = within()
    frequency = torch.linspace(-HIGHEST, HIGHEST, 101)
    wave = torch.polar(torch.ones(101, PAST), 2 * math.pi * frequency[:, None] * (torch.arange(PAST) - (PAST - 1) / 2))
    assert here.basis.shape[1] < PAST / 1.5
    kept = to_band(wave, here.basis).abs().square().sum(-1) / PAST
    assert kept.min() > 1 - 2e-3
    torch.testing.assert_close(here.slots.mT[[0, -1]].to(wave.dtype), wave[[0, -1]], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(to_band(here.slots.mT, here.basis).real, here.past.mT, rtol=1e-4, atol=1e-4)


def test_amplitudes_are_predicted_as_by_the_dense_linear_mmse_estimator() -> None:
    seen, found, slots = two_in_one_bin()
    here = within()
    spectrum = torch.rand(1, 2, FREQUENCIES, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    past, future = posterior(seen, spectrum, here)
    # Everything at once, over slots and entries, in double precision: covariance of entry n at slot t with entry m at slot s.
    time = torch.arange(PAST + FUTURE, dtype=torch.float64) - (PAST - 1) / 2
    angle = 2 * math.pi * time[:, None] * torch.linspace(-HIGHEST, HIGHEST, FREQUENCIES, dtype=torch.float64)
    tones = torch.polar(torch.ones_like(angle), angle)
    level = seen.level.flatten()[0].item()
    each = torch.einsum("wf,tf,sf->wts", spectrum[0].to(tones.dtype), tones, tones.conj()) * level**2
    values = found.values()[0].to(tones.dtype)
    gram = values.conj() @ values.mT + 1e-3 * torch.eye(2)
    root = torch.linalg.cholesky(gram)
    whitened = torch.linalg.solve_triangular(
        root, values.conj() @ slots[0, :, 0].to(tones.dtype).mT, upper=False
    )  # (waves, past)
    blocks = torch.einsum("pi,its,qi->ptqs", root.mH, each[:, :PAST, :PAST], root.mH.conj()).flatten(2).flatten(0, 1)
    solved = torch.linalg.solve(blocks + level**2 * torch.eye(2 * PAST), whitened.flatten()).view(2, PAST)
    expected = torch.einsum("its,pi,ps->it", each[:, :, :PAST], root.mH.conj(), solved)
    scale = expected.abs().max()
    assert (past[0, :, :, 0] - expected[:, :PAST]).abs().max() < 0.03 * scale  # the rest lies outside the band's directions
    assert (future[0, :, :, 0] - expected[:, PAST:]).abs().max() < 0.03 * scale


def test_spectra_of_overlapping_waves_go_to_the_right_wave() -> None:
    seen, _, _ = two_in_one_bin()
    spectrum = turned(seen, torch.full((1, 2, FREQUENCIES), 30.0, dtype=torch.float64), 4)[0]
    centre = (spectrum * torch.linspace(-HIGHEST, HIGHEST, FREQUENCIES)).sum(-1) / spectrum.sum(-1)
    torch.testing.assert_close(centre, torch.tensor([0.07, -0.04], dtype=torch.float64), rtol=0, atol=0.01)


def test_no_turn_of_the_spectra_lowers_the_likelihood() -> None:
    seen, _, _ = two_in_one_bin()
    here = within()

    def likelihood(spectrum: Tensor) -> float:
        each = torch.einsum("wf,sf,tf->wst", spectrum[0], here.past, here.past)
        covariance = torch.block_diag(*each) + torch.kron(seen.error[0].contiguous(), torch.eye(each.shape[-1]))
        stacked, covariance = seen.amplitude[0].flatten(0, 1), covariance.to(torch.complex128)
        fit = (stacked.conj() * torch.linalg.solve(covariance, stacked)).real.sum() / stacked.shape[1]
        return -float(fit + torch.linalg.slogdet(covariance).logabsdet)

    spectrum = torch.full((1, 2, FREQUENCIES), 3.0, dtype=torch.float64)
    before = likelihood(spectrum)
    for _ in range(3):
        spectrum = turned(seen, spectrum, 1)
        after = likelihood(spectrum)
        assert after > before - 1e-3
        before = after


def test_what_waves_cannot_explain_counts_as_noise() -> None:
    snapshots = gaussian(1, 7, 1, math.prod(SIZES), seed=8)
    seen = overlapping(waves_at((0.1, 0.2, 0.3)), snapshots, torch.tensor([1e-4]))
    assert seen.level.square().item() == pytest.approx(1.0, rel=0.1)
    louder = overlapping(waves_at((0.1, 0.2, 0.3)), snapshots, torch.tensor([4.0]))
    assert louder.level.square().item() == pytest.approx(4.0)
