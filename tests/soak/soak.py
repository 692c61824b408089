#!/usr/bin/python3
"""Everything that can go wrong, at random, for as long as you like; and no client gets a wrong answer.

    MRT_BUILD_DIR=build/gcc /usr/bin/python3 tests/soak/soak.py --minutes 60

Tokens live 20 seconds. Meanwhile the service fails, keys are rotated, the daemon is reloaded, killed
and started anew, stopped and continued, its clock is set, its machine sleeps. Four clients poll and
hold each answer against the soak's own account of what is true: ledger.py. Exit status 1 when one
was wrong. The same seed makes the same choices, but the machine's own timing is never the same.
"""

import argparse
import collections
import http.client
import json
import os
import pathlib
import random
import secrets
import signal
import sys
import tempfile
import threading
import time

TREE = pathlib.Path(__file__).parent.parent
sys.path[:0] = [str(TREE), str(pathlib.Path(__file__).parent)]

from ledger import Ledger  # noqa: E402
from rig.clock import ShiftedClock  # noqa: E402
from rig.credentials import write_secret  # noqa: E402
from rig.daemon import Answer, account_keys, configuration  # noqa: E402
from rig.emulator import Emulator  # noqa: E402
from rig.kept_daemon import KeptDaemon, make_memfd  # noqa: E402

LIFETIME_S = 20
CLIENTS = 4
ACCOUNTS = {f"a-{i}": f"7f1c3c5e-0000-4000-8004-{i:012x}" for i in range(3)}
DAY_S = 86400
# What comes of a quiet time: every account has a token again.
RECOVERY_S = 30


def read_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=3)
    parser.add_argument("--seed", type=int, default=None, help="default: a new one, printed")
    parser.add_argument("--keep", action="store_true", help="keep the directory with the logs")
    return parser.parse_args()


# ---- the clients ---------------------------------------------------------------------------------

FORMS = [
    ("/v1/accounts/{name}/token", {}, lambda body: json.loads(body)["token"]),
    ("/v1/accounts/{name}/token", {"Accept": "text/plain"}, lambda body: body.decode()),
    (
        "/v1/accounts/{name}/token?format=header",
        {},
        lambda body: body.decode().strip().removeprefix("Authorization: Bearer "),
    ),
    ("/Accounts/{id}/token", {}, lambda body: json.loads(body)["AccessToken"]),
]


class Poller(threading.Thread):
    """One client: a connection that it keeps, and requests as fast as they are answered."""

    def __init__(self, daemon, ledger, seed):
        super().__init__(daemon=True)
        self._service = daemon
        self._ledger = ledger
        self._random = random.Random(seed)
        self._over = threading.Event()

    def stop(self):
        self._over.set()
        self.join(120)

    def run(self):
        connection = self._service.connect()
        while not self._over.is_set():
            name = self._random.choice(list(ACCOUNTS))
            target, headers, read = self._random.choice(FORMS)
            asked = self._ledger.begin()
            try:
                connection.request(
                    "GET", target.format(name=name, id=ACCOUNTS[name]), headers=headers
                )
                answer = Answer(connection.getresponse())
            except (OSError, http.client.HTTPException) as error:
                connection.close()
                self._ledger.broken(asked, name, error)
                continue
            token = None
            try:
                if answer.status == 200:
                    token = read(answer.body)
            except (ValueError, KeyError, TypeError) as error:
                self._ledger.complain(f"account {name}: {target}: {error!r}")
                continue
            self._ledger.judge(name, asked, answer.status, answer.headers, answer.body, token)
        connection.close()


