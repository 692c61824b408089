"""A network between the daemon and an emulator, which breaks where the test says.

It ends TLS with a certificate of its own and passes on what is inside, so that it can cut an answer
at any byte, show any certificate, and let a connection live on that nobody answers any more.
"""

import contextlib
import datetime
import ipaddress
import socket
import ssl
import struct
import threading

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

SECONDS = 60
DAY = datetime.timedelta(days=1)


class Authority:
    """Signs certificates for servers on loopback, in files of a directory."""

    def __init__(self, directory, name="relay"):
        self._directory = directory
        self._name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        self._key = ec.generate_private_key(ec.SECP256R1())
        certificate = self._builder(self._name, self._key, -1, 30).add_extension(
            x509.BasicConstraints(ca=True, path_length=None), critical=True
        )
        self.ca_file = directory / f"{name}-ca.pem"
        self._write(self.ca_file, certificate.sign(self._key, hashes.SHA256()))

    def _builder(self, subject, key, from_days, to_days):
        now = datetime.datetime.utcnow()
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + from_days * DAY)
            .not_valid_after(now + to_days * DAY)
        )

    @staticmethod
    def _write(path, certificate, key=None):
        pem = certificate.public_bytes(serialization.Encoding.PEM)
        if key is not None:
            pem += key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        path.write_bytes(pem)

    def server(self, name="127.0.0.1", from_days=-1, to_days=30):
        """What a server needs for TLS, with a certificate for that name and time."""
        try:
            alternative = x509.IPAddress(ipaddress.ip_address(name))
        except ValueError:
            alternative = x509.DNSName(name)
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        certificate = self._builder(subject, key, from_days, to_days).add_extension(
            x509.SubjectAlternativeName([alternative]), critical=False
        )
        path = self._directory / f"server-{x509.random_serial_number():x}.pem"
        self._write(path, certificate.sign(self._key, hashes.SHA256()), key)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(path)
        return context


class Closed(Exception):
    """The connection is over."""


def reset(connection):
    """Close with RST instead of FIN."""
    with contextlib.suppress(OSError):
        linger = struct.pack("ii", 1, 0)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    connection.close()


class Relay:
    """A server on loopback in front of `target`, the https address of an emulator's server.

    fault  what new connections and requests meet; None: they pass. One of
           accept: reset, before TLS          handshake: reset, after the client's first message
           mute: accepted, and never a byte   request: reset, after the request
           silence: no answer, ever           headers: reset, in the middle of the headers
           body: reset, in the middle of it   refuse: there is nobody at the port
    """

    def __init__(self, target, ca_file, authority, name="127.0.0.1"):
        host, _, port = target.removeprefix("https://").partition(":")
        self.tls = authority.server(name)
        self._target = (host, int(port))
        self._target_tls = ssl.create_default_context(cafile=ca_file)
        self._fault = None
        self._lock = threading.Lock()
        self._open = set()
        self.requests = 0
        self._listener = None
        self._port = 0
        self._listen()
        self.endpoint = f"https://{name}:{self._port}"
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def _listen(self):
        self._listener = socket.socket()
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._listener.bind(("127.0.0.1", self._port))
        self._port = self._listener.getsockname()[1]
        if self._fault != "refuse":
            self._listener.listen(64)

    @property
    def fault(self):
        return self._fault

    @fault.setter
    def fault(self, fault):
        self._fault = fault

    def refuse(self, is_refusing):
        """Nobody at the port, which stays ours; or somebody again."""
        self._fault = "refuse" if is_refusing else None
        self._stop_listening()
        self._listen()
        if not is_refusing:
            self._thread = threading.Thread(target=self._accept, daemon=True)
            self._thread.start()

    def _stop_listening(self):
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(SECONDS)

    def cut(self):
        """Reset every connection that is open."""
        with self._lock:
            connections = list(self._open)
        for connection in connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def close(self):
        self._fault = None
        self._stop_listening()
        self.cut()

    def __enter__(self):
        return self

    def __exit__(self, kind, value, traceback):
        self.close()

    # ---- one connection ----

    def _accept(self):
        listener = self._listener
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        with self._lock:
            self._open.add(connection)
        try:
            self._relay(connection)
        except (OSError, Closed, ValueError):
            pass
        finally:
            with self._lock:
                self._open.discard(connection)
            reset(connection)

    @staticmethod
    def _hold(connection):
        """Keep it open, and leave whatever comes in, until the other end closes it."""
        connection.settimeout(SECONDS)
        while connection.recv(4096):
            pass

    def _relay(self, connection):
        if self._fault == "accept":
            return
        if self._fault == "mute":
            self._hold(connection)
        if self._fault == "handshake":
            connection.recv(1)
            return
        connection.settimeout(SECONDS)
        # Its own descriptor, so that cut() and reset() reach the connection below.
        inside = self.tls.wrap_socket(connection.dup(), server_side=True)
        with contextlib.closing(inside), contextlib.ExitStack() as stack:
            upstream = None
            while True:
                request = self._read_head(inside)
                self.requests += 1
                fault = self._fault
                if fault == "request":
                    return
                if fault == "silence":
                    self._hold(inside)
                    return
                if upstream is None:
                    upstream = stack.enter_context(self._connect())
                upstream.sendall(request)
                head = self._read_head(upstream)
                body = self._read_body(upstream, head)
                if fault == "headers":
                    inside.sendall(head[: len(head) // 2])
                    return
                if fault == "body":
                    inside.sendall(head + body[: len(body) // 2])
                    return
                inside.sendall(head + body)

    def _connect(self):
        plain = socket.create_connection(self._target, SECONDS)
        return self._target_tls.wrap_socket(plain, server_hostname=self._target[0])

    @staticmethod
    def _read_head(connection):
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            byte = connection.recv(1)
            if not byte:
                raise Closed
            head += byte
        return head

    @staticmethod
    def _read_body(connection, head):
        length = next(
            int(line.split(b":")[1])
            for line in head.lower().split(b"\r\n")
            if line.startswith(b"content-length:")
        )
        body = b""
        while len(body) < length:
            piece = connection.recv(length - len(body))
            if not piece:
                raise Closed
            body += piece
        return body
