"""A system that has no more than Windows has, for this package's code alone: other packages see the real one.

python -c "from tests.other_system import pretend; pretend(); import turnscribe; ..."
"""

from __future__ import annotations

import builtins
import types
from collections.abc import Mapping
from typing import Any

MODULES = {"fcntl", "grp", "pty", "pwd", "resource", "syslog", "termios", "tty"}
NAMES = {
    "os": {
        "O_CLOEXEC", "O_DIRECTORY", "O_NOFOLLOW", "O_NONBLOCK", "fchmod", "fork", "getegid", "geteuid", "getgid",
        "getloadavg", "getpgid", "getuid", "killpg", "memfd_create", "mkfifo", "nice", "posix_fadvise", "pread",
        "pwrite", "register_at_fork", "sched_getaffinity", "sched_setaffinity", "setsid", "statvfs", "sysconf",
        "uname", "wait4",
    },
    "signal": {"SIGHUP", "SIGKILL", "SIGQUIT", "SIGUSR1", "SIGUSR2", "alarm", "pthread_sigmask", "setitimer"},
    "socket": {"AF_UNIX"},
}  # fmt: skip
OURS = {"turnscribe", "handler", "config", "diarization_utils", "server", "adapters", "scripts"}


class Lacking(types.ModuleType):
    """A module without some of its names."""

    def __init__(self, module: types.ModuleType, names: set[str], **instead: Any) -> None:
        super().__init__(module.__name__)
        vars(self).update(instead)
        self._module, self._names = module, names

    def __getattr__(self, name: str) -> Any:
        if name in self._names:
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        return getattr(self._module, name)


def pretend() -> None:
    """From now on, for modules that are imported from now on."""
    import os
    import signal
    import socket

    real = builtins.__import__
    lacking = {
        "os": Lacking(os, NAMES["os"], name="nt"),
        "signal": Lacking(signal, NAMES["signal"]),
        "socket": Lacking(socket, NAMES["socket"]),
    }

    def import_(name: str, globals: Mapping[str, Any] | None = None, *rest: Any, **more: Any) -> types.ModuleType:
        ours = (globals or {}).get("__name__", "").split(".")[0] in OURS
        if ours and name.split(".")[0] in MODULES:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return lacking[name] if ours and name in lacking else real(name, globals, *rest, **more)

    builtins.__import__ = import_  # type: ignore[assignment]
