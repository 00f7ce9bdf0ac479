"""Clusters to rays: what a clustered 3GPP model draws, turned into the gains, phase advances and Doppler shifts of `Rays`.

Source: 3GPP TR 38.901 V19.2, section 7.5, step 11: eq. (7.5-22), (7.5-28), (7.5-29), (7.5-30).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from wirelessgym.channel.geometry import POLARISATION_SLANTS, UserField, direction, panel_field, user_field
from wirelessgym.channel.rays import SUB_CLUSTER_DELAYS, Rays
from wirelessgym.channel.shuffling import take_clusters
from wirelessgym.scenario import Panel

SPEED_OF_LIGHT_MPS = 299_792_458.0


@dataclass(frozen=True)
class LineOfSight:
    """The direct ray of each link.

    Attributes:
        present: shape (batch, users), bool.
        k_factor: linear, shape (batch, users).
        departure: zenith and azimuth at the base station, radian, each (batch, users).
        arrival: zenith and azimuth at the user, likewise.
        distance_m: length of the path, float64, shape (batch, users); 0 leaves the phase at 0.
    """

    present: Tensor
    k_factor: Tensor
    departure: tuple[Tensor, Tensor]
    arrival: tuple[Tensor, Tensor]
    distance_m: Tensor


@dataclass(frozen=True)
class Clusters:
    """What a clustered model draws for (batch, users) links.

    Attributes:
        departure: zenith and azimuth, radian, each (batch, users, clusters, rays).
        arrival: likewise.
        power: power of each cluster, shape (batch, users, clusters).
        delay_s: delay of each cluster, same shape.
        cross_polarisation: power ratio kappa, shape (batch, users, clusters, rays).
        phases: initial phases of the zenith-zenith, zenith-azimuth, azimuth-zenith and azimuth-azimuth components (the first is
            the field at the user, the second at the base station), radian, shape (..., rays, 4).
        orientation: bearing, downtilt and slant of the base station's panel, radian, shape (batch, users, 3).
        velocity_mps: user velocity, shape (batch, users, 3).
        amplitude: path loss and shadowing as an amplitude, shape (batch, users).
        strongest: indices of the two clusters that are split in sub-clusters, shape (batch, users, 2), or None.
        cluster_delay_spread_s: their delay spread, shape (batch, users), or None.
        line_of_sight: the direct ray, or None.
    """

    departure: tuple[Tensor, Tensor]
    arrival: tuple[Tensor, Tensor]
    power: Tensor
    delay_s: Tensor
    cross_polarisation: Tensor
    phases: Tensor
    orientation: Tensor
    velocity_mps: Tensor
    amplitude: Tensor
    strongest: Tensor | None
    cluster_delay_spread_s: Tensor | None
    line_of_sight: LineOfSight | None


def to_rays(clusters: Clusters, panel: Panel, user_panel: Panel, carrier_frequency_hz: float) -> Rays:
    """Return the rays between the base station's panel and upright user panels."""
    wavelength_m = SPEED_OF_LIGHT_MPS / carrier_frequency_hz
    los = clusters.line_of_sight
    amplitude = clusters.amplitude
    if los is not None:
        amplitude = amplitude * torch.where(los.present, torch.rsqrt(los.k_factor + 1), 1.0)
    orientation, slants = clusters.orientation[:, :, None, None], POLARISATION_SLANTS[panel.polarisation]
    zenith_field, azimuth_field, local = panel_field(*clusters.departure, orientation, panel.element, slants)
    ray_amplitude = ((clusters.power / clusters.phases.shape[-2]).sqrt() * amplitude[..., None])[..., None, None]
    user = user_field(*clusters.arrival, user_panel)
    gain = _scattered_gains(clusters, zenith_field, azimuth_field, ray_amplitude, user)
    doppler_hz = _doppler_hz(clusters.arrival, clusters.velocity_mps, wavelength_m)
    horizontal, vertical = panel.spacing_wavelengths * local[1], -panel.spacing_wavelengths * local[2]
    delay_s = clusters.delay_s
    if clusters.strongest is not None and clusters.cluster_delay_spread_s is not None:
        order = _strongest_first(clusters.strongest, delay_s.shape[-1])
        gain = take_clusters(gain, order[:, :, None, None].expand(gain.shape[:-1]))
        horizontal, vertical, doppler_hz = (take_clusters(x, order) for x in (horizontal, vertical, doppler_hz))
        delay_s = _split_delays(delay_s.gather(-1, order), clusters.cluster_delay_spread_s)
    rays = Rays(gain, horizontal, vertical, doppler_hz, delay_s)
    return rays if los is None else _with_direct_ray(rays, clusters, los, panel, user_panel, wavelength_m)


