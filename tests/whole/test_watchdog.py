"""The service manager's watchdog: fed while every thread goes on, and not when one hangs."""

import contextlib
import os
import pathlib
import resource
import signal
import subprocess
import sys
import time

import pytest

from rig.daemon import account_section

LIMIT_S = 2.0
HANG_THREAD = pathlib.Path(__file__).parent.parent / "rig" / "hang_thread.py"
ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason="only root can hold the daemon's threads")
THREADS = ["refresh", "serve"]

# Runs a command with the watchdog's variables as the service manager sets them.
WITH_WATCHDOG = """
import os, sys
os.environ.update(WATCHDOG_USEC=sys.argv[1], WATCHDOG_PID=str(os.getpid()))
os.execvp(sys.argv[2], sys.argv[2:])
"""


def watched(limit_s=LIMIT_S):
    """Options of a Daemon that has a watchdog of that many seconds."""
    return {"wrap": [sys.executable, "-c", WITH_WATCHDOG, str(int(limit_s * 1000000))]}


@contextlib.contextmanager
def held(daemon, thread):
    """Hold the daemon's thread of that name."""
    number = next(number for name, number in daemon.threads() if name == thread)
    holder = subprocess.Popen(
        [sys.executable, HANG_THREAD, number], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with holder:
        assert holder.stdout.readline() == b"held\n"
        yield
        holder.stdin.close()
        holder.wait(60)


class Feedings:
    """When the watchdog was fed, seen as the service manager sees it."""

    def __init__(self, daemon):
        self._daemon = daemon
        self._seen = len(daemon.states())

    def wait(self):
        """Wait for the next one; returns the time."""
        state = self._daemon.wait_for_state(lambda state: "WATCHDOG=1" in state, self._seen)
        now = time.monotonic()
        states = self._daemon.states()
        self._seen = next(i for i in range(self._seen, len(states)) if states[i] == state) + 1
        return now


def feedings(daemon):
    return sum("WATCHDOG=1" in state for state in daemon.states())


@pytest.fixture
def config(emulator, key_file):
    return account_section("anchors", emulator, key_file)


@pytest.fixture
def running(make_daemon, config):
    daemon = make_daemon(config, **watched()).start()
    daemon.wait_for_token("anchors")
    return daemon


# ---- all goes on ----


@pytest.mark.plain_build  # it is about time
def test_is_fed_at_half_of_its_time_while_nothing_happens(running):
    fed = Feedings(running)
    times = [fed.wait() for _ in range(5)]
    pauses = [after - before for before, after in zip(times, times[1:])]
    assert all(0.35 * LIMIT_S < pause < 0.75 * LIMIT_S for pause in pauses), pauses


def test_is_fed_from_the_start_on(make_daemon, config):
    running = make_daemon(config, **watched(limit_s=60)).start()
    running.wait_for_state(lambda state: "WATCHDOG=1" in state)


def test_is_fed_while_it_reloads_and_refreshes(running, emulator):
    fed = Feedings(running)
    for _ in range(3):
        running.reload()
        fed.wait()
    assert "hangs" not in running.log()


@pytest.mark.parametrize("environment", [{}, {"WATCHDOG_USEC": "2000000", "WATCHDOG_PID": "1"}])
def test_is_not_fed_where_none_is(make_daemon, config, environment):
    running = make_daemon(config, environment=environment).start()
    running.wait_for_token("anchors")
    running.reload()
    assert feedings(running) == 0
    assert "watchdog" not in running.log()


def test_a_time_that_cannot_be_read_is_told_and_the_daemon_serves(make_daemon, config):
    running = make_daemon(config, environment={"WATCHDOG_USEC": "soon"}).start()
    assert running.wait_for_log("warning: cannot read the watchdog's time (WATCHDOG_USEC")
    assert running.get("/healthz").status == 200


# ---- a thread hangs ----


@ROOT_ONLY
@pytest.mark.parametrize("thread", THREADS)
def test_is_not_fed_while_a_thread_hangs_and_the_log_names_it(running, thread):
    Feedings(running).wait()
    with held(running, thread):
        line = running.wait_for_log("hangs")
        fed = feedings(running)
        assert line.startswith(f"mrtokend: error: the thread '{thread}' hangs: it has not answered")
        assert line.endswith(f" THREAD={thread}")
        time.sleep(1.5 * LIMIT_S)  # the service manager would have acted by now
        assert feedings(running) == fed
        assert sum("hangs" in line for line in running.log_lines()) == 1
    # It goes on after all: nobody ended it, and nothing is lost.
    running.wait_for_log(f"the thread '{thread}' goes on")
    Feedings(running).wait()
    assert running.token()["account"] == "anchors"


@ROOT_ONLY
@pytest.mark.parametrize("thread", THREADS)
def test_a_reload_that_waits_for_a_thread_that_hangs_does_not_hide_it(
    running, thread, config, tmp_path
):
    with held(running, thread):
        # A second listener, so that the server has something to do.
        running.write_config(
            config
            + f"[listener main]\npath = {running.socket}\n\n"
            + f"[listener more]\npath = {tmp_path}/more.sock\n"
        )
        running.send_signal(signal.SIGHUP)
        running.wait_for_state(lambda state: "RELOADING=1" in state)
        assert running.wait_for_log(f"the thread '{thread}' hangs")
    running.wait_for_log("reloaded the configuration")
    Feedings(running).wait()


@ROOT_ONLY
def test_serves_tokens_while_the_refresh_thread_hangs(running):
    token = running.token()
    with held(running, "refresh"):
        running.wait_for_log("hangs")
        assert running.token() == token


@pytest.mark.plain_build  # it is about time
def test_a_process_that_was_stopped_as_a_whole_is_not_told_to_hang(running):
    fed = Feedings(running)
    for _ in range(3):
        fed.wait()
        running.send_signal(signal.SIGSTOP)
        time.sleep(1.6 * LIMIT_S)
        running.send_signal(signal.SIGCONT)
        fed.wait()
    assert "hangs" not in running.log()


@ROOT_ONLY
@pytest.mark.plain_build  # sanitizers have handlers of their own
def test_the_abort_leaves_no_core_dump(make_daemon, config, tmp_path):
    running = make_daemon(
        config,
        cwd=tmp_path,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CORE, (-1, -1)),
        **watched(),
    ).start()
    running.wait_for_token("anchors")
    limits = pathlib.Path(f"/proc/{running.pid}/limits").read_text()
    assert limits.split("Max core file size")[1].split()[:2] == ["0", "0"]
    with held(running, "refresh"):
        running.wait_for_log("hangs")
        os.kill(running.pid, signal.SIGABRT)
        # CLD_KILLED, and not CLD_DUMPED.
        ended = running.how_it_ended()
        assert (ended.si_code, ended.si_status) == (os.CLD_KILLED, signal.SIGABRT)
    running.wait()
    assert list(tmp_path.glob("core*")) == []
