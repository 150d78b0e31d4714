"""A whole book of one tiny chapter, built with the real Snakefile, settings and styles: for tests of the pipeline."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

TOC = """format: jb-book
root: chapters/index
chapters:
  - file: chapters/tiny
  - file: chapters/ledger
"""

CLAIMS = """tiny:
  T1:
    text: The mean is positive.
    phrase: positive
    quantifier: always
    subject: result
    setting: These values.
    measures:
      mean: {is: mean, region: [0, .inf], because: Zero is not positive., stated: ["the values are *"]}
    verdict: holds
unwritten:
  U1:
    text: Nobody has looked yet.
    phrase: nobody
    quantifier: can
    subject: reason
    setting: Nowhere.
    measures:
      size: {is: size, region: [0, .inf], because: It is., pending: [anywhere]}
    verdict: null
"""

LEDGER = """# Ledger

```{include} _generated/summary.txt
```

```{include} _generated/ledger.txt
```

```{include} _generated/timings.txt
```
"""

CHAPTER = """---
jupytext:
  text_representation:
    extension: .md
    format_name: myst
kernelspec:
  name: python3
  display_name: Python 3
---

(tiny-top)=
# A tiny chapter

```{glue} tiny:verdicts
```

```{code-cell} ipython3
import time

import matplotlib.pyplot as plt
import numpy as np

from companion.evidence import Chapter, student

book = Chapter("tiny", seed=0)
```

```{code-cell} ipython3
:tags: [parameters]
runs, shift, nap = 20, 1.0, 0.0
```

```{code-cell} ipython3
time.sleep(nap)
values = shift + 0.1 * np.random.default_rng(0).standard_normal(runs)
book.glue("mean", values.mean(), ".2f")
```

The mean is {glue:text}`tiny:mean`; see {numref}`tiny-fig-values` and [the top](#tiny-top).

```{code-cell} ipython3
---
mystnb:
  figure:
    caption: The values.
    name: tiny-fig-values
  image:
    alt: Twenty points scattered closely around one.
---
plt.plot(values, "o");
```

```{code-cell} ipython3
book.judge("T1", mean={"the values are what they are": student(values)})
```

```{code-cell} ipython3
book.summary()
```
"""


def write(root: Path, chapter: str = CHAPTER, claims: str = CLAIMS, index: str = "# A tiny book\n") -> Path:
    """The book's sources below `root`."""
    home = root / "chapters"
    home.mkdir(parents=True)
    shutil.copyfile(ROOT / "_config.yml", root / "_config.yml")
    for folder in (ROOT / "chapters").glob("_[a-z]*"):
        shutil.copytree(folder, home / folder.name, ignore=shutil.ignore_patterns("__pycache__"))
    texts = {"tiny.md": chapter, "claims.yml": claims, "index.md": index, "ledger.md": LEDGER, "references.bib": ""}
    texts["smoke.yml"] = "tiny: {runs: 5}\n"
    for name, text in texts.items():
        (home / name).write_text(text, encoding="utf-8")
    (root / "_toc.yml").write_text(TOC, encoding="utf-8")
    return root


def command(root: Path, *options: str, python: Path | str = sys.executable) -> list[str]:
    make = [str(python), "-m", "companion", "make", "--snakefile", str(ROOT / "Snakefile"), "--jobs", "1"]
    return [*make, *options]


def environment(**more: str) -> dict[str, str]:
    """The environment without what a build or a test has set in it."""
    return {k: v for k, v in os.environ.items() if not k.startswith(("STEPSIZE_", "PYTEST_"))} | more


def build(
    root: Path, *options: str, target: str = "html", python=sys.executable, patience: float = 300, **more
) -> subprocess.CompletedProcess:
    """Run the build, with `more` in its environment; stdout and stderr together in `.stdout`."""
    return subprocess.run(
        [*command(root, *options, python=python), target],
        cwd=root, env=environment(**more), text=True, encoding="utf-8",
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=patience,
    )  # fmt: skip
