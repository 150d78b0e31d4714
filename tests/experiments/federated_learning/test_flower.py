"""A federation between processes is the simulation: the same numbers, whoever dies, and nothing that must not enter.

Flower has an environment of its own, which `.ci/venv federated` makes and .ci/run makes before the tests.
"""

import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from companion.errors import FederationError
from companion.experiments.federated_learning import deployment
from companion.experiments.federated_learning.clients import Report
from companion.experiments.federated_learning.fairness import by_patient
from companion.experiments.federated_learning.hospitals import log_loss
from companion.experiments.federated_learning.patients import federation_alone, one_hospital
from small_book import ROOT

PYTHON = ROOT / ".venv-federated/bin/python"
# where the whole check runs, a missing environment is a failure and no reason to skip
needs_flower = pytest.mark.skipif(
    "CI" not in os.environ and not (ROOT / ".venv-federated/ready").is_file(),
    reason="python3 .ci/venv federated makes it",
)
LIMIT = 280  # seconds, hard


def test_in_continuous_integration_the_environment_is_there():
    assert ".ci/venv federated" in (ROOT / ".ci/run").read_text()


def environment():
    return {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST_", "PYTHONPATH"))} | {
        "OMP_NUM_THREADS": "1"
    }


@pytest.fixture(scope="module")
def messages():
    done = subprocess.run(
        [PYTHON, ROOT / "tests/flower_messages.py"], capture_output=True, text=True, timeout=120, env=environment()
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@needs_flower
def test_the_strategy_is_the_rule_whatever_the_order_of_the_replies(messages):
    assert messages["sound"] == {"rejected": [], "gap": 0.0, "who": [0, 1, 2, 3]}


@needs_flower
@pytest.mark.parametrize(
    ("what", "words", "left"),
    [
        ("nan", "client Switzerland sent a theta that is NaN or infinite; rejected", [0, 1, 3]),
        ("short", "client Switzerland sent theta of shape (3,), expected (13,); rejected", [0, 1, 3]),
        ("negative", "client Hungary sent noise = -1, which cannot be negative; rejected", [0, 2, 3]),
        ("empty", "client Hungary sent a malformed update", [0, 2, 3]),
        ("nameless", "a client sent no partition; rejected", [0, 1, 2]),
        ("replay", "client Hungary sent its answer to round 1 in round 2; rejected, it is a replay", [0, 2, 3]),
        ("impostor", "client Long Beach now calls itself Cleveland; rejected", [0, 1, 2]),
        ("silent", "client Long Beach did not answer (no answer in time)", [0, 1, 2]),
        ("error", "client Long Beach did not answer ('the node is gone')", [0, 1, 2]),
    ],
)
def test_what_must_not_enter_is_rejected_by_name_and_the_round_goes_on(messages, what, words, left):
    (number, said), *more = messages[what]["rejected"]
    assert number == 2
    assert words in said
    assert not more
    assert messages[what]["who"] == left
    assert messages[what]["gap"] <= 1e-12


@needs_flower
def test_a_round_without_enough_reports_and_a_start_without_clients_say_so(messages):
    assert "round 1: 2 usable reports, at least 3 needed" in messages["lost"]
    assert "1 of 4 clients came within 0.1 s; start the others" in messages["alone"]


@needs_flower
def test_a_model_that_is_not_finite_never_leaves_the_server(messages):
    (number, said), *more = messages["overflow"]["rejected"]
    assert number == 2
    assert not more
    assert "NaN or infinite" in said
    assert "the model of the round before is kept" in said
    assert messages["overflow"]["kept"]


@needs_flower
@pytest.mark.parametrize("attack", ["zero", "huge"])
def test_what_a_liar_sends_is_bounded_as_in_the_simulation(messages, attack):
    assert messages[attack]["gap"] <= 1e-12
    assert 0.1 < messages[attack]["largest"] < 10


@needs_flower
def test_a_server_that_trusts_all_is_the_rule_alone_and_bounds_need_a_majority(messages):
    assert max(messages["trusted"]) <= 1e-12  # inverse variances, the trimmed mean, Krum
    assert "least=4 reports bound no hostile=2; ask for 5" in messages["presumed"]


@needs_flower
def test_nobody_speaks_for_another_node(messages):
    """Whatever the order of the replies. In the first round nobody is known, and the first gets the one voice."""
    assert messages["usurper"]["who"] == [0, 1, 2]
    assert "client Long Beach now calls itself Cleveland; rejected" in messages["usurper"]["rejected"][0][1]
    assert messages["claimed"]["who"] == [0, 1, 2]
    assert "node 11 calls itself Cleveland, which is another node; rejected" in messages["claimed"]["rejected"][0][1]
    assert messages["newcomer"]["who"] == [[0, 1, 2, 3], [0, 1, 2], [0, 1, 2]]
    (number, said), (lost, silent) = messages["newcomer"]["rejected"]
    assert (number, lost) == (2, 3)
    assert "node 99 calls itself Cleveland, which is another node; rejected" in said
    assert "at node 10 did not answer" in silent


@needs_flower
def test_a_second_update_of_the_same_round_is_rejected(messages):
    assert messages["twice"]["rejected"] == [
        [1, "client Cleveland answered twice in a round; the second update is rejected"]
    ]
    assert messages["twice"]["who"] == [0, 1, 2, 3]


def running(mark: str) -> list[str]:
    """Living processes whose command line or environment holds `mark`; one that is dead and unburied has neither."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if mark.encode() in (folder / "environ").read_bytes() + (folder / "cmdline").read_bytes():
                found.append((folder / "cmdline").read_text().replace("\0", " "))
        except OSError:
            continue
    return found


def deploy(app, out, *options):
    """What a real federation left in `out`, and its log; none of its processes is left."""
    mark = f"stepsize-{os.getpid()}-{time.monotonic_ns()}"
    command = [PYTHON, "-m", "companion.experiments.federated_learning.deployment", app, "--out", out, *options]
    command += ["--reply-within", "60", "--seconds", str(LIMIT - 60)]
    run = subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment() | {"STEPSIZE_MARK": mark},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        log, _ = run.communicate(timeout=LIMIT)
    except subprocess.TimeoutExpired:
        run.send_signal(signal.SIGTERM)  # it stops what it started
        log, _ = run.communicate(timeout=15)
        pytest.fail(f"not finished after {LIMIT} s:\n{log[-3000:]}")
    finally:
        if run.poll() is None:
            run.kill()
    assert run.returncode == 0, log[-3000:]
    assert running(mark) == []
    return np.load(out), log


@needs_flower
@pytest.mark.slow
def test_a_real_federation_walks_the_path_of_the_simulation_and_survives_a_death(tmp_path):
    """Four rounds with all hospitals; in the fifth a SuperNode is killed, the sixth goes on with three."""
    saved, log = deploy("federation", tmp_path / "theta.npz", "--rounds", "6", "--kill", "3:5")
    assert saved["took_part"][:4].all(), log[-3000:]
    assert np.abs(saved["path"][:5] - federation_alone(np.ones((4, 4)))).max() <= 1e-12
    assert saved["took_part"].sum(1).tolist() == [4, 4, 4, 4, 3, 3]
    assert np.abs(saved["path"] - federation_alone(saved["took_part"])).max() <= 1e-12
    assert "did not answer" in saved["rejected"][0]


@needs_flower
@pytest.mark.slow
def test_a_real_federation_over_tls_with_a_hostile_process_stays_within_its_clean_interval(tmp_path):
    """Of four hospitals one sends 1e30 and lies, NaN, a replay, and -1e30; the three others' loss is that of the simulation."""
    shutil.copytree(ROOT / "federation", tmp_path / "app")
    shutil.copy(ROOT / "tests/hostile_client.py", tmp_path / "app/hospitals/client.py")
    saved, _ = deploy(tmp_path / "app", tmp_path / "theta.npz", "--rounds", "4", "--tls")
    assert saved["took_part"].tolist() == [[True] * 4, *[[True] * 3 + [False]] * 2, [True] * 4]
    nan, replay = saved["rejected"]
    assert "client Long Beach sent a theta that is NaN or infinite" in nan
    assert "client Long Beach sent its answer to round 1 in round 3" in replay

    def lies(number, client, report):
        value, none = (1e30, None, None, -1e30)[number], np.zeros(1)
        if client != 3:
            return report
        far = np.full(report.theta.shape, value)
        return Report(far, np.array([1e30]), np.array([1e30]), none, none, far)

    simulated = federation_alone(saved["took_part"], tamper=lies)
    assert np.abs(saved["path"] - simulated).max() <= 1e-12
    honest = [one_hospital(k) for k in range(3)]
    clean, attacked = (
        [log_loss(c.X @ path[-1], c.y) for c in honest] for path in (federation_alone(np.ones((4, 4))), saved["path"])
    )
    interval = by_patient(clean, lambda means: means.mean(-1))
    assert interval.low <= np.mean([losses.mean() for losses in attacked]) <= interval.high


@needs_flower
def test_a_server_with_a_certificate_speaks_to_nobody_who_does_not_verify_it(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "executable", str(PYTHON))  # whose folder holds the SuperLink
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    with deployment.Deployment(0, tmp_path, tls=True) as federation:
        port = int(federation.address.rpartition(":")[2])

        def version(certificate: Path):
            trusting = ssl.create_default_context(cafile=certificate)
            with (
                socket.create_connection(("127.0.0.1", port), timeout=20) as plain,
                trusting.wrap_socket(plain, server_hostname="127.0.0.1") as secret,
            ):
                return secret.version()

        assert version(tmp_path / "server.pem") == "TLSv1.3"
        with pytest.raises(ssl.SSLCertVerificationError):
            version(deployment.certify(foreign)[0])
        with socket.create_connection(("127.0.0.1", port), timeout=20) as plain:
            plain.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert b"HTTP/" not in plain.recv(1000)


def test_without_openssl_a_certificate_is_refused_in_one_line(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(FederationError, match="openssl, which makes the certificate, is not installed"):
        deployment.certify(tmp_path)


def test_a_deployment_that_fails_leaves_no_process_behind(tmp_path, monkeypatch):
    """The part without Flower: what was started is stopped by its id, children and all, also on an error."""
    mark = f"stepsize-{os.getpid()}-{time.monotonic_ns()}"
    monkeypatch.setenv("STEPSIZE_MARK", mark)
    federation = deployment.Deployment(1, tmp_path)
    federation.bin = Path("/bin")
    federation._start("parent", "sh", "-c", f"{sys.executable} -c 'import time; time.sleep(600)' & wait")
    until = time.monotonic() + 20
    started = running(mark)
    while not any(line.startswith(sys.executable) for line in started) and time.monotonic() < until:
        time.sleep(0.1)
        started = running(mark)
    assert len(started) == 2
    federation.__exit__()
    until = time.monotonic() + 20
    while running(mark) and time.monotonic() < until:
        time.sleep(0.1)
    assert running(mark) == []
    assert federation.env["FLWR_TELEMETRY_ENABLED"] == "0"


def test_ports_are_different_and_free():
    ports = deployment.free_ports(20)
    assert len(set(ports)) == 20
    assert all(1024 < p < 65536 for p in ports)
