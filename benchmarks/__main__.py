"""Every comparison with a peer, one after the other:  make bench, or one by name:  make bench ARGS="secant step"."""

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
NAMES = sorted(path.stem for path in HERE.glob("*.py") if not path.stem.startswith("_"))


def main(chosen):
    if unknown := sorted(set(chosen) - set(NAMES)):
        sys.exit(f"error: no benchmark {unknown[0]!r}; there are {', '.join(NAMES)}")
    failed = []
    for name in chosen or NAMES:
        print(f"\n== {name}", flush=True)
        # a process each: threads, caches and compiled peers of one must not slow the next
        if subprocess.run([sys.executable, HERE / f"{name}.py"]).returncode:
            failed.append(name)
    sys.exit(f"error: {', '.join(failed)} did not end well; see above" if failed else 0)


if __name__ == "__main__":
    main(sys.argv[1:])
