"""The log of a process that serves."""

from __future__ import annotations

import logging

from turnscribe.serving.log_limit import LogLimit


def start_log(device: str = "") -> None:
    """Lines with their time to stderr, and none of them without end; with its device, where a process has one."""
    of_device = f" {device}" if device else ""
    logging.basicConfig(level=logging.INFO, format=f"%(asctime)s %(levelname)s{of_device} %(name)s: %(message)s")
    for handler in logging.getLogger().handlers:
        handler.addFilter(LogLimit())


class WebSocketLines(logging.Filter):
    """Leaves out what uvicorn (0.54) says of WebSockets, whatever its `access_log` is.

    These are their addresses with the query, in which a client may have put anything, and an error for each that was
    refused with an answer of its own.

    What there is to say is the `RequestObserver`'s.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        message = str(record.msg)
        return not message.startswith('%s - "WebSocket') and "without completing handshake" not in message
