"""Linear MMSE prediction of every beam-delay bin with a Doppler spectrum of its own, averaged over shifted grids.

The spectrum is a maximum-likelihood one from the bin's series and its neighbours', which hold the same rays. Weak bins share one.

Sources: Yin, Wang, Liu, Gesbert, IEEE J. Sel. Areas Commun. 38(12), 2020 (the bins); Stoica, Babu, Li, IEEE Trans. Signal
Process. 59(2), 2011, equation 44 (the iteration, with the noise known); Kay, "Fundamentals of Statistical Signal Processing:
Estimation Theory", 1993, section 12.7 (the predictor); Coifman, Donoho, 1995 (the average).
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from wirelessgym.agent import Agent
from wirelessgym.fields import Obs
from wirelessgym.spec import TaskSpec

from ._cycle_spinning import spun
from ._strong_bins import predict_bins


@dataclass(frozen=True)
class DopplerLMMSE(Agent):
    """Estimate Doppler spectra per bin, predict with the Wiener filters that belong to them, average over half-bin shifts.

    Args:
        shifted_axes: how many of the axes delay, column and row are shifted by half a bin: 2 to this power predictions are
            averaged; 0 for none.
    """

    shifted_axes: int = 2
    tasks = ("channel_prediction",)

    def act(self, task: TaskSpec, obs: Obs) -> Tensor:
        """Return the prediction, shape (batch, future, antennas, subcarriers), complex64.

        A hidden noise power is estimated from the bins.

        Raises:
            ValueError: for shifted_axes out of 0 to 3.
        """
        if not 0 <= self.shifted_axes <= 3:
            raise ValueError(f"shifted_axes: expected 0 to 3, got {self.shifted_axes}")
        return spun(task, obs["csi"], lambda csi: predict_bins(task, {**obs, "csi": csi}), self.shifted_axes)
