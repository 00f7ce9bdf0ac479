"""Zero-mean complex Gaussian mixtures: what a noisy observation says about a channel that was drawn from one.

Source: Koller, Fesl, Turan, Utschick, "An asymptotically MSE-optimal estimator based on Gaussian mixture models", IEEE Trans.
Signal Process. 70, 2022 (arXiv 2111.11064), eqs. (22) to (24).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

LARGEST_CHUNK = 2**24  # complex numbers that are held at once for one of the larger intermediate results


@dataclass(frozen=True)
class Mixture:
    """``h ~ sum_k p_k CN(0, U_k diag(l_k) U_k^H)``, kept such that an observation with any noise power costs no inverse.

    Attributes:
        log_weights: logarithms of p, shape (components,), float32.
        vectors: U, shape (components, n, n), complex64, unitary; columns are eigenvectors.
        values: l, shape (components, n), float32, not negative.
    """

    log_weights: Tensor
    vectors: Tensor
    values: Tensor

    @classmethod
    def of(cls, weights: Tensor, covariances: Tensor) -> Mixture:
        """Make one from p, shape (components,), and covariances, shape (components, n, n), complex, Hermitian."""
        values, vectors = torch.linalg.eigh(covariances)
        return cls(weights.clamp_min(torch.finfo(weights.dtype).tiny).log(), vectors.contiguous(), values.clamp_min(0))

    @property
    def size(self) -> int:
        """Entries of a channel, n."""
        return self.values.shape[-1]

    def covariances(self) -> Tensor:
        """Covariance of each component, shape (components, n, n)."""
        return (self.vectors * self.values[:, None]) @ self.vectors.mH

    def log_likelihoods(self, observed: Tensor, error: Tensor) -> Tensor:
        """``log p_k + log CN(y; 0, C_k + e I)`` of each component, nat, without the constant ``-n log pi``.

        Args:
            observed: y, shape (..., n), complex.
            error: e, shape (...), or one that broadcasts to it; positive where a covariance is singular.

        Returns:
            Shape (..., components).
        """
        return self._likelihoods(self._rotated(observed), self.values + error[..., None, None])

    def posterior(self, observed: Tensor, error: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and covariance of the channels that were observed with independent errors.

        The covariance is that of the whole mixture, by the law of total covariance: what each component leaves unknown, and how
        far their means lie apart.

        Args:
            observed: y, shape (batch, users, n), complex64; rows of zeros are no users.
            error: variance of the error in each entry, shape (batch,); positive.

        Returns:
            m, shape (batch, users, n), and C, shape (batch, users, n, n), complex64; zero for rows of zeros.

        Raises:
            ValueError: for channels of another size than the mixture's.
        """
        if observed.shape[-1] != self.size:
            raise ValueError(f"mixture: expected channels of {self.size} entries, got {observed.shape[-1]}")
        components = len(self.values)
        per_row = components * self.size * max(self.size, observed.shape[1])
        rows = max(1, LARGEST_CHUNK // per_row)
        parts = [self._posterior(y, e) for y, e in zip(observed.split(rows), error.split(rows), strict=True)]
        mean, covariance = (torch.cat(part) for part in zip(*parts, strict=True))
        return mean, covariance

    def _posterior(self, observed: Tensor, error: Tensor) -> tuple[Tensor, Tensor]:
        present = (observed != 0).any(-1)[..., None]
        rotated = self._rotated(observed)
        total = self.values + error[:, None, None, None]
        shares = self._likelihoods(rotated, total).softmax(-1) * present
        means = torch.einsum("buki,kji->bukj", self.values / total * rotated, self.vectors)
        mean = (shares[..., None] * means).sum(-2)
        apart = means - mean[..., None, :]
        return mean, self._within(shares, error) + (apart * shares[..., None]).mT @ apart.conj()

    def _within(self, shares: Tensor, error: Tensor) -> Tensor:
        """What the components leave unknown, ``sum_k shares_k U_k diag(l e / (l + e)) U_k^H``, shape (batch, users, n, n)."""
        # Rows often have the same error, and the matrices depend on nothing else.
        distinct, row = error.unique(return_inverse=True)
        left = self.values * distinct[:, None, None] / (self.values + distinct[:, None, None])
        unknown = (self.vectors * left[..., None, :]) @ self.vectors.mH
        flat = torch.view_as_real(unknown).flatten(2)[row]
        return torch.view_as_complex((shares @ flat).unflatten(-1, (self.size, self.size, 2)))

    def _rotated(self, observed: Tensor) -> Tensor:
        """``U_k^H y``, shape (..., components, n)."""
        flat = self.vectors.conj().movedim(0, 1).flatten(1)  # (n, components * n)
        return (observed @ flat).unflatten(-1, (-1, self.size))

    def _likelihoods(self, rotated: Tensor, total: Tensor) -> Tensor:
        power = rotated.real.square() + rotated.imag.square()
        return self.log_weights - (power / total).sum(-1) - total.log().sum(-1)
