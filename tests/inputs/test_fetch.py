"""URLs lead nowhere but to a public address."""

from __future__ import annotations

import http.server
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from turnscribe.errors import BadAudio
from turnscribe.inputs.addresses import is_public
from turnscribe.inputs.fetch import MAX_REDIRECTS, Network, fetch, post

WAV = b"RIFF\x24\0\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0\x80\x3e\0\0\0\x7d\0\0\x02\0\x10\0data\0\0\0\0" + bytes(
    range(256)
)
HOST = "audio.example"
PUBLIC = "93.184.215.14"


@pytest.mark.parametrize(
    "url",
    [
        "http://audio.example/x.wav",
        "ftp://audio.example/x.wav",
        "file:///etc/hostname",
        "https://user:secret@audio.example/x.wav",
        "https://@audio.example/x.wav",
        "https:///x.wav",
        "https://audio.example:99999/x.wav",
        "https://audio.example:0/x.wav",
        "https://[::1/x.wav",
        "https://audio.example/a b",
        "https://audio.example/a\r\nHost: other",
        "https://bücher.example/",
        "https://audio.example%2f@10.0.0.1/",
    ],
)
def test_a_url_that_is_not_plain_https_reaches_nobody(url: str) -> None:
    def never(*_: object) -> list[str]:
        raise AssertionError("resolved")

    with pytest.raises(BadAudio) as e:
        fetch(url, 1000, network=Network(resolve=never))
    assert "secret" not in str(e.value)


def test_a_url_names_a_port_only_where_it_may() -> None:
    def resolve(*_: object) -> list[str]:
        raise OSError

    for url in ("https://audio.example:22/", "https://audio.example:8443/a"):
        with pytest.raises(BadAudio, match=r"URLs at port \d+ are not fetched; send one at 443\."):
            fetch(url, 1000, network=Network(resolve=resolve))
    for url in ("https://audio.example:8443/", "https://audio.example/", "https://audio.example:443/"):
        with pytest.raises(BadAudio, match="no public address"):
            fetch(url, 1000, ports=(443, 8443), network=Network(resolve=resolve))


PRIVATE = [
    "127.0.0.1",
    "10.1.2.3",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "0.0.0.0",
    "224.0.0.1",
    "255.255.255.255",
    "240.0.0.1",
    "192.0.2.1",
    "192.0.0.192",
    "168.63.129.16",
    "100.100.100.200",
    "::",
    "::1",
    "fe80::1",
    "fe80::1%eth0",
    "fc00::1",
    "fd00:ec2::254",
    "fd20:ce::254",
    "::ffff:168.63.129.16",
    "64:ff9b::c000:c0",
    "ff02::1",
    "fec0::1",
    "2001:db8::1",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "::127.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::1",
    "2002:7f00:1::1",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2",
]


@pytest.mark.parametrize("address", PRIVATE)
def test_an_address_that_is_not_public_is_never_connected_to(address: str) -> None:
    def never(*_: object) -> socket.socket:
        raise AssertionError("connected")

    assert not is_public(address)
    for answers in ([address], [PUBLIC, address]):  # one bad address among several is enough
        with pytest.raises(BadAudio, match="has no public address"):
            fetch("https://audio.example/", 1000, network=Network(lambda *_, a=answers: a, never))


@pytest.mark.parametrize("address", [PUBLIC, "1.1.1.1", "2606:4700::1111", "64:ff9b::101:101", "::ffff:1.1.1.1"])
def test_public_addresses_are_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "2130706433", "0x7f.1", "127.1"])
def test_no_spelling_of_the_loopback_is_reached_with_the_real_resolver(host: str) -> None:
    with pytest.raises(BadAudio, match="has no public address"):
        fetch(f"https://{host}/", 1000)


def test_a_name_without_addresses_is_said_to_have_none() -> None:
    def unknown(*_: object) -> list[str]:
        raise socket.gaierror("no such name")

    with pytest.raises(BadAudio, match=r"audio\.example has no public address"):
        fetch("https://audio.example/secret?token=1", 1000, network=Network(resolve=unknown))


