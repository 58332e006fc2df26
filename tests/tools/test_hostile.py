"""The hostile requests: that they are drawn from the seed, what counts as wrong, and a short siege."""

from __future__ import annotations

import json
import random
import socket
import threading
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest

from tests.serving.live import until
from tools.benchmarks.audio import speech
from tools.hostile import full
from tools.hostile.attack import Attack, Ground, Marks
from tools.hostile.command import GENERATORS, KINDS, Siege, _parser, listening, main
from tools.hostile.files import recordings
from tools.hostile.send import Outcome, send

MARKS = Marks(key="key-1", token="token-1", audio="audio-1", field="field-1")


@pytest.fixture(scope="module")
def ground() -> Ground:
    return Ground(MARKS, 1, "/secret.wav", recordings(speech(1.5)))


@pytest.mark.parametrize("kind", KINDS)
def test_a_request_is_drawn_from_the_seed_alone(ground: Ground, kind: str) -> None:
    def drawn(seed: str) -> list[bytes]:
        return [b"".join(GENERATORS[kind][0](ground, chosen).pieces) for chosen in [random.Random(seed)] * 5]

    assert drawn("1") == drawn("1")
    assert all(len(sent) < 4 * 2**20 for sent in drawn("1"))


def test_the_largest_are_made_while_they_are_sent(ground: Ground) -> None:
    by_kind = {kind: attack for _, kind, attack in full.attacks(ground)}
    lists = by_kind["full: 75 MiB of empty lists"]
    first, *_ = islice(lists.pieces, 3)
    declared = int(first.decode().lower().split("content-length: ")[1].split("\r\n")[0])
    assert declared > 75 * 2**20
    assert sum(map(len, lists.pieces)) == len(first) + declared
    assert max(map(len, lists.pieces)) < 2**17
    assert len(list(full.silent_clients())) == 300


@pytest.fixture
def siege() -> Siege:
    siege = Siege(_parser().parse_args([]))
    siege.marks = MARKS
    siege._is_alive = lambda: True  # type: ignore[method-assign]
    siege.ground = Ground(MARKS, 1, "", {})
    return siege


@pytest.mark.parametrize(
    ("outcome", "wrong"),
    [
        (Outcome(400, b'{"error": "no"}'), ""),
        (Outcome(500, b'{"error": "details under 0123456789ab."}'), ""),
        (Outcome(500, b'{"error": "no"}'), "was answered 500"),
        (Outcome(503, b"", "Retry-After: 5"), ""),
        (Outcome(503, b""), "was answered 503"),
        (Outcome(504, b""), "was answered 504"),
        (Outcome(), "was not answered"),
        (Outcome(late=True), "was not answered in time"),
        (Outcome(400, b"wrong: token-1"), "with a secret"),
        (Outcome(400, b"", "X-Warning: audio-1"), "with a secret"),
        (Outcome(400, b"field-1 is unknown"), ""),
    ],
)
def test_what_counts_as_wrong(siege: Siege, outcome: Outcome, wrong: str) -> None:
    siege._judge(5, "json: types", Attack(()), outcome)
    assert (siege.failures == []) if not wrong else (wrong in siege.failures[0])
    assert all("Seed 1: request 5 (json: types)" in sentence for sentence in siege.failures)


def test_a_connection_to_this_machine_is_seen() -> None:
    with listening() as listener:
        with socket.create_connection(("127.0.0.1", listener.port)):
            pass
        assert until(lambda: listener.seen)


@pytest.fixture
def server() -> Iterator[int]:
    """The port of one that answers every connection the same, once it has read something."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            try:
                while True:
                    connection, _ = listener.accept()
                    with connection:
                        if connection.recv(100):
                            connection.sendall(b"HTTP/1.1 202 Accepted\r\nContent-Length: 2\r\n\r\nhi")
            except OSError:
                return

        threading.Thread(target=answer, daemon=True).start()
        yield listener.getsockname()[1]


@pytest.mark.parametrize(
    ("attack", "status"),
    [
        (Attack((b"G", b"ET"), pause_s=0.01), 202),
        (Attack((b"GET",), end="half-close"), 202),
        (Attack((b"GET",), end="leave"), None),
        (Attack((b"GET",), end="reset"), None),
        (Attack((b"GET",), end="unread"), None),
        (Attack((), end="half-close"), None),
    ],
)
def test_an_attack_comes_to_its_end(server: int, attack: Attack, status: int | None) -> None:
    assert send(attack, "127.0.0.1", server).status == status


@pytest.mark.models
@pytest.mark.serving
def test_a_short_siege(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "figures.json"
    arguments = ["--requests", "150", "--seed", "5", "--output", str(output), "--log", str(tmp_path / "log")]
    main([*arguments, "--asr-only", "--at-once", "6"])
    said = capsys.readouterr()
    figures = json.loads(output.read_text())
    # how soon /health comes says little where other tests run on the same cores: the command's own run has it
    assert [sentence for sentence in figures["failures"] if "/health took" not in sentence] == [], said.err
    assert figures["outcome"]["requests"] == 150
    assert "| connections to this machine | 0 |" in said.out
    assert "| jobs: accepted, lost |" in said.out
