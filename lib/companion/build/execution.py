"""A chapter from text to executed notebook: convert (jupytext), execute (papermill), scan, record.

Every chapter runs in a fresh kernel with one thread, on its own IPC sockets, in its own clean settings; what it
computed (verdicts, glued numbers, seconds) goes into a small record beside the notebook.
"""

import contextlib
import json
import os
import re
import sys
import tempfile
import threading
import time
from importlib.metadata import version
from pathlib import Path

from companion.errors import BookError
from companion.evidence import races
from companion.evidence.verdict import MIME

from .book import Book
from .notebooks import cell_lines, convert

ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS", "NUMBA_NUM_THREADS"), "1"
)
GLUE = "application/papermill.record/"
NUMERICAL = ("numpy", "scipy", "torch", "numba")
#: Python looks for reference cycles after every 700 new objects; while packages are imported that is a second in vain.
FEWER_COLLECTIONS = "import gc; gc.set_threshold(20_000); del gc"


class Places:
    """Says where a cell stands in the chapter's text."""

    def __init__(self, source: Path, notebook):
        lines = iter(cell_lines(source))
        self.name = f"chapters/{source.name}"
        self.lines = {c["id"]: next(lines, "?") for c in notebook.cells if c.cell_type == "code"}
        self.numbers = {c["id"]: n for n, c in enumerate(notebook.cells)}

    def __call__(self, cell) -> str:
        line = self.lines.get(cell.get("id"))
        return f"{self.name}, line {line}" if line else f"{self.name}, injected parameters"


@contextlib.contextmanager
def clean_kernel_settings(root: Path):
    """The environment in which kernels start: one thread, no settings of the user, sockets in a short own folder."""
    with tempfile.TemporaryDirectory(prefix="book-") as short:
        cache = root / "_build" / "cache"
        (cache / "matplotlib").mkdir(parents=True, exist_ok=True)
        wanted = ONE_THREAD | {
            "PYTHONHASHSEED": "0",
            "PYTHONNOUSERSITE": "1",
            "PYTHONUTF8": "1",
            "JUPYTER_RUNTIME_DIR": f"{short}/r",
            "JUPYTER_DATA_DIR": f"{short}/d",
            "JUPYTER_CONFIG_DIR": f"{short}/c",
            "JUPYTER_PREFER_ENV_PATH": "1",
            "IPYTHONDIR": f"{short}/i",
            "MPLCONFIGDIR": str(cache / "matplotlib"),
            "NUMBA_CACHE_DIR": str(cache / "numba"),
            "NUMBA_CACHE_LOCATOR_CLASSES": "companion.build.numba_cache.BySources",
        }
        before = dict(os.environ)
        os.environ.pop("MPLBACKEND", None)
        os.environ.pop("PYTHONWARNINGS", None)
        os.environ.update(wanted)
        try:
            yield
        finally:
            os.environ.clear()
            os.environ.update(before)


def die_with_the_build() -> None:
    """End this process when the build that started it is gone (killed), so that no stale result is written later."""
    if not (pid := os.environ.get("STEPSIZE_BUILD_PID")):
        return

    def watch():
        while True:
            try:
                os.kill(int(pid), 0)
            except ProcessLookupError:
                os._exit(1)
            time.sleep(0.5)

    threading.Thread(target=watch, daemon=True).start()


def kernel_that_logs(path: Path):
    """A kernel manager whose kernel writes its own messages (not the cells' output) to a file."""
    from jupyter_client.manager import AsyncKernelManager

    class Quiet(AsyncKernelManager):
        async def start_kernel(self, **options):
            with path.open("ab") as log:
                return await super().start_kernel(**options, stderr=log)

    return Quiet


def execute(book: Book, chapter: str, given: dict | None = None, timeout: float = 900):
    """Run a chapter from top to bottom -> (executed notebook, record). Raises BookError with file and line."""
    parameters, fingerprint = book.parameters(chapter, given), book.fingerprint(chapter, given)
    source = convert(book.source(chapter))
    place, start = Places(book.source(chapter), source), time.monotonic()
    with clean_kernel_settings(book.root):
        import matplotlib.font_manager  # noqa: F401  fills the font cache here: in a chapter it would speak on stderr

        for attempt in range(3):
            with tempfile.TemporaryDirectory(prefix="book-") as scratch:
                notebook, error = run(source, parameters, book.root / "chapters", Path(scratch), place, timeout)
            if notebook is not None:
                break
            print(f"{chapter}: the kernel did not start ({error}), attempt {attempt + 1} of 3", flush=True)
        else:
            raise BookError(f"chapters/{chapter}.md: the kernel did not start three times: {error}; free some memory")
    scan(notebook, place)
    said = record(notebook, place) | {"seconds": round(time.monotonic() - start, 2)}
    about = {"chapter": chapter, "profile": book.profile, "fingerprint": fingerprint, "parameters": parameters}
    return tidy(notebook), about | {"versions": versions()} | said


def versions() -> dict[str, str]:
    """Python, and the packages on which a chapter's numbers depend."""
    return {"python": sys.version.split()[0]} | {name: version(name).split("+")[0] for name in NUMERICAL}


