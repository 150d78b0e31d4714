"""What a build says on the terminal: a line for every chapter that has run, and Snakemake's errors of its own.

A logger plugin of Snakemake, registered by `companion.build.make`.
"""

import logging
import sys
import time
from typing import ClassVar

from snakemake_interface_logger_plugins.base import LogHandlerBase
from snakemake_interface_logger_plugins.common import LogEvent

RUNS = ("execute", "point")
#: How Snakemake repeats that a command has failed; the build gathers the commands' own words.
REPEATED = ("RuleException:\nCalledProcessError", "Exiting because a job", "WorkflowError:\nAt least one job")


class LogHandler(LogHandlerBase):
    """Counts the runs of chapters as they finish: the jobs themselves cannot, two may finish at once."""

    writes_to_stream, writes_to_file, needs_rulegraph = True, False, False
    has_filter, has_formatter = True, True
    silent = False
    names: ClassVar[dict[str, str]] = {}  # wildcard -> what a reader calls it

    def __post_init__(self):
        self.jobs, self.done, self.total = {}, 0, 0

    def emit(self, record):
        if self.silent:
            return
        event = getattr(record, "event", None)
        if event == LogEvent.RUN_INFO:
            self.total = sum(record.stats.get(rule, 0) for rule in RUNS)
        elif event == LogEvent.JOB_INFO:
            name = next(iter((record.wildcards or {}).values()), record.rule_name)
            self.jobs[record.jobid] = record.rule_name, self.names.get(name, name), time.monotonic()
        elif event == LogEvent.JOB_FINISHED:
            rule, name, start = self.jobs[record.job_id]
            if rule in RUNS:
                self.done += 1
                print(f"{name} · {time.monotonic() - start:.0f} s · {self.done} of {self.total}", flush=True)
        elif event == LogEvent.JOB_ERROR:
            print(f"{self.jobs[record.jobid][1]} · failed", flush=True)
        elif record.levelno >= logging.ERROR and not str(record.msg).startswith(REPEATED):
            text = str(record.msg).strip()
            last = text.rpartition("\n")[2] if text.startswith("Traceback") else text  # --verbose shows all of it
            print(last, file=sys.stderr, flush=True)
