"""One attack over a connection of its own, and what came back."""

from __future__ import annotations

import http.client
import socket
import struct
import time
from dataclasses import dataclass

from tools.hostile.attack import Attack

ANSWER_S = 90.0
LARGEST_ANSWER = 2**24
AT_ONCE = struct.pack("ii", 1, 0)  # SO_LINGER: closing sends a reset


@dataclass(frozen=True)
class Outcome:
    """`status` is `None` where nothing came, or nothing that is HTTP; `late` where that took too long."""

    status: int | None = None
    body: bytes = b""
    head: str = ""
    late: bool = False


def send(attack: Attack, host: str, port: int) -> Outcome:
    """Raises `OSError` where there is no connection to be had."""
    with socket.create_connection((host, port), timeout=ANSWER_S) as connection:
        try:
            for piece in attack.pieces:
                connection.sendall(piece)
                if attack.pause_s:
                    time.sleep(attack.pause_s)
            if attack.end == "half-close":
                connection.shutdown(socket.SHUT_WR)
        except TimeoutError:
            return Outcome(late=True)
        except OSError:
            pass  # the server has answered and closed before all was sent
        if attack.end in ("leave", "reset", "unread"):
            time.sleep(attack.hold_s)
            if attack.end == "reset":
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, AT_ONCE)
            return Outcome()
        return _answer(connection, attack.method)


def _answer(connection: socket.socket, method: str) -> Outcome:
    response = http.client.HTTPResponse(connection, method=method)
    try:
        response.begin()
        return Outcome(response.status, response.read(LARGEST_ANSWER), str(response.headers))
    except TimeoutError:
        return Outcome(late=True)
    except (OSError, http.client.HTTPException, ValueError):
        return Outcome()
    finally:
        response.close()