def _scattered_gains(
    clusters: Clusters, zenith_field: Tensor, azimuth_field: Tensor, amplitude: Tensor, user: UserField | None
) -> Tensor:
    """Return gains from the base station's ports to the user's antennas, shape (batch, users, rx, ports, clusters, rays).

    Scattering turns some of either polarisation into the other; eq. (7.5-22).
    """
    phases, leak = clusters.phases[..., None, :], clusters.cross_polarisation.rsqrt()[..., None]
    first, second = zenith_field * amplitude, azimuth_field * leak * amplitude
    real = first * phases[..., 0].cos() + second * phases[..., 1].cos()
    imag = first * phases[..., 0].sin() + second * phases[..., 1].sin()
    if user is not None:
        first, second = first * leak, azimuth_field * amplitude
        azimuth_real = first * phases[..., 2].cos() + second * phases[..., 3].cos()
        azimuth_imag = first * phases[..., 2].sin() + second * phases[..., 3].sin()
        real, imag = (
            user.zenith[..., None] * zenith[..., None, :] + user.azimuth[..., None] * azimuth[..., None, :]
            for zenith, azimuth in ((real, azimuth_real), (imag, azimuth_imag))
        )
    return _at_user_antennas(real, imag, user).movedim((-2, -1), (2, 3))


def _at_user_antennas(real: Tensor, imag: Tensor, user: UserField | None) -> Tensor:
    """Turn gains of user ports (..., rx ports, ports) to those of antennas (..., rx, ports), a column and row apart.

    Without a `UserField` there is one antenna, and gains have no axis for it. Real products, because complex ones round
    differently at a tensor's end.
    """
    if user is None:
        return torch.complex(real, imag)[..., None, :]
    phase = (2 * torch.pi * (user.cycles - user.cycles.round()))[..., None, :, None]  # (..., 1, elements, 1)
    real, imag = real[..., :, None, :], imag[..., :, None, :]
    return torch.complex(
        real * phase.cos() - imag * phase.sin(),
        real * phase.sin() + imag * phase.cos(),
    ).flatten(-3, -2)


def _doppler_hz(arrival: tuple[Tensor, Tensor], velocity_mps: Tensor, wavelength_m: float) -> Tensor:
    x, y, z = direction(*arrival)
    along_x, along_y, along_z = (velocity_mps / wavelength_m)[:, :, None, None].unbind(-1)
    return (x * along_x + y * along_y + z * along_z).double()


def _strongest_first(strongest: Tensor, num_clusters: int) -> Tensor:
    """Cluster order with the two strongest in front and the others as they were, shape (batch, users, clusters)."""
    rank = torch.arange(num_clusters, device=strongest.device).expand(*strongest.shape[:2], -1)
    front = torch.tensor([-2, -1], device=strongest.device).expand_as(strongest)
    return rank.scatter(-1, strongest, front).argsort(-1)


def _split_delays(delay_s: Tensor, spread_s: Tensor) -> Tensor:
    """Delays of the six sub-clusters of the first two clusters, then of the others; eq. (7.5-26)."""
    offsets = torch.tensor(SUB_CLUSTER_DELAYS, device=delay_s.device) * spread_s[..., None]
    return torch.cat([delay_s[..., 0:1] + offsets, delay_s[..., 1:2] + offsets, delay_s[..., 2:]], -1)


def _with_direct_ray(
    rays: Rays, clusters: Clusters, los: LineOfSight, panel: Panel, user_panel: Panel, wavelength_m: float
) -> Rays:
    """Add one more cluster that holds the direct ray (eq. 7.5-29) and nothing else."""
    (zenith_out, azimuth_out), (zenith_in, azimuth_in) = (
        (zenith[..., None, None], azimuth[..., None, None]) for zenith, azimuth in (los.departure, los.arrival)
    )
    slants = POLARISATION_SLANTS[panel.polarisation]
    field, across, local = panel_field(zenith_out, azimuth_out, clusters.orientation[:, :, None, None], panel.element, slants)
    level = torch.where(los.present, (los.k_factor / (los.k_factor + 1)).sqrt(), 0.0) * clusters.amplitude
    # The phase of a path of 10^4 wavelengths needs float64: in float32 it is off by some 10^-3 radian.
    cycles = -los.distance_m / wavelength_m
    phase = (2 * torch.pi * (cycles - cycles.round())).float()
    field, across = field[:, :, 0, 0], across[:, :, 0, 0]  # (batch, users, ports)
    user = user_field(*los.arrival, user_panel)
    if user is None:
        gain = ((level * phase.cos() + 1j * (level * phase.sin()))[..., None] * field)[:, :, None]
    else:
        field = user.zenith[..., None] * field[:, :, None] - user.azimuth[..., None] * across[:, :, None]
        level, phase = level[..., None, None], phase[..., None, None]
        gain = _at_user_antennas(level * phase.cos() * field, level * phase.sin() * field, user)
    num_rays = rays.gain.shape[-1]

    def padded(x: Tensor) -> Tensor:
        return torch.nn.functional.pad(x, (0, num_rays - 1))

    doppler_hz = _doppler_hz((zenith_in, azimuth_in), clusters.velocity_mps, wavelength_m)
    return Rays(
        torch.cat([rays.gain, padded(gain[..., None, None])], -2),
        torch.cat([rays.horizontal, padded(panel.spacing_wavelengths * local[1])], -2),
        torch.cat([rays.vertical, padded(-panel.spacing_wavelengths * local[2])], -2),
        torch.cat([rays.doppler_hz, padded(doppler_hz)], -2),
        torch.cat([rays.delay_s, rays.delay_s.amin(-1, keepdim=True)], -1),
    )
