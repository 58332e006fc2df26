"""JSON that is deep, long, of the wrong types, or none."""

from __future__ import annotations

import base64
import json
import random
from typing import Any

from tools.hostile.attack import Attack, Ground, post

PATHS = ("/", "/predict", "/v1/jobs")
NAMES = (
    *("task", "batch_size", "assisted", "chunk_length_s", "sampling_rate", "language", "num_speakers", "num_beams"),
    *("min_speakers", "max_speakers", "diarize", "timestamps", "response_format", "prompt", "temperature"),
    *("encoding", "channels", "audio_track", "speech", "languages", "vad", "webhook", "url", "", "x\x00y"),
)
VALUES: tuple[Any, ...] = (
    *("", "0", "-1", "1e999", "nan", "Infinity", "true", "\x00", "☃" * 50, "9" * 400, "a" * 20_000, "[]", "[" * 500),
    *(0, -5, 10**40, 1.5, 1e300, True, None, [], {}, [1, "a"], {"a": [None]}, [[0, 1e308]], [[1, 0]], [["a", "b"]]),
)


def nesting(ground: Ground, chosen: random.Random) -> Attack:
    depth = chosen.randrange(500, ground.sizes.nesting)
    opening, closing = chosen.choice(((b"[", b"]"), (b'{"a":', b"}")))
    deep = opening * depth + (b"1" + closing * depth if chosen.random() < 0.6 else b"")
    before = chosen.choice((b"", b'{"inputs":', b'{"inputs":"AAAA","parameters":', b'{"parameters":{"speech":'))
    return _json(ground, chosen, before + deep + b"}" * before.count(b"{"))


def tokens(ground: Ground, chosen: random.Random) -> Attack:
    token = chosen.choice((b"[]", b"{}", b"0", b'""', b"null", b'"a"', b"1e5"))
    many = b"[" + b",".join([token] * chosen.randrange(1000, ground.sizes.tokens)) + b"]"
    before = chosen.choice((b"", b'{"inputs":', b'{"inputs":"AAAA","parameters":{"speech":'))
    return _json(ground, chosen, before + many + b"}" * before.count(b"{"))


def numbers(ground: Ground, chosen: random.Random) -> Attack:
    digits = b"9" * chosen.randrange(10, ground.sizes.digits)
    number = chosen.choice((digits, b"-" + digits, b"0." + digits, b"1e" + digits, digits + b"e-9", b"-0", b"1e308"))
    name = chosen.choice(NAMES[:14]).encode()
    inputs = chosen.choice((number, b'"AAAA"'))
    return _json(ground, chosen, b'{"inputs":' + inputs + b',"parameters":{"' + name + b'":' + number + b"}}")


def types(ground: Ground, chosen: random.Random) -> Attack:
    recording = base64.b64encode(ground.recordings["wav"]).decode()
    body: Any = {
        "inputs": chosen.choice((recording, chosen.choice(VALUES))),
        "parameters": chosen.choice(
            (chosen.choice(VALUES), _parameters(ground, chosen), _parameters(ground, chosen))
        ),
    }
    return _json(ground, chosen, json.dumps(chosen.choice((body, body, body, body["parameters"]))).encode())


def duplicates(ground: Ground, chosen: random.Random) -> Attack:
    name = chosen.choice(("inputs", "parameters", *NAMES))
    pairs = [f"{json.dumps(name)}:{json.dumps(chosen.choice(VALUES))}" for _ in range(chosen.randrange(2, 300))]
    inside = ",".join(pairs)
    return _json(
        ground, chosen, chosen.choice((f"{{{inside}}}", f'{{"inputs":"AAAA","parameters":{{{inside}}}}}')).encode()
    )


def not_base64(ground: Ground, chosen: random.Random) -> Attack:
    """Bytes of a recording's base64 that are none, in the middle or throughout."""
    good = base64.b64encode(ground.recordings["wav"] + ground.marks.audio.encode())
    at = chosen.randrange(len(good))
    bad = chosen.choice((b"=", b"====", b"\\u0000", b"\xff", b"\\", b"-_", b"%20", b"\\ud800", "é".encode()))
    text = chosen.choice(
        (good[:at] + bad + good[at:], good[:at], bad * 40_000, b"data:audio/wav;base64," + bad + good)
    )
    return _json(ground, chosen, b'{"inputs":"' + text + b'"}')


def parameters(ground: Ground, chosen: random.Random) -> Attack:
    """Large ones: many names, long names, long values."""
    text = ground.marks.field + "x" * chosen.randrange(1000, ground.sizes.text)
    large: dict[str, Any] = chosen.choice(
        (
            {chosen.choice(NAMES): text},
            {text: 1},
            {f"name{number}": ground.marks.field for number in range(ground.sizes.fields * 10)},
            {"prompt": text[:3000], "language": text[:3000]},
        )
    )
    recording = base64.b64encode(ground.recordings["wav"]).decode()
    return _json(ground, chosen, json.dumps({"inputs": recording, "parameters": large}).encode())


def encodings(ground: Ground, chosen: random.Random) -> Attack:
    text = json.dumps({"inputs": "AAAA" * 100, "parameters": {"prompt": "é☃"}}, ensure_ascii=False)
    codec = chosen.choice(("utf-16", "utf-32", "utf-8-sig", "latin-1", "utf-7", "cp037"))
    media_type = chosen.choice(
        (f"application/json; charset={codec}", "application/json; charset=none", "APPLICATION/JSON")
    )
    return post(ground, chosen, chosen.choice(PATHS), media_type, text.encode(codec, "replace"))


def truncated(ground: Ground, chosen: random.Random) -> Attack:
    recording = base64.b64encode(ground.recordings["wav"]).decode()
    body = bytearray(json.dumps({"inputs": recording, "parameters": _parameters(ground, chosen)}).encode())
    if chosen.random() < 0.5:
        for _ in range(chosen.randrange(1, 8)):
            body[chosen.randrange(len(body))] = chosen.randrange(256)
    return _json(ground, chosen, bytes(body[: chosen.randrange(len(body))]))


def private_urls(ground: Ground, chosen: random.Random) -> Attack:
    """As inputs, as a job's recording, as its webhook."""
    url = chosen.choice(ground.urls())
    body: dict[str, Any] = chosen.choice(
        (
            {"inputs": url},
            {"parameters": {"url": url}},
            {"inputs": "AAAA", "parameters": {"webhook": url}},
            {"parameters": {"url": url, "webhook": url}},
        )
    )
    return _json(ground, chosen, json.dumps(body).encode())


GENERATORS = {
    nesting: 3, tokens: 2, numbers: 3, types: 4, duplicates: 2, not_base64: 3, parameters: 3, encodings: 1,
    truncated: 3, private_urls: 3,
}  # fmt: skip


def _json(ground: Ground, chosen: random.Random, body: bytes) -> Attack:
    return post(ground, chosen, chosen.choice(PATHS), "application/json", body)


def _parameters(ground: Ground, chosen: random.Random) -> dict[str, Any]:
    names = chosen.sample(NAMES, chosen.randrange(4))
    return {name: chosen.choice((*VALUES, ground.marks.field)) for name in names}
