"""Schemes and transport block sizes are those of the standard, as Sionna has them."""

import pytest
import torch

from wirelessgym.link.mcs import CQI_TABLE, MCS_TABLE, Scheme, transport_block_size


def test_tables_are_sionnas():
    from sionna.phy.nr.utils import decode_mcs_index

    index = torch.arange(len(MCS_TABLE))
    bits, rate = decode_mcs_index(index, table_index=1, is_pusch=False)
    assert [scheme.bits_per_symbol for scheme in MCS_TABLE] == bits.tolist()
    assert [scheme.rate for scheme in MCS_TABLE] == pytest.approx(rate.tolist(), abs=1e-4)


def test_every_cqi_from_the_second_on_is_the_scheme_of_an_mcs():
    assert len(CQI_TABLE) == 15
    assert set(CQI_TABLE[1:]) < set(MCS_TABLE)
    efficiency = [scheme.spectral_efficiency for scheme in CQI_TABLE]
    assert efficiency == sorted(efficiency)


@pytest.mark.parametrize("resource_elements", [48, 100, 672, 3000])
def test_block_sizes_are_sionnas(resource_elements):
    from sionna.phy.nr.utils import TransportBlockNR

    sizes = TransportBlockNR()
    for scheme in MCS_TABLE:
        coded = torch.tensor(scheme.bits_per_symbol * resource_elements)
        theirs, _, _ = sizes.transport_block_size(torch.tensor(scheme.bits_per_symbol), torch.tensor(scheme.rate), coded)
        assert transport_block_size(scheme, resource_elements) == int(theirs)


@pytest.mark.parametrize("resource_elements", [400, 672, 2000])
def test_a_block_carries_what_its_scheme_promises_up_to_rounding(resource_elements):
    for scheme in MCS_TABLE:
        promised = scheme.spectral_efficiency * resource_elements
        assert transport_block_size(scheme, resource_elements) == pytest.approx(promised, rel=0.05, abs=16)


def test_too_few_resource_elements_are_refused():
    with pytest.raises(ValueError, match="resource_elements: expected enough for one bit, got 1"):
        transport_block_size(Scheme(2, 78), 1)
