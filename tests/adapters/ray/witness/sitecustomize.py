"""In every process of a test's cluster: notes who opens which recordings, and dies of one with a certain name.

The first process that opens one with another certain name has from then on a device that fails every call.
"""

import os
import signal
import sys
import threading
from contextlib import suppress

KILLS = "kills-its-worker.wav"
BREAKS = "breaks-a-device-"
breaking = threading.Lock()  # no other thread of the process goes on with a device that is about to break


def _on_event(event, arguments):
    if event != "open" or not isinstance(arguments[0], str) or not arguments[0].endswith(".wav"):
        return
    log = os.open(os.environ["WITNESS_LOG"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(log, f"{os.environ['WITNESS']} {os.path.basename(arguments[0])}\n".encode())
    os.close(log)
    if arguments[0].endswith(KILLS):
        os.kill(os.getpid(), signal.SIGSEGV)
    if os.path.basename(arguments[0]).startswith(BREAKS):
        with breaking, suppress(FileExistsError):
            os.close(os.open(os.path.dirname(arguments[0]) + "/broken", os.O_CREAT | os.O_EXCL))
            sys.modules["turnscribe.pipeline"].Pipeline.transcribe = _fail


def _fail(*arguments, **options):
    from turnscribe.errors import InferenceFailed

    raise InferenceFailed("CUDA error: device-side assert triggered")


if "WITNESS_LOG" in os.environ:
    sys.addaudithook(_on_event)
