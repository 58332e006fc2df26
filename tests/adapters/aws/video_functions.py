"""Lambda functions run for real: each function's own zip in a process of AWS's runtime client, `awslambdaric`.

A small server has the four paths of the Lambda Runtime API that the client asks. As in Lambda a process serves one
event at a time, stays for the next, and ends with the function's time limit. Does not limit memory, and does not
check what the function's role allows.
"""

from __future__ import annotations

import io
import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import uuid
import zipfile
from collections import Counter
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

VERSION = "/2018-06-01"


class Functions:
    """Every function of an account, by name; `environment` is added to each, `calls` counts by handler."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.environment = dict(environment)
        self.calls: Counter[str] = Counter()
        self.throttled: Counter[str] = Counter()  # by handler: so many invocations are still refused
        self._processes: dict[str, _Process] = {}
        self._lock = threading.Lock()

    def invoke(
        self, name: str, handler: str, code: bytes, variables: Mapping[str, str], timeout: float, event: Any
    ) -> tuple[str, bool]:
        """The answer as JSON, and whether it is an error."""
        with self._lock:
            self.calls[handler] += 1
            process = self._processes.get(name)
            if process is None or process.stale(variables):
                if process is not None:
                    process.end()
                process = self._processes[name] = _Process(handler, code, variables, self.environment)
        answer = process.invoke(event, timeout)
        if answer is None:
            with self._lock:
                self._processes.pop(name, None)
            process.end()
            message = {"errorType": "Sandbox.Timedout", "errorMessage": f"Task timed out after {timeout:.2f} seconds"}
            return json.dumps(message), True
        return answer

    def end(self) -> None:
        for process in self._processes.values():
            process.end()


class _Process:
    def __init__(
        self, handler: str, code: bytes, variables: Mapping[str, str], environment: Mapping[str, str]
    ) -> None:
        self.variables = dict(variables)
        self.events: queue.Queue[tuple[str, bytes]] = queue.Queue()
        self.answers: queue.Queue[tuple[str, bool]] = queue.Queue()
        self.one = threading.Lock()
        self.folder = tempfile.TemporaryDirectory()
        with zipfile.ZipFile(io.BytesIO(code)) as file:
            file.extractall(self.folder.name)
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), _runtime_api(self))
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "awslambdaric", handler],
            cwd=self.folder.name,  # /var/task; the repository is on no path
            env={
                "PATH": os.environ["PATH"],
                "LAMBDA_TASK_ROOT": self.folder.name,
                "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{self.server.server_port}",
                "AWS_REGION": "us-east-1",
                "AWS_DEFAULT_REGION": "us-east-1",
                **environment,
                **variables,
            },
            start_new_session=True,
        )

    def stale(self, variables: Mapping[str, str]) -> bool:
        return self.process.poll() is not None or self.variables != dict(variables)

    def invoke(self, event: Any, timeout: float) -> tuple[str, bool] | None:
        with self.one:
            self.events.put((uuid.uuid4().hex, json.dumps(event).encode()))
            try:
                return self.answers.get(timeout=timeout)
            except queue.Empty:
                return None

    def end(self) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.server.shutdown()
        self.server.server_close()
        self.folder.cleanup()


def _runtime_api(process: _Process) -> type[BaseHTTPRequestHandler]:
    class RuntimeApi(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            assert self.path == f"{VERSION}/runtime/invocation/next"
            request_id, body = process.events.get()
            self.send_response(200)
            self.send_header("Lambda-Runtime-Aws-Request-Id", request_id)
            self.send_header("Lambda-Runtime-Deadline-Ms", "9999999999999")
            self.send_header(
                "Lambda-Runtime-Invoked-Function-Arn", "arn:aws:lambda:us-east-1:123456789012:function:f"
            )
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            process.answers.put((body.decode(), self.path.endswith("/error")))
            self.send_response(202)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    return RuntimeApi