# A real TLS server on the loopback, reached because the connector says so; the checks stay as they are


@dataclass
class Site:
    port: int
    tls: ssl.SSLContext
    names: dict[str, list[str]]
    asked: list[str] = field(default_factory=list)
    connected: list[str] = field(default_factory=list)

    def resolve(self, host: str, port: int) -> list[str]:
        return self.names[host].copy()

    def connect(self, address: str, port: int, timeout: float) -> socket.socket:
        self.connected.append(address)
        return socket.create_connection(("127.0.0.1", self.port), timeout=timeout)

    def get(self, path: str, max_bytes: int = 10_000, max_seconds: float = 10) -> bytes:
        return fetch(f"https://{HOST}{path}", max_bytes, max_seconds=max_seconds, network=self.network)

    @property
    def network(self) -> Network:
        return Network(self.resolve, self.connect, self.tls)


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    asked: list[str]

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        self.asked.append(self.path)
        self.close_connection = True
        path, _, rest = self.path.partition("?")
        if path == "/redirect":
            self.send_response(302)
            self.send_header("Location", rest)
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif path == "/loop":
            self.send_response(307)
            self.send_header("Location", "/loop")
            self.end_headers()
        elif path == "/endless":
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            while True:
                self.wfile.write(b"1000\r\n" + bytes(4096) + b"\r\n")
        elif path == "/drip":
            self.send_response(200)
            self.send_header("Content-Length", "5000")
            self.end_headers()
            for _ in range(100):
                self.wfile.write(b".")
                time.sleep(0.05)
        elif path == "/drip_header":
            for _ in range(100):
                self.wfile.write(b"H")
                time.sleep(0.05)
        elif path == "/short":
            self.answer(WAV, length=len(WAV) + 1)
        elif path == "/claims":
            self.answer(b"", length=10**12)
        elif path == "/gzip":
            self.answer(WAV, encoding="gzip")
        elif path == "/chunked":
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self.wfile.write(b"%x\r\n" % len(WAV) + WAV + b"\r\n0\r\n\r\n")
        elif path == "/a.wav":
            self.answer(WAV)
        else:
            self.send_error(404)

    def do_POST(self) -> None:
        self.asked.append(self.path)
        self.close_connection = True
        length = int(self.headers["Content-Length"])
        self.asked.append(f"{self.headers['Signature']} {self.rfile.read(length).decode()}")
        self.send_response(int(self.path[1:]))
        self.send_header("Location", "/204")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def answer(self, body: bytes, length: int | None = None, encoding: str | None = None) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        if encoding:
            self.send_header("Content-Encoding", encoding)
        self.end_headers()
        self.wfile.write(body)


class QuietServer(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """A client that hangs up early is what many of these tests are about."""


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("openssl") is None:
        pytest.skip("makes its certificate with openssl")
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    names = f"subjectAltName=DNS:{HOST},DNS:other.example"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-days", "2", "-subj", f"/CN={HOST}", "-addext", names, "-keyout", str(path), "-out", f"{path}.crt"]
    subprocess.run(command, check=True, capture_output=True)
    path.write_bytes(path.read_bytes() + Path(f"{path}.crt").read_bytes())
    return path


@pytest.fixture
def site(certificate: Path) -> Iterator[Site]:
    asked: list[str] = []
    server = QuietServer(("127.0.0.1", 0), type("Bound", (Handler,), {"asked": asked}))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    trust = ssl.create_default_context(cafile=str(certificate))
    names = {HOST: [PUBLIC], "other.example": ["1.1.1.1"], "inside.example": ["10.0.0.7"], "wrong.example": [PUBLIC]}
    yield Site(server.server_port, trust, names, asked)
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("path", ["/a.wav", "/chunked", "/redirect?/a.wav", "/redirect?https://other.example/a.wav"])
def test_a_file_is_fetched(site: Site, path: str) -> None:
    assert site.get(path) == WAV


def test_the_connection_goes_to_the_address_that_was_checked(site: Site) -> None:
    site.names[HOST] = [PUBLIC, "1.0.0.1"]
    site.get("/redirect?https://other.example/a.wav")
    assert site.connected == [PUBLIC, "1.1.1.1"]


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("https://inside.example/a.wav", "inside.example has no public address"),
        ("http://audio.example/a.wav", "Only https"),
        ("file:///etc/hostname", "Only https"),
        ("https://u:p@audio.example/a.wav", "user name"),
        ("https://[::1/a.wav", "redirects to what is no URL"),
        ("https://audio.example:8443/a.wav", "port 8443"),
        ("", "redirects more than|404"),
    ],
)
def test_each_redirect_is_checked_anew(site: Site, target: str, message: str) -> None:
    with pytest.raises(BadAudio, match=message):
        site.get(f"/redirect?{target}")
    assert set(site.connected) == {PUBLIC}


