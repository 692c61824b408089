"""What the soak knows to be true, and so whether an answer of the daemon is right.

Times are those of the emulated service, in seconds, since a token's expiry is measured by them; those
named wall are this host's. A token that was seen served must be served until it ends. So must one that
the service gave, if nothing disturbed its way. Without either, an account may be without a token, and
503 is a right answer.
"""

import contextlib
import dataclasses
import json
import threading
import time

import jwt

# The daemon ends a token early by this and by as long as its exchange took, for it cannot know when
# in that time the service looked at its clock, which counts whole seconds. And so it is not known to
# the second which of two exchanges gave a token.
EARLY_S = 3.5
# From an answer of the service to the token that is served, on a machine that is busy.
ARRIVAL_S = 3.0
# An exchange takes no longer, unless something slow is in its way.
EXCHANGE_S = 8.0
# A pause that ended so long before may have held up a request on its way.
HELD_UP_S = 1.0
WHILE = "503 while there is a token"


@dataclasses.dataclass
class Token:
    account: str
    given_s: int
    expiry: int
    seen_wall: float
    offset_s: float  # of the service's clock, when it was seen
    is_settled: bool = False  # it is known how long it must be served:
    until_s: float = 0  # or 0, if that cannot be known


@dataclasses.dataclass
class Claim:
    """A token must be there from one time to the other."""

    given_s: int
    from_s: float
    until_s: float  # 0 while that is not known


class Ledger:
    """Any thread."""

    def __init__(self, accounts, public_key):
        """accounts  {name: account identifier}"""
        self._accounts = accounts
        self._key = public_key
        self._lock = threading.Lock()
        self._claims = {name: None for name in accounts}
        self._tokens = {}  # as text: Token
        self._given_walls = {name: [] for name in accounts}  # when it was asked for each
        self._slow = []  # what lengthens exchanges: [wall of its begin, of its end, by how much]
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
    def disturbed(self, is_slow=False, sleeps_s=0):
        """Something happens that delays answers or cuts exchanges.

        is_slow   it lengthens exchanges by the time that it takes
        sleeps_s  the clocks of service, daemon and ledger move so far, one after the other; the
                  function that it yields is called before that of the daemon does
        """
        span = [time.time(), float("inf"), 0.0]
        with self._lock:
            self._disturb(sleeps_s > 0)
            if is_slow or sleeps_s > 0:
                self._slow.append(span)

        def wake_up():
            span[1] = time.time()

        yield wake_up
        with self._lock:
            self._disturb(False)
            if not sleeps_s:
                span[1] = time.time() + HELD_UP_S
            span[2] = span[1] - span[0] + sleeps_s

    def _disturb(self, is_sleep):
        self.disturbances += 1  # odd: it is under way
        self._disturbed_at = time.monotonic()
        if is_sleep:
            self._last_sleep = self.disturbances

    def lose_tokens(self, kept):
        """The process is gone, and its tokens: but for those in these bytes."""
        with self._lock:
            given = {name: set() for name in self._accounts}
            for text, token in self._tokens.items():
                if text.encode() in kept:
                    given[self._name_of(token)].add(token.given_s)
            for name, claim in self._claims.items():
                if claim is not None and claim.given_s not in given[name]:
                    self._claims[name] = None

    def _name_of(self, token):
        return next(name for name, account in self._accounts.items() if account == token.account)

    # ---- what is seen ----

    def complain(self, sentence):
        with self._lock:
            self.wrong.append(sentence)

    def _open(self, text):
        """The token, which must be signed by the service. Raises ValueError."""
        token = self._tokens.get(text)
        if token is None:
            unchecked = ("aud", "exp", "iat", "nbf")
            options = {f"verify_{claim}": False for claim in unchecked}
            try:
                claims = jwt.decode(text, self._key, algorithms=["RS256"], options=options)
                token = Token(
                    claims["aid"], claims["iat"], claims["exp"], time.time(), self._offset_s
                )
            except (jwt.PyJWTError, KeyError) as error:
                raise ValueError(f"no token of the service: {error!r}") from None
            self._tokens[text] = token
            self.tokens_seen += 1
        return token

    def note_exchange(self, name, asked_wall, lifetime_s):
        """The service gave the account a token.

        lifetime_s  of that token; None: something is in its way, so that it may not arrive
        """
        with self._lock:
            self._given_walls[name].append(asked_wall)
            is_calm = time.monotonic() - self._disturbed_at >= ARRIVAL_S
            asked_s = asked_wall + self._offset_s
            if lifetime_s is not None and is_calm:
                until_s = asked_s + lifetime_s - EARLY_S
                self._claim(name, int(asked_s), asked_s + ARRIVAL_S, until_s)

    def settle(self):
        """Find out how long the tokens that were seen must be served. Call it now and then."""
        with self._lock:
            for token in self._tokens.values():
                if not token.is_settled:
                    self._settle(token)

    def _settle(self, token):
        name = self._name_of(token)
        given_wall = token.given_s - token.offset_s
        asked_walls = [
            wall
            for wall in self._given_walls[name]
            if given_wall - EXCHANGE_S <= wall <= given_wall + 1.1
        ]
        if not asked_walls:
            token.is_settled = time.time() - token.seen_wall > 5
            return
        asked_wall = max(asked_walls)  # those before were cut, or gave another token
        slow = [s for s in self._slow if s[0] <= token.seen_wall and s[1] >= asked_wall]
        if any(ended == float("inf") for _, ended, _ in slow):
            return
        token.is_settled = True
        token.until_s = asked_wall + token.offset_s + (token.expiry - token.given_s) - EARLY_S
        token.until_s -= sum(by_s for _, _, by_s in slow)

    def _claim(self, name, given_s, from_s, until_s):
        """A newer token takes the place of the one before, also if it ends sooner."""
        before = self._claims[name]
        if before is not None and given_s == before.given_s and before.until_s == 0:
            before.until_s = until_s
        if before is not None and given_s <= before.given_s:
            return
        if before is not None and from_s <= before.until_s:
            from_s = before.from_s
        self._claims[name] = Claim(given_s, from_s, until_s)

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
            found = self._open(token)
        except ValueError as error:
            return str(error)
        if found.account != self._accounts[name]:
            return f"the token of {found.account}"
        if found.expiry <= asked_s:
            return f"a token that expired at {found.expiry}, asked for at {asked_s:.3f}"
        if is_calm and found.expiry <= received_s - 1:
            return f"a token that expired at {found.expiry}, received at {received_s:.3f}"
        last = self._last_ok.get(name)
        if last is not None and received_s - last > self.longest_gap_s:
            self.longest_gap_s, self.gap_account = received_s - last, name
        self._last_ok[name] = received_s
        if is_calm:
            self._claim(name, found.given_s, received_s, found.until_s)
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
