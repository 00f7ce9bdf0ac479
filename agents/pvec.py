"""Vector Prony prediction: the whole channel as one vector that obeys a linear recursion over time.

Source: Yin, Wang, Liu, Gesbert, "Addressing the curse of mobility in massive MIMO with Prony-based angular-delay domain
channel predictions", IEEE J. Sel. Areas Commun. 38(12), 2020 (arXiv 1912.11330), the vector Prony algorithm.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from wirelessgym.agent import Agent
from wirelessgym.fields import Obs
from wirelessgym.spec import TaskSpec

from ._prediction import (
    ar_coefficients,
    ar_weights,
    check_order,
    estimated_noise_power,
    from_bins,
    lagged_products,
    num_future,
    predict,
    to_bins,
)


@dataclass(frozen=True)
class PVEC(Agent):
    """Fit ``h_T = [h_{T-p} ... h_{T-1}] a`` by least squares over all entries and iterate the recursion.

    Exact without noise when the channel has at most ``order`` Doppler shifts.

    Args:
        order: p.
        windows: ``"last"``: fit the last slot only, as published; ``"all"``: fit every slot with p slots before it,
            which is steadier under noise.
        denoise: first shrink each beam-delay bin by ``max(power - noise, 0) / power`` (not as published); a hidden
            noise power is estimated from the weakest bins.
    """

    order: int = 8
    windows: Literal["last", "all"] = "last"
    denoise: bool = False
    tasks = ("channel_prediction",)

    def act(self, task: TaskSpec, obs: Obs) -> Tensor:
        """Return the prediction, shape (batch, future, antennas, subcarriers), complex64.

        Raises:
            ValueError: unless 1 <= order < past, or for unknown ``windows``.
        """
        if self.windows not in ("last", "all"):
            raise ValueError(f"windows: expected 'last' or 'all', got {self.windows!r}")
        num_past = obs["csi"].shape[1]
        check_order(self.order, num_past)
        csi = _denoised(task, obs) if self.denoise else obs["csi"]
        products = lagged_products(csi.flatten(2))
        coefficients = ar_coefficients(products, self.order, last_window=self.windows == "last")
        return predict(ar_weights(coefficients, num_past, num_future(task)), csi)


def _denoised(task: TaskSpec, obs: Obs) -> Tensor:
    bins = to_bins(task, obs["csi"])
    noise = obs["noise_power"] if "noise_power" in obs else estimated_noise_power(bins).float()
    power = bins.abs().square().mean(1, keepdim=True)
    tiny = torch.finfo(power.dtype).tiny
    return from_bins(task, bins * ((power - noise[:, None, None, None]).clamp_min(0) / power.clamp_min(tiny)))
