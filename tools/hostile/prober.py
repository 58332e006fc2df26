"""Asks `/health` all the time, as a process of its own, until its input ends.

    python -m tools.hostile.prober PORT PID

A line of output for each: when it was asked (seconds since 1970), how long it took, how long of that the main thread
of the server waited for a core, and the status, 0 for none.
"""

from __future__ import annotations

import http.client
import select
import sys
import time
from pathlib import Path

EVERY_S = 0.1
TIMEOUT_S = 30.0


def main() -> None:
    port, pid = map(int, sys.argv[1:])
    while not select.select([sys.stdin], [], [], EVERY_S)[0]:
        began, waited = time.time(), waited_for_core(pid)
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)
        try:
            connection.request("GET", "/health")  # each on a connection of its own, as a platform's probes are
            status = connection.getresponse().status
        except (OSError, http.client.HTTPException):
            status = 0
        finally:
            connection.close()
        waited = waited_for_core(pid) - waited
        print(f"{began:.3f} {time.time() - began:.4f} {max(waited, 0):.4f} {status}", flush=True)


def waited_for_core(pid: int) -> float:
    """Seconds that the main thread of a process could have run and did not get to; 0 where the system does not say.

    https://docs.kernel.org/scheduler/sched-stats.html
    """
    try:
        return int(Path(f"/proc/{pid}/task/{pid}/schedstat").read_text().split()[1]) / 1e9
    except (OSError, ValueError, IndexError):
        return 0.0


if __name__ == "__main__":
    main()
