"""Asks `/health` all the time, as a process of its own, until its input ends: `python -m tools.hostile.prober PORT`.

A line of output for each: when it was asked (seconds since 1970), how long it took, and the status, 0 for none.
"""

from __future__ import annotations

import http.client
import select
import sys
import time

EVERY_S = 0.1
TIMEOUT_S = 30.0


def main() -> None:
    port = int(sys.argv[1])
    while not select.select([sys.stdin], [], [], EVERY_S)[0]:
        began = time.time()
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)
        try:
            connection.request("GET", "/health")  # each on a connection of its own, as a platform's probes are
            status = connection.getresponse().status
        except (OSError, http.client.HTTPException):
            status = 0
        finally:
            connection.close()
        print(f"{began:.3f} {time.time() - began:.4f} {status}", flush=True)


if __name__ == "__main__":
    main()
