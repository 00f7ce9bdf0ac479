"""Why the paper's precoding head stays at regularised zero-forcing: ``python records/paper_at_rzf.py``, ten minutes of one core.

Writes ``records/paper-at-rzf.json``. Three questions: how much there is to gain (RZF answers p and lambda that are equal for all
users; WMMSE's are what the head is taught), whether the head can fit one batch (else its gradients would be at fault), and what
it learns of episodes that it doesn't know, from tokens as published and from tokens that don't depend on the phases of the users'
channels. The head is tried without a backbone, where there is something to learn: 8 users, 32 antennas, 10 dB.
"""

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from wirelessgym import make_agent, make_task
from wirelessgym.fields import Obs
from wirelessgym.learned import FIRST_TRAINING_SEED, FIRST_VALIDATION_SEED
from wirelessgym.metrics import user_rates
from wirelessgym.task import Task

OUT = Path(__file__).resolve().parent / "paper-at-rzf.json"
GAPS = (*(("uma-nlos-128", users, snr) for users in (4, 8) for snr in (0, 10, 20)), ("uma-nlos-32", 8, 10))
EPISODES, HELD_OUT, BATCH, STEPS, LEARNING_RATE = 8192, 256, 64, 300, 1e-3


def rates(task: Task, state: Any, obs: Obs) -> dict[str, float]:
    """Mean sum rate of zero-forcing, RZF and WMMSE."""
    agents = {name: make_agent(name) for name in ("zf", "rzf", "wmmse")}
    return {name: task.score(state, agent.act(task.spec, obs))["sum_rate"].mean().item() for name, agent in agents.items()}


def labels(obs: Obs) -> Tensor:
    """WMMSE's p and lambda in shares of the power, shape (batch, users, 2)."""
    wmmse: Any = make_agent("wmmse", iterations=20)
    structure: Tensor = torch.stack(wmmse.structure(obs), -1) / obs["tx_power"][:, None, None]
    return structure


def without_phases(csi: Tensor) -> Tensor:
    """Each user's correlations with all users, largest first, in place of its channel: shape (..., users, antennas), complex."""
    correlation = (csi.conj() @ csi.mT).abs().sort(-1, descending=True).values / csi.shape[-1]
    return torch.nn.functional.pad(correlation, (0, csi.shape[-1] - csi.shape[-2])).to(csi.dtype)


def taught(task: Task, known: Obs, tokens: Any, held_out: Obs) -> dict[str, float]:
    """Train a fresh head on WMMSE's labels; return the shares of their variance that it explains, and its rates."""
    agent: Any = make_agent("universal", preset="paper", backbone="none", checkpoint=None)
    head = agent.weights(task.spec).heads["precoding"].train()
    optimiser = torch.optim.AdamW(head.parameters(), lr=LEARNING_RATE, weight_decay=0.0)
    generator = torch.Generator().manual_seed(0)
    wanted = labels(known)

    def answer(obs: Obs) -> tuple[Tensor, Tensor]:
        told, _, context = head.encode(task.spec, obs | {"csi": tokens(obs["csi"])})
        precoder = head.decode(task.spec, obs, told, context)  # on the channel itself, whatever the tokens
        return context.structure, precoder

    first_gradient = None
    for _ in range(STEPS):
        rows = torch.randint(len(wanted), (BATCH,), generator=generator) if len(wanted) > BATCH else torch.arange(BATCH)
        structure, _ = answer({key: value[rows] for key, value in known.items()})
        optimiser.zero_grad()
        (structure - wanted[rows]).square().sum((1, 2)).mean().backward()
        norm = torch.nn.utils.clip_grad_norm_(head.parameters(), 1.0).item()
        first_gradient = first_gradient or norm
        optimiser.step()
    head.eval()
    found: dict[str, float] = {"first_gradient_norm": first_gradient or 0.0}
    for name, obs in (("known", {key: value[:HELD_OUT] for key, value in known.items()}), ("held_out", held_out)):
        with torch.no_grad():
            structure, precoder = answer(obs)
        right, equal = labels(obs), 1 / obs["csi"].shape[1]
        found[f"explained_{name}"] = 1 - ((structure - right).square().sum() / (right - equal).square().sum()).item()
        found[f"sum_rate_{name}"] = user_rates(obs["csi"], precoder, obs["noise_power"]).sum(-1).mean().item()
    return found


def main() -> None:
    """Measure, write and print."""
    torch.set_num_threads(1)
    gaps = []
    for scenario, users, snr_db in GAPS:
        task = make_task("precoding", scenario=scenario, num_users=users, snr_db=snr_db, horizon=1)
        found = rates(task, *task.reset(range(HELD_OUT), FIRST_VALIDATION_SEED))
        gaps.append({"scenario": scenario, "users": users, "snr_db": snr_db, **found})
        print(gaps[-1], flush=True)
    task = make_task("precoding", scenario="uma-nlos-32", num_users=8, horizon=1)
    _, held_out = task.reset(range(HELD_OUT), FIRST_VALIDATION_SEED)
    parts = [task.reset(range(first, first + 128), FIRST_TRAINING_SEED)[1] for first in range(0, EPISODES, 128)]
    known = {key: torch.cat([part[key] for part in parts]) for key in ("csi", "noise_power", "tx_power")}
    held_out = {key: held_out[key] for key in known}

    one_batch = {key: value[:BATCH] for key, value in known.items()}
    learned = {}
    for name, episodes, tokens in (
        ("one batch, tokens as published", one_batch, lambda csi: csi),
        ("8,192 episodes, tokens as published", known, lambda csi: csi),
        ("8,192 episodes, tokens without phases", known, without_phases),
    ):
        learned[name] = taught(task, episodes, tokens, held_out)
        print(name, learned[name], flush=True)
    OUT.write_text(json.dumps({"rates": gaps, "steps": STEPS, "taught": learned}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
