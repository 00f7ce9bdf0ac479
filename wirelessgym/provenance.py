"""Where a result comes from: versions, source tree and machine of this process."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = ("wirelessgym", "torch", "sionna", "gymnasium", "numpy", "scipy", "transformers", "peft")


@lru_cache(maxsize=1)
def versions(packages: tuple[str, ...] = PACKAGES) -> dict[str, str]:
    """Versions of Python and of packages, by default those that decide about results; absent ones are left out."""
    found = {"python": platform.python_version()}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


@lru_cache(maxsize=1)
def source_state() -> tuple[str | None, bool | None]:
    """Commit and dirty flag of the checkout that this file is tracked in; None for both in an installed package."""
    folder = Path(__file__).parent
    # An installed copy may lie inside somebody else's checkout: only a tracked file speaks for its commit.
    if _git(folder, "ls-files", "--error-unmatch", "__init__.py") is None:
        return None, None
    changes = _git(folder, "status", "--porcelain", "--", ".", "../agents", "../scenarios")
    return _git(folder, "rev-parse", "HEAD"), None if changes is None else bool(changes)


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


@lru_cache(maxsize=1)
def hardware() -> dict[str, str | int]:
    """Processor model, number of cores and the operating system's kind."""
    cpu = platform.processor() or platform.machine()
    listing = Path("/proc/cpuinfo")
    if listing.exists():
        named = re.search(r"^model name\s*:\s*(.+)$", listing.read_text(encoding="utf-8"), re.MULTILINE)
        cpu = named[1].strip() if named else cpu
    return {"cpu": cpu, "cores": os.cpu_count() or 1, "system": platform.system()}
