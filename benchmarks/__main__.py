"""Every comparison with a peer, one after the other, into the record that the performance page shows.

make bench                                  # all of them, about ten minutes on two quiet cores
make bench ARGS="--only step reactions"     # the other rows of the record stay as they are
make bench ARGS=--tiny                      # small sizes, to see that all of it runs; nothing is recorded

The rows on a GPU are those of benchmarks/gpu.py.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from plan import PLAN
from record import absent, merged, read, surroundings, write

HERE = Path(__file__).parent
NAMES = [name for name in PLAN if name != "gpu"]


def run(name: str, threads: int, tiny: bool) -> dict[tuple[str, str], dict]:
    """The rows of one benchmark on so many threads, in a process of their own: threads and caches of one must not slow the next."""
    rows = {key: row for key, row in PLAN[name].items() if row.threads == threads}
    reason = next(filter(None, map(absent, rows.values())), "")
    found = {}
    if not reason:
        count = str(threads)
        env = os.environ | {"OMP_NUM_THREADS": count, "NUMBA_NUM_THREADS": count, "MKL_NUM_THREADS": count}
        with tempfile.TemporaryDirectory() as folder:
            to = Path(folder, "found.json")
            command = [sys.executable, HERE / f"{name}.py", "--to", to, *["--tiny"] * tiny]
            done = subprocess.run(command, env=env, stderr=subprocess.PIPE, text=True)
            found = json.loads(to.read_text()) if to.is_file() else {}
        if done.returncode:
            print(done.stderr, file=sys.stderr)
            said = re.findall(r"^[\w.]+(?:Error|Exception|Interrupt)\b.*", done.stderr, re.MULTILINE)
            reason = f"the benchmark failed: {said[-1] if said else f'exit status {done.returncode}'}"
    measured = {(name, key): found[key] | surroundings(row) for key, row in rows.items() if key in found}
    missing = {
        (name, key): {"missing": reason or "the benchmark did not measure it"} for key in rows if key not in found
    }
    for (_, key), row in missing.items():
        print(f"  {key:30s} not measured: {row['missing']}", flush=True)
    return measured | missing


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=NAMES, default=NAMES, metavar="NAME", help=", ".join(NAMES))
    parser.add_argument("--tiny", action="store_true", help="small sizes, to see that it runs; nothing is recorded")
    args, missing = parser.parse_args(), []
    for name in args.only:
        for threads in sorted({row.threads for row in PLAN[name].values()}):
            print(f"{name}, {threads} thread{'s' * (threads > 1)}", flush=True)
            found = run(name, threads, args.tiny)
            missing += [row["missing"] for row in found.values() if "missing" in row]
            if not args.tiny:
                write(merged(read(), found))
    print(f"{len(missing)} rows not measured, see above" if missing else "every row was measured")
    return any(why.startswith("the benchmark") for why in missing)  # an absent peer is no failure


if __name__ == "__main__":
    sys.exit(main())
