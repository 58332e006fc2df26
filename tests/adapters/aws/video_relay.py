"""SageMaker's asynchronous invocation in front of a container that runs here.

Takes the real client's call on its REST path, queues it, reads the input from S3, posts it to the container's
`/invocations`, and writes the answer to the endpoint's output path or the error to its failure path. Enforces the
limits that AWS documents: 1 GB of input, 3600 s for an invocation, 21600 s in the queue. Scales nothing.
"""

from __future__ import annotations

import contextlib
import json
import re
import threading
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from typing import Any

INPUT_BYTES = 2**30
HEADER = "X-Amzn-SageMaker-"


class Relay:
    """`container` is the address of what answers `/invocations`; `held`, while it is set, keeps all in the queue.

    `dying` says how many invocations still end with what a worker that dies at them leaves, a 500.
    """

    def __init__(self, container: str, *, s3: Any, sagemaker: Any) -> None:
        self.container, self.s3, self.sagemaker = container, s3, sagemaker
        self.requests: list[dict[str, str]] = []
        self.held = threading.Event()
        self.dying = 0
        self.ended = threading.Event()
        self.url = ""

    def accept(self, endpoint: str, headers: Mapping[str, str]) -> tuple[dict[str, str], Any]:
        """The headers of the answer, and what is to be done later. Raises `ValueError` as SageMaker refuses."""
        wanted = {name: headers.get(HEADER + name, "") for name in ("InputLocation", "Inference-Id", "Content-Type")}
        timeout = _between(headers.get(HEADER + "InvocationTimeoutSeconds", "900"), 1, 3600)
        _between(headers.get(HEADER + "RequestTTLSeconds", "21600"), 60, 21600)
        if len(headers.get(HEADER + "Custom-Attributes", "")) > 1024 or len(wanted["Inference-Id"]) > 64:
            raise ValueError("CustomAttributes or InferenceId is too long.")
        if not re.fullmatch(r"s3://[^/]+/.+", wanted["InputLocation"]) or not wanted["InputLocation"].isascii():
            raise ValueError("InputLocation is wrong.")
        try:
            config = self.sagemaker.describe_endpoint(EndpointName=endpoint)["EndpointConfigName"]
        except self.sagemaker.exceptions.ClientError:
            raise ValueError(f"Endpoint {endpoint} of account 123456789012 not found.") from None
        paths = self.sagemaker.describe_endpoint_config(EndpointConfigName=config)["AsyncInferenceConfig"][
            "OutputConfig"
        ]
        name = str(uuid.uuid4())
        output, failure = f"{paths['S3OutputPath']}/{name}.out", f"{paths['S3FailurePath']}/{name}-error.out"
        self.requests.append({**dict(headers.items()), "endpoint": endpoint})
        passed = {"Content-Type": wanted["Content-Type"], "Accept": headers.get(HEADER + "Accept", "*/*")}
        if attributes := headers.get(HEADER + "Custom-Attributes"):
            passed[HEADER + "Custom-Attributes"] = attributes
        answer = {HEADER + "OutputLocation": output, HEADER + "FailureLocation": failure}
        work = (wanted["InputLocation"], passed, timeout, output, failure)
        return {**answer, "id": wanted["Inference-Id"] or name}, work

    def invoke(self, source: str, headers: Mapping[str, str], timeout: int, output: str, failure: str) -> None:
        while self.held.is_set() and not self.ended.wait(0.05):
            pass
        bucket, key = _split(source)
        try:
            if self.s3.head_object(Bucket=bucket, Key=key)["ContentLength"] > INPUT_BYTES:
                raise ValueError("The payload is over 1 GB.")
            body = self.s3.get_object(Bucket=bucket, Key=key)["Body"].read()
            if self.dying > 0:
                self.dying -= 1
                raise urllib.error.HTTPError(self.container, 500, "", Message(), BytesIO(b"Worker died."))
            request = urllib.request.Request(f"{self.container}/invocations", body, dict(headers), method="POST")
            with urllib.request.urlopen(request, timeout=timeout) as answer:
                self._put(output, answer.read())
        except urllib.error.HTTPError as error:
            kind = "client" if error.code < 500 else "server"
            said = error.read().decode(errors="replace")
            self._put(failure, f'Received {kind} error ({error.code}) from primary with message "{said}"'.encode())
        except Exception as error:
            self._put(failure, f"{type(error).__name__}: {error}".encode())

    def _put(self, uri: str, body: bytes) -> None:
        bucket, key = _split(uri)
        self.s3.put_object(Bucket=bucket, Key=key, Body=body)


@contextlib.contextmanager
def relaying(container: str, *, s3: Any, sagemaker: Any) -> Iterator[Relay]:
    """The relay at `url`; one invocation after the other, as an instance with that limit does."""
    relay = Relay(container, s3=s3, sagemaker=sagemaker)
    with ThreadPoolExecutor(max_workers=1) as instance:

        class Api(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                found = re.fullmatch(r"/endpoints/([^/]+)/async-invocations", self.path)
                assert found, self.path
                try:
                    answer, work = relay.accept(found[1], self.headers)
                except ValueError as error:
                    self._send(400, {"Message": str(error)}, {"x-amzn-errortype": "ValidationError"})
                    return
                instance.submit(relay.invoke, *work)
                identity = answer.pop("id")
                self._send(202, {"InferenceId": identity}, answer)

            def _send(self, status: int, body: dict[str, str], headers: Mapping[str, str]) -> None:
                data = json.dumps(body).encode()
                self.send_response(status)
                for name, value in {**headers, "Content-Type": "application/json"}.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: Any) -> None:
                pass

        with ThreadingHTTPServer(("127.0.0.1", 0), Api) as server:
            threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
            relay.url = f"http://127.0.0.1:{server.server_port}"
            try:
                yield relay
            finally:
                relay.ended.set()
                server.shutdown()


def _between(text: str, least: int, most: int) -> int:
    if not text.isdecimal() or not least <= int(text) <= most:
        raise ValueError(f"{text} is not between {least} and {most}.")
    return int(text)


def _split(uri: str) -> tuple[str, str]:
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    return bucket, key