class Watcher(threading.Thread):
    """Tells the ledger which tokens the service gave, and counts what it was asked."""

    def __init__(self, emulator, ledger):
        super().__init__(daemon=True)
        self._emulator = emulator
        self._ledger = ledger
        self._over = threading.Event()
        self._names = {account_id: name for name, account_id in ACCOUNTS.items()}
        self.asked = 0
        self.given = 0
        self.by_status = collections.Counter()

    def stop(self):
        self._over.set()
        self.join(120)

    def run(self):
        newest = 0
        while not self._over.is_set():
            found = self._emulator.requests(newest)
            # One that has no answer yet is looked at again, and what came after it.
            for request in found:
                age_s = time.time() - request["received_on"] / 1000
                if request["status"] == 0 and age_s < 1:
                    break
                newest = request["number"]
                self.asked += 1
                self.by_status[request["status"]] += 1
                if request["status"] == 200:
                    self._note(request)
            self._ledger.settle()
            self._over.wait(0.2)

    def _note(self, request):
        name = self._names[request["path"].split("/")[2]]
        lifetime_s = LIFETIME_S if request["fault"] is None else None
        self.given += lifetime_s is not None
        self._ledger.note_exchange(name, request["received_on"] / 1000, lifetime_s)


# ---- what goes wrong -----------------------------------------------------------------------------


class Chaos:
    """Does one thing after the other, as the seed says."""

    def __init__(self, daemon, emulator, clock, ledger, keys, seed):
        self._daemon = daemon
        self._emulator = emulator
        self._clock = clock
        self._ledger = ledger
        self._keys = keys
        self._random = random.Random(seed)
        self.counts = collections.Counter()
        self.faults = collections.Counter()
        self._actions = [
            (30, self._fault),
            (4, self._rotate),
            (4, self._reload),
            (4, self._kill),
            (2, self._kill_and_damage),
            (3, self._pause),
            (3, self._set_clock),
            (2, self._sleep),
            (2, self._pause_service),
            (6, self._heal),
        ]

    def run(self, until):
        weights = [weight for weight, _ in self._actions]
        while time.monotonic() < until:
            action = self._random.choices(self._actions, weights)[0][1]
            action()
            self.counts[action.__name__.strip("_").replace("_", " ")] += 1
            self._check_alive()
            time.sleep(self._random.uniform(0.2, 1.5))

    def _check_alive(self):
        if not self._daemon.is_running():
            raise SystemExit(f"the daemon ended by itself:\n{self._daemon.log()[-4000:]}")

    def _fault(self):
        pick = self._random
        date = time.gmtime(self._ledger.now_s() + pick.randint(1, 4))
        told = time.strftime("%a, %d %b %Y %H:%M:%S GMT", date)
        choices = {
            "429": {"action": "status", "status": 429},
            "429 in seconds": {"status": 429, "headers": {"Retry-After": str(pick.randint(1, 3))}},
            "503 by date": {"status": 503, "headers": {"Retry-After": told}},
            "500": {"status": 500},
            "502": {"status": 502, "body": "<h1>no</h1>", "content_type": "text/html"},
            "reset at accept": {"action": "reset", "at": "accept"},
            "reset at headers": {"action": "reset", "at": "headers"},
            "reset in body": {"action": "reset", "at": "body"},
            "truncated": {"action": "truncate"},
            "wrong type": {"action": "wrong_type"},
            "oversized": {"action": "oversize"},
            "slow": {"action": "slow_body", "pause_ms": pick.randint(1, 4)},
            "late": {"action": "delay", "delay_ms": pick.randint(500, 6000)},
            "short life": {"action": "token", "lifetime_s": pick.randint(4, 8)},
            "expired": {"action": "token", "lifetime_s": -pick.randint(1, DAY_S)},
            "same": {"action": "same_token"},
            "no token": {"status": 200, "body": "{}"},
            "400": {"status": 400},
            "401": {"status": 401},
        }
        name = pick.choice(list(choices))
        members = {"action": "status", **choices[name]}
        if members.get("at") != "accept" and pick.random() < 0.5:
            members["account"] = pick.choice(list(ACCOUNTS.values()))
        count = 2 if name == "401" else pick.randint(1, 6)
        self._emulator.add_fault(**members, count=count)
        self.faults[name] += 1

    def _heal(self):
        """All is well for a while, and what waits for somebody to act sees that he did."""
        self._emulator.clear_faults()
        self._reload()
        time.sleep(self._random.uniform(0.5, 3))

    def _rotate(self):
        """Regenerate one of an account's two keys, with a time in which the file has the old."""
        name = self._random.choice(list(ACCOUNTS))
        which = self._random.randrange(2)
        self._keys[name][which] = f"{self._random.getrandbits(256):064x}"
        steps = [
            lambda: self._emulator.put_account(ACCOUNTS[name], *self._keys[name]),
            lambda: write_secret(key_file(self._daemon.directory, name, which), self._keys[name][which]),
        ]
        self._random.shuffle(steps)
        steps[0]()
        time.sleep(self._random.uniform(0, 1))
        steps[1]()

    def _reload(self):
        with self._ledger.disturbed():
            self._daemon.reload()

    def _kill(self):
        """The next process has what the one before had stored."""
        self._replace(lambda: None)

    def _kill_and_damage(self):
        """The store is lost, or a byte of what is in it."""
        self._replace(self._random.choice([self._daemon.drop, self._damage]))

    def _damage(self):
        for name, stored in list(self._daemon.store.items()):
            content = bytearray(stored.read())
            content[self._random.randrange(len(content))] ^= 1 << self._random.randrange(8)
            self._daemon.put(name, make_memfd(bytes(content)))

    def _replace(self, meanwhile):
        with self._ledger.disturbed():
            self._daemon.kill()
            meanwhile()
            is_whole = meanwhile != self._damage
            kept = b"".join(stored.read() for stored in self._daemon.store.values() if is_whole)
            self._ledger.lose_tokens(kept)
            time.sleep(self._random.uniform(0, 0.5))
            self._daemon.start()

    def _pause(self):
        with self._ledger.disturbed(is_slow=True):
            self._daemon.send_signal(signal.SIGSTOP)
            time.sleep(self._random.choice([0.1, 1, 3, 12]))
            self._daemon.send_signal(signal.SIGCONT)

    def _pause_service(self):
        """Connections stay open, and nobody answers."""
        with self._ledger.disturbed(is_slow=True):
            os.kill(self._emulator.pid, signal.SIGSTOP)
            time.sleep(self._random.uniform(0.5, 4))
            os.kill(self._emulator.pid, signal.SIGCONT)

    def _set_clock(self):
        """Anywhere within a day of the truth."""
        wanted = self._random.uniform(-DAY_S, DAY_S) + self._clock.boottime_s
        self._clock.set(wanted - self._clock.realtime_s)

    def _sleep(self):
        """The service's clock first: what it gives from then on lives as long as it says."""
        seconds = self._random.randint(1, 25)
        with self._ledger.disturbed(sleeps_s=seconds) as wake_up:
            offset_s = int(self._clock.boottime_s) + seconds
            self._emulator.change_settings(date_offset_s=offset_s)
            wake_up()
            self._clock.sleep(seconds)
            self._ledger.move_clock(seconds)


