"""A real federation on this machine: one SuperLink, one SuperNode per client, one run. Loopback only, no telemetry.

    python -m companion.experiments.federated_learning.deployment federation --nodes 4 --rounds 4

Every process is started by this one, in a group of its own, and stopped by its id, whatever happens; ports are free
ones that the system hands out. Used by `make federation` and by the tests; needs flwr and NumPy.
"""

import argparse
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from companion.errors import FederationError

from .patients import federation_alone


def free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 that are free now, all different."""
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [s.getsockname()[1] for s in held]
    for s in held:
        s.close()
    return ports


def certify(folder: Path, host: str = "127.0.0.1") -> tuple[str, str]:
    """Paths of a certificate for `host`, an IP address, that signs itself, and of its key, made by openssl; valid for 30 days."""
    if not shutil.which("openssl"):
        raise FederationError("openssl, which makes the certificate, is not installed; install it, or leave --tls out")
    pem, key = str(folder / "server.pem"), str(folder / "server.key")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30",
         "-subj", f"/CN={host}", "-addext", f"subjectAltName=IP:{host}", "-keyout", key, "-out", pem],
        check=True, capture_output=True,
    )  # fmt: skip
    return pem, key


class Deployment:
    """Processes of a federation, as a context manager: on leaving, all of them and their children are gone.

    tls encrypts what goes between the processes, with a certificate made by `certify` in `folder`.
    """

    def __init__(self, nodes: int, folder: Path, tls: bool = False):
        self.nodes, self.folder, self.processes, self.tls = nodes, Path(folder).resolve(), {}, tls
        self.bin = Path(sys.executable).parent
        home = self.folder / "flwr"
        home.mkdir(parents=True, exist_ok=True)
        proxies = {"http_proxy", "https_proxy", "all_proxy"}
        self.env = {k: v for k, v in os.environ.items() if k.lower() not in proxies}
        self.env |= {
            "FLWR_TELEMETRY_ENABLED": "0",
            "FLWR_HOME": str(home),
            "OMP_NUM_THREADS": "1",
            "NO_PROXY": "127.0.0.1",
            "PYTHONUNBUFFERED": "1",
        }
        self.env["PATH"] = f"{self.bin}{os.pathsep}{self.env.get('PATH', '')}"

    def _start(self, name: str, *command: str) -> subprocess.Popen:
        log = (self.folder / f"{name}.log").open("w")
        with log:
            self.processes[name] = subprocess.Popen(
                [str(self.bin / command[0]), *command[1:]], stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                env=self.env, cwd=self.folder, start_new_session=True,
            )  # fmt: skip
        return self.processes[name]

    def __enter__(self):
        link, *ports = free_ports(1 + self.nodes)
        self.address = f"127.0.0.1:{link}"
        server, node, client = ["--insecure"], ["--insecure"], "insecure = true"
        if self.tls:
            pem, key = certify(self.folder)
            server = ["--ssl-certfile", pem, "--ssl-keyfile", key, "--ssl-ca-certfile", pem]
            node, client = ["--root-certificates", pem], f'root-certificates = "{pem}"'
        try:
            self._start(
                "superlink",
                "flower-superlink",
                *server,
                "--port",
                str(link),
                "--disable-runtime-dependency-installation",
            )
            self._wait(link)
            for k, port in enumerate(ports):
                config = f"partition-id={k} num-partitions={self.nodes}"
                self._start(
                    f"node-{k}",
                    "flower-supernode",
                    *node,
                    "--superlink",
                    self.address,
                    "--port",
                    str(port),
                    "--node-config",
                    config,
                )
            (self.folder / "flwr" / "config.toml").write_text(
                f'[superlink]\ndefault = "here"\n\n[superlink.here]\naddress = "{self.address}"\n{client}\n'
            )
        except BaseException:
            self.__exit__()
            raise
        return self

    def _wait(self, port: int, seconds: float = 60):
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if self.processes["superlink"].poll() is not None:
                raise FederationError(f"the SuperLink stopped at once; see {self.folder.name}/superlink.log")
            with socket.socket() as s:
                s.settimeout(1)
                if s.connect_ex(("127.0.0.1", port)) == 0:
                    return
            time.sleep(0.2)
        raise FederationError(
            f"the SuperLink did not listen within {seconds:g} s; see {self.folder.name}/superlink.log"
        )

    def run(self, app: Path, config: dict, seconds: float, watch=lambda line: None) -> str:
        """`flwr run` with this configuration, to its end; `watch` is called with every line. Returns the log."""
        settings = " ".join(f"{key}={_toml(value)}" for key, value in config.items())
        run = self._start("run", "flwr", "run", str(Path(app).resolve()), "here", "--stream", "--run-config", settings)
        until, seen, log = time.monotonic() + seconds, 0, self.folder / "run.log"
        while True:
            ended = run.poll() is not None
            lines = log.read_text(errors="replace").splitlines()
            for line in lines[seen:]:
                watch(line)
            seen = len(lines)
            if ended:
                return "\n".join(lines)
            if time.monotonic() > until:
                self.stop("run")
                raise FederationError(
                    f"the run was not finished after {seconds:g} s; it ended with: {' / '.join(lines[-3:])}"
                )
            time.sleep(0.2)

    def stop(self, name: str) -> None:
        """Kill one process and its children, by the id of its group."""
        process = self.processes[name]
        for pid in {process.pid, *_descendants(process.pid)}:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL) if os.getpgid(pid) == pid else os.kill(pid, signal.SIGKILL)
        process.wait(10)

    def __exit__(self, *_):
        for name in reversed(self.processes):
            self.stop(name)


def _descendants(pid: int) -> list[int]:
    """Children of a process and theirs, from /proc; none where there is no /proc."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
        except (OSError, IndexError, ValueError):
            continue
        children.setdefault(parent, []).append(int(stat.parent.name))
    below, todo = [], [pid]
    while todo:
        new = children.get(todo.pop(), [])
        below += new
        todo += new
    return below


