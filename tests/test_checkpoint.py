import subprocess

import pytest
import torch

from wirelessgym.checkpoint import CheckpointError, load_checkpoint, save_checkpoint


@pytest.fixture
def saved(tmp_path):
    module = torch.nn.Linear(3, 2)
    return module, save_checkpoint(module, tmp_path / "folder" / "net.pt")


def test_weights_come_back_and_the_checksum_is_that_of_sha256sum(saved):
    module, path = saved
    other = torch.nn.Linear(3, 2)
    load_checkpoint(other, path)
    assert torch.equal(other.weight, module.weight) and torch.equal(other.bias, module.bias)
    subprocess.run(["sha256sum", "--check", "--quiet", "net.pt.sha256"], cwd=path.parent, check=True)


def test_a_missing_checkpoint_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"checkpoint: .*absent\.pt is missing; expected a file and its \.sha256"):
        load_checkpoint(torch.nn.Linear(3, 2), tmp_path / "absent.pt")


def test_a_missing_checksum_is_named(saved):
    _, path = saved
    path.with_name("net.pt.sha256").unlink()
    with pytest.raises(FileNotFoundError, match=r"net\.pt\.sha256 is missing"):
        load_checkpoint(torch.nn.Linear(3, 2), path)


def test_a_corrupt_checkpoint_is_refused_with_both_checksums_and_loads_nothing(saved):
    _, path = saved
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    module = torch.nn.Linear(3, 2)
    before = module.weight.clone()
    with pytest.raises(
        CheckpointError, match=r"net\.pt is corrupt, expected SHA-256 [0-9a-f]{64}, got [0-9a-f]{64}; copy or train"
    ):
        load_checkpoint(module, path)
    assert torch.equal(module.weight, before)


def test_weights_of_another_module_are_refused(saved):
    _, path = saved
    with pytest.raises(CheckpointError, match=r"weights of another module than Linear: .*size mismatch for weight"):
        load_checkpoint(torch.nn.Linear(4, 2), path)
