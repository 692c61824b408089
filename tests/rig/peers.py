"""Clients that are somebody: other users, other groups; and a kernel that cannot tell them well."""

import json
import subprocess
import sys

# Connects as somebody, asks, and prints status, headers and body of each answer.
# Arguments: socket, user, group, groups by commas, then targets; "METHOD target" is taken too.
CLIENT = """
import http.client, json, os, socket, sys
path, uid, gid, groups = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
os.setgroups([int(group) for group in groups.split(",") if group])
os.setresgid(gid, gid, gid)
os.setresuid(uid, uid, uid)
class Connection(http.client.HTTPConnection):
    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(60)
        self.sock.connect(path)
connection = Connection("localhost")
for line in sys.stdin:
    method, target = line.split()
    connection.request(method, target)
    answer = connection.getresponse()
    body = answer.read().decode()
    print(json.dumps({"status": answer.status, "headers": dict(answer.headers), "body": body}))
    sys.stdout.flush()
"""


class Client:
    """A process with that user and those groups, and one connection that it keeps."""

    def __init__(self, daemon, uid, gid=65534, groups=(), path=None):
        arguments = [str(path or daemon.socket), str(uid), str(gid), ",".join(map(str, groups))]
        self._process = subprocess.Popen(
            [sys.executable, "-c", CLIENT, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    @property
    def pid(self):
        return self._process.pid

    def ask(self, method, target):
        self._process.stdin.write(f"{method} {target}\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, "the client ended"
        return json.loads(line)

    def get(self, target):
        return self.ask("GET", target)

    def status(self, target="/v1/token", method="GET"):
        return self.ask(method, target)["status"]

    def close(self):
        self._process.stdin.close()
        self._process.wait(60)
        self._process.stdout.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def error_of(answer):
    return json.loads(answer["body"])["error"]


# Runs a command for which the kernel has no SO_PEERPIDFD, as before Linux 6.5: a filter of its
# system calls answers getsockopt(fd, SOL_SOCKET, 77) with ENOPROTOOPT.
OLD_KERNEL = """
import ctypes, os, platform, struct, sys
number = {"x86_64": 55, "aarch64": 209}[platform.machine()]
def statement(code, k, true=0, false=0):
    return struct.pack("HBBI", code, true, false, k)
LOAD, EQUAL, RETURN = 0x20, 0x15, 0x06
program = b"".join([
    statement(LOAD, 0), statement(EQUAL, number, 0, 5),
    statement(LOAD, 24), statement(EQUAL, 1, 0, 3),
    statement(LOAD, 32), statement(EQUAL, 77, 0, 1),
    statement(RETURN, 0x00050000 | 92), statement(RETURN, 0x7fff0000)])
class Program(ctypes.Structure):
    _fields_ = [("len", ctypes.c_ushort), ("filter", ctypes.c_char_p)]
libc = ctypes.CDLL(None, use_errno=True)
assert libc.prctl(38, 1, 0, 0, 0) == 0
assert libc.prctl(22, 2, ctypes.byref(Program(len(program) // 8, program)), 0, 0) == 0
os.execvp(sys.argv[1], sys.argv[1:])
"""

ON_OLD_KERNEL = [sys.executable, "-c", OLD_KERNEL]
