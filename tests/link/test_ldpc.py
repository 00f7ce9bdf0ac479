"""The code is 5G's, bit by bit; the decoder keeps up with sum-product and treats every block by itself."""

import pytest
import torch
from sionna.phy.fec.ldpc import LDPC5GDecoder, LDPC5GEncoder

from wirelessgym.link.base_graph import lifting_size, select_graph
from wirelessgym.link.ldpc import REDUNDANCY_VERSIONS, code_for
from wirelessgym.link.mcs import CQI_TABLE, MCS_TABLE, transport_block_size
from wirelessgym.link.qam import demodulate, modulate


def reference(code):
    """Sionna's encoder of a code."""
    graph = f"bg{code.graph.number}"
    return LDPC5GEncoder(code.num_bits, code.num_coded, num_bits_per_symbol=code.bits_per_symbol, bg=graph)


def blocks(code, count, generator):
    return torch.rand(count, code.num_bits, generator=generator) < 0.5


def received(code, bits, sinr_db, generator, number=0):
    """Log-likelihood ratios of a transmission over a flat channel."""
    symbols = modulate(code.transmission(code.encode(bits), number), code.bits_per_symbol)
    variance = torch.full(symbols.shape, 10 ** (-sinr_db / 10))
    noise = torch.randn(symbols.shape, dtype=torch.complex64, generator=generator)
    return demodulate(symbols + noise * variance.sqrt(), variance, code.bits_per_symbol)


@pytest.mark.filterwarnings("ignore:Effective coderate")
@pytest.mark.parametrize("mcs", [3, 7, 9, 10, 16, 20, 24, 28])
def test_codewords_of_all_redundancy_versions_are_sionnas(mcs, generator):
    code = code_for(MCS_TABLE[mcs], 672)
    bits = blocks(code, 4, generator)
    theirs = reference(code)(bits.float(), rv=list(REDUNDANCY_VERSIONS)).bool()
    buffer = code.encode(bits)
    assert buffer.shape == (4, code.buffer_size)
    for number in range(4):
        assert torch.equal(code.transmission(buffer, number), theirs[:, number])


def test_a_rate_below_that_of_the_code_repeats_the_buffer(generator):
    code = code_for(CQI_TABLE[0], 672)
    assert code.num_coded > code.buffer_size
    buffer = code.encode(blocks(code, 2, generator))
    sent = code.transmission(buffer, 0)
    twice = code.collect(torch.zeros(2, code.buffer_size), 2.0 * sent - 1, 0)
    assert torch.equal(twice > 0, buffer)
    assert int((twice.abs() == 2).sum(1)[0]) == code.num_coded - code.buffer_size


def test_every_check_holds_for_every_codeword(generator):
    code = code_for(MCS_TABLE[20], 672)
    theirs = reference(code)
    bits = blocks(code, 3, generator)
    fillers = torch.zeros(3, code.num_filler, dtype=torch.bool)
    first = code.num_bits - 2 * code.graph.lifting
    sent = code.encode(bits)
    word = torch.cat([bits, fillers, sent[:, first:]], 1)
    assert not (theirs.pcm @ word.mT.numpy() % 2).any()


@pytest.mark.parametrize(("mcs", "sinr_db"), [(3, -2.6), (10, 3.4), (20, 11.3)])
def test_the_decoder_loses_no_more_blocks_than_sum_product(mcs, sinr_db, generator):
    code, count = code_for(MCS_TABLE[mcs], 672), 64
    bits = blocks(code, count, generator)
    llrs = received(code, bits, sinr_db, generator)
    decoded, accepted = code.decode(code.collect(torch.zeros(count, code.buffer_size), llrs, 0), 0)
    mine = (decoded != bits).any(1)
    theirs = (LDPC5GDecoder(reference(code), num_iter=20)(llrs).bool() != bits).any(1)
    assert 0.1 < theirs.float().mean() < 0.95
    # On the same noise: where one decoder alone fails is a coin flip if both are equally good.
    only_mine, only_theirs = int((mine & ~theirs).sum()), int((theirs & ~mine).sum())
    assert only_mine <= only_theirs + 2 * max(only_mine + only_theirs, 4) ** 0.5
    assert not (accepted & mine).any()  # a wrong word that satisfies all checks is next to impossible


