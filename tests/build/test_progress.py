"""What a build says while it runs: chapters counted as they finish, one line each, and no failure twice."""

import logging

import pytest
from snakemake_interface_logger_plugins.common import LogEvent

from companion.build.progress import LogHandler


@pytest.fixture
def say():
    """say(event, level, message, **fields): what Snakemake would log."""
    handler = LogHandler(None, None)

    def emit(event, level=logging.INFO, message="", **fields):
        record = logging.makeLogRecord({"levelno": level, "msg": message, "event": event} | fields)
        handler.handle(record)

    emit(LogEvent.RUN_INFO, stats={"execute": 2, "site": 1, "total": 3})
    for jobid, wildcards in enumerate([{"chapter": "one"}, {"chapter": "two"}]):
        emit(LogEvent.JOB_INFO, jobid=jobid, rule_name="execute", wildcards=wildcards)
    emit(LogEvent.JOB_INFO, jobid=2, rule_name="site", wildcards={})
    return emit


def test_chapters_are_counted_in_the_order_in_which_they_finish(say, capsys):
    for jobid in (1, 0, 2):
        say(LogEvent.JOB_FINISHED, job_id=jobid)
    assert capsys.readouterr() == ("two · 0 s · 1 of 2\none · 0 s · 2 of 2\n", "")


def test_a_failed_job_is_named_and_what_snakemake_repeats_of_it_is_left_out(say, capsys):
    say(LogEvent.JOB_ERROR, logging.ERROR, "Error in rule execute, jobid: 0", jobid=0)
    say(None, logging.ERROR, "RuleException:\nCalledProcessError in file Snakefile, line 37")
    say(None, logging.ERROR, "Exiting because a job execution failed.")
    say(None, logging.INFO, "Building DAG of jobs...")
    assert capsys.readouterr() == ("one · failed\n", "")


def test_an_error_of_snakemake_s_own_is_shown(say, capsys):
    say(None, logging.ERROR, "MissingInputException in rule site")
    assert capsys.readouterr() == ("", "MissingInputException in rule site\n")


def test_of_a_traceback_the_last_line_is_shown(say, capsys):
    say(
        LogEvent.ERROR,
        logging.ERROR,
        "Traceback (most recent call last):\n  File x\nOSError: No space left on device\n",
    )
    assert capsys.readouterr() == ("", "OSError: No space left on device\n")


def test_a_point_of_a_sweep_goes_by_its_parameters(say, capsys, monkeypatch):
    monkeypatch.setattr(LogHandler, "names", {"one-af1": "one, runs = 7"})
    say(LogEvent.JOB_INFO, jobid=7, rule_name="point", wildcards={"point": "one-af1"})
    say(LogEvent.JOB_FINISHED, job_id=7)
    assert capsys.readouterr().out == "one, runs = 7 · 0 s · 1 of 2\n"