# ---- the whole -----------------------------------------------------------------------------------


def key_file(directory, name, which):
    return directory / f"{name}-{which}.key"


def make_config(emulator, directory, keys):
    accounts = {}
    for name, account_id in ACCOUNTS.items():
        emulator.put_account(account_id, *keys[name])
        for which in range(2):
            write_secret(key_file(directory, name, which), keys[name][which])
        second = f"file:{key_file(directory, name, 1)}"
        accounts[name] = account_keys(
            emulator, key_file(directory, name, 0), account_id, secondary_account_key=second
        )
    return configuration(emulator, accounts)


def measure(daemon):
    rollup = pathlib.Path(f"/proc/{daemon.pid}/smaps_rollup").read_text()
    pss_kib = int(rollup.split("\nPss:")[1].split()[0])
    return {"pss_kib": pss_kib, "descriptors": daemon.descriptors()}


def wait_until_all_serve(daemon, ledger):
    """After the storm every account has a token, without further help than a reload."""
    deadline = time.monotonic() + RECOVERY_S
    while True:
        states = {name: daemon.account(name)["state"] for name in ACCOUNTS}
        if set(states.values()) == {"valid"}:
            return
        if time.monotonic() > deadline:
            ledger.complain(f"{RECOVERY_S} s after the last fault the states are {states}")
            return
        time.sleep(0.1)