def _toml(value) -> str:
    return f"'{value}'" if isinstance(value, str) else str(value)


def main(argv=None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m companion.experiments.federated_learning.deployment", description=__doc__.splitlines()[0]
    )
    parser.add_argument("app", type=Path, help="folder of the Flower app")
    parser.add_argument("--nodes", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--out", type=Path, help="where to write theta of every round (.npz)")
    parser.add_argument("--seconds", type=float, default=240, help="longest time for the run")
    parser.add_argument("--reply-within", type=float, default=120, help="longest wait for the clients in a round")
    parser.add_argument("--kill", help="node:round, as in 3:5: kill this SuperNode when that round begins")
    parser.add_argument(
        "--tls", action="store_true", help="encrypt with a certificate made for this run; needs openssl"
    )
    args = parser.parse_args(argv)
    victim, _, when = (args.kill or "").partition(":")
    with tempfile.TemporaryDirectory(prefix="federation-") as folder:
        out = (args.out or Path(folder) / "theta.npz").resolve()
        signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))  # a SystemExit, so that the processes go too
        with Deployment(args.nodes, Path(folder), args.tls) as federation:

            def watch(line):
                print(line, flush=True)
                if victim and f"[ROUND {when}/" in line:
                    federation.stop(f"node-{victim}")
                    print(f"killed node {victim} in round {when}", flush=True)

            config = {"rounds": args.rounds, "reply-within": args.reply_within, "out": str(out)}
            federation.run(args.app, config, args.seconds, watch)
            if not out.exists():
                tail = (Path(folder) / "superlink.log").read_text(errors="replace").splitlines()[-15:]
                sys.exit("the run left no result; the SuperLink's last lines:\n" + "\n".join(tail))
        if not args.out:
            print(comparison(out))


def comparison(out: Path) -> str:
    """How far the federation's theta lies from the simulation's, in words."""
    saved = np.load(out)
    gap = np.abs(saved["path"] - federation_alone(saved["took_part"])).max()
    rounds, who = len(saved["path"]) - 1, saved["took_part"].sum(1)
    return f"{rounds} rounds, {who} hospitals; largest distance from the simulation {gap:.1e}"


if __name__ == "__main__":
    main()
