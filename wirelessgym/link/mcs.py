"""Modulation and coding schemes, channel quality levels and transport block sizes of 5G NR.

Source: 3GPP TS 38.214 V18, tables 5.1.3.1-1 (MCS, up to 64-QAM), 5.2.2.1-2 (CQI), 5.1.3.2-1 and section 5.1.3.2 (sizes).
"""

from __future__ import annotations

import math
from bisect import bisect_left
from dataclasses import dataclass


@dataclass(frozen=True)
class Scheme:
    """A modulation and a target code rate.

    Attributes:
        bits_per_symbol: 2 for QPSK, 4 for 16-QAM, 6 for 64-QAM.
        rate_1024: code rate times 1024.
    """

    bits_per_symbol: int
    rate_1024: int

    @property
    def rate(self) -> float:
        """Target code rate."""
        return self.rate_1024 / 1024

    @property
    def spectral_efficiency(self) -> float:
        """Target information bits per resource element."""
        return self.bits_per_symbol * self.rate


def _schemes(*modulations: tuple[int, tuple[int, ...]]) -> tuple[Scheme, ...]:
    return tuple(Scheme(bits, rate) for bits, rates in modulations for rate in rates)


# Row n is MCS n.
MCS_TABLE = _schemes(
    (2, (120, 157, 193, 251, 308, 379, 449, 526, 602, 679)),
    (4, (340, 378, 434, 490, 553, 616, 658)),
    (6, (438, 466, 517, 567, 616, 666, 719, 772, 822, 873, 910, 948)),
)
# Row n is CQI n + 1; CQI 0 means that even the first is out of range.
CQI_TABLE = _schemes(
    (2, (78, 120, 193, 308, 449, 602)),
    (4, (378, 490, 616)),
    (6, (466, 567, 666, 772, 873, 948)),
)
LOWEST_MCS, HIGHEST_MCS = 3, 28  # below 3 the code rate lies under that of the LDPC code itself

_SMALL_SIZES = (
    *range(24, 193, 8), *range(208, 385, 16), 408, 432, 456, 480, 504, 528, 552, 576, 608, 640, 672, 704, 736, 768, 808, 848, 888,
    928, 984, 1032, 1064, 1128, 1160, 1192, 1224, 1256, 1288, 1320, 1352, 1416, 1480, 1544, 1608, 1672, 1736, 1800, 1864, 1928,
    2024, 2088, 2152, 2216, 2280, 2408, 2472, 2536, 2600, 2664, 2728, 2792, 2856, 2976, 3104, 3240, 3368, 3496, 3624, 3752, 3824,
)  # fmt: skip


def transport_block_size(scheme: Scheme, resource_elements: int) -> int:
    """Information bits that one slot carries on one layer, without CRC.

    Args:
        scheme: modulation and target code rate.
        resource_elements: of the slot that carry data.

    Raises:
        ValueError: if less than one bit fits.
    """
    bits = resource_elements * scheme.rate * scheme.bits_per_symbol
    if bits < 1:
        raise ValueError(f"resource_elements: expected enough for one bit, got {resource_elements}")
    if bits <= 3824:
        step = 2 ** max(3, math.floor(math.log2(bits)) - 6)
        return _SMALL_SIZES[bisect_left(_SMALL_SIZES, max(24, step * math.floor(bits / step)))]
    step = 2 ** (math.floor(math.log2(bits - 24)) - 5)
    rounded = max(3840, step * math.floor((bits - 24) / step + 0.5))
    blocks = 1
    if scheme.rate <= 0.25:
        blocks = math.ceil((rounded + 24) / 3816)
    elif rounded > 8424:
        blocks = math.ceil((rounded + 24) / 8424)
    return 8 * blocks * math.ceil((rounded + 24) / (8 * blocks)) - 24
