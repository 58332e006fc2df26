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
