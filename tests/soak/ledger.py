"""What the soak knows to be true, and so whether an answer of the daemon is right.

All times are those of the emulated service, in seconds: what a token's expiry is measured by. A token
that was seen served must be served until it expires. So must one that the service gave, if nothing
disturbed its way. Without either, an account may be without a token, and 503 is a right answer.
"""

import contextlib
import dataclasses
import json
import threading
import time

import jwt

# The daemon ends a token early: Date has whole seconds and may be as old as the request.
EARLY_S = 2.5
# From an answer of the service to the token that is served, on a machine that is busy.
ARRIVAL_S = 3.0
WHILE = "503 while there is a token"


@dataclasses.dataclass
class Claim:
    """A token must be there from one time to the other."""

    from_s: float
    until_s: float
    noted_at: float  # time.monotonic()


class Ledger:
    """Any thread."""

    def __init__(self, accounts, public_key):
        """accounts  {name: account identifier}"""
        self._accounts = accounts
        self._key = public_key
        self._lock = threading.Lock()
        self._claims = {name: None for name in accounts}
        self._checked = {}  # token: (account identifier, expiry)
        self._offset_s = 0.0
        self._last_ok = {}
        self._disturbed_at = time.monotonic()
        self.disturbances = 0  # begun and ended; whoever asked over one is judged mildly
        self._last_sleep = -1
        self.wrong = []
        self.by_status = {}
        self.answers = 0
        self.tokens_seen = 0
        self.longest_gap_s = 0.0
        self.gap_account = None
        self.slowest_s = 0.0

    def now_s(self):
        return time.time() + self._offset_s

    # ---- what the soak does to the daemon ----

    def move_clock(self, by_s):
        """The service's clock went forward, as this machine slept."""
        with self._lock:
            self._offset_s += by_s

    @contextlib.contextmanager
    def disturbed(self, is_sleep=False):
        """Something happens that delays answers or cuts exchanges.

        is_sleep  the clocks of daemon, service and ledger move, one after the other
        """
        with self._lock:
            self._disturb(is_sleep)
        yield
        with self._lock:
            self._disturb(False)

    def _disturb(self, is_sleep):
        self.disturbances += 1  # odd: it is under way
        self._disturbed_at = time.monotonic()
        if is_sleep:
            self._last_sleep = self.disturbances

    def lose_tokens(self, kept_at=None):
        """The process is gone, and its tokens: but for those that were stored at that time."""
        with self._lock:
            for name, claim in self._claims.items():
                if claim is not None and (kept_at is None or claim.noted_at >= kept_at):
                    self._claims[name] = None

    # ---- what is seen ----

    def complain(self, sentence):
        with self._lock:
            self.wrong.append(sentence)

    def _open(self, token):
        """Account identifier and expiry of a token signed by the service. Raises ValueError."""
        found = self._checked.get(token)
        if found is None:
            try:
                claims = jwt.decode(
                    token,
                    self._key,
                    algorithms=["RS256"],
                    options={
                        "verify_aud": False,
                        "verify_exp": False,
                        "verify_iat": False,
                        "verify_nbf": False,
                    },
                )
                found = (claims["aid"], claims["exp"])
            except (jwt.PyJWTError, KeyError) as error:
                raise ValueError(f"no token of the service: {error!r}") from None
            self._checked[token] = found
            self.tokens_seen += 1
        return found

    def note_exchange(self, name, answered_s, lifetime_s):
        """The service gave the account a token, and nothing is known to be in its way."""
        with self._lock:
            if time.monotonic() - self._disturbed_at < ARRIVAL_S:
                return
            self._note(name, answered_s + ARRIVAL_S, answered_s + lifetime_s - EARLY_S)

    def _note(self, name, from_s, until_s):
        claim = self._claims[name]
        if claim is None:
            self._claims[name] = Claim(from_s, until_s, time.monotonic())
        elif until_s > claim.until_s:
            # The one before bridges the time until this one is there, unless it ends sooner.
            from_s = claim.from_s if from_s <= claim.until_s else from_s
            self._claims[name] = Claim(from_s, until_s, claim.noted_at)
            self._claims[name].noted_at = time.monotonic()

    def judge(self, name, asked, status, headers, body, token):
        """An answer for an account.

        asked  what begin() gave when the request was sent
        token  what a good answer has in it, or None
        """
        asked_s, asked_at, before = asked
        with self._lock:
            received_s = self.now_s()
            is_calm = before == self.disturbances and before % 2 == 0
            self.answers += 1
            self.by_status[status] = self.by_status.get(status, 0) + 1
            if is_calm:
                self.slowest_s = max(self.slowest_s, time.monotonic() - asked_at)
            if status == 200:
                sentence = self._judge_token(name, asked_s, received_s, is_calm, token)
            else:
                is_of_sleep = before <= self._last_sleep <= self.disturbances
                sentence = self._judge_refusal(name, asked_s, received_s, status, headers, body)
                if is_of_sleep and sentence is not None and sentence.startswith(WHILE):
                    sentence = None  # which of the clocks counted then, nobody can say
            if sentence is not None:
                self.wrong.append(f"account {name}, at {received_s:.3f}: {sentence}")

    def begin(self):
        with self._lock:
            return self.now_s(), time.monotonic(), self.disturbances

    def _judge_token(self, name, asked_s, received_s, is_calm, token):
        try:
            account, expiry = self._open(token)
        except ValueError as error:
            return str(error)
        if account != self._accounts[name]:
            return f"the token of {account}"
        if expiry <= asked_s:
            return f"a token that expired at {expiry}, asked for at {asked_s:.3f}"
        if is_calm and expiry <= received_s - 1:
            return f"a token that expired at {expiry}, received at {received_s:.3f}"
        last = self._last_ok.get(name)
        if last is not None and received_s - last > self.longest_gap_s:
            self.longest_gap_s, self.gap_account = received_s - last, name
        self._last_ok[name] = received_s
        if is_calm:
            self._note(name, received_s, expiry - EARLY_S)
        return None

    def _judge_refusal(self, name, asked_s, received_s, status, headers, body):
        claim = self._claims[name]
        try:
            error = json.loads(body)["error"]
            code, after = error["code"], error["retry_after"]
        except (ValueError, KeyError, TypeError):
            return f"status {status} without an error in its body: {body[:200]!r}"
        if (status, code) != (503, "no_valid_token"):
            return f"status {status}, {error}"
        if headers["Retry-After"] != str(after):
            return f"Retry-After {headers['Retry-After']!r}, and {after} in the body"
        if claim is not None and claim.from_s <= asked_s and received_s <= claim.until_s:
            return (
                f"{WHILE} from {claim.from_s:.3f} to {claim.until_s:.3f}, "
                f"asked at {asked_s:.3f}: {error['message']}"
            )
        return None

    def broken(self, asked, name, error):
        """A connection broke, which is right only if the process was killed meanwhile."""
        with self._lock:
            if asked[2] == self.disturbances and asked[2] % 2 == 0:
                self.wrong.append(f"account {name}: {error!r} while nothing happened")
