"""`python -m scripts.sagemaker` against moto, by the real boto3; and every request against botocore's model of AWS.

Moto has endpoints in service at once and jobs done at once, lets anything be created twice, and knows few instance
types; what it does not check (states, limits, names, newer instances) is checked here with botocore's descriptions.
"""

from __future__ import annotations

import json
import math
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from botocore.model import ListShape, MapShape, Shape, StringShape, StructureShape
from botocore.session import get_session
from botocore.stub import Stubber
from botocore.validate import validate_parameters
from moto import mock_aws
from moto.sagemakerruntime.models import sagemakerruntime_backends

from adapters.sagemaker import recordings
from adapters.sagemaker.command import connect, main
from adapters.sagemaker.errors import Refused, explained
from adapters.sagemaker.waiting import wait_for
from tests.conftest import REPOSITORY

REGION = "us-east-1"
ACCOUNT = "123456789012"  # moto's
TOKEN = "hf_reader_token"
INSTANCE = ("--instance-type", "ml.g4dn.xlarge")
MODEL = (
    *("--model-data", "s3://bucket/models/model.tar.gz", "--role", f"arn:aws:iam::{ACCOUNT}:role/sagemaker"),
    *("--asr-model", "whisper", *INSTANCE),
)
FAST = ("--every", "0.02")
REAL_TIME = ("real-time", "create", "talk", *MODEL)
TOPICS = (
    *("--success-topic", f"arn:aws:sns:{REGION}:{ACCOUNT}:done"),
    *("--error-topic", f"arn:aws:sns:{REGION}:{ACCOUNT}:failed"),
)
ASYNCHRONOUS = (
    *("asynchronous", "create", "talk", *MODEL, *FAST, *TOPICS, "--max-instances", "3"),
    *("--output", "s3://bucket/answers", "--failure", "s3://bucket/failures"),
)
TRANSFORM = (
    *("transform", "create", "night", *MODEL, *FAST, "--input", "s3://bucket/in/", "--output", "s3://bucket/out"),
    *("--parameter", "language=en"),
)
TARGET = {
    "ServiceNamespace": "sagemaker",
    "ResourceId": "endpoint/talk/variant/all",
    "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
}


class Account:
    """An account at moto: clients by their services, and what was asked of them, in order."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.interrupt_after = ""
        connected = connect(REGION)

        @cache
        def client(service: str) -> Any:
            made = connected(service)
            made.meta.events.register("after-call", self._record)
            return made

        self.client = client

    def _record(self, model: Any, **_: Any) -> None:
        self.asked.append(model.name)
        if model.name == self.interrupt_after:
            self.interrupt_after = ""
            raise KeyboardInterrupt

    @property
    def changes(self) -> list[str]:
        return [name for name in self.asked if not name.startswith(("Describe", "Get", "List"))]

    def everything(self) -> dict[str, Any]:
        """What there is in the account, without times and moto's random names."""
        sagemaker, scaling = self.client("sagemaker"), self.client("application-autoscaling")
        targets = scaling.describe_scalable_targets(ServiceNamespace="sagemaker")["ScalableTargets"]
        policies = scaling.describe_scaling_policies(ServiceNamespace="sagemaker")["ScalingPolicies"]
        alarms = self.client("cloudwatch").describe_alarms()["MetricAlarms"]
        return {
            "models": [model["ModelName"] for model in sagemaker.list_models()["Models"]],
            "configs": [one["EndpointConfigName"] for one in sagemaker.list_endpoint_configs()["EndpointConfigs"]],
            "endpoints": [one["EndpointName"] for one in sagemaker.list_endpoints()["Endpoints"]],
            "targets": [(one["MinCapacity"], one["MaxCapacity"]) for one in targets],
            "policies": sorted((one["PolicyName"], one["PolicyType"]) for one in policies),
            # To moto's own ARNs: one of each putting, so that only the newest is the policy's.
            "alarms": [(one["AlarmName"], one["AlarmActions"] == [_arn(policies, "talk-wake-up")]) for one in alarms],
        }


def _arn(policies: list[dict[str, Any]], name: str) -> str:
    return next((str(policy["PolicyARN"]) for policy in policies if policy["PolicyName"] == name), "")


NOTHING = {"models": [], "configs": [], "endpoints": [], "targets": [], "policies": [], "alarms": []}
SCALED = {
    "models": ["talk"],
    "configs": ["talk"],
    "endpoints": ["talk"],
    "targets": [(0, 3)],
    "policies": [("talk-backlog", "TargetTrackingScaling"), ("talk-wake-up", "StepScaling")],
    "alarms": [("talk-wake-up", True)],
}


@pytest.fixture
def account() -> Iterator[Account]:
    with mock_aws():
        yield Account()