def test_a_name_that_changes_its_answer_is_checked_at_each_hop(site: Site) -> None:
    answers = iter([[PUBLIC], ["127.0.0.1"]])
    site.resolve = lambda *_: next(answers)  # type: ignore[method-assign]
    with pytest.raises(BadAudio, match="has no public address"):
        site.get("/redirect?/a.wav")


def test_redirects_in_a_circle_end(site: Site) -> None:
    with pytest.raises(BadAudio, match="redirects more than 5 times"):
        site.get("/loop")
    assert len(site.asked) == MAX_REDIRECTS + 1


@pytest.mark.parametrize("path", ["/endless", "/claims"])
def test_too_long_a_body_is_refused(site: Site, path: str) -> None:
    with pytest.raises(BadAudio, match="is over"):
        site.get(path)


@pytest.mark.parametrize("path", ["/drip", "/drip_header"])
def test_a_server_that_drips_is_cut_off_in_time(site: Site, path: str) -> None:
    start = time.monotonic()
    with pytest.raises(BadAudio, match=r"did not deliver within 0\.5 s"):
        site.get(path, max_seconds=0.5)
    assert time.monotonic() - start < 3


@pytest.mark.parametrize(("path", "message"), [("/short", "could not be"), ("/none", "404"), ("/gzip", "compresses")])
def test_other_answers_are_refused_and_only_the_host_is_named(site: Site, path: str, message: str) -> None:
    with pytest.raises(BadAudio, match=message) as e:
        site.get(f"{path}?signature=abc")
    assert HOST in str(e.value)
    assert "signature" not in str(e.value)


def test_a_certificate_that_is_not_trusted_or_not_of_the_host_is_refused(site: Site) -> None:
    with pytest.raises(BadAudio, match="could not be fetched over https from wrong"):
        fetch("https://wrong.example/", 1000, network=site.network)
    with pytest.raises(BadAudio, match="could not be fetched over https"):
        fetch(f"https://{HOST}/a.wav", 1000, network=Network(site.resolve, site.connect))
    assert site.asked == []


@pytest.mark.parametrize("status", [200, 302, 500])
def test_a_message_is_posted_and_no_redirect_followed(site: Site, status: int) -> None:
    assert post(f"https://{HOST}/{status}", b"{}", {"Signature": "v1=5"}, network=site.network) == status
    assert site.asked == [f"/{status}", "v1=5 {}"]
    assert site.connected == [PUBLIC]


@pytest.mark.parametrize("host", ["inside.example", "127.0.0.1", "[::1]", "169.254.169.254"])
def test_nothing_is_posted_to_a_private_address(site: Site, host: str) -> None:
    def resolve(name: str, port: int) -> list[str]:
        return site.names.get(name, [name])

    with pytest.raises(BadAudio, match=r"has no public address|plain ASCII"):
        post(f"https://{host}/200", b"{}", {}, network=Network(resolve, site.connect, site.tls))
    assert not site.connected
