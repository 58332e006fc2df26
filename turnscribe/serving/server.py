"""The command that serves: the environment's settings, uvicorn, and how it ends."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Sequence
from typing import Any

import uvicorn
from uvicorn.config import WS_PROTOCOLS

from turnscribe.deployment import Deployment, package_deployment
from turnscribe.errors import TurnscribeError
from turnscribe.serving.app import create_app
from turnscribe.serving.connections import (
    ACCEPTED_AT_ONCE,
    BoundedConnection,
    bounded_websocket,
    lengthen_queue,
    most_connections,
)
from turnscribe.serving.devices.choice import chosen_devices
from turnscribe.serving.devices.pipeline import PipelineOnDevices
from turnscribe.serving.ending import Ending
from turnscribe.serving.loading import FIRST_PARAMETERS, PipelineLoader
from turnscribe.serving.log import WebSocketLines, start_log
from turnscribe.serving.log_limit import LogLimit
from turnscribe.serving.tracing.choice import chosen_tracing
from turnscribe.settings import ServerSettings, load_settings

SETTLING_ROUNDS = 6  # of the loop, before the listening socket is closed
# uvicorn takes whichever package it finds, and they differ: it is to be `websockets`, and not through what that
# package is about to drop.
WEBSOCKETS: Any = bounded_websocket() if "websockets-sansio" in WS_PROTOCOLS else "websockets"
LARGEST_MESSAGE = 21 * 2**20  # bytes: 15 MiB of audio as base64


def configured(app: Any, **own: Any) -> uvicorn.Config:
    """How HTTP and WebSockets are spoken with `app`; `own` are further fields of uvicorn's."""
    return uvicorn.Config(
        app,
        http=BoundedConnection,
        ws=WEBSOCKETS,
        ws_max_size=LARGEST_MESSAGE,
        ws_per_message_deflate=False,
        backlog=ACCEPTED_AT_ONCE,
        access_log=False,
        server_header=False,
        **own,
    )


class Server(uvicorn.Server):
    """uvicorn, which at the end also answers requests that were sent before and that it had not read yet."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        for server in self.servers:
            for listener in server.sockets:
                lengthen_queue(listener.fileno())

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        # Under load one round of the loop takes long, and connections made meanwhile would be reset. They need a few
        # rounds to be accepted and read; uvicorn then counts them among those it finishes.
        ending: Ending = self.config.app.state.ending  # type: ignore[union-attr]
        ending.begin()
        for _ in range(SETTLING_ROUNDS):
            await asyncio.sleep(0.05)
        await ending.end_sessions()
        self.config.timeout_graceful_shutdown = ending.seconds_for_answers  # type: ignore[assignment]
        await super().shutdown(sockets)


def main(argv: Sequence[str] | None = None, *, deployment: Deployment | None = None, prog: str = "serve") -> int:
    """Serve until SIGTERM or Ctrl-C, then finish what is running within `SHUTDOWN_TIMEOUT_S`; a second Ctrl-C ends it
    at once.

    By default with the package's own settings and rules. The exit status is 0, 1 where the models could not be
    loaded, and 2 where a setting is wrong.
    """
    deployment = deployment or package_deployment()
    args = build_parser(prog).parse_args(argv)
    start_log()
    failed = threading.Event()

    def give_up() -> None:
        failed.set()
        server.should_exit = True

    try:
        settings = load_settings(ServerSettings)
        loader, settings = _loader(deployment, settings)
        tracing = chosen_tracing()
        app = create_app(loader, settings, parse=deployment.parse, on_failure=give_up, tracing=tracing)
    except TurnscribeError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    host, port = args.host or settings.host, settings.port if args.port is None else args.port
    BoundedConnection.most = most_connections(settings.max_connections)
    config = configured(app, host=host, port=port)
    for handler in logging.getLogger("uvicorn").handlers:
        handler.addFilter(LogLimit())
    logging.getLogger("uvicorn.error").addFilter(WebSocketLines())
    server = Server(config)
    signal.signal(signal.SIGTERM, lambda *_: None)  # uvicorn raises it anew when it has ended in good order
    with contextlib.suppress(KeyboardInterrupt):
        server.run()
    status = 1 if failed.is_set() else 0
    if not app.state.ending.in_order:  # the interpreter would wait for the models' threads
        logging.shutdown()
        os._exit(status)
    return status


def _loader(deployment: Deployment, settings: ServerSettings) -> tuple[PipelineLoader, ServerSettings]:
    """Of the models, in this process or on several devices, and the settings for all of those together."""
    model_settings, devices = deployment.load_settings(), chosen_devices(settings.devices)
    if not devices:
        return PipelineLoader(model_settings, deployment.load), settings
    pipeline = PipelineOnDevices(
        devices,
        deployment.load,
        first_request=deployment.parse(FIRST_PARAMETERS),
        at_once=settings.max_concurrent_requests + settings.max_concurrent_jobs,
    )
    return PipelineLoader.on_devices(model_settings, pipeline), settings.for_devices(len(devices))


def build_parser(prog: str = "serve") -> argparse.ArgumentParser:
    description = "Serve the models that the environment names."
    parser = argparse.ArgumentParser(prog=prog, description=description)
    parser.add_argument("--host", help="address to listen on (HOST; by default this machine alone)")
    parser.add_argument("--port", type=int, help="port to listen on (PORT; 8000 by default)")
    return parser
