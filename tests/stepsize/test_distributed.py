"""Two processes that share a batch train as one does, and go on from a checkpoint as if they had never stopped."""

import os
import subprocess
import sys

import pytest
import torch

from companion.experiments.federated_learning.deployment import free_ports
from ddp_worker import STEPS, model, train
from small_book import ROOT
from stepsize import Adam
from stepsize.optim import Optimizer


def two(folder, what):
    """Both processes to their end; killed by their ids if one hangs."""
    port = free_ports(1)[0]
    env = {k: v for k, v in os.environ.items() if k != "MASTER_ADDR"} | {
        "OMP_NUM_THREADS": "1",
        "GLOO_SOCKET_IFNAME": "lo",
    }
    env["PYTHONPATH"] = str(ROOT / "lib")
    command = [sys.executable, ROOT / "tests/ddp_worker.py"]
    processes = [
        subprocess.Popen(
            [*command, str(rank), str(port), folder, what],
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(2)
    ]
    try:
        logs = [p.communicate(timeout=120)[0] for p in processes]
    finally:
        for p in processes:
            if p.poll() is None:
                p.kill()
                p.wait()
    assert [p.returncode for p in processes] == [0, 0], "\n".join(logs)


@pytest.mark.slow
def test_two_processes_that_hold_half_of_each_parameter_train_as_one(tmp_path):
    two(tmp_path, "shards")
    for rank in range(2):
        seen = torch.load(tmp_path / f"shards-{rank}.pt", weights_only=True)
        torch.testing.assert_close(*seen["ends"], atol=1e-6, rtol=0)
        assert seen["local"] == [6 * 8, 8, 16, 1]
        assert seen["refused"].startswith("parameter 4 of group 0 of shape (3, 2) cannot be flattened")


@pytest.mark.slow
def test_two_processes_equal_one_and_resume_from_a_checkpoint(tmp_path):
    single = model()
    train(single, Optimizer(single.parameters(), Adam(0.01)), range(STEPS))
    moved = max((a - b).abs().max() for a, b in zip(single.parameters(), model().parameters(), strict=True))
    assert moved > 0.05  # it did train
    two(tmp_path, "whole")
    two(tmp_path, "resume")
    for name, p in single.state_dict().items():
        assert p.dtype == torch.float32
        for rank in range(2):
            whole, resumed = (
                torch.load(tmp_path / f"{w}-{rank}.pt", weights_only=True)[name] for w in ("whole", "resumed")
            )
            torch.testing.assert_close(whole, p, atol=1e-6, rtol=0)
            assert torch.equal(resumed, whole)