@pytest.fixture
def run(account: Account, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """`main`; no token may be in what it prints."""

    def call(*argv: str, **environ: str) -> tuple[int, str, str]:
        status = main([*argv], clients=account.client, environ=environ)
        out, err = capsys.readouterr()
        assert TOKEN not in out + err
        return status, out, err

    return call


# --- Real-time ------------------------------------------------------------------------------------------------


def test_a_real_time_endpoint_is_created_described_and_deleted(run, account: Account) -> None:
    status, out, err = run(*REAL_TIME, "--instances", "2", "--wait", *FAST)
    assert (status, out) == (0, "talk: InService\n")
    assert "limits: 6 MB" in err
    assert "60 s for one request" in err
    model = account.client("sagemaker").describe_model(ModelName="talk")["PrimaryContainer"]
    assert model["ModelDataUrl"] == "s3://bucket/models/model.tar.gz"
    assert model["Environment"]["ASR_MODEL"] == "whisper"
    assert model["Environment"]["MAX_INPUT_BYTES"] == str(6 * 2**20)
    assert account.everything() == {**NOTHING, "models": ["talk"], "configs": ["talk"], "endpoints": ["talk"]}

    status, out, err = run("real-time", "describe", "talk")
    assert (status, err) == (0, "")
    assert "endpoint talk: InService" in out
    assert "limits: 6 MB" in out
    assert "instances: 2 of ml.g4dn.xlarge, 2 wanted" in out
    assert "scaling" not in out

    status, out, _ = run("real-time", "delete", "talk", "--yes", "--wait", *FAST)
    assert status == 0
    assert out.splitlines() == [
        "endpoint talk: deleted",
        "endpoint configuration talk: deleted",
        "model talk: deleted",
    ]
    assert account.everything() == NOTHING


def test_a_repeated_create_changes_nothing(run, account: Account) -> None:
    run(*REAL_TIME)
    done = len(account.changes)
    status, _, err = run(*REAL_TIME)
    assert status == 0
    assert err.count("there already, as asked for") == 3
    assert len(account.changes) == done


@pytest.mark.parametrize(
    ("options", "place"),
    [
        (("--asr-model", "other"), "model talk already, with another PrimaryContainer.Environment.ASR_MODEL"),
        (("--env", "NEW=1"), "PrimaryContainer.Environment.NEW"),
        (("--model-data", "s3://bucket/other.tar.gz"), "PrimaryContainer.ModelDataUrl"),
        (("--instances", "2"), "endpoint configuration talk already, with another ProductionVariants.Initial"),
        (("--instance-type", "ml.g4dn.2xlarge"), "ProductionVariants.InstanceType"),
    ],
)
def test_a_create_that_asks_for_something_else_is_refused(run, account: Account, options, place: str) -> None:
    run(*REAL_TIME)
    before = account.changes
    status, out, err = run(*REAL_TIME, *options)
    assert (status, out) == (1, "")
    assert place in err
    assert "delete it, or choose another name" in err
    assert account.changes == before


def test_a_variable_that_is_no_longer_asked_for_is_a_difference(run) -> None:
    run(*REAL_TIME, "--env", "OLD=1")
    status, _, err = run(*REAL_TIME)
    assert (status, "PrimaryContainer.Environment.OLD" in err) == (1, True)


def test_a_real_time_endpoint_of_this_name_cannot_become_asynchronous(run, account: Account) -> None:
    run(*REAL_TIME)
    account.client("sagemaker").delete_model(ModelName="talk")
    status, _, err = run(*ASYNCHRONOUS)
    assert (status, "with another AsyncInferenceConfig" in err) == (1, True)
    for action in (("describe", "talk"), ("delete", "talk", "--yes")):
        status, _, err = run("asynchronous", *action)
        assert (status, "talk is real-time: use `real-time`" in err) == (1, True)


def test_an_endpoint_that_failed_says_why_and_what_to_do(run, account: Account) -> None:
    run(*REAL_TIME, "--token-from-environment", HF_TOKEN=TOKEN)

    def failed(parsed: dict[str, Any], **_: Any) -> None:
        parsed["EndpointStatus"], parsed["FailureReason"] = "Failed", f"The primary container said {TOKEN}."

    account.client("sagemaker").meta.events.register("after-call.sagemaker.DescribeEndpoint", failed)
    status, out, err = run("real-time", "describe", "talk")  # without the token in this shell
    assert (status, err) == (1, "")
    assert "endpoint talk: Failed: The primary container said ***." in out
    assert "HF_TOKEN=***" in out
    status, _, err = run(*REAL_TIME, "--token-from-environment", "--wait", *FAST, HF_TOKEN=TOKEN)
    assert status == 1
    assert "does not run (Failed: The primary container said ***.)" in err
    assert "/aws/sagemaker/Endpoints/talk" in err
    assert run(*REAL_TIME, "--token-from-environment", HF_TOKEN=TOKEN)[0] == 1  # without --wait too


def test_an_endpoint_that_is_being_deleted_is_not_there_already(run, account: Account) -> None:
    def deleting(parsed: dict[str, Any], **_: Any) -> None:
        parsed["EndpointStatus"] = "Deleting"

    for create in (REAL_TIME, ASYNCHRONOUS):
        run(*create)
        done = account.changes
        account.client("sagemaker").meta.events.register("after-call.sagemaker.DescribeEndpoint", deleting)
        status, out, err = run(*create)
        account.client("sagemaker").meta.events.unregister("after-call.sagemaker.DescribeEndpoint", deleting)
        assert (status, out) == (1, "")
        assert "The endpoint talk is being deleted: repeat the command when" in err
        assert account.changes == done
        run(create[0], "delete", "talk", "--yes")


def test_an_endpoint_that_somebody_deletes_meanwhile_is_not_waited_for(run, account: Account) -> None:
    states = iter(["Creating", "Deleting"])

    def change(parsed: dict[str, Any], **_: Any) -> None:
        if "EndpointStatus" in parsed:
            parsed["EndpointStatus"] = next(states)

    account.client("sagemaker").meta.events.register("after-call.sagemaker.DescribeEndpoint", change)
    status, _, err = run(*REAL_TIME, "--wait", *FAST)
    assert (status, "is gone or about to be: somebody deleted it meanwhile.\n" in err) == (1, True)


def test_waiting_shows_each_state_and_ends_when_the_endpoint_answers(run, account: Account) -> None:
    states = iter(["Creating", "Creating", "Updating", "InService"])

    def change(parsed: dict[str, Any], **_: Any) -> None:
        if "EndpointStatus" in parsed:  # the first look finds nothing
            parsed["EndpointStatus"] = next(states, "InService")

    account.client("sagemaker").meta.events.register("after-call.sagemaker.DescribeEndpoint", change)
    status, out, err = run(*REAL_TIME, "--wait", *FAST)
    assert (status, out) == (0, "talk: InService\n")
    seen = [line.split()[2] for line in err.splitlines() if re.match(r" +\d+ s ", line)]
    assert seen == ["Creating", "Updating", "InService"]


def test_waiting_has_an_end(run, account: Account) -> None:
    def creating(parsed: dict[str, Any], **_: Any) -> None:
        parsed["EndpointStatus"] = "Creating"

    run(*REAL_TIME)
    account.client("sagemaker").meta.events.register("after-call.sagemaker.DescribeEndpoint", creating)
    status, _, err = run(*REAL_TIME, "--wait", *FAST, "--timeout", "0.1")
    assert status == 1
    assert "is not there after 0 s and goes on (Creating): `describe` shows it, and repeating" in err
    assert "it costs until it is deleted" in err


def test_a_recording_is_answered(run, account: Account, tmp_path: Path) -> None:
    sent: list[dict[str, Any]] = []

    def keep(params: dict[str, Any], **_: Any) -> None:
        sent.append({**params, "Body": params["Body"].read()})
        params["Body"].seek(0)

    account.client("sagemaker-runtime").meta.events.register("before-parameter-build", keep)
    recording = tmp_path / "talk.mp3"
    recording.write_text("moto wants text for a body")
    status, out, err = run("real-time", "invoke", "talk", str(recording), "--parameter", "timestamps=word")
    assert (status, out, err) == (0, "body\n", "")  # moto's answer
    assert sent == [
        {
            "EndpointName": "talk",
            "Body": b"moto wants text for a body",
            "ContentType": "audio/mpeg",
            "Accept": "application/json",
            "CustomAttributes": "timestamps=word",
        }
    ]


# --- Asynchronous ---------------------------------------------------------------------------------------------


def test_an_asynchronous_endpoint_has_places_topics_and_scaling(run, account: Account) -> None:
    status, out, err = run(*ASYNCHRONOUS)
    assert (status, out) == (0, "talk: InService\n")
    assert "limits: 1 GB, in S3; 3600 s" in err
    assert "scaling: 0 to 3 instances" in err
    assert account.everything() == SCALED
    assert account.changes == [
        *("CreateModel", "CreateEndpointConfig", "CreateEndpoint", "RegisterScalableTarget"),
        *("PutScalingPolicy", "PutMetricAlarm", "PutScalingPolicy"),
    ]
    config = account.client("sagemaker").describe_endpoint_config(EndpointConfigName="talk")["AsyncInferenceConfig"]
    assert config == {
        "OutputConfig": {
            "S3OutputPath": "s3://bucket/answers",
            "S3FailurePath": "s3://bucket/failures",
            "NotificationConfig": {"SuccessTopic": TOPICS[1], "ErrorTopic": TOPICS[3]},
        },
        "ClientConfig": {"MaxConcurrentInvocationsPerInstance": 1},
    }

    status, out, _ = run("asynchronous", "describe", "talk")
    assert status == 0
    assert "limits: 1 GB" in out
    assert "results: s3://bucket/answers" in out
    assert "failures: s3://bucket/failures" in out
    assert f"notes of failure: {TOPICS[3]}" in out
    assert "scaling: 0 to 3 instances" in out
    assert "policies: talk-backlog, talk-wake-up" in out
    assert "alarm: talk-wake-up OK" in out


def test_the_endpoint_is_in_service_before_it_is_scaled(run, account: Account) -> None:
    states = iter(["Creating", "Creating"])

    def change(parsed: dict[str, Any], **_: Any) -> None:
        if "EndpointStatus" in parsed:
            parsed["EndpointStatus"] = next(states, "InService")

    account.client("sagemaker").meta.events.register("after-call.sagemaker.DescribeEndpoint", change)
    assert run(*ASYNCHRONOUS)[0] == 0  # without --wait
    looks = account.asked[: account.asked.index("RegisterScalableTarget")].count("DescribeEndpoint")
    assert looks == 4  # nothing there, twice creating, in service


@pytest.mark.parametrize(
    "operation",
    [
        "CreateModel",
        "CreateEndpointConfig",
        "CreateEndpoint",
        "DescribeEndpoint",
        "RegisterScalableTarget",
        "PutScalingPolicy",
        "PutMetricAlarm",
    ],
)
def test_a_create_that_was_interrupted_goes_on_when_repeated(run, account: Account, operation: str) -> None:
    account.interrupt_after = operation
    status, out, err = run(*ASYNCHRONOUS)
    assert (status, out) == (130, "")
    assert "repeat the command to go on" in err
    assert ("talk-backlog", "TargetTrackingScaling") not in account.everything()["policies"]  # no zero without waking
    assert run(*ASYNCHRONOUS)[0] == 0
    assert account.everything() == SCALED
    creations = [name for name in account.changes if name.startswith("Create")]
    assert creations == ["CreateModel", "CreateEndpointConfig", "CreateEndpoint"]  # each once


@pytest.mark.parametrize(
    "operation", ["DeleteAlarms", "DeleteScalingPolicy", "DeregisterScalableTarget", "DeleteEndpoint", "DeleteModel"]
)
def test_a_delete_that_was_interrupted_goes_on_when_repeated(run, account: Account, operation: str) -> None:
    run(*ASYNCHRONOUS)
    account.interrupt_after = operation
    assert run("asynchronous", "delete", "talk", "--yes")[0] == 130
    assert ("talk-backlog", "TargetTrackingScaling") not in account.everything()["policies"]  # no zero without waking
    status, out, _ = run("asynchronous", "delete", "talk", "--yes")
    assert status == 0
    assert "was not there" in out
    assert account.everything() == NOTHING


def test_delete_removes_everything_and_then_says_what_was_not_there(run, account: Account) -> None:
    run(*ASYNCHRONOUS)
    everything = [
        "scaling policy talk-backlog",
        "alarm talk-wake-up",
        "scaling policy talk-wake-up",
        "scalable target endpoint/talk/variant/all",
        "endpoint talk",
        "endpoint configuration talk",
        "model talk",
    ]
    for outcome in ("deleted", "was not there"):
        status, out, _ = run("asynchronous", "delete", "talk", "--yes")
        assert status == 0
        assert out.splitlines() == [f"{one}: {outcome}" for one in everything]
        assert account.everything() == NOTHING


def test_scaling_is_changed_by_repeating_create_with_other_numbers(run, account: Account) -> None:
    run(*ASYNCHRONOUS)
    status, _, _ = run(*ASYNCHRONOUS, "--min-instances", "1", "--max-instances", "5", "--backlog", "2")
    assert status == 0
    now = account.everything()
    assert now["targets"] == [(1, 5)]
    assert now["policies"] == [("talk-backlog", "TargetTrackingScaling")]  # never at zero: nothing to wake up
    assert now["alarms"] == []
    policies = account.client("application-autoscaling").describe_scaling_policies(ServiceNamespace="sagemaker")
    assert policies["ScalingPolicies"][0]["TargetTrackingScalingPolicyConfiguration"]["TargetValue"] == 2.0


def test_delete_asks_first(run, account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    run(*ASYNCHRONOUS)
    monkeypatch.setattr("builtins.input", lambda prompt: "other")
    status, _, err = run("asynchronous", "delete", "talk")
    assert (status, "Nothing was deleted" in err) == (2, True)
    assert account.everything() == SCALED
    monkeypatch.setattr("builtins.input", lambda prompt: "talk")
    assert run("asynchronous", "delete", "talk")[0] == 0
    assert account.everything() == NOTHING


@pytest.fixture
def bucket(account: Account) -> Any:
    s3 = account.client("s3")
    s3.create_bucket(Bucket="bucket")
    return s3


def test_a_recording_is_uploaded_queued_and_answered(run, account: Account, bucket: Any) -> None:
    sent: list[dict[str, Any]] = []
    runtime = account.client("sagemaker-runtime")
    runtime.meta.events.register("before-parameter-build", lambda params, **_: sent.append(dict(params)))
    sagemakerruntime_backends[ACCOUNT][REGION].async_results_queue.append((False, "WEBVTT"))
    status, out, err = run(
        *("asynchronous", "invoke", "talk", str(REPOSITORY / "demo" / "conversation.flac"), *FAST),
        *("--upload-to", "s3://bucket/in", "--accept", "text/vtt", "--parameter", "language=en"),
    )
    assert (status, out) == (0, "WEBVTT\n")
    assert "the answer will be at s3://" in err
    (request,) = sent
    location = request.pop("InputLocation")
    assert re.fullmatch(r"s3://bucket/in/[0-9a-f]{12}\.flac", location)
    assert request == {
        "EndpointName": "talk",
        "ContentType": "audio/flac",
        "Accept": "text/vtt",
        "InvocationTimeoutSeconds": 3600,
        "CustomAttributes": "language=en",
    }
    stored = bucket.get_object(Bucket="bucket", Key=location.removeprefix("s3://bucket/"))["Body"].read()
    assert stored == (REPOSITORY / "demo" / "conversation.flac").read_bytes()


def test_a_failure_of_the_endpoint_is_told(run, account: Account, bucket: Any) -> None:
    sagemakerruntime_backends[ACCOUNT][REGION].async_results_queue.append((True, "The audio cannot be decoded."))
    status, out, err = run("asynchronous", "invoke", "talk", "s3://bucket/in/talk.mp3", *FAST)
    assert (status, out) == (1, "")
    assert "The endpoint could not answer: The audio cannot be decoded." in err


def test_an_answer_is_waited_for_no_longer_than_said_and_a_start_from_zero(
    run, account: Account, bucket: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert recordings.WAKE_S == 600
    monkeypatch.setattr(recordings, "WAKE_S", 1)

    def elsewhere(parsed: dict[str, Any], **_: Any) -> None:
        parsed["OutputLocation"] = "s3://bucket/answers/never.out"
        parsed["FailureLocation"] = "s3://bucket/failures/never.out"

    account.client("sagemaker-runtime").meta.events.register("after-call.*.InvokeEndpointAsync", elsewhere)
    sagemakerruntime_backends[ACCOUNT][REGION].async_results_queue.append((False, "late"))
    began = time.monotonic()
    status, _, err = run("asynchronous", "invoke", "talk", "s3://bucket/in/a.mp3", *FAST, "--timeout", "1")
    assert (status, "is not there after 3 s" in err) == (1, True)
    assert "it will still come to s3://bucket/answers/never.out, a failure to s3://bucket/failures/never.out." in err
    assert "repeat" not in err
    assert time.monotonic() - began >= 3


# --- Batch transform ------------------------------------------------------------------------------------------


def test_a_job_is_created_described_and_its_model_deleted(run, account: Account) -> None:
    status, out, err = run(*TRANSFORM, "--wait")
    assert (status, out) == (0, "night: Completed; s3://bucket/out\n")
    job = account.client("sagemaker").describe_transform_job(TransformJobName="night")
    assert job["Environment"] == {"INFERENCE_LANGUAGE": "en"}
    assert (job["MaxConcurrentTransforms"], job["MaxPayloadInMB"]) == (1, 100)
    assert job["ModelClientConfig"]["InvocationsTimeoutInSeconds"] == 3600

    status, out, _ = run("transform", "describe", "night")
    assert status == 0
    assert "transform job night: Completed" in out
    assert "limits: 100 MB" in out
    assert "recordings: s3://bucket/in/" in out
    assert "INFERENCE_LANGUAGE=en" in out
    status, out, _ = run("transform", "stop", "night")
    assert (status, out) == (0, "transform job night: Completed, nothing to stop\n")
    status, out, err = run("transform", "delete", "night", "--yes")
    assert (status, out) == (0, "model night: deleted\n")
    assert "keeps its record" in err
    assert account.everything() == NOTHING


def test_a_repeated_job_is_the_same_job_and_another_is_refused(run, account: Account) -> None:
    run(*TRANSFORM)
    done = account.changes
    status, out, _ = run(*TRANSFORM)
    assert (status, out) == (0, "night: Completed; s3://bucket/out\n")
    status, _, err = run(*TRANSFORM, "--accept", "text/vtt")
    assert status == 1
    assert "transform job night already, with another TransformOutput.Accept" in err
    assert account.changes == done
    places = ("--input", "s3://bucket/in/", "--output", "s3://bucket/out")
    assert run("transform", "create", "night-2", "--model-name", "night", *INSTANCE, *places)[0] == 0
    job = account.client("sagemaker").describe_transform_job(TransformJobName="night-2")
    assert job["ModelName"] == "night"


def test_a_failed_job_says_why(run, account: Account) -> None:
    def failed(parsed: dict[str, Any], **_: Any) -> None:
        parsed["TransformJobStatus"], parsed["FailureReason"] = "Failed", "AlgorithmError: see the log"

    run(*TRANSFORM)
    account.client("sagemaker").meta.events.register("after-call.sagemaker.DescribeTransformJob", failed)
    for argv in ((*TRANSFORM, "--wait"), TRANSFORM):
        status, _, err = run(*argv)
        assert status == 1
        assert "(Failed: AlgorithmError: see the log): what was transcribed is at s3://bucket/out." in err
    status, out, _ = run("transform", "describe", "night")
    assert (status, "Failed: AlgorithmError" in out) == (1, True)


def test_a_running_job_is_stopped_and_its_model_kept_until_then(run, account: Account) -> None:
    running = {
        "TransformJobName": "night",
        "TransformJobArn": f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:transform-job/night",
        "TransformJobStatus": "InProgress",
        "ModelName": "night",
        "TransformInput": {"DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://bucket/in"}}},
        "TransformResources": {"InstanceType": "ml.g5.xlarge", "InstanceCount": 1},
        "CreationTime": 0,
    }
    with Stubber(account.client("sagemaker")) as stub:  # moto cannot stop a job
        stub.add_response("describe_transform_job", running, {"TransformJobName": "night"})
        status, _, err = run("transform", "delete", "night", "--yes")
        assert (status, "`transform stop night` first" in err) == (1, True)
        stub.add_response("describe_transform_job", running, {"TransformJobName": "night"})
        stub.add_response("stop_transform_job", {}, {"TransformJobName": "night"})
        assert run("transform", "stop", "night")[:2] == (0, "transform job night: stopping\n")
        stub.assert_no_pending_responses()


def test_a_job_deletes_no_endpoints_model(run, account: Account) -> None:
    for create in (REAL_TIME, ASYNCHRONOUS):
        run(*create)
        before = account.everything()
        status, out, err = run("transform", "delete", "talk", "--yes")
        assert (status, out) == (1, "")
        assert f"The model talk is an endpoint's: `{create[0]} delete talk` deletes both." in err
        assert account.everything() == before
        run(create[0], "delete", "talk", "--yes")


# --- Requests against botocore's model of AWS -----------------------------------------------------------------

G5 = ("--instance-type", "ml.g5.2xlarge")
SHAPES = [
    (*REAL_TIME, *G5, "--ami", "al2-ami-sagemaker-inference-gpu-3-1"),
    (*REAL_TIME, "--instance-type", "ml.g6.xlarge", "--container", "pytorch", "--image", "1.ecr/torch:2"),
    (*ASYNCHRONOUS, *G5),
    (*ASYNCHRONOUS, "--instance-type", "ml.g6e.xlarge", "--min-instances", "1"),
    (*TRANSFORM, *G5),
    (*TRANSFORM, *G5, "--input", "s3://bucket/my talks/"),
    (*TRANSFORM, "--instance-type", "ml.g6.xlarge", "--concurrency", "4", "--max-payload-mb", "25"),
]


@pytest.mark.parametrize("argv", SHAPES)
def test_every_request_is_one_that_aws_knows(run, argv: tuple[str, ...]) -> None:
    status, out, _ = run(*argv, "--dry-run", "--region", REGION)
    assert status == 0
    for call in json.loads(out):
        service, operation = call["call"].split()
        check_request(service, operation, call["request"])


def test_the_check_of_requests_finds_what_is_wrong(run) -> None:
    out = run(*REAL_TIME, "--dry-run", "--region", REGION)[1]
    config = json.loads(out)[1]["request"]
    variant = config["ProductionVariants"][0]
    for wrong in (
        {"InstanceType": "ml.g5.tiny"},
        {"InitialInstanceCount": 0},
        {"VariantName": "a_b"},
        {"ContainerStartupHealthCheckTimeoutInSeconds": 3601},
        {"NoSuch": 1},
    ):
        with pytest.raises((AssertionError, Exception), match=next(iter(wrong))):
            check_request(
                "sagemaker", "create_endpoint_config", {**config, "ProductionVariants": [{**variant, **wrong}]}
            )


def check_request(service: str, operation: str, request: dict[str, Any]) -> None:
    """botocore checks names, types and lower bounds; of enumerations, patterns and upper bounds it knows only."""
    model = get_session().get_service_model(service)
    shape = model.operation_model("".join(part.title() for part in operation.split("_"))).input_shape
    validate_parameters(request, shape)
    _check_bounds(request, shape, shape.name)


def _check_bounds(value: Any, shape: Shape, place: str) -> None:
    if isinstance(shape, StructureShape):
        for name, inner in value.items():
            _check_bounds(inner, shape.members[name], f"{place}.{name}")
    elif isinstance(shape, ListShape):
        for inner in value:
            _check_bounds(inner, shape.member, place)
    elif isinstance(shape, MapShape):
        assert len(value) <= shape.metadata.get("max", math.inf), place
        for name, inner in value.items():
            _check_bounds(name, shape.key, place)
            _check_bounds(inner, shape.value, f"{place}.{name}")
    elif isinstance(shape, StringShape):
        assert not shape.enum or value in shape.enum, place
        assert len(value) <= shape.metadata.get("max", math.inf), place
        pattern = shape.metadata.get("pattern")
        if pattern and r"\p" not in pattern and "u0020" not in pattern:  # Java's own classes
            assert re.fullmatch(pattern, value), place
    elif isinstance(value, int | float):
        assert value <= shape.metadata.get("max", math.inf), place


# --- Errors ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "message", "words"),
    [
        ("ResourceLimitExceeded", "The account-level service limit for ml.g5.xlarge is 0 Instances", "quota"),
        ("LimitExceededException", "too many", "quota"),
        (
            "AccessDeniedException",
            "User x is not authorized to perform: sagemaker:CreateModel",
            "permission for Create",
        ),
        ("ExpiredTokenException", "expired", "log in again"),
        ("UnrecognizedClientException", "The security token is invalid", "not valid"),
        ("ThrottlingException", "Rate exceeded", "patience"),
        ("RequestLimitExceeded", "Rate exceeded", "patience"),
        ("ValidationException", "Cannot create already existing model", "there already"),
        ("ValidationException", "Could not assume role arn:aws:iam::1:role/x", "--role"),
        ("ValidationException", "Could not access model data at s3://b/model.tar.gz", "--model-data"),
        ("ValidationException", "Cannot update in-progress endpoint", "changing just now"),
        ("ValidationException", "Requested image 1.dkr.ecr/x not found", "--image"),
        ("NoSuchBucket", "The specified bucket does not exist", "bucket"),
        ("ModelError", "Received server error (500)", "log in CloudWatch"),
        ("Strange", "words", "AWS refused CreateModel (Strange)"),
    ],
)
def test_an_error_of_aws_is_one_sentence_with_its_own_words(code: str, message: str, words: str) -> None:
    sentence = explained(ClientError({"Error": {"Code": code, "Message": message}}, "CreateModel"))
    assert sentence is not None
    assert words in sentence
    assert f"AWS said: {message}" in sentence


