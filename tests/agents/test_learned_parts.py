"""Learned agents' networks layer by layer: sizes as in their sources, and what each layer is given."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from learned_agents import learned
from torch import Tensor, nn
from wirelessgym.agents._learned_prediction import Standardised, TokenEmbedding, sinusoids
from wirelessgym.agents._recurrent import _Network as Recurrent
from wirelessgym.agents.cnn_precoder import _Network as Convolutional
from wirelessgym.agents.detnet import _Network as Unfolded
from wirelessgym.agents.dnn_detector import _Network as Dense

from wirelessgym import make_agent, make_task
from wirelessgym.modulation import constellation


def gaussian(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def test_positions_are_sines_in_even_places_and_cosines_in_odd_ones() -> None:
    found = sinusoids(7, 6)
    for position in range(7):
        for place in range(6):
            angle = position / 10000 ** (2 * (place // 2) / 6)
            expected = math.sin(angle) if place % 2 == 0 else math.cos(angle)
            assert found[position, place].item() == pytest.approx(expected, abs=1e-6)


def test_tokens_see_both_neighbours_around_the_ends_and_their_position() -> None:
    embedding = TokenEmbedding(inputs=2, width=4, slots=5)
    series = gaussian(3, 5, 2)
    plain = embedding(series) - sinusoids(5, 4)
    torch.testing.assert_close(embedding(series.roll(2, 1)) - sinusoids(5, 4), plain.roll(2, 1), rtol=1e-4, atol=1e-5)
    one = torch.zeros(1, 5, 2)
    one[0, 0] = 1.0
    touched = (embedding(one) - embedding(0 * one)).abs().amax(-1)[0] > 1e-6
    assert touched.tolist() == [True, True, False, False, True]
    torch.testing.assert_close(embedding(0 * one)[0], sinusoids(5, 4))


def test_series_are_standardised_by_antenna_and_come_back() -> None:
    csi = gaussian(2, 5, 3, 4, dtype=torch.complex64) * torch.tensor([1.0, 10.0, 0.1])[:, None] + (2 - 1j)
    standard = Standardised(csi)
    assert standard.series.shape == (6, 5, 8)
    torch.testing.assert_close(standard.series.flatten(1).mean(1), torch.zeros(6), rtol=0, atol=1e-4)
    torch.testing.assert_close(standard.series.flatten(1).square().mean(1), torch.ones(6), rtol=1e-4, atol=0)
    torch.testing.assert_close(standard.restored(standard.series), csi, rtol=1e-4, atol=1e-4)
    row = torch.view_as_real(csi[1, :, 2]).flatten(1)  # episode 1, antenna 2: re and im of one subcarrier after the other
    torch.testing.assert_close(standard.series[5], (row - row.mean()) / row.std(correction=0), rtol=1e-3, atol=1e-4)


def test_a_recurrent_network_maps_its_last_state_to_all_future_slots() -> None:
    network = Recurrent(nn.GRU, layers=2, hidden=5, future=3, width=4)
    series = gaussian(2, 6, 4)
    states, _ = network.recurrent(series)
    expected = (states[:, -1] @ network.output.weight.T + network.output.bias).view(2, 3, 4)
    torch.testing.assert_close(network(series), expected)
    kinds = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}
    assert {name: make_agent(name).cell for name in kinds} == kinds  # type: ignore[attr-defined]
    assert network.recurrent.num_layers == 2


def test_the_decoder_is_given_the_latest_slots_and_nothing_for_the_future() -> None:
    agent = make_agent("transformer", width=8, heads=2, encoder_layers=1, decoder_layers=3, label_len=2)
    network: Any = agent.network(past=6, future=3, width=4)  # type: ignore[attr-defined]
    given: list[Tensor] = []
    network.future_tokens.register_forward_pre_hook(lambda _, arguments: given.append(arguments[0]))
    series = gaussian(2, 6, 4)
    assert network(series).shape == (2, 3, 4)
    assert torch.equal(given[0], torch.cat([series[:, 4:], torch.zeros(2, 3, 4)], 1))
    assert (len(network.encoder), len(network.decoder)) == (1, 3)
    assert network.encoder[0].linear1.weight.shape == network.decoder[0].linear1.weight.shape == (32, 8)
    with pytest.raises(ValueError, match="heads: expected a divisor of the width 8, got 3"):
        make_agent("transformer", width=8, heads=3)
    without: Any = make_agent("transformer", width=8, heads=2, label_len=0).network(6, 3, 4)  # type: ignore[attr-defined]
    assert without(series).shape == (2, 3, 4)


def test_nothing_is_dropped_out_in_training_as_every_step_has_fresh_episodes() -> None:
    blocks, width = make_agent("set_transformer", width=12, layers=2, heads=3).make_backbone()  # type: ignore[attr-defined]
    tokens = gaussian(2, 5, 12)
    assert width == 12 and torch.equal(blocks.train()("", tokens, False, None), blocks("", tokens, False, None))
    assert len(blocks.blocks.layers) == 2
    assert {layer.linear1.out_features for layer in blocks.blocks.layers} == {48}
    assert all(layer.norm_first and layer.self_attn.num_heads == 3 for layer in blocks.blocks.layers)
    network: Any = make_agent("transformer", width=8, heads=2).network(12, 3, 4)  # type: ignore[attr-defined]
    series = gaussian(2, 12, 4)
    assert torch.equal(network.train()(series), network(series))


@pytest.mark.parametrize(
    ("name", "smallest"),
    [
        ("rnn", {"layers": 1, "hidden": 1}),
        ("transformer", {"width": 1, "heads": 1, "encoder_layers": 1, "decoder_layers": 1, "label_len": 0}),
        ("set_transformer", {"width": 1, "layers": 1, "heads": 1}),
        ("detnet", {"layers": 2, "residual": 0.0}),
        ("oampnet", {"layers": 1}),
    ],
)
def test_the_smallest_sizes_are_allowed(name: str, smallest: dict[str, Any]) -> None:
    agent = make_agent(name, **smallest)
    assert {key: getattr(agent, key) for key in smallest} == smallest


def test_hidden_layers_stand_to_the_inputs_as_in_the_source() -> None:
    network = Dense(antennas=16, users=7, scale=1.0)  # 256 inputs
    widths = [tuple(layer.weight.shape) for layer in network.layers if isinstance(layer, nn.Linear)]
    assert widths == [(500, 256), (250, 500), (120, 250), (14, 120)]
    half = [layer.out_features for layer in Dense(16, 7, 0.5).layers if isinstance(layer, nn.Linear)]
    assert half == [250, 125, 60, 14]
    assert sum(isinstance(layer, nn.ReLU) for layer in network.layers) == 3


@pytest.mark.parametrize("modulation", ["qpsk", "64qam"])
def test_a_saturated_network_answers_with_the_corners_of_the_constellation(modulation: str) -> None:
    task = make_task("detection", scenario="rayleigh-32", modulation=modulation, num_users=3, horizon=1)
    _, obs = task.reset(range(2), seed=1)
    agent = learned("dnn_detector")
    network: Any = agent.weights(task)
    with torch.no_grad():
        network.layers[-1].bias.copy_(torch.tensor([1e3, 1e3, -1e3, 1e3, -1e3, -1e3]))  # real parts, then imaginary ones
    largest = constellation(modulation).real.max()
    expected = largest * torch.tensor([1 + 1j, 1 - 1j, -1 - 1j])
    torch.testing.assert_close(agent.act(task, obs), expected.expand(2, task.action_fields[0].shape[0], -1))


def test_convolutions_have_no_bias_since_the_normalisation_takes_it_out() -> None:
    network = Convolutional(users=3, antennas=5, channels=4, layers=2)
    assert {name: tuple(p.shape) for name, p in network.named_parameters()} == {
        "convolutions.0.weight": (4, 2, 3, 3),
        "convolutions.1.weight": (4,),
        "convolutions.1.bias": (4,),
        "convolutions.3.weight": (4, 4, 3, 3),
        "convolutions.4.weight": (4,),
        "convolutions.4.bias": (4,),
        "output.weight": (6, 60),
        "output.bias": (6,),
    }
    found = network(gaussian(7, 3, 5, dtype=torch.complex64))
    assert found.shape == (7, 3, 2) and bool(((found > 0) & (found < 1)).all())
    assert Convolutional(3, 5, 1, 1).output.weight.shape == (6, 15)
    make_agent("cnn_precoder", channels=1, layers=1, supervised_share=0.0)
    make_agent("cnn_precoder", supervised_share=1.0)


def test_an_unfolded_layer_steps_along_the_gradient_and_keeps_a_share_of_the_last() -> None:
    network: Any = Unfolded(users=2, points=16, layers=3, residual=0.7)
    levels = torch.tensor([-3.0, -1.0, 1.0, 3.0]) / math.sqrt(10)
    collected, root = gaussian(2, 5, 4), gaussian(2, 4, 4, seed=1)
    gram = root @ root.mT
    with torch.no_grad():
        network.steps.copy_(torch.tensor([[0.1, 0.2], [0.3, 0.4], [0.5, 0.6]]))
    given: list[tuple[Tensor, Tensor]] = []
    made: list[tuple[Tensor, Tensor]] = []

    def note(_: nn.Module, arguments: tuple[Tensor, Tensor], out: tuple[Tensor, Tensor]) -> None:
        given.append(arguments)
        made.append(out)

    for layer in network.layers:
        layer.register_forward_hook(note)
    every = network(collected, gram, levels)
    before, memory = torch.full((2, 5, 4, 4), 0.25), torch.zeros(2, 5, 16)
    for index in range(3):
        symbols = before @ levels
        step = symbols - network.steps[index, 0] * collected + network.steps[index, 1] * (symbols @ gram)
        torch.testing.assert_close(given[index][0], step)
        torch.testing.assert_close(given[index][1], memory)
        before = 0.3 * made[index][0].view(2, 5, 4, 4) + 0.7 * before
        memory = 0.3 * made[index][1] + 0.7 * memory
        torch.testing.assert_close(every[index], before)
    assert network.layers[0].lift.weight.shape == (32, 4 + 16)
    assert network.layers[2].memory is None
