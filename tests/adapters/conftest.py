"""What the tests of several platforms share."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest


@pytest.fixture
def amazon(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A stand-in of Amazon's services on loopback, to which this process's environment points."""
    from moto.moto_api._internal.models import moto_api_backend
    from moto.server import ThreadedMotoServer

    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "s3cret",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    yield
    server.stop()
    moto_api_backend.reset()  # servers of one process share what they hold


@pytest.fixture
def bucket(amazon: None) -> Iterator[str]:
    """An empty bucket there."""
    import boto3
    import fsspec

    fsspec.filesystem("s3").clear_instance_cache()  # it remembers the last server
    boto3.client("s3").create_bucket(Bucket="talks")
    yield "s3://talks"
    fsspec.filesystem("s3").clear_instance_cache()
