"""What becomes of a task or run, what Airflow's own callbacks then do, and what a subscribed webhook hears.

Invariant: each row was observed in a real Airflow, and is again by each run of `test_watched.py`; the table of
docs/reliability.md is made of these rows. To write it anew: `python -m tests.unit.test_reliability_doc`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version

OLD = version("apache-airflow").startswith("3.2.")
#: Behind a call: it may come more than once, as the moment has it.
OR_MORE = " +"


@dataclass(frozen=True)
class Row:
    """One DAG, and all that is told of one run of it.

    :param what: what happens, in words
    :param hears: the events: job, try, topic, state; of failures the cause and the exit status
    :param calls: Airflow's calls of callbacks, each as often as it comes: job, try, callback
    :param calls_on_old: those on Airflow 3.2, where they differ
    :param test: its test in `test_watched.py`, where that is not the one of most rows
    :param later: whether the test itself starts the run
    """

    dag_id: str
    what: str
    hears: tuple[str, ...]
    calls: tuple[str, ...]
    calls_on_old: tuple[str, ...] | None = None
    test: str = "test_each_event_arrives_once"
    later: bool = False

    @property
    def calls_here(self) -> tuple[str, ...]:
        """Those on the Airflow that is installed."""
        return self.calls_on_old if OLD and self.calls_on_old is not None else self.calls


MATRIX = (
    Row(
        "exits_seven",
        "a task exits non-zero",
        (
            "exits_seven started running",
            "exits_seven.exits#1 started running",
            "exits_seven.exits#1 failed failed exception 7",
            "exits_seven.exits_itself#1 started running",
            "exits_seven.exits_itself#1 failed failed exception 7",
            "exits_seven failed failed exception 1",
        ),
        (
            "exits_seven.exits#1 on_execute",
            "exits_seven.exits#1 on_failure",
            "exits_seven.exits_itself#1 on_execute",
            "exits_seven.exits_itself#1 on_failure",
            "exits_seven on_failure",
        ),
    ),
    Row(
        "raises",
        "a task raises",
        (
            "raises started running",
            "raises.raises#1 started running",
            "raises.raises#1 failed failed exception 1",
            "raises failed failed exception 1",
        ),
        ("raises.raises#1 on_execute", "raises.raises#1 on_failure", "raises on_failure"),
    ),
    Row(
        "killed",
        "a task is killed with SIGKILL, as the kernel's out-of-memory killer does",
        (
            "killed started running",
            "killed.dies#1 started running",
            "killed.dies#1 failed failed killed 1",
            "killed failed failed killed 1",
        ),
        ("killed.dies#1 on_execute", "killed on_failure"),
    ),
    Row(
        "lost",
        "its supervisor too, so that no heartbeat comes",
        (
            "lost started running",
            "lost.dies_with_supervisor#1 started running",
            "lost.dies_with_supervisor#1 failed failed heartbeat_timeout 1",
            "lost failed failed heartbeat_timeout 1",
        ),
        (
            "lost.dies_with_supervisor#1 on_execute",
            "lost.dies_with_supervisor#1 on_failure +",
            "lost on_failure",
        ),
    ),
    Row(
        "killed_twice",
        "killed with SIGKILL, and again when it is retried",
        (
            "killed_twice started running",
            "killed_twice.dies#1 started running",
            "killed_twice.dies#1 failed up_for_retry killed 1",
            "killed_twice.dies#2 started running",
            "killed_twice.dies#2 failed failed killed 1",
            "killed_twice failed failed killed 1",
        ),
        (
            "killed_twice.dies#1 on_execute",
            "killed_twice.dies#1 on_retry",
            "killed_twice.dies#2 on_execute",
            "killed_twice on_failure",
        ),
    ),
    Row(
        "out_of_memory",
        "a task runs out of the memory that it may have (`RLIMIT_AS`)",
        (
            "out_of_memory started running",
            "out_of_memory.runs_out_of_memory#1 started running",
            "out_of_memory.runs_out_of_memory#1 failed failed exception 1",
            "out_of_memory failed failed exception 1",
        ),
        (
            "out_of_memory.runs_out_of_memory#1 on_execute",
            "out_of_memory.runs_out_of_memory#1 on_failure",
            "out_of_memory on_failure",
        ),
    ),
    Row(
        "task_timeout",
        "a task times out (`execution_timeout`)",
        (
            "task_timeout started running",
            "task_timeout.times_out#1 started running",
            "task_timeout.times_out#1 failed failed exception 1",
            "task_timeout failed failed exception 1",
        ),
        ("task_timeout.times_out#1 on_execute", "task_timeout.times_out#1 on_failure", "task_timeout on_failure"),
    ),
    Row(
        "run_timeout",
        "the run times out (`dagrun_timeout`)",
        (
            "run_timeout started running",
            "run_timeout.sleeps#1 started running",
            "run_timeout.sleeps#1 succeeded skipped",
            "run_timeout failed failed run_timeout 1",
        ),
        ("run_timeout.sleeps#1 on_execute", "run_timeout on_failure"),
    ),
    Row(
        "retried",
        "a task fails, and succeeds when it is retried",
        (
            "retried started running",
            "retried.recovers#1 started running",
            "retried.recovers#1 failed up_for_retry exception 1",
            "retried.recovers#2 started running",
            "retried.recovers#2 succeeded success",
            "retried succeeded success",
        ),
        (
            "retried.recovers#1 on_execute",
            "retried.recovers#1 on_retry",
            "retried.recovers#2 on_execute",
            "retried.recovers#2 on_success",
            "retried on_success",
        ),
    ),
    Row(
        "marked_success",
        "a running task is marked success, and later, as its run, failed",
        (
            "marked_success started running",
            "marked_success.sleeps#1 started running",
            "marked_success.sleeps#1 succeeded success",
            "marked_success succeeded success",
            "marked_success.sleeps#1 failed failed manual 1",
            "marked_success failed failed manual 1",
        ),
        ("marked_success.sleeps#1 on_execute", "marked_success on_success"),
        test="test_a_task_that_is_marked_success_and_later_failed",
    ),
    Row(
        "marked_failed",
        "a running task is marked failed, and later, as its run, success",
        (
            "marked_failed started running",
            "marked_failed.sleeps#1 started running",
            "marked_failed.sleeps#1 failed failed manual 1",
            "marked_failed failed failed manual 1",
            "marked_failed.sleeps#1 succeeded success",
            "marked_failed succeeded success",
        ),
        ("marked_failed.sleeps#1 on_execute", "marked_failed on_failure"),
        test="test_a_task_that_is_marked_failed_and_later_success",
    ),
    Row(
        "run_marked",
        "a running run is marked failed",
        (
            "run_marked started running",
            "run_marked.sleeps#1 started running",
            "run_marked.sleeps#1 failed failed manual 1",
            "run_marked failed failed manual 1",
        ),
        ("run_marked.sleeps#1 on_execute",),
        test="test_a_run_that_is_marked_failed_while_it_runs",
    ),
    Row(
        "cleared",
        "a run is cleared after its end, and runs again",
        (
            "cleared started running",
            "cleared.sleeps#1 started running",
            "cleared.sleeps#1 succeeded success",
            "cleared succeeded success",
            "cleared started running (2)",
            "cleared.sleeps#2 started running",
            "cleared.sleeps#2 failed failed manual 1",
            "cleared failed failed manual 1 (2)",
        ),
        ("cleared.sleeps#1 on_execute", "cleared on_success", "cleared.sleeps#2 on_execute"),
        test="test_a_run_that_is_cleared_and_runs_again",
    ),
    Row(
        "cleared_running",
        "a task is cleared while it runs, and runs again",
        (
            "cleared_running started running",
            "cleared_running.sleeps#1 started running",
            "cleared_running.sleeps#1 failed up_for_retry manual 1",
            "cleared_running.sleeps#2 started running",
            "cleared_running.sleeps#2 succeeded success",
            "cleared_running succeeded success (2)",
        ),
        (
            "cleared_running.sleeps#1 on_execute",
            "cleared_running.sleeps#1 on_retry",
            "cleared_running.sleeps#2 on_execute",
            "cleared_running on_success",
        ),
        test="test_a_task_that_is_cleared_while_it_runs",
    ),
    Row(
        "upstream",
        "a task's upstream fails",
        (
            "upstream started running",
            "upstream.raises#1 started running",
            "upstream.raises#1 failed failed exception 1",
            "upstream.later#0 failed upstream_failed upstream_failed 1",
            "upstream failed failed exception 1",
        ),
        ("upstream.raises#1 on_execute", "upstream.raises#1 on_failure", "upstream on_failure"),
    ),
    Row(
        "skipped",
        "a task skips itself, and the scheduler the one behind it",
        (
            "skipped started running",
            "skipped.skips#1 started running",
            "skipped.skips#1 succeeded skipped",
            "skipped.later#0 succeeded skipped",
            "skipped succeeded success",
        ),
        ("skipped.skips#1 on_execute", "skipped.skips#1 on_skipped", "skipped on_success"),
    ),
    Row(
        "mapped",
        "one of three mapped tasks fails",
        (
            "mapped started running",
            *(f"mapped.is_mapped[{index}]#1 started running" for index in range(3)),
            "mapped.is_mapped[0]#1 succeeded success",
            "mapped.is_mapped[1]#1 failed failed exception 1",
            "mapped.is_mapped[2]#1 succeeded success",
            "mapped failed failed exception 1",
        ),
        (
            *(f"mapped.is_mapped[{index}]#1 on_execute" for index in range(3)),
            "mapped.is_mapped[0]#1 on_success",
            "mapped.is_mapped[1]#1 on_failure",
            "mapped.is_mapped[2]#1 on_success",
            "mapped on_failure",
        ),
    ),
    Row(
        "deferred",
        "a deferred task fails in its trigger",
        (
            "deferred started running",
            "deferred.defers#1 started running",
            "deferred.defers#1 failed failed exception 1",
            "deferred failed failed exception 1",
        ),
        (
            "deferred.defers#1 on_execute",
            "deferred.defers#1 on_execute",
            "deferred.defers#1 on_failure",
            "deferred on_failure",
        ),
        test="test_a_deferred_task_that_fails_in_its_trigger",
    ),
    Row(
        "file_deleted",
        "the DAG's file is deleted while a task of it runs and another is to come",
        (
            "file_deleted started running",
            "file_deleted.holds#1 started running",
            "file_deleted.holds#1 succeeded success",
            "file_deleted.later#1 started running",
            "file_deleted.later#1 failed failed unknown 1",
            "file_deleted failed failed unknown 1",
        ),
        ("file_deleted.holds#1 on_execute", "file_deleted.holds#1 on_success"),
        test="test_a_dag_whose_file_is_deleted_while_it_runs",
    ),
    Row(
        "over_scheduler",
        "the scheduler is killed with the task that its executor runs, and another one starts",
        (
            "over_scheduler started running",
            "over_scheduler.holds#1 started running",
            "over_scheduler.holds#1 failed up_for_retry killed 1",
            "over_scheduler.holds#2 started running",
            "over_scheduler.holds#2 succeeded success",
            "over_scheduler.fails#1 started running",
            "over_scheduler.fails#1 failed failed exception 7",
            "over_scheduler failed failed exception 1",
        ),
        (
            "over_scheduler.holds#1 on_execute",
            "over_scheduler.holds#2 on_execute",
            "over_scheduler.holds#2 on_success",
            "over_scheduler.fails#1 on_execute",
            "over_scheduler.fails#1 on_failure",
            "over_scheduler on_failure",
        ),
        test="test_what_becomes_of_a_task_whose_scheduler_is_killed",
    ),
    Row(
        "over_api_server",
        "the API server is killed (with the relay and the watcher in it), a task ends, and the server comes back",
        (
            "over_api_server started running",
            "over_api_server.holds#1 started running",
            "over_api_server.holds#1 succeeded success",
            "over_api_server.fails#1 started running",
            "over_api_server.fails#1 failed failed exception 7",
            "over_api_server failed failed exception 1",
        ),
        (
            "over_api_server.holds#1 on_execute",
            "over_api_server.holds#1 on_success",
            "over_api_server.fails#1 on_execute",
            "over_api_server.fails#1 on_failure",
            "over_api_server on_failure",
        ),
        test="test_what_ends_while_the_api_server_is_away",
        later=True,
    ),
    Row(
        "over_relay",
        "of two processes of `airflow webhooks relay` the one that watches is killed, and a task ends",
        (
            "over_relay started running",
            "over_relay.holds#1 started running",
            "over_relay.holds#1 succeeded success",
            "over_relay.fails#1 started running",
            "over_relay.fails#1 failed failed exception 7",
            "over_relay failed failed exception 1",
        ),
        (
            "over_relay.holds#1 on_execute",
            "over_relay.holds#1 on_success",
            "over_relay.fails#1 on_execute",
            "over_relay.fails#1 on_failure",
            "over_relay on_failure",
        ),
        test="test_what_ends_while_nobody_watches",
        later=True,
    ),
    Row(
        "succeeds",
        "nothing of all that",
        (
            "succeeds started running",
            "succeeds.works#1 started running",
            "succeeds.works#1 succeeded success",
            "succeeds succeeded success",
        ),
        ("succeeds.works#1 on_execute", "succeeds.works#1 on_success", "succeeds on_success"),
    ),
)
ROWS: Mapping[str, Row] = {row.dag_id: row for row in MATRIX}
