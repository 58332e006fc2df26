"""What the tests of several platforms share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An empty bucket in a stand-in of S3 on loopback, to which this process's environment points."""
    import boto3
    import fsspec
    from moto.moto_api._internal.models import moto_api_backend
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", 0)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "s3cret",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    fsspec.filesystem("s3").clear_instance_cache()  # it remembers the last server
    boto3.client("s3").create_bucket(Bucket="talks")
    yield "s3://talks"
    server.stop()
    moto_api_backend.reset()  # servers of one process share what they hold
    fsspec.filesystem("s3").clear_instance_cache()
