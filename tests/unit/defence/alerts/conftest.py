"""Receivers of alerts that are real servers on this machine: HTTP and SMTP."""

import datetime
import ipaddress
import socketserver
import ssl
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from closedloop.defence.alerts.alert import Alert, AlertKind, AlertState


@pytest.fixture
def an_alert():
    return Alert(
        id="0199c0de-0000-4000-8000-000000000000",
        issue_id=7,
        kind=AlertKind.TEST,
        occasion="1",
        sink="ops",
        tenant="零售 shop",
        content={"issue": None, "texts": ["优惠券"], "link": ""},
        state=AlertState.WAITING,
        attempts=1,
        due_at=0.0,
        problem=None,
        created_at=1_764_000_000.0,
        ended_at=None,
    )


def serving(server):
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    return thread


class HttpReceiver(HTTPServer):
    """Answers as it is told to, else with 200; keeps what it got."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), HttpHandler)
        self.answers = []  # of (status, headers)
        self.got = []  # of (path, headers, body)
        self.url = f"http://127.0.0.1:{self.server_address[1]}/hook?token=hidden"


class HttpHandler(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.got.append((self.path, dict(self.headers), body))
        status, headers = self.server.answers.pop(0) if self.server.answers else (200, {})
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(b"x" * 1_000)

    def log_message(self, *_):
        pass


@pytest.fixture
def http_receiver():
    with HttpReceiver() as server:
        thread = serving(server)
        yield server
        server.shutdown()
        thread.join()


class MailServer(socketserver.TCPServer):
    """As much of SMTP as is needed: STARTTLS, AUTH PLAIN, refusals as it is told to."""

    def __init__(self, context):
        super().__init__(("127.0.0.1", 0), MailHandler)
        self.context = context
        self.port = self.server_address[1]
        self.offers_tls = True
        self.answers = {}  # command -> reply, instead of the usual one
        self.got = []  # mails, as text
        self.said = []  # (command, was it over TLS)

    def handle_error(self, *_):
        """Keep quiet about clients that break off."""


class MailHandler(socketserver.StreamRequestHandler):
    def handle(self):
        over_tls = False
        self.reply("220 test")
        while line := self.rfile.readline():
            said = line.decode().strip()
            command = said.split(" ")[0].upper()
            self.server.said.append((command, over_tls))
            if command in self.server.answers:
                self.reply(self.server.answers[command])
            elif command == "EHLO":
                offers_tls = self.server.offers_tls and not over_tls
                self.reply("250-test", *["250-STARTTLS"] * offers_tls, "250 AUTH PLAIN")
            elif command == "STARTTLS":
                self.reply("220 go on")
                self.connection = self.server.context.wrap_socket(self.connection, server_side=True)
                self.rfile, self.wfile = (self.connection.makefile(m, 0) for m in ("rb", "wb"))
                over_tls = True
            elif command == "AUTH":
                self.reply("235 welcome")
            elif command == "DATA":
                self.reply("354 go on")
                lines = []
                while (line := self.rfile.readline()) != b".\r\n":
                    lines.append(line)
                self.server.got.append(b"".join(lines))
                self.reply("250 taken")
            elif command == "QUIT":
                self.reply("221 bye")
                return
            else:
                self.reply("250 ok")

    def reply(self, *lines):
        self.wfile.write("".join(f"{line}\r\n" for line in lines).encode())


@pytest.fixture(scope="session")
def certificate(tmp_path_factory):
    """A file with a certificate for 127.0.0.1 and its key."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]),
            critical=False,
        )
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    file = tmp_path_factory.mktemp("certificate") / "both.pem"
    secret = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    file.write_bytes(made.public_bytes(pem) + secret)
    return file


@pytest.fixture
def mail_server(certificate):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with MailServer(context) as server:
        thread = serving(server)
        yield server
        server.shutdown()
        thread.join()
