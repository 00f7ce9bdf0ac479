"""Networks whose weights fit one set of sizes, and the refusal of all others."""

from __future__ import annotations

from torch import nn


class SizedNetwork(nn.Module):
    """A network that keeps the sizes it was built for.

    Attributes:
        sizes: what each size means, and its value.
    """

    def __init__(self, **sizes: object) -> None:
        super().__init__()
        self.sizes = sizes

    def require(self, agent: str, **got: object) -> None:
        """Refuse other sizes than those of `sizes`, which ``got`` repeats.

        Raises:
            ValueError: naming the agent and both sets of sizes.
        """
        if got != self.sizes:
            expected, came = (", ".join(f"{name} {value}" for name, value in sizes.items()) for sizes in (self.sizes, got))
            raise ValueError(f"{agent} was built for {expected}, got {came}; make another agent for other sizes")
