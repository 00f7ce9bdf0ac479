"""The LDPC decoder against Sionna's, the link abstraction, and the environment of the closed loop."""

from __future__ import annotations

import time

import gymnasium
import torch

import wirelessgym
from wirelessgym.bench.measure import Row, in_turns, seconds, show
from wirelessgym.env import VectorEnv
from wirelessgym.link.ldpc import code_for
from wirelessgym.link.mcs import HIGHEST_MCS, LOWEST_MCS, MCS_TABLE
from wirelessgym.link.qam import demodulate, modulate
from wirelessgym.link.sionna_reference import SumProduct
from wirelessgym.parallel import one_thread
from wirelessgym.registry import make_task

BY_DEFAULT = True
# Schemes, and the SINR at which about half of the blocks are lost.
POINTS = ((5, -0.6), (10, 3.3), (14, 6.8), (20, 11.3))
ITERATIONS = 16  # enough to lose no more blocks than the reference
RESOURCE_ELEMENTS = 672
LINKS = 1024
LEAST_LINK_STEPS = 1e6  # per second


def bench(fast: bool = False) -> list[Row]:
    """Time decoder, abstraction and environment, print two tables and return their rows.

    Args:
        fast: fewer repeats, for a first look; its numbers are not the ones to quote.
    """
    with one_thread():
        decoder = [_decoder(mcs, sinr_db, 64, 1 if fast else 3) for mcs, sinr_db in POINTS]
        show(
            f"LDPC decoding of the same blocks: Sionna's sum-product, 20 iterations, against layered min-sum, up to {ITERATIONS}",
            decoder,
        )
        steps = 20 if fast else 100
        loop = [
            _abstraction(steps),
            _episodes_overhead(64, 20 if fast else 100),
            _view_overhead("ldpc", 64, 3),
            _view_overhead("abstraction", LINKS, steps),
            _view_overhead("abstraction", LINKS, steps, read=True),
        ]
        show("Link adaptation", loop)
    return decoder + loop


def _decoder(mcs: int, sinr_db: float, blocks: int, repeats: int) -> Row:
    code = code_for(MCS_TABLE[mcs], RESOURCE_ELEMENTS)
    generator = torch.Generator().manual_seed(mcs)
    bits = torch.rand(blocks, code.num_bits, generator=generator) < 0.5
    symbols = modulate(code.transmission(code.encode(bits), 0), code.bits_per_symbol)
    variance = torch.full(symbols.shape, 10 ** (-sinr_db / 10))
    noise = torch.randn(symbols.shape, dtype=torch.complex64, generator=generator)
    llrs = demodulate(symbols + noise * variance.sqrt(), variance, code.bits_per_symbol)
    soft = code.collect(torch.zeros(blocks, code.buffer_size), llrs, 0)
    reference = SumProduct(code)
    mine, theirs = code.decode(soft, 0, ITERATIONS)[0], reference.decode(llrs)  # warm both up
    lost, lost_there = (float((decoded != bits).any(1).float().mean()) for decoded in (mine, theirs))
    ours_s = seconds(lambda: code.decode(soft, 0, ITERATIONS), repeats)
    theirs_s = seconds(lambda: reference.decode(llrs), repeats)
    what = f"MCS {mcs} at {sinr_db:g} dB, {blocks} blocks of {code.num_bits} bits (lost: {lost_there:.0%} there, {lost:.0%} here)"
    each = 1e3 / blocks
    return Row(what, f"{theirs_s * each:.2f} ms", f"{ours_s * each:.2f} ms", theirs_s / ours_s, 4)


def _abstraction(steps: int) -> Row:
    task = make_task("link_adaptation", horizon=steps)
    start, _ = task.reset(range(LINKS), seed=0)
    mcs = torch.randint(LOWEST_MCS, HIGHEST_MCS + 1, (LINKS,), generator=torch.Generator().manual_seed(0))
    state, best = start, float("inf")
    for _ in range(steps):
        begin = time.process_time()
        state, _ = task.step(state, mcs)
        best = min(best, time.process_time() - begin)
    rate = LINKS / best
    return Row(
        f"link-steps per second, {LINKS} links, abstraction",
        f"{LEAST_LINK_STEPS / 1e6:g} M",
        f"{rate / 1e6:.2f} M",
        rate / LEAST_LINK_STEPS,
        1,
    )


def _episodes_overhead(links: int, horizon: int) -> Row:
    """Time whole episodes, from reset to the last step, through the environment and without it."""
    envs = VectorEnv(make_task("link_adaptation", horizon=horizon), links, "DISABLED")
    actions = envs.action_space.sample()
    task, mcs = make_task("link_adaptation", horizon=horizon), torch.from_numpy(actions)

    def bare() -> None:
        state, _ = task.reset([0] * links, seed=range(links))
        for _ in range(horizon):
            state, _ = task.step(state, mcs)

    def viewed() -> None:
        envs.reset(seed=0)
        for _ in range(horizon):
            envs.step(actions)

    bare_s, viewed_s = in_turns(bare, viewed, 3)
    what = f"VectorEnv / task, whole episodes of {horizon} slots, {links} links, abstraction"
    return Row(what, f"{bare_s * 1e3:.0f} ms", f"{viewed_s * 1e3:.0f} ms", viewed_s / bare_s, 1.1, at_most=True)


def _view_overhead(decoder: str, links: int, steps: int, *, read: bool = False) -> Row:
    """Time single steps; with ``read``, of a caller who looks at the infos, which nobody pays for who doesn't."""
    wirelessgym.register_envs()
    envs = gymnasium.make_vec("wirelessgym/LinkAdaptation-v0", num_envs=links, horizon=steps + 1, decoder=decoder)
    envs.reset(seed=0)
    task = make_task("link_adaptation", horizon=steps + 1, decoder=decoder)
    state, _ = task.reset([0] * links, seed=range(links))  # the episodes of the environments
    actions = envs.action_space.sample()
    mcs = torch.from_numpy(actions)

    @torch.no_grad()
    def step() -> None:
        nonlocal state
        state, _ = task.step(state, mcs)

    def view() -> None:
        infos = envs.step(actions)[4]
        if read:
            len(infos)

    bare, viewed = in_turns(step, view, steps)
    envs.close()
    what = f"VectorEnv.step{' and its infos' if read else ''} / task.step, {links} links, {decoder}"
    target = None if read else 1.1
    return Row(what, f"{bare * 1e3:.2f} ms", f"{viewed * 1e3:.2f} ms", viewed / bare, target, at_most=True)