def test_accepted_words_satisfy_all_checks_of_sionnas_matrix(generator):
    code = code_for(MCS_TABLE[12], 672)
    bits = blocks(code, 16, generator)
    soft = code.collect(torch.zeros(16, code.buffer_size), received(code, bits, 5.1, generator), 0)
    decoded, accepted = code.decode(soft, 0)
    assert 0 < accepted.sum() < 16
    again = code.encode(decoded)
    first = code.num_bits - 2 * code.graph.lifting
    word = torch.cat([decoded, torch.zeros(16, code.num_filler, dtype=torch.bool), again[:, first:]], 1)
    assert not (reference(code).pcm @ word[accepted].mT.numpy() % 2).any()
    assert torch.equal(decoded[accepted], bits[accepted])


def test_a_block_is_decoded_alone_as_in_a_batch(generator):
    code = code_for(MCS_TABLE[6], 672)
    bits = blocks(code, 13, generator)
    soft = torch.zeros(13, code.buffer_size)
    for number in (0, 1):
        soft = code.collect(soft, received(code, bits, -3.4, generator, number), number)
        decoded, accepted = code.decode(soft, number)
        assert number == 0 or 0 < accepted.sum() < 13
        for row in range(13):
            alone, taken = code.decode(soft[row : row + 1], number)
            assert torch.equal(alone[0], decoded[row])
            assert taken[0] == accepted[row]


def test_each_redundancy_version_brings_new_bits(generator):
    """Two transmissions need less than half the SINR: energy and coding gain. Repeating the first would give the energy only."""
    code, count = code_for(MCS_TABLE[20], 672), 48
    bits = blocks(code, count, generator)
    soft = {versions: torch.zeros(count, code.buffer_size) for versions in ((0, 0), (0, 1))}
    lost = {}
    for versions in soft:
        for number in versions:
            soft[versions] = code.collect(soft[versions], received(code, bits, 7.0, generator, number), number)
        lost[versions] = float((code.decode(soft[versions], 1)[0] != bits).any(1).float().mean())
    assert lost[0, 1] < 0.1
    assert lost[0, 0] > 0.9


def test_noiseless_blocks_are_done_at_the_first_look(generator):
    code = code_for(MCS_TABLE[28], 672)
    bits = blocks(code, 2, generator)
    soft = code.collect(torch.zeros(2, code.buffer_size), 20 * (2.0 * code.transmission(code.encode(bits), 0) - 1), 0)
    decoded, accepted = code.decode(soft, 0, iterations=4)
    assert accepted.all()
    assert torch.equal(decoded, bits)


def test_graph_and_lifting_follow_the_standard():
    graphs = {(292, 0.9): 2, (293, 0.9): 1, (3824, 0.67): 2, (3825, 0.67): 1, (5000, 0.25): 2, (1000, 0.68): 1}
    assert {block: select_graph(*block) for block in graphs} == graphs
    assert lifting_size(1, 22 * 384) == 384
    assert lifting_size(2, 193) == 26  # nine bits of filler more than with six columns
    with pytest.raises(ValueError, match="one code block of base graph 2 holds up to 3840, got 3841"):
        lifting_size(2, 3841)


def test_a_block_of_up_to_3824_bits_has_a_crc_of_16_bits_and_a_longer_one_of_24():
    scheme = MCS_TABLE[20]
    sizes = {transport_block_size(scheme, elements): code_for(scheme, elements).num_bits for elements in range(1000, 1300)}
    assert {size: coded - size for size, coded in sizes.items()} == {size: 16 if size <= 3824 else 24 for size in sizes}
    assert 3824 in sizes and max(sizes) > 3824
