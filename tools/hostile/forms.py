"""Multipart forms with too much, with too little, or broken."""

from __future__ import annotations

import json
import random

from tools.hostile.attack import Attack, Ground, post

PATHS = ("/", "/v1/audio/transcriptions", "/api/v1/audio/translations", "/v1/jobs")
BOUNDARY = "hostile"
LISTS = (
    "timestamp_granularities[]",
    "known_speaker_names[]",
    "known_speaker_references[]",
    "include[]",
    "keywords[]",
)
NAMES = ("model", "language", "prompt", "response_format", "temperature", "stream", "chunking_strategy", *LISTS)
FILE_NAMES = ("talk.wav", "../../../etc/passwd", "a" * 5000, "", "\\", "☃", "%00", "a\x01b", '"; name="model')


def many_fields(ground: Ground, chosen: random.Random) -> Attack:
    name = chosen.choice(("a", *NAMES))
    parts = [_field(name, ground.marks.field) for _ in range(chosen.randrange(2, ground.sizes.fields))]
    return _form(ground, chosen, [_recording(ground, chosen), *parts])


def many_files(ground: Ground, chosen: random.Random) -> Attack:
    name = chosen.choice(("file", "other", "known_speaker_references[]"))
    return _form(ground, chosen, [_file(name, b"x", "a.wav") for _ in range(chosen.randrange(2, ground.sizes.files))])


def large_parameters(ground: Ground, chosen: random.Random) -> Attack:
    """One or several fields of JSON, each over or under what is read."""
    size = chosen.randrange(1000, ground.sizes.parameters)
    value = chosen.choice(("[]," * (size // 3), json.dumps({"prompt": "x" * size}), "{" * size, "9" * size))
    fields = [_field("parameters", value) for _ in range(chosen.randrange(1, 6))]
    return _form(ground, chosen, [*fields, _recording(ground, chosen)])


def long_fields(ground: Ground, chosen: random.Random) -> Attack:
    text = ground.marks.field + "x" * chosen.randrange(1000, ground.sizes.text)
    fields = [_field(chosen.choice(NAMES), text), _field(text[:8000], "1")]
    return _form(ground, chosen, [_recording(ground, chosen), *fields])


def no_file(ground: Ground, chosen: random.Random) -> Attack:
    parts = chosen.choice(
        ([], [_field("file", "text")], [_file("audio", b"x", "a.wav")], [_file("file", b"", "a.wav")])
    )
    return _form(ground, chosen, parts)


def boundaries(ground: Ground, chosen: random.Random) -> Attack:
    """The one of the head is not the one of the body, or is none."""
    wrong = chosen.choice(
        ("", "x" * 300, "hostil", "hostilee", '"a b"', "host\x01ile", "=;=", "--", "hostile; boundary=other", "☃")
    )
    body = _body([_recording(ground, chosen)])
    return post(ground, chosen, chosen.choice(PATHS), f"multipart/form-data; boundary={wrong}", body)


def broken(ground: Ground, chosen: random.Random) -> Attack:
    """Cut, or with other bytes somewhere in the first part."""
    body = bytearray(_body([_field("language", "en"), _recording(ground, chosen)]))
    if chosen.random() < 0.5:
        return _sent(ground, chosen, bytes(body[: chosen.randrange(len(body))]))
    for _ in range(chosen.randrange(1, 10)):
        body[chosen.randrange(300)] = chosen.randrange(256)
    return _sent(ground, chosen, bytes(body))


def part_heads(ground: Ground, chosen: random.Random) -> Attack:
    """Parts with long, odd, doubled or missing heads."""
    lines = chosen.choice(
        (
            ["Content-Disposition: form-data"],
            ["Content-Disposition: attachment; name=file; filename=a.wav"],
            ['Content-Disposition: form-data; name="file"; filename="a.wav"'] * 50,
            ['Content-Disposition: form-data; name="file"; filename="a.wav"', "X: " + "x" * ground.sizes.header],
            ['Content-Disposition: form-data; name="file"; filename="a.wav"', *(f"X{n}: 1" for n in range(2000))],
            ['Content-Disposition: form-data; name="file"; filename="a.wav"', "Content-Transfer-Encoding: base64"],
            ["Content-Disposition: form-data; name*=utf-8''f%69le; filename*=utf-8''%ff"],
            ['Content-Disposition: form-data; name="_charset_"', "Content-Type: text/plain; charset=utf-7"],
            [],
        )
    )
    part = "\r\n".join([*lines, "", ""]).encode("utf-8") + ground.recordings["wav"]
    return _form(ground, chosen, [part])


def values(ground: Ground, chosen: random.Random) -> Attack:
    odd = (
        "",
        "0",
        "-1",
        "nan",
        "true",
        "pdf",
        "[]",
        "\x00",
        "☃" * 100,
        "9" * 400,
        "word",
        "data:audio/wav;base64,??",
    )
    fields = [_field(chosen.choice(NAMES), chosen.choice(odd)) for _ in range(chosen.randrange(1, 6))]
    return _form(ground, chosen, [_recording(ground, chosen), *fields])


def private_urls(ground: Ground, chosen: random.Random) -> Attack:
    url, name = (
        chosen.choice(ground.urls()),
        chosen.choice(("webhook", "url", "inputs", "known_speaker_references[]")),
    )
    fields = [_field(name, url), _field("known_speaker_names[]", "anna"), _field("diarize", "false")]
    return _form(ground, chosen, [*fields, _recording(ground, chosen)], path=chosen.choice(("/v1/jobs", *PATHS)))


GENERATORS = {
    many_fields: 2, many_files: 2, large_parameters: 3, long_fields: 2, no_file: 2, boundaries: 3, broken: 4,
    part_heads: 3, values: 3, private_urls: 3,
}  # fmt: skip


def _field(name: str, value: str) -> bytes:
    return f'Content-Disposition: form-data; name="{name}"\r\n\r\n{value}'.encode("utf-8", "surrogateescape")


def _file(name: str, data: bytes, filename: str) -> bytes:
    disposition = f'Content-Disposition: form-data; name="{name}"; filename="{filename}"'
    return f"{disposition}\r\nContent-Type: audio/wav\r\n\r\n".encode() + data


def _recording(ground: Ground, chosen: random.Random) -> bytes:
    """One in two is none: those that are cost the models' time."""
    data = ground.recordings["wav"] if chosen.random() < 0.5 else chosen.randbytes(2000)
    return _file("file", data + ground.marks.audio.encode(), chosen.choice(FILE_NAMES))


def _body(parts: list[bytes]) -> bytes:
    return b"".join(f"--{BOUNDARY}\r\n".encode() + part + b"\r\n" for part in parts) + f"--{BOUNDARY}--\r\n".encode()


def _form(ground: Ground, chosen: random.Random, parts: list[bytes], *, path: str | None = None) -> Attack:
    return _sent(ground, chosen, _body(parts), path=path)


def _sent(ground: Ground, chosen: random.Random, body: bytes, *, path: str | None = None) -> Attack:
    media_type = f"multipart/form-data; boundary={BOUNDARY}"
    return post(ground, chosen, path or chosen.choice(PATHS), media_type, body)