def test_an_error_while_creating_ends_the_command(run, account: Account) -> None:
    with Stubber(account.client("sagemaker")) as stub:
        missing = ("ValidationException", 'Could not find model "talk".')
        stub.add_client_error("describe_model", *missing)
        stub.add_client_error("create_model", "AccessDeniedException", f"no, {TOKEN} may not")
        status, out, err = run(*REAL_TIME, "--token-from-environment", HF_TOKEN=TOKEN)
    assert (status, out) == (1, "")
    assert err.startswith("error: The credentials may not do this: give them the permission for CreateModel.")
    assert err.endswith(
        "AWS said: no, *** may not\n"
        "What was created stays, and an endpoint costs: repeat the command to go on, or delete it.\n"
    )


@pytest.mark.parametrize(
    ("argv", "operation", "words"),
    [
        (ASYNCHRONOUS, "RegisterScalableTarget", "an endpoint costs: repeat the command to go on, or delete it."),
        (TRANSFORM, "DescribeTransformJob", "a job that runs costs until its end: repeat the command"),
    ],
)
def test_credentials_that_expire_while_creating_leave_what_stays_in_mind(
    run, account: Account, argv: tuple[str, ...], operation: str, words: str
) -> None:
    def expired(http_response: Any, parsed: dict[str, Any], **_: Any) -> None:
        if operation != "DescribeTransformJob" or "CreateTransformJob" in account.asked:
            http_response.status_code = 400
            parsed["Error"] = {"Code": "ExpiredTokenException", "Message": "expired"}

    service = "application-autoscaling" if operation == "RegisterScalableTarget" else "sagemaker"
    account.client(service).meta.events.register(f"after-call.{service}.{operation}", expired)
    status, out, err = run(*argv)
    assert (status, out) == (1, "")
    assert "error: The AWS credentials have expired" in err
    assert words in err.splitlines()[-1]


