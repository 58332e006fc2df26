"""The manual's commands for AWS as they are written there, against moto on loopback.

A reader's own names are filled in, and their files are there under the names that the commands give them.
"""

from __future__ import annotations

import base64
import json
import os
import re
import sys
import tarfile
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto.sagemaker.models import FakeEndpointConfig
from moto.sagemakerruntime.models import sagemakerruntime_backends

from adapters.sagemaker.image import image_for
from tests.conftest import REPOSITORY
from tests.manual import block
from tests.test_readme import run as run_program
from tests.test_readme import run_shell

REGION, ACCOUNT = "us-east-1", "123456789012"  # moto's
READERS = {  # what the manual leaves to its reader
    "s3://...": "s3://your-bucket/turnscribe/1/model.tar.gz",
    "arn:...": f"arn:aws:iam::{ACCOUNT}:role/sagemaker",
    "YOUR-BUCKET": "your-bucket",
    "REGION": REGION,
}
ARCHIVE = READERS["s3://..."]


@dataclass(frozen=True)
class Reader:
    """Who follows the manual: in `folder`, with an AWS account."""

    folder: Path
    s3: Any
    runtime: Any  # moto's backend: what was asked of endpoints, and what they will answer

    def shell(self, text: str, *, typed: str = "") -> str:
        """What the commands print; `typed` is the answer to a question."""
        for name, value in READERS.items():
            text = text.replace(name, value)
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        printed = run_shell(f"exec <<< '{typed}'\n{text}", self.folder, PATH=path)
        return printed.replace("Type its name to go on: ", "")

    def python(self, text: str) -> str:
        return run_program([sys.executable, "-c", text], self.folder)

    def archive(self, content: bytes) -> set[str]:
        with tarfile.open(fileobj=BytesIO(content)) as archive:
            return set(archive.getnames())


@pytest.fixture
def reader(amazon: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Reader:
    monkeypatch.setattr(FakeEndpointConfig, "validate_instance_type", lambda *_: None)  # moto's list is an old one
    for name, value in {
        "AWS_DEFAULT_REGION": REGION,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "PYTHONPATH": str(REPOSITORY),
        "PIP_NO_INDEX": "1",  # everything is installed
    }.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "requirements-aws.txt").symlink_to(REPOSITORY / "requirements-aws.txt")
    (tmp_path / "models").mkdir()
    for name, model in {"whisper-large-v3": "whisper", "whisper": "whisper", "diarizer": "diarizer"}.items():
        (tmp_path / "models" / name).symlink_to(REPOSITORY / "demo" / model)
    for name in ("meeting.mp4", "clip.mp3", "talk.mp3", "talk.mp4"):
        (tmp_path / name).write_text("a recording")  # moto's server reads bodies as text
    s3 = boto3.client("s3")
    s3.create_bucket(Bucket="your-bucket")
    return Reader(tmp_path, s3, sagemakerruntime_backends[ACCOUNT][REGION])


def test_choose_names_the_way(reader: Reader) -> None:
    printed = reader.shell(block("sh", "scripts.sagemaker choose"))
    assert "python -m scripts.sagemaker asynchronous create NAME --min-instances 1" in printed


def test_an_asynchronous_endpoint_from_its_archive_to_its_end(reader: Reader) -> None:
    printed = reader.shell(block("sh", "scripts.sagemaker package"))
    text = block("sh", "asynchronous create")
    assert printed == f"{ARCHIVE}\n"
    assert f"--model-data {ARCHIVE} " in text
    stored = reader.s3.get_object(Bucket="your-bucket", Key="turnscribe/1/model.tar.gz")["Body"].read()
    assert {"code/inference.py", "whisper/config.json"} < reader.archive(stored)

    reader.runtime.async_results_queue.append((False, "WEBVTT"))
    lines = reader.shell(text, typed="talk").splitlines()
    assert lines[:3] == ["talk: InService", "WEBVTT", "endpoint talk: InService"]
    assert {"endpoint talk: deleted", "model talk: deleted"} < set(lines)
    (location,) = reader.runtime.async_results["talk"]
    assert re.fullmatch(r"s3://your-bucket/recordings/\w+\.mp4", location)
    assert boto3.client("sagemaker").list_endpoints()["Endpoints"] == []


