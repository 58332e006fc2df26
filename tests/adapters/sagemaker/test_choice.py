"""Which of SageMaker's ways is chosen, and the requests that are built for each: pure, without AWS's library."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from adapters.sagemaker.choice import ASYNCHRONOUS, REAL_TIME, TRANSFORM, WAYS, Way, choose, comparison
from adapters.sagemaker.command import main
from adapters.sagemaker.environment import LARGEST, build_environment, parse_parameters, secret_place, shown
from adapters.sagemaker.image import image_for
from adapters.sagemaker.package import name_inside
from adapters.sagemaker.recordings import check_size, plain_name
from adapters.sagemaker.request import (
    Fleet,
    TransformJob,
    build_asynchronous_invocation,
    build_endpoint_config,
    build_transform_job,
    custom_attributes,
)
from adapters.sagemaker.scaling import Scaling, build_scaling
from tests.conftest import REPOSITORY
from turnscribe.cli.endpoints.request import parse_variables
from turnscribe.errors import SettingsError

ROLE = "arn:aws:iam::123456789012:role/sagemaker"
MODEL = (
    "--model-data",
    "s3://bucket/m/model.tar.gz",
    "--role",
    ROLE,
    "--asr-model",
    "whisper",
    "--region",
    "eu-west-1",
)
QUEUE = ("--output", "s3://bucket/answers", "--failure", "s3://bucket/failures")
PLACES = ("--input", "s3://bucket/in/", "--output", "s3://bucket/out")
TOKEN = "hf_reader_token"


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """`main` where nothing may ask AWS; no token may be in what it prints."""

    def aws(service: str) -> Any:
        raise AssertionError(f"{service} was asked")

    def call(*argv: str, **environ: str) -> tuple[int, str, str]:
        status = main(argv, clients=aws, environ=environ)
        out, err = capsys.readouterr()
        assert TOKEN not in out + err
        return status, out, err

    return call


# --- The choice -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("payload_mb", "latency_s", "per_hour", "request_s", "way", "least", "most"),
    [
        (40, 30, 20, None, ASYNCHRONOUS, 1, 1),  # too large for real-time, too soon for a start from zero
        (4, 20, 200, 20, REAL_TIME, 3, 3),  # 200 x 20 s are 1.1 instances, and twice that for what comes at once
        (6, 60, 1, 60, REAL_TIME, 1, 1),  # exactly at both limits
        (6.1, 65, 1, 60, ASYNCHRONOUS, 1, 1),  # the computing, and 5 s for S3 and the queue
        (6, 90, 1, 61, ASYNCHRONOUS, 1, 1),
        (1, 10, 1, None, REAL_TIME, 1, 1),
        (40, 12, 1, None, ASYNCHRONOUS, 1, 1),
        (3, 3600, 0.5, None, ASYNCHRONOUS, 0, 1),  # real-time would fit, and cost all day
        (900, 3600, 100, 600, ASYNCHRONOUS, 0, 34),
        (100, math.inf, 5, None, TRANSFORM, 1, 1),
        (101, math.inf, 5, None, ASYNCHRONOUS, 0, 1),  # over a job's payload, whatever the wait
        (1024, 24 * 3600, 1, 3600, ASYNCHRONOUS, 0, 2),  # exactly at both limits
    ],
)
def test_payload_latency_and_traffic_choose_a_way(
    payload_mb, latency_s, per_hour, request_s, way, least, most
) -> None:
    choice = choose(payload_mb=payload_mb, latency_s=latency_s, requests_per_hour=per_hour, request_s=request_s)
    assert choice.way is way
    assert (choice.min_instances, choice.max_instances) == (least, most)
    assert set(choice.against) == {other.title for other in WAYS if other is not way}  # each other one has its reason
    assert choice.reason


@pytest.mark.parametrize(
    ("payload_mb", "latency_s", "request_s", "words"),
    [
        (1024.1, math.inf, 30, "compress"),
        (900, math.inf, 3601, "split the recordings"),
        (40, 2, 1, "compress the audio to 6 MB, or allow 6 s"),
        (6.1, 60, 60, "allow 65 s"),
        (40, 6, 3000, "split the recordings, or allow 50.1 min"),
        (1, 10, 50, "take a larger instance, split the recordings, or allow 55 s"),
        (1, 62, 61, "within 62 s: allow 66 s"),
    ],
)
def test_what_fits_no_way_is_told_what_would(
    payload_mb: float, latency_s: float, request_s: float, words: str
) -> None:
    choice = choose(payload_mb=payload_mb, latency_s=latency_s, requests_per_hour=1, request_s=request_s)
    assert choice.way is None
    assert words in choice.reason
    assert len(choice.against) == 3


@pytest.mark.parametrize("payload_mb", [1, 6, 40])
@pytest.mark.parametrize("request_s", [None, 1, 50, 3000])
@pytest.mark.parametrize("latency_s", [0.1, 4, 6, 10, 55, 700, 3005, math.inf])
def test_what_is_chosen_answers_in_time(payload_mb: float, request_s: float | None, latency_s: float) -> None:
    choice = choose(payload_mb=payload_mb, latency_s=latency_s, requests_per_hour=1, request_s=request_s)
    if choice.way and request_s:
        assert latency_s >= request_s + {REAL_TIME: 0, ASYNCHRONOUS: 5, TRANSFORM: 600}[choice.way]
    assert choice.way or payload_mb > 6 or request_s  # what nobody gave is taken so that it fits


def test_an_idle_instance_and_a_busy_zero_are_remarked() -> None:
    idle = choose(payload_mb=40, latency_s=30, requests_per_hour=1, request_s=10)
    assert "idle 100% of the time" in " ".join(idle.notes)
    busy = choose(payload_mb=40, latency_s=3600, requests_per_hour=20, request_s=10)
    assert "seldom be idle" in " ".join(busy.notes)


@pytest.mark.parametrize("way", [REAL_TIME, ASYNCHRONOUS])
def test_what_is_chosen_for_a_size_takes_a_file_of_it(way: Way, tmp_path: Path) -> None:
    recording = tmp_path / "talk.wav"
    for size, fits in ((way.payload_bytes, True), (way.payload_bytes + 1, False)):
        with recording.open("wb") as file:
            file.truncate(size)
        against = choose(payload_mb=size / 2**20, latency_s=30, requests_per_hour=1, request_s=1).against
        assert ("are over its" not in against.get(way.title, "")) is fits
        if fits:
            check_size(str(recording), way)
        else:
            with pytest.raises(SettingsError, match="bytes, over the"):
                check_size(str(recording), way)


@pytest.mark.parametrize("wrong", [0, -1, math.nan, math.inf])
@pytest.mark.parametrize("name", ["payload_mb", "latency_s", "requests_per_hour", "request_s"])
def test_numbers_that_are_none_are_refused(name: str, wrong: float) -> None:
    numbers = {"payload_mb": 1.0, "latency_s": 30.0, "requests_per_hour": 1.0, "request_s": 1.0, name: wrong}
    if name == "latency_s" and wrong == math.inf:
        assert choose(**numbers).way
    else:
        with pytest.raises(ValueError, match="above 0"):
            choose(**numbers)


def test_choose_prints_the_way_the_reasons_the_command_and_the_table(run) -> None:
    status, out, err = run(
        *("choose", "--payload-mb", "40", "--latency-s", "30", "--requests-per-hour", "20", "--table")
    )
    assert (status, err) == (0, "")
    lines = out.splitlines()
    assert lines[0].startswith("asynchronous: ")
    assert any(line.startswith("Not real-time: 40 MB are over its 6 MB") for line in lines)
    assert any(line.startswith("Not batch transform: ") for line in lines)
    assert "python -m scripts.sagemaker asynchronous create NAME --min-instances 1 --max-instances 1" in lines
    assert comparison() in out
    assert run("choose", "--payload-mb", "4000", "--latency-s", "inf", "--requests-per-hour", "1")[0] == 1
    assert run("choose", "--payload-mb", "-4", "--latency-s", "1", "--requests-per-hour", "1")[0] == 2
    assert run("choose", "--payload-mb", "4", "--latency-s", "1", "--requests-per-hour", "inf")[0] == 2
    status, out, _ = run("choose", "--payload-mb", "40", "--latency-s", "4", "--requests-per-hour", "1")
    assert (status, "2 s of computing for a request is an assumption" in out) == (1, True)


def test_the_table_has_a_cell_for_every_way() -> None:
    rows = comparison().splitlines()
    assert rows[0] == "| | real-time | asynchronous | batch transform |"
    assert {row.count("|") for row in rows} == {5}
    assert all(way.facts.keys() == REAL_TIME.facts.keys() for way in WAYS)


# --- Limits and variables -------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS)
def test_the_servers_limits_are_over_the_ways_and_fit_java(way) -> None:
    environment = build_environment(way, models={"ASR_MODEL": "whisper"})
    assert environment["SAGEMAKER_PROGRAM"] == "inference.py"
    assert environment["SAGEMAKER_MODEL_SERVER_WORKERS"] == "1"
    assert environment["MAX_INPUT_BYTES"] == str(way.payload_bytes)
    for name in ("MMS_MAX_REQUEST_SIZE", "MMS_MAX_RESPONSE_SIZE"):
        assert way.payload_bytes < int(environment[name]) <= LARGEST
    assert int(environment["SAGEMAKER_MODEL_SERVER_TIMEOUT_SECONDS"]) >= max(way.seconds, 900)  # the lazy load
    assert not [name for name in environment if name.startswith("TS_")]


def test_the_pytorch_container_gets_its_own_names() -> None:
    environment = build_environment(ASYNCHRONOUS, models={"ASR_MODEL": "whisper"}, container="pytorch")
    assert int(environment["TS_MAX_REQUEST_SIZE"]) > 2**30
    assert int(environment["TS_MAX_RESPONSE_SIZE"]) > 2**30
    assert environment["TS_DEFAULT_RESPONSE_TIMEOUT"] == "3600"
    assert not [name for name in environment if "MMS" in name or "TIMEOUT_SECONDS" in name]


@pytest.mark.parametrize("value", ["0", "2147483648", "200MB", "-1"])
def test_a_limit_that_java_cannot_hold_is_refused(value: str) -> None:
    with pytest.raises(SettingsError, match="MMS_MAX_REQUEST_SIZE"):
        build_environment(REAL_TIME, models={}, extra={"MMS_MAX_REQUEST_SIZE": value})


def test_variables_over_sagemakers_size_are_refused() -> None:
    with pytest.raises(SettingsError, match="1024 characters"):
        build_environment(REAL_TIME, models={}, extra={"INFERENCE_PROMPT": "x" * 1025})
    with pytest.raises(SettingsError, match="takes 100"):
        build_environment(REAL_TIME, models={}, extra={f"V{number}": "1" for number in range(95)})


@pytest.mark.parametrize("pair", ["HF_TOKEN=abc", "X=hf_abc", "API_KEYS=a", "no", "=x", "1A=x"])
def test_secrets_and_what_is_no_variable_are_refused(pair: str) -> None:
    with pytest.raises(SettingsError, match="--env") as raised:
        parse_variables([pair], secret_place=secret_place)
    assert "abc" not in str(raised.value)


def test_variables_are_shown_without_what_looks_like_a_secret() -> None:
    assert shown({"HF_TOKEN": TOKEN, "api_key": "a", "ASR_MODEL": "b"}) == {
        "HF_TOKEN": "***",
        "api_key": "***",
        "ASR_MODEL": "b",
    }


def test_parameters_are_checked_as_the_handler_checks_them() -> None:
    assert parse_parameters(["language=en", "timestamps=word"]) == {"language": "en", "timestamps": "word"}
    for wrong in ("batch_size=many", "no_such=1", "language"):
        with pytest.raises(SettingsError, match="--parameter"):
            parse_parameters([wrong])
    assert custom_attributes({"language": "en", "prompt": "Jürgen & co"}) == "language=en&prompt=J%C3%BCrgen+%26+co"
    with pytest.raises(SettingsError, match="1024"):
        custom_attributes({"prompt": "x" * 1024})


@pytest.mark.parametrize(
    ("concurrency", "payload_mb", "allowed"),
    [(1, 100, True), (4, 25, True), (10, 10, True), (1, 101, False), (2, 51, False), (101, 1, False), (0, 1, False)],
)
def test_a_jobs_requests_together_are_at_most_100_mb(concurrency: int, payload_mb: int, allowed: bool) -> None:
    job = TransformJob(
        "s3://bucket/in", "s3://bucket/out", "ml.g5.xlarge", concurrency=concurrency, payload_mb=payload_mb
    )
    if allowed:
        request = build_transform_job("job", job).request
        assert (request["MaxConcurrentTransforms"], request["MaxPayloadInMB"]) == (concurrency, payload_mb)
    else:
        with pytest.raises(SettingsError, match="MaxPayloadInMB" if concurrency else "from 1"):
            build_transform_job("job", job)


def test_a_job_sends_whole_files_and_waits_as_long_as_it_may() -> None:
    job = TransformJob("s3://b-k/list.manifest", "s3://b-k/out", "ml.g5.xlarge", manifest=True, accept="text/vtt")
    request = build_transform_job("job", job, model="talk").request
    assert request["ModelName"] == "talk"
    assert request["BatchStrategy"] == "SingleRecord"
    assert request["ModelClientConfig"]["InvocationsTimeoutInSeconds"] == 3600
    source = request["TransformInput"]
    assert (source["SplitType"], source["CompressionType"]) == ("None", "None")
    assert source["DataSource"]["S3DataSource"] == {"S3DataType": "ManifestFile", "S3Uri": "s3://b-k/list.manifest"}
    assert (request["TransformOutput"]["Accept"], request["TransformOutput"]["AssembleWith"]) == ("text/vtt", "None")
    with pytest.raises(SettingsError, match="3600"):
        build_transform_job("job", TransformJob("s3://b-k/i", "s3://b-k/o", "ml.g5.xlarge", timeout_s=3601))


def test_a_job_takes_places_with_spaces() -> None:
    request = build_transform_job(
        "job", TransformJob("s3://b-k/my talks/", "s3://b-k/my answers", "ml.g5.xlarge")
    ).request
    assert request["TransformInput"]["DataSource"]["S3DataSource"]["S3Uri"] == "s3://b-k/my talks/"
    for wrong in ("s3://my bucket/in", "s3://b-k/in\nout", "my talks"):
        with pytest.raises(SettingsError, match=r"^--input is no address"):
            build_transform_job("job", TransformJob(wrong, "s3://b-k/out", "ml.g5.xlarge"))


@pytest.mark.parametrize(
    ("source", "output", "apart"),
    [
        ("s3://b-k/talks", "s3://b-k/talks-text", False),  # SageMaker's prefix is the start of names
        ("s3://b-k/talks/", "s3://b-k/talks-text", True),
        ("s3://b-k/talks/", "s3://b-k/talks/text", False),
        ("s3://b-k/talks/", "s3://b-k/talks", False),
        ("s3://b-k/talks/", "s3://b-k/", True),
        ("s3://b-k", "s3://b-k/text", False),
        ("s3://b-k", "s3://b-k-text/", True),
    ],
)
def test_a_jobs_answers_are_not_the_next_jobs_recordings(source: str, output: str, apart: bool) -> None:
    job = TransformJob(source, output, "ml.g5.xlarge")
    if apart:
        build_transform_job("job", job)
    else:
        with pytest.raises(SettingsError, match=r"^--output starts with --input"):
            build_transform_job("job", job)
    build_transform_job("job", replace(job, manifest=True))  # which names every file


@pytest.mark.parametrize("key", ["my talk.mp3", "Gespräch.mp3", "talk\u00a0.mp3"])
def test_an_asynchronous_request_takes_plain_addresses(key: str) -> None:
    with pytest.raises(SettingsError, match=r"^The recording has a space .* copy it to a plain name"):
        build_asynchronous_invocation("talk", f"s3://b-k/in/{key}", content_type="audio/mpeg")


@pytest.mark.parametrize(
    ("name", "suffix"), [("my talk.mp3", ".mp3"), ("talk.part 2", ""), ("talk.mp3é", ""), ("talk", "")]
)
def test_an_upload_gets_a_plain_name(name: str, suffix: str) -> None:
    made = plain_name(Path(name))
    assert len(made) == 12 + len(suffix)
    assert made.endswith(suffix)
    build_asynchronous_invocation("talk", f"s3://b-k/in/{made}", content_type="audio/mpeg")


def test_a_full_fleet_is_at_its_target(run) -> None:
    create = ("asynchronous", "create", "talk", *MODEL, *QUEUE, "--dry-run")
    for options, target in (((), 1), (("--concurrency", "3"), 3), (("--concurrency", "3", "--backlog", "5"), 5)):
        policy = calls_of(run(*create, *options)[1])["6 application-autoscaling put_scaling_policy"]
        assert policy["TargetTrackingScalingPolicyConfiguration"]["TargetValue"] == target


def test_scaling_follows_the_backlog_and_wakes_up_from_zero() -> None:
    target, wake, alarm, track = (call.request for call in build_scaling("talk", Scaling(0, 3)))
    assert target["ResourceId"] == "endpoint/talk/variant/all"
    assert (target["MinCapacity"], target["MaxCapacity"]) == (0, 3)
    tracked = track["TargetTrackingScalingPolicyConfiguration"]
    assert tracked["CustomizedMetricSpecification"] == {
        "Namespace": "AWS/SageMaker",
        "MetricName": "ApproximateBacklogSizePerInstance",
        "Dimensions": [{"Name": "EndpointName", "Value": "talk"}],
        "Statistic": "Average",
    }
    assert (tracked["ScaleInCooldown"], tracked["ScaleOutCooldown"]) == (600, 300)
    assert wake["StepScalingPolicyConfiguration"]["StepAdjustments"] == [
        {"MetricIntervalLowerBound": 0.0, "ScalingAdjustment": 1}
    ]
    assert (alarm["Namespace"], alarm["MetricName"]) == ("AWS/SageMaker", "HasBacklogWithoutCapacity")
    assert alarm["Dimensions"] == [{"Name": "EndpointName", "Value": "talk"}]
    assert (alarm["ComparisonOperator"], alarm["Threshold"]) == ("GreaterThanOrEqualToThreshold", 1.0)
    assert len(build_scaling("talk", Scaling(1, 3))) == 2  # never at zero: nothing to wake up


@pytest.mark.parametrize("scaling", [Scaling(-1, 1), Scaling(2, 1), Scaling(0, 0), Scaling(0, 1, backlog=0)])
def test_instances_that_cannot_be_are_refused(scaling: Scaling) -> None:
    with pytest.raises(SettingsError):
        build_scaling("talk", scaling)


def test_an_endpoint_starts_with_an_instance_and_has_time_to_install() -> None:
    variant = build_endpoint_config("talk", Fleet("ml.g5.xlarge", ami="ami-1")).request["ProductionVariants"][0]
    assert variant["InitialInstanceCount"] == 1
    assert variant["ContainerStartupHealthCheckTimeoutInSeconds"] == 1800
    assert variant["InferenceAmiVersion"] == "ami-1"


def test_the_image_is_of_the_region_and_the_instance() -> None:
    assert image_for("eu-west-1", "ml.g5.xlarge").startswith("763104351884.dkr.ecr.eu-west-1.amazonaws.com/hugging")
    assert "-gpu-" in image_for("us-east-1", "ml.p4d.24xlarge")
    assert "-cpu-" in image_for("us-east-1", "ml.c5.xlarge")
    with pytest.raises(SettingsError, match="--image"):
        image_for("cn-north-1", "ml.g5.xlarge")


# --- The command line -----------------------------------------------------------------------------------------


def calls_of(out: str) -> dict[str, dict[str, Any]]:
    printed = json.loads(out)
    return {f"{number} {one['call']}": one["request"] for number, one in enumerate(printed)}


def test_a_dry_run_prints_every_request_of_an_asynchronous_endpoint_and_masks_the_token(run, tmp_path: Path) -> None:
    file = tmp_path / "token.txt"
    file.write_text(TOKEN)
    options = ("--token-file", str(file), "--max-instances", "2", "--env", "ALLOW_URL_INPUTS=true")
    topic = ("--success-topic", "arn:aws:sns:eu-west-1:123456789012:done")
    status, out, err = run("asynchronous", "create", "talk", *MODEL, *QUEUE, *options, *topic, "--dry-run")
    assert status == 0
    assert "not sent" in err
    calls = calls_of(out)
    assert list(calls) == [
        "0 sagemaker create_model",
        "1 sagemaker create_endpoint_config",
        "2 sagemaker create_endpoint",
        "3 application-autoscaling register_scalable_target",
        "4 application-autoscaling put_scaling_policy",
        "5 cloudwatch put_metric_alarm",
        "6 application-autoscaling put_scaling_policy",
    ]
    variables = calls["0 sagemaker create_model"]["PrimaryContainer"]["Environment"]
    assert (variables["ASR_MODEL"], variables["HF_TOKEN"]) == ("whisper", "***")
    assert variables["ALLOW_URL_INPUTS"] == "true"
    assert calls["1 sagemaker create_endpoint_config"]["AsyncInferenceConfig"] == {
        "OutputConfig": {
            "S3OutputPath": "s3://bucket/answers",
            "S3FailurePath": "s3://bucket/failures",
            "NotificationConfig": {"SuccessTopic": "arn:aws:sns:eu-west-1:123456789012:done"},
        },
        "ClientConfig": {"MaxConcurrentInvocationsPerInstance": 1},
    }


def test_a_dry_run_of_a_job_has_its_parameters_as_variables(run) -> None:
    places = (*PLACES, "--parameter", "language=en")
    status, out, _ = run("transform", "create", "night", *MODEL, *places, "--dry-run")
    assert status == 0
    calls = calls_of(out)
    assert list(calls) == ["0 sagemaker create_model", "1 sagemaker create_transform_job"]
    assert calls["1 sagemaker create_transform_job"]["Environment"] == {"INFERENCE_LANGUAGE": "en"}
    reused = ("--model-name", "night", "--region", "eu-west-1")
    _, out, _ = run("transform", "create", "night-2", *reused, *places, "--dry-run")
    assert list(calls_of(out)) == ["0 sagemaker create_transform_job"]
    token = "--token-from-environment"
    status, _, err = run("transform", "create", "night-2", *reused, *places, token, HF_TOKEN=TOKEN)
    assert (status, f"leave out {token}, or --model-name" in err) == (2, True)


def test_the_shells_token_is_only_taken_when_asked_for(run) -> None:
    create = ("real-time", "create", "talk", *MODEL, "--dry-run")
    assert "HF_TOKEN" not in run(*create, HF_TOKEN=TOKEN)[1]
    assert '"HF_TOKEN": "***"' in run(*create, "--token-from-environment", HF_TOKEN=TOKEN)[1]
    status, _, err = run(*create, "--token-from-environment")
    assert (status, "HF_TOKEN is not set" in err) == (2, True)


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (("real-time", "create", "a_b", *MODEL), "name is wrong"),
        (("real-time", "create", "x" * 64, *MODEL), "at most 63"),
        (("real-time", "create", "talk", *MODEL[:4], "--region", "eu-west-1"), "--asr-model is missing"),
        (("real-time", "create", "talk", *MODEL, "--container", "pytorch"), "needs its --image"),
        (("real-time", "create", "talk", *MODEL[:-1], "cn-north-1"), "give --image"),
        (("real-time", "create", "talk", *MODEL, "--env", "HF_TOKEN=x"), "--token-file"),
        (("asynchronous", "create", "talk", *MODEL, "--output", "here", "--failure", "s3://bucket/f"), "--output"),
        (("asynchronous", "create", "talk", *MODEL, *QUEUE, "--min-instances", "2"), "Instances are wrong"),
        (("transform", "create", "job", *MODEL, "--output", "s3://bucket/o"), "--input or --manifest"),
        (
            ("transform", "create", "job", "--input", "s3://bkt/i", "--output", "s3://bkt/o"),
            "--model-data and --role",
        ),
        (
            (
                *("transform", "create", "job", *MODEL, "--input", "s3://bkt/i", "--output", "s3://bkt/o"),
                *("--concurrency", "4", "--max-payload-mb", "30"),
            ),
            "are 120 MB, and SageMaker allows 100 MB",
        ),
        (("real-time", "create", "talk", *MODEL, "--instances", "0"), "--instances is wrong"),
        (("transform", "create", "job", *MODEL, *PLACES, "--instances", "-1"), "--instances is wrong"),
        (
            (
                *("transform", "create", "job", "--model-name", "night", *PLACES, *MODEL),
                *("--env", "A=1", "--container", "huggingface", "--diarization-model", "diarizer"),
            ),
            "leave out --model-data, --role, --container, --asr-model, --diarization-model, --env, or --model-name",
        ),
        (("asynchronous", "create", "talk", *MODEL, "--output", "s3://bucket/o o", QUEUE[2], QUEUE[3]), "--output"),
        (("package", "--model", "whisper"), "NAME=PATH"),
        (("package", "--upload", "bucket"), "--upload is no address"),
    ],
)
def test_wrong_usage_is_one_sentence_and_asks_nothing_of_aws(run, argv: tuple[str, ...], words: str) -> None:
    status, out, err = run(*argv)
    assert (status, out) == (2, "")
    assert words in err
    assert err.startswith("error: ")
    assert len(err.strip().splitlines()) == 1


def test_recordings_over_the_limit_are_refused_before_they_are_sent(run, tmp_path: Path) -> None:
    for way, size, words in (
        (REAL_TIME, "6,291,457 bytes, over the 6,291,456", "asynchronous"),
        (ASYNCHRONOUS, "1,073,741,825 bytes, over the 1,073,741,824", "compress"),
    ):
        recording = tmp_path / f"{way.command}.wav"
        with recording.open("wb") as file:
            file.truncate(way.payload_bytes + 1)  # a hole: no disk is used
        status, _, err = run(way.command, "invoke", "talk", str(recording))
        assert status == 2
        assert size in err
        assert words in err
    invoke = ("asynchronous", "invoke", "talk", str(REPOSITORY / "demo" / "conversation.flac"))
    status, _, err = run(*invoke)
    assert (status, "--upload-to is missing" in err) == (2, True)
    status, _, err = run(*invoke, "--upload-to", "s3://bucket/my talks")
    assert (status, "--upload-to has a space" in err) == (2, True)


def test_every_way_states_its_limits_in_its_help(capsys: pytest.CaptureFixture[str]) -> None:
    for way, words in (
        (REAL_TIME, "6 MB and 60 s"),
        (ASYNCHRONOUS, "1 GB and 3600 s"),
        (TRANSFORM, "100 MB and 3600"),
    ):
        with pytest.raises(SystemExit):
            main([way.command, "--help"])
        assert words in " ".join(capsys.readouterr().out.split())


def test_package_makes_the_archive_with_the_weights_under_their_names(run, tmp_path: Path) -> None:
    archive = tmp_path / "model.tar.gz"
    weights = f"whisper={REPOSITORY / 'demo' / 'whisper'}"
    status, out, err = run("package", "--output", str(archive), "--model", weights)
    assert status == 0
    assert out.startswith(f"{archive}: ")
    assert "options: whisper\n" in err
    with tarfile.open(archive) as packed:
        names = packed.getnames()
    assert "code/inference.py" in names
    assert "whisper/config.json" in names


def test_a_checkpoint_in_the_archive_is_told_by_its_path(tmp_path: Path) -> None:
    (tmp_path / "large-v3.pt").touch()
    assert name_inside("whisper", tmp_path / "large-v3.pt") == "whisper/large-v3.pt"
    assert name_inside("diarizer", tmp_path) == "diarizer"


@pytest.mark.parametrize(
    "argv",
    [
        ("real-time", "create", "talk", *MODEL, "--dry-run"),
        ("choose", "--payload-mb", "4", "--latency-s", "inf", "--requests-per-hour", "1", "--table"),
    ],
)
def test_a_reader_that_has_enough_is_no_error(argv: tuple[str, ...]) -> None:
    """As with `| head -0`: its end of the pipe is closed before anything is written."""
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "scripts.sagemaker", *argv],
            cwd=REPOSITORY,
            stdout=writing,
            stderr=subprocess.PIPE,
            text=True,
            timeout=300,
        )
    finally:
        os.close(writing)
    assert done.returncode == 0
    assert done.stderr == ("not sent:\n" if "--dry-run" in argv else "")


def test_without_boto3_a_sentence_says_what_to_install(tmp_path: Path) -> None:
    """The core does not install it; here a folder stands in its place that cannot be imported."""
    hidden = tmp_path / "boto3"
    hidden.mkdir()
    (hidden / "__init__.py").write_text("raise ImportError('hidden')")
    command = [sys.executable, "-m", "scripts.sagemaker", "real-time", "describe", "talk"]
    environ = {"PYTHONPATH": f"{tmp_path}:{REPOSITORY}", "PATH": "/usr/bin:/bin"}
    done = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=300)
    assert done.returncode == 2
    assert "pip install boto3" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