def test_a_value_that_does_not_fit_is_told_with_its_name(run) -> None:
    status, _, err = run(*REAL_TIME, "--startup-timeout", "1")
    assert status == 1
    assert "A value does not fit" in err
    assert "ContainerStartupHealthCheckTimeoutInSeconds" in err


BARE = {
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": "/dev/null",
    "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
}
KEYS = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "hidden"}


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({"AWS_DEFAULT_REGION": REGION}, "There are no AWS credentials"),
        (KEYS, "No region is set"),
        ({**KEYS, "AWS_DEFAULT_REGION": REGION, "AWS_PROFILE": "none"}, "no such profile"),
        ({**KEYS, "AWS_DEFAULT_REGION": REGION, "AWS_ENDPOINT_URL": "http://127.0.0.1:1"}, "cannot be reached"),
    ],
)
def test_what_is_wrong_on_this_machine_is_one_sentence(
    environ: dict[str, str], words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in {**BARE, **environ}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    assert main(["real-time", "describe", "talk"]) == 1
    err = capsys.readouterr().err
    assert words in err
    assert len(err.splitlines()) == 1


def test_what_is_not_there_is_not_described(run) -> None:
    for argv in (
        ("real-time", "describe", "talk"),
        ("asynchronous", "describe", "talk"),
        ("transform", "stop", "talk"),
    ):
        status, out, err = run(*argv)
        assert (status, out) == (1, "")
        assert "in this region: check the name and --region" in err


def test_waiting_outlives_failed_looks_and_no_more_than_a_few() -> None:
    def failing(times: int) -> Callable[[], tuple[str, str | None]]:
        left = [times]

        def look() -> tuple[str, str | None]:
            if left[0]:
                left[0] -= 1
                raise ClientError({"Error": {"Code": "ThrottlingException", "Message": "slow"}}, "DescribeEndpoint")
            return "there", "answer"

        return look

    quiet = lambda *_, **__: None  # noqa: E731
    assert wait_for(failing(5), what="It", timeout=10, every=0, tell=quiet) == "answer"
    with pytest.raises(ClientError):
        wait_for(failing(6), what="It", timeout=10, every=0, tell=quiet)
    with pytest.raises(Refused, match="not there after 0 s"):
        wait_for(lambda: ("on its way", None), what="It", timeout=0, every=0, tell=quiet)


# --- As a program ---------------------------------------------------------------------------------------------


@pytest.fixture
def moto_server(tmp_path: Path) -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-c", "from moto.server import main; main()", "-H", "127.0.0.1", "-p", str(port)]
    with (tmp_path / "moto.log").open("wb") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 120
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                assert server.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(30)


def test_the_program_is_stopped_by_ctrl_c_and_goes_on_when_repeated(moto_server: str, tmp_path: Path) -> None:
    """Over HTTP, with the archive and a token file; stopped while it asks, which it does until somebody answers."""
    token = tmp_path / "token.txt"
    token.write_text(TOKEN)
    environ = {**BARE, **KEYS, "AWS_DEFAULT_REGION": REGION, "AWS_ENDPOINT_URL": moto_server, "PATH": "/usr/bin:/bin"}

    def start(*argv: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "scripts.sagemaker", *argv]
        pipe = subprocess.PIPE
        return subprocess.Popen(command, cwd=REPOSITORY, env=environ, stdin=pipe, stdout=pipe, stderr=pipe, text=True)

    def finish(*argv: str) -> tuple[int, str, str]:
        program = start(*argv)
        out, err = program.communicate(timeout=300)
        assert TOKEN not in out + err
        return program.returncode, out, err

    boto3.client(
        "s3", endpoint_url=moto_server, region_name=REGION, aws_access_key_id="a", aws_secret_access_key="b"
    ).create_bucket(Bucket="bucket")
    archive = tmp_path / "model.tar.gz"
    status, out, err = finish("package", "--output", str(archive), "--upload", "s3://bucket/models")
    assert (status, out) == (0, "s3://bucket/models/model.tar.gz\n"), err
    create = (*ASYNCHRONOUS, "--token-file", str(token))
    status, out, err = finish(*create)
    assert (status, out) == (0, "talk: InService\n"), err
    assert finish(*create)[0] == 0
    status, out, _ = finish("asynchronous", "describe", "talk")
    assert (status, "HF_TOKEN=***" in out) == (0, True)
    asking = start("asynchronous", "delete", "talk")
    assert asking.stderr is not None
    assert "cannot be undone" in asking.stderr.readline()
    asking.send_signal(signal.SIGINT)
    assert asking.wait(60) == 130
    assert finish("asynchronous", "describe", "talk")[0] == 0  # still there
    assert finish("asynchronous", "delete", "talk", "--yes")[0] == 0
    assert finish("asynchronous", "describe", "talk")[0] == 1
