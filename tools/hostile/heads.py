"""Heads of requests: methods, paths, lines, lengths and chunks that nobody should send."""

from __future__ import annotations

import random

from tools.hostile.attack import PATHS, Attack, Ground, head

METHODS = ("PUT", "PATCH", "TRACE", "OPTIONS", "HEAD", "DELETE", "BREW", "post", "PROPFIND", "GET", "A" * 300)
TARGETS = (
    *("/../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "//", "/ui/../../config.py", "/ui/%2e%2e/app.py", "/%00"),
    *("/v1/models/" + "a/" * 500, "/v1/jobs/" + "a" * 3000, "http://127.0.0.1/health", "*", "/?" + "a=b&" * 2000),
    *("/health?" + "x" * 20_000, "/docs", "/openapi.json", "/metrics", "/ui/none.js", "/v1/jobs/%F0%9F%98%80/result"),
)


def methods(ground: Ground, chosen: random.Random) -> Attack:
    method = chosen.choice(METHODS)
    path = chosen.choice((*PATHS, "/health", f"/v1/jobs/{chosen.choice(ground.jobs)}"))
    if method == "DELETE":
        path = "/v1/jobs/job_none"  # a job of ours is not to be lost
    body = b"x" * 10
    return Attack((head(ground, chosen, path, {"Content-Length": "10"}, method=method), body), method=method)


def targets(ground: Ground, chosen: random.Random) -> Attack:
    raw = head(ground, chosen, chosen.choice(TARGETS), method="GET")
    return Attack((raw,), method="GET", owed=len(raw) < 10_000)


def long_lines(ground: Ground, chosen: random.Random) -> Attack:
    """Longer than a server keeps; it may close without a word."""
    text = ground.marks.field + "x" * chosen.randrange(5000, ground.sizes.header)
    headers = chosen.choice(({"X-Long": text}, {text: "x"}, {"Cookie": text}, {"Authorization": f"Bearer {text}"}))
    return Attack((head(ground, chosen, "/health", headers, method="GET"),), method="GET", owed=False)


def many_headers(ground: Ground, chosen: random.Random) -> Attack:
    headers = {f"X-{number}": ground.marks.field for number in range(chosen.randrange(50, ground.sizes.headers))}
    return Attack((head(ground, chosen, "/health", headers, method="GET"),), method="GET", owed=False)


def lengths(ground: Ground, chosen: random.Random) -> Attack:
    """A length that is not the body's, or is no number. Where a body does not come, the client leaves."""
    wrong = chosen.choice(
        ("-1", "1e3", "0x10", "", "10, 10", "10, 20", "+10", "99999999999999999999", "5", " 7 ", "٣")
    )
    headers = {"Content-Type": "audio/wav", "Content-Length": wrong}
    if chosen.random() < 0.3:
        headers["content-length"] = chosen.choice(("10", "11"))
    raw = head(ground, chosen, chosen.choice(PATHS), headers)
    if chosen.random() < 0.2:
        more = head(ground, chosen, "/", {"Content-Type": "audio/wav", "Content-Length": "5000"})
        return Attack((more, b"x" * 100), end="leave", hold_s=chosen.random(), owed=False)
    return Attack((raw, b"x" * 10), owed=False)


def chunks(ground: Ground, chosen: random.Random) -> Attack:
    """Sizes that are huge, negative, odd or no number; the end is missing, or there is more than one."""
    size = chosen.choice(
        ("ffffffffffffffff", "-1", "0x5", "5;" + "a" * 20_000, "5 5", "g", "", "00000000000000005", "5")
    )
    body = b"".join(
        (f"{size}\r\nhello\r\n".encode(), chosen.choice((b"", b"0\r\n\r\n", b"0\r\n" + b"X: y\r\n" * 500 + b"\r\n")))
    )
    headers = {
        "Content-Type": "audio/wav",
        "Transfer-Encoding": chosen.choice(("chunked", "chunked, chunked", "gzip")),
    }
    if chosen.random() < 0.3:
        headers["Content-Length"] = "5"
    return Attack((head(ground, chosen, chosen.choice(PATHS), headers), body), end="half-close", owed=False)


def many_chunks(ground: Ground, chosen: random.Random) -> Attack:
    headers = {"Content-Type": "audio/wav", "Transfer-Encoding": "chunked"}
    body = b"1\r\nx\r\n" * chosen.randrange(100, 4000) + b"0\r\n\r\n"
    return Attack((head(ground, chosen, "/", headers), body))


def versions(ground: Ground, chosen: random.Random) -> Attack:
    first = chosen.choice(
        (b"GET /", b"GET / HTTP/0.9", b"GET / HTTP/9.9", b"GET  /  HTTP/1.1", b"GET / HTTP/1.1\n\n", b"\x16\x03\x01",
         b"PRI * HTTP/2.0", b"SSH-2.0-x", b"\x00" * 50, b"\r\n" * 50 + b"GET /health HTTP/1.1", b"\xff\xfe GET")
    )  # fmt: skip
    return Attack(
        (first + b"\r\nHost: a\r\n\r\n" + chosen.randbytes(20),), end="half-close", owed=False, method="GET"
    )


def odd_headers(ground: Ground, chosen: random.Random) -> Attack:
    headers = chosen.choice(
        (
            {"Expect": "100-continue", "Content-Length": "5"},
            {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Key": "AAAA", "Content-Length": "5"},
            {"Upgrade": "h2c", "HTTP2-Settings": "AAAA", "Content-Length": "5"},
            {"Content-Encoding": "gzip", "Content-Length": "5"},
            {"Content-Type": "\udcff\udcfe", "Content-Length": "5"},
            {"X\x00": "a", "Content-Length": "5"},
            {"X": "a\rb", "Content-Length": "5"},
            {"Range": "bytes=0-" + ",0-" * 1000, "Content-Length": "5"},
            {"X-Api-Key": ground.marks.key[:-1], "Content-Length": "5"},
            {"X-Forwarded-For": "127.0.0.1", "X-Forwarded-Host": "a/" * 300, "Content-Length": "5"},
        )
    )
    return Attack((head(ground, chosen, chosen.choice(PATHS), headers), b"hello"), owed=False)


def pipelined(ground: Ground, chosen: random.Random) -> Attack:
    """Many requests on one connection, without waiting for an answer."""
    one = f"GET /health HTTP/1.1\r\nHost: a\r\nX: {ground.marks.field}\r\n\r\n".encode()
    return Attack((one * chosen.randrange(2, 200),), method="GET")


GENERATORS = {
    methods: 3, targets: 3, long_lines: 2, many_headers: 2, lengths: 4, chunks: 4, many_chunks: 1, versions: 2,
    odd_headers: 3, pipelined: 1,
}  # fmt: skip