def run(notebook, parameters: dict, home: Path, scratch: Path, place, timeout: float):
    """One attempt: (executed notebook, "") or, when the kernel did not start, (None, why)."""
    import logging

    import papermill
    from nbclient.exceptions import CellTimeoutError, DeadKernelError
    from traitlets.config import Config

    before, after, log = (scratch / name for name in ("in.ipynb", "out.ipynb", "kernel.log"))
    before.write_text(json.dumps(notebook), encoding="utf-8")
    running, start = [], time.monotonic()
    logging.getLogger("papermill").setLevel(logging.ERROR)  # our own check of parameters knows more than its

    def time_left(cell):
        running[:] = [cell]
        return max(start + timeout - time.monotonic(), 0.05)

    def died(error):
        return _one_line(log.read_text(errors="replace")[-300:]) if log.is_file() and log.stat().st_size else error

    try:
        done = papermill.execute_notebook(
            str(before),
            str(after),
            parameters=parameters,
            kernel_name="python3",
            language="python",
            cwd=str(home),
            progress_bar=False,
            request_save_on_cell_execute=False,  # else the whole notebook is written twice a cell
            start_timeout=60,
            # a socket file of its own: by default all kernels started from one folder share "kernel-ipc" and mix up
            config=Config(KernelManager={"transport": "ipc", "ip": str(scratch / "k")}),
            kernel_manager_class=kernel_that_logs(log),
            timeout_func=time_left,
            extra_arguments=[f"--IPKernelApp.exec_lines={FEWER_COLLECTIONS}"],
        )
    except papermill.PapermillExecutionError as error:
        cell = next((c for c in notebook.cells if c.cell_type == "code" and c.source == error.source), {})
        raise BookError(f"{place(cell)}: {error.ename}: {_one_line(error.evalue)}; correct the cell") from None
    except CellTimeoutError:
        raise BookError(
            f"{place(running[0])}: time-out, the chapter ran longer than {timeout:g} s; "
            "make it smaller or allow more with TIMEOUT=seconds"
        ) from None
    except (DeadKernelError, RuntimeError) as error:
        if not running:
            return None, died(_one_line(error))
        raise BookError(
            f"{place(running[0])}: the kernel died: {died(_one_line(error))}; give it more memory"
        ) from None
    return done, ""


def _one_line(text) -> str:
    return " ".join(re.sub(r"\x1b\[[0-9;]*m", "", str(text)).split())[:300]


def scan(notebook, place) -> None:
    """Refuse errors, anything on stderr, and pictures without alternative text or caption, wherever they hide."""
    for cell in (c for c in notebook.cells if c.cell_type == "code"):
        for out in cell.outputs:
            if out.output_type == "error":
                raise BookError(f"{place(cell)}: {out.ename}: {_one_line(out.evalue)}; correct the cell")
            if out.output_type == "stream" and out.name == "stderr" and out.text.strip():
                raise BookError(
                    f"{place(cell)}: the cell writes to stderr: {_one_line(out.text)}; remove the cause of the warning"
                )
            picture = any(mime.startswith("image/") for mime in out.get("data", {}))
            if picture and GLUE not in str(out.get("metadata", {}).get("scrapbook", {}).get("mime_prefix", "")):
                # papermill keeps MyST-NB's settings of the cell under their own name
                render = cell.metadata.get("mystnb", {})
                alt = str(render.get("image", {}).get("alt") or "").strip()
                if len(alt) < 10 or re.fullmatch(r"\S+\.(svg|png|jpe?g)", alt):
                    raise BookError(
                        f"{place(cell)}: the picture has no alternative text; say what is to be seen under "
                        "mystnb: image: alt: in the cell's metadata"
                    )
                if not str(render.get("figure", {}).get("caption") or "").strip():
                    raise BookError(
                        f"{place(cell)}: the picture has no caption; give one under mystnb: figure: caption:"
                    )


def record(notebook, place) -> dict:
    """What the run says: verdicts, races, glued numbers, seconds per cell. No path of this machine."""
    verdicts, raced, glued, cells = [], [], {}, []
    for cell in (c for c in notebook.cells if c.cell_type == "code"):
        cells.append([place.lines.get(cell.get("id"), 0), cell.metadata.get("papermill", {}).get("duration") or 0.0])
        for out in cell.outputs:
            data, meta = out.get("data", {}), out.get("metadata", {})
            if MIME in data:
                verdicts.append(data[MIME])
            if races.MIME in data:
                raced.append(data[races.MIME])
            if name := meta.get("scrapbook", {}).get("name"):
                glued[name] = {
                    mime.removeprefix(GLUE): text
                    for mime, text in data.items()
                    if not mime.removeprefix(GLUE).startswith("image/")
                }
    return {"cells": cells, "verdicts": verdicts, "races": raced, "glued": glued}


def tidy(notebook):
    """The notebook without traces of the run's machine and minutes: no papermill metadata, no times."""
    notebook.metadata.pop("papermill", None)
    for cell in notebook.cells:
        for key in ("papermill", "execution"):
            cell.metadata.pop(key, None)
    return notebook