def summarize(arguments, ledger, watcher, chaos, daemon, before, after, took_s):
    faults = dict(sorted(chaos.faults.items()))
    lines = [
        f"seed {arguments.seed}, {took_s / 60:.1f} minutes, {CLIENTS} clients, "
        f"{len(ACCOUNTS)} accounts, tokens of {LIFETIME_S} s",
        f"answers: {ledger.answers}, by status {dict(sorted(ledger.by_status.items()))}, "
        f"with {ledger.tokens_seen} different tokens",
        f"done: {dict(sorted(chaos.counts.items()))}",
        f"faults: {sum(faults.values())}, {faults}",
        f"exchanges: {watcher.asked} asked, {watcher.given} without a fault, "
        f"by status {dict(sorted(watcher.by_status.items()))}",
        f"longest gap: {ledger.longest_gap_s:.2f} s of the service's clock, account "
        f"{ledger.gap_account}; slowest undisturbed answer {ledger.slowest_s * 1000:.0f} ms",
        f"store: {daemon.stored_count} images, {daemon.most_stored} at once at most",
        f"before: {before}, after: {after}",
        f"wrong answers: {len(ledger.wrong)}",
    ]
    print("\n".join(lines))
    # One of those that are alike: up to the fraction of the second.
    alike = {sentence.partition(".")[0]: sentence for sentence in ledger.wrong}
    for sentence in list(alike.values())[:20]:
        print(f"  {sentence}")


def soak(arguments, directory):
    chooser = random.Random(arguments.seed)
    keys = {name: [f"{chooser.getrandbits(256):064x}" for _ in range(2)] for name in ACCOUNTS}
    clock = ShiftedClock(directory)
    began = time.monotonic()
    with Emulator(directory / "emulator") as emulator:
        emulator.change_settings(token_lifetime_s=LIFETIME_S)
        config = make_config(emulator, directory, keys)
        daemon = KeptDaemon(directory, config, environment=clock.environment).start()
        for name in ACCOUNTS:
            daemon.wait_for_token(name)
        ledger = Ledger(ACCOUNTS, emulator.signing_key()["public_key"])
        watcher = Watcher(emulator, ledger)
        chaos = Chaos(daemon, emulator, clock, ledger, keys, arguments.seed)
        pollers = [Poller(daemon, ledger, arguments.seed + i) for i in range(CLIENTS)]
        for thread in [watcher, *pollers]:
            thread.start()
        time.sleep(2)  # a process at work is compared with a process at work
        before = measure(daemon)
        chaos.run(began + arguments.minutes * 60)
        emulator.clear_faults()
        with ledger.disturbed():
            daemon.reload()
        wait_until_all_serve(daemon, ledger)
        after = measure(daemon)
        for thread in [*pollers, watcher]:
            thread.stop()
        if daemon.stored_count == 0:
            ledger.complain("the daemon stored nothing")
        status = daemon.stop()
        if status != 0:
            ledger.complain(f"the daemon ended with status {status}")
    clock.close()
    summarize(
        arguments, ledger, watcher, chaos, daemon, before, after, time.monotonic() - began
    )
    if ledger.wrong:
        (directory / "mrtokend.log").write_text(daemon.log())
    return 1 if ledger.wrong else 0


def main():
    arguments = read_arguments()
    if arguments.seed is None:
        arguments.seed = secrets.randbelow(1 << 32)
    os.environ["MRT_BUILD_DIR"] = os.path.abspath(os.environ["MRT_BUILD_DIR"])
    print(f"seed {arguments.seed}", flush=True)
    directory = pathlib.Path(tempfile.mkdtemp(prefix="mrtokend-soak-"))
    status = soak(arguments, directory)
    print(f"directory {directory}" if status or arguments.keep else "right")
    if not status and not arguments.keep:
        import shutil

        shutil.rmtree(directory)
    return status


if __name__ == "__main__":
    sys.exit(main())
