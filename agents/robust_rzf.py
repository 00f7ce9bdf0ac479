"""Regularised zero-forcing that counts what isn't known of the channels as noise.

The estimate of user k is scaled by ``g_k = s_k / (s_k + e)``, s_k being the channel's mean power per antenna as the observation
tells it, which leaves an error of variance ``g_k e`` in every entry. The precoder of least mean square error then adds the errors
of all users to the regularisation.

Sources: Dabbagh, Love, "Multiple antenna MMSE based downlink precoding with quantized feedback or channel mismatch", IEEE Trans.
Commun. 56(11), 2008; the same for uplink receivers, Bjornson, Hoydis, Sanguinetti, "Massive MIMO networks", 2017, section 4.1.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from wirelessgym.agent import Agent
from wirelessgym.fields import Obs
from wirelessgym.spec import TaskSpec
from wirelessgym.subcarriers import over_subcarriers

from ._linear import active_users, equal_power, mmse_loading, regularised_directions, wants_structure
from .robust_wmmse import LEAST_SIGNAL
from .rzf import RZF


@dataclass(frozen=True)
class RobustRZF(Agent):
    """Precode with ``w_k`` along row k of ``(H H^H + (a + sum_k g_k e) I)^-1 H``, H being the scaled estimates.

    Powers are equal, and ``a`` is users times noise power over transmit power. With perfect knowledge (no ``csi_noise_power``
    observed) it is `rzf`.
    """

    tasks = ("precoding",)

    @over_subcarriers
    def act(self, task: TaskSpec, obs: Obs) -> Tensor:
        """Return precoders, shape (batch, users, antennas), complex64, ``sum_k |w_k|^2 = tx_power``.

        Where the task asks for the structure, which knows no errors, return that of `rzf`.
        """
        if "csi_noise_power" not in obs or wants_structure(task):
            return RZF().act(task, obs)
        csi, error = obs["csi"], obs["csi_noise_power"][:, None]
        present = active_users(csi)
        observed = csi.abs().square().mean(-1)
        gain = (observed - error).clamp_min(LEAST_SIGNAL * error) / observed.where(present, 1.0)
        loading = mmse_loading(csi, obs["noise_power"], obs["tx_power"]) + (gain * error * present).sum(-1)
        return equal_power(regularised_directions(csi * gain[..., None], loading), obs["tx_power"])