def test_a_real_time_endpoint_from_its_creation_to_its_end(reader: Reader) -> None:
    reader.runtime.results_queue.append(("hello", "application/json", "", ""))
    lines = reader.shell(block("sh", "real-time create"), typed="talk").splitlines()
    assert lines[:2] == ["talk: InService", "hello"]
    assert {"endpoint talk: deleted", "model talk: deleted"} < set(lines)
    assert asked(reader)["X-Amzn-Sagemaker-Custom-Attributes"] == "language=en"


def test_a_transform_job_from_its_creation_to_its_end(reader: Reader) -> None:
    lines = reader.shell(block("sh", "transform create"), typed="night").splitlines()
    assert lines[0] == "night: Completed; s3://your-bucket/transcripts"
    assert "model night: deleted" in lines
    job = boto3.client("sagemaker").describe_transform_job(TransformJobName="night")
    assert job["TransformInput"]["DataSource"]["S3DataSource"]["S3Uri"] == "s3://your-bucket/recordings/"
    assert job["Environment"] == {"INFERENCE_LANGUAGE": "en"}


def test_an_archive_takes_nothing_folders_or_a_checkpoint_along(reader: Reader) -> None:
    (reader.folder / "small.en.pt").write_bytes(b"a checkpoint: only loading it would look inside")
    reader.python(block("python", "build_archive"))
    names = reader.archive((reader.folder / "build" / "model.tar.gz").read_bytes())  # the last one's
    assert {name for name in names if not name.startswith("code/")} >= {
        "whisper/small.en.pt",
        "whisper/gpt2.tiktoken",
    }


def test_boto3_asks_the_endpoint(reader: Reader) -> None:
    reader.runtime.results_queue.append(("WEBVTT", "text/vtt", "", ""))
    assert reader.python(block("python", "invoke_endpoint")) == "WEBVTT\n"
    sent = asked(reader)
    assert sent["X-Amzn-Sagemaker-Custom-Attributes"] == "language=en&num_speakers=2"
    assert sent["Accept"] == "text/vtt"


def test_the_video_workflow_is_packaged_deployed_described_and_used(reader: Reader) -> None:
    """By the AWS command line. What the deployed template does is in test_video.py."""
    text, upload, _ = re.split(r"^(aws s3 cp .*\n)", block("sh", "cloudformation deploy"), flags=re.MULTILINE)
    printed = reader.shell(text)
    assert "Successfully created/updated stack - talks" in printed
    assert printed.endswith("\nnull\n")  # moto keeps no outputs of a stack that a change set made
    bucket = boto3.resource("cloudformation").StackResource("talks", "VideoBucket").physical_resource_id
    reader.shell(upload.replace("THE-VIDEO-BUCKET", bucket))
    (stored,) = reader.s3.list_objects_v2(Bucket=bucket)["Contents"]
    assert stored["Key"] == "talk.mp4"
    model = boto3.client("sagemaker").list_models()["Models"][0]["ModelName"]
    container = boto3.client("sagemaker").describe_model(ModelName=model)["PrimaryContainer"]
    assert container["Image"] == image_for(REGION, "ml.g4dn.xlarge")
    assert container["ModelDataUrl"] == ARCHIVE
    assert container["Environment"]["ASR_MODEL"] == "whisper"


def asked(reader: Reader) -> dict[str, str]:
    """The headers of the only request to an endpoint."""
    (request,) = (request for requests in reader.runtime.results.values() for request in requests)
    return dict(json.loads(base64.b64decode(request)))
