"""A video is uploaded, and what becomes of it: the deployed template on moto, with the functions' own code, the real
container of SageMaker, ffmpeg in place of MediaConvert, and the AWS command line that packages it."""

from __future__ import annotations

import difflib
import hashlib
import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from cfnlint import api as cfnlint
from cfnlint.decode.cfn_yaml import load as load_template

from adapters.sagemaker.package import build_archive
from adapters.video import package
from adapters.video.functions import check_video
from adapters.video.functions.keep_error import NO_CAUSE, message
from adapters.video.functions.media import CONVERTED, DECODED, VideoTooLarge
from adapters.video.functions.write_transcript import read_transcript
from adapters.video.package import REPOSITORY, VIDEO, lay_out
from tests.adapters.aws.container import Container, running, unpacked
from tests.adapters.aws.video_account import KEYS, Account, Stack, account
from tests.adapters.aws.video_mediaconvert import MediaConvert, converting
from tests.adapters.aws.video_relay import Relay, relaying
from turnscribe.answer import to_answer
from turnscribe.errors import SettingsError
from turnscribe.formats import render
from turnscribe.request import Request
from turnscribe.transcript import Chunk, Transcript, Word

SECONDS = 12
RETRIES = 4  # of a function that fails, in workflow.asl.json
HANDLER = "adapters.video.functions.{}.handler"
PARAMETERS = {
    "ContainerImage": "763104351884.dkr.ecr.us-east-1.amazonaws.com/huggingface-pytorch-inference:2.6.0-gpu",
    "ContainerRepositoryArn": "arn:aws:ecr:us-east-1:763104351884:repository/huggingface-pytorch-inference",
    "ModelBucket": "models",
    "ModelKey": "model.tar.gz",
    "AsrModel": "whisper",
    "DiarizationModel": "diarizer",
    "PollSeconds": "1",
}


@dataclass(frozen=True)
class Cloud:
    account: Account
    relay: Relay
    mediaconvert: MediaConvert
    packaged: Path
    plain: Stack  # the endpoint decodes the video
    converting: Stack  # MediaConvert takes the audio out

    def calls(self, function: str) -> int:
        return self.account.functions.calls[HANDLER.format(function)]


@pytest.fixture(scope="module")
def container(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Container]:
    folder = tmp_path_factory.mktemp("container")
    models = {name: REPOSITORY / "demo" / name for name in ("whisper", "diarizer")}
    model = unpacked(build_archive(folder / "model.tar.gz", models=models), folder / "model")
    with running(model, env=_model_environment()) as started:
        yield started


@pytest.fixture(scope="module")
def cloud(container: Container, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    with pytest.MonkeyPatch.context() as patch, account(patch) as made:
        s3, sagemaker = made.client("s3"), made.client("sagemaker")
        s3.create_bucket(Bucket="models")
        with relaying(container.url, s3=s3, sagemaker=sagemaker) as relay, converting(s3=s3) as mediaconvert:
            made.functions.environment |= {
                "AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME": relay.url,
                "AWS_ENDPOINT_URL_MEDIACONVERT": mediaconvert.url,
            }
            packaged = made.package(lay_out(tmp_path_factory.mktemp("video")))
            plain = made.deploy(packaged, "plain", **PARAMETERS)
            other = made.deploy(packaged, "converting", ExtractAudio="mediaconvert", **PARAMETERS)
            yield Cloud(made, relay, mediaconvert, packaged, plain, other)


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return _film(tmp_path_factory.mktemp("talk") / "talk.mp4", SECONDS)


# --- From the upload to the subtitles -------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["plain", "converting"])
def test_an_uploaded_video_gets_its_transcript_and_subtitles(cloud: Cloud, video: bytes, way: str) -> None:
    stack: Stack = getattr(cloud, way)
    key = "Vorträge/Jürgens 100%25 1+1.MP4"  # names that a decoded or encoded key would not find
    (execution,) = stack.upload(key, video)
    ended = stack.wait(execution)
    assert ended["status"] == "SUCCEEDED", ended
    files = stack.files()
    assert set(files) == {key, *(key + suffix for suffix in (".json", ".txt", ".srt", ".vtt"))}
    answer = json.loads(files[f"{key}.json"])
    assert answer["video_etag"] == hashlib.md5(video).hexdigest()
    assert _alike(answer["text"]) > 0.9
    assert len(answer["words"]) == len(answer["text"].split())
    assert answer["duration"] == pytest.approx(SECONDS, abs=0.2)
    assert len({part["speaker"] for part in answer["speakers"]}) > 1
    for suffix, start in {".srt": "1\n00:00:0", ".vtt": "WEBVTT\n\n00:00:0"}.items():
        subtitles = files[key + suffix].decode()
        assert subtitles.startswith(start)
        assert {part["speaker"] for part in answer["speakers"]} == set(re.findall(r"SPEAKER_\d\d", subtitles))
    spoken = re.sub(r"SPEAKER_\d\d: ", "", files[f"{key}.txt"].decode())
    assert spoken.split() == answer["text"].split()
    assert ("LookAtExtraction" in stack.visited(execution)) == (way == "converting")
    assert ("CopyVideo" in stack.visited(execution)) == (way == "plain")


def test_the_endpoint_is_asked_with_the_templates_limits_and_parameters(cloud: Cloud, video: bytes) -> None:
    (execution,) = cloud.plain.upload("asked.mp4", video)
    assert cloud.plain.wait(execution)["status"] == "SUCCEEDED"
    sent = {name.removeprefix("X-Amzn-SageMaker-"): value for name, value in cloud.relay.requests[-1].items()}
    assert sent["InvocationTimeoutSeconds"] == "3600"
    assert sent["RequestTTLSeconds"] == "21600"
    assert sent["Custom-Attributes"] == "timestamps=word"
    assert sent["Content-Type"] == "video/mp4"
    assert sent["endpoint"] == cloud.plain.endpoint
    assert sent["InputLocation"].startswith(f"s3://{cloud.plain.names['WorkBucket']}/input/")


def test_mediaconvert_leaves_aac_at_48_khz_in_mp4_without_a_picture(
    cloud: Cloud, video: bytes, tmp_path: Path
) -> None:
    (execution,) = cloud.converting.upload("sound.mp4", video)
    assert cloud.converting.wait(execution)["status"] == "SUCCEEDED"
    place = cloud.relay.requests[-1]["X-Amzn-SageMaker-InputLocation"].removeprefix("s3://").split("/", 1)
    file = tmp_path / "audio.mp4"
    cloud.account.client("s3").download_file(*place, str(file))
    shown = subprocess.run(
        ["ffprobe", "-v", "error", "-show_streams", "-show_format", "-of", "json", str(file)],
        check=True,
        capture_output=True,
    )
    found = json.loads(shown.stdout)
    (stream,) = found["streams"]
    assert (stream["codec_name"], stream["sample_rate"], stream["channels"]) == ("aac", "48000", 2)
    assert "mp4" in found["format"]["format_name"]


def test_the_same_video_twice_is_two_executions_and_one_result(cloud: Cloud, video: bytes) -> None:
    first = cloud.plain.upload("twice.mp4", video)
    second = cloud.plain.upload("twice.mp4", video)
    assert len({*first, *second}) == 2
    assert [cloud.plain.wait(one)["status"] for one in (*first, *second)] == ["SUCCEEDED", "SUCCEEDED"]
    files = cloud.plain.files("twice.mp4")
    assert len(files) == 5
    answer = json.loads(files["twice.mp4.json"])
    assert files["twice.mp4.srt"].decode() == render(read_transcript(answer), "srt")


def test_a_video_replaced_meanwhile_keeps_the_transcript_of_the_new_one(
    cloud: Cloud, video: bytes, tmp_path: Path
) -> None:
    other = _film(tmp_path / "other.mp4", 5)
    cloud.relay.held.set()
    try:
        (first,) = cloud.plain.upload("replaced.mp4", video)
        _until(lambda: "WaitForTranscription" in cloud.plain.visited(first))
        (second,) = cloud.plain.upload("replaced.mp4", other)
        _until(lambda: "WaitForTranscription" in cloud.plain.visited(second))
    finally:
        cloud.relay.held.clear()
    outputs = [json.loads(cloud.plain.wait(one)["output"]) for one in (first, second)]
    assert [output["transcript"]["written"] for output in outputs] == [False, True]
    answer = json.loads(cloud.plain.files("replaced.mp4.json")["replaced.mp4.json"])
    assert answer["duration"] == pytest.approx(5, abs=0.2)
    assert answer["video_etag"] == hashlib.md5(other).hexdigest()


def test_a_failure_of_a_replaced_video_is_not_kept_beside_the_new_one(cloud: Cloud, video: bytes) -> None:
    cloud.relay.held.set()
    try:
        (first,) = cloud.plain.upload("mended.mp4", b"this is no video")
        _until(lambda: "WaitForTranscription" in cloud.plain.visited(first))
        (second,) = cloud.plain.upload("mended.mp4", video)
    finally:
        cloud.relay.held.clear()
    assert [cloud.plain.wait(one)["status"] for one in (first, second)] == ["FAILED", "SUCCEEDED"]
    assert "mended.mp4.error.json" not in cloud.plain.files("mended.mp4")


@pytest.mark.parametrize(("name", "error"), [("gone.mp4", None), ("gone-unread.mp4", "TranscriptionFailed")])
def test_nothing_is_written_beside_a_video_that_was_deleted_meanwhile(
    cloud: Cloud, video: bytes, name: str, error: str | None
) -> None:
    cloud.relay.held.set()
    try:
        (execution,) = cloud.plain.upload(name, b"this is no video" if error else video)
        _until(lambda: "WaitForTranscription" in cloud.plain.visited(execution))
        cloud.account.client("s3").delete_object(Bucket=cloud.plain.videos, Key=name)
    finally:
        cloud.relay.held.clear()
    assert cloud.plain.wait(execution).get("error") == error
    assert cloud.plain.files(name) == {}


def test_nothing_is_written_beside_a_video_that_was_deleted_before_it_was_looked_at(
    cloud: Cloud, video: bytes
) -> None:
    cloud.account.functions.throttled[HANDLER.format("check_video")] = 1
    (execution,) = cloud.plain.upload("gone-unseen.mp4", video)
    cloud.account.client("s3").delete_object(Bucket=cloud.plain.videos, Key="gone-unseen.mp4")
    ended = cloud.plain.wait(execution)
    assert ended.get("error") == "VideoMissing"
    assert json.loads(json.loads(ended["cause"])["Cause"])["errorMessage"].startswith(
        "The video is not there any more"
    )
    assert cloud.plain.files("gone-unseen.mp4") == {}


# --- What starts it -------------------------------------------------------------------------------------------


def test_neither_outputs_nor_extracted_audio_nor_other_files_start_it(cloud: Cloud) -> None:
    for suffix in (".mp4.json", ".mp4.txt", ".mp4.srt", ".mp4.vtt", ".mp4.error.json", ".wav", "mp4", ""):
        assert cloud.plain.upload(f"no-video{suffix}", b"nothing") == []
    started = len(cloud.account.executions)
    work = cloud.converting.names["WorkBucket"]
    cloud.account.client("s3").put_object(Bucket=work, Key="input/1.mp4", Body=b"audio")
    assert len(cloud.account.executions) == started


def test_the_rule_and_the_functions_know_the_same_suffixes() -> None:
    rule = _template()["Resources"]["VideoUploaded"]["Properties"]["EventPattern"]
    found = [key["suffix"]["equals-ignore-case"] for key in rule["detail"]["object"]["key"]]
    assert sorted(found) == sorted([*DECODED, *CONVERTED])


# --- What goes wrong ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "body", "error", "said"),
    [
        ("old.avi", b"RIFF", "UnsupportedVideo", "ends in .avi is not read: use .mp4"),
        ("empty.mp4", b"", "UnsupportedVideo", "The file is empty"),
        ("text.mp4", b"this is no video" * 99, "TranscriptionFailed", "Received client error (400)"),
    ],
)
def test_an_unsupported_file_leaves_its_error_beside_it(
    cloud: Cloud, name: str, body: bytes, error: str, said: str
) -> None:
    stack, before = cloud.plain, cloud.calls("check_video")
    (execution,) = stack.upload(name, body)
    ended = stack.wait(execution)
    assert (ended["status"], ended["error"]) == ("FAILED", error)
    assert said in ended["cause"]
    files = stack.files(name)
    assert set(files) == {name, f"{name}.error.json"}
    kept = json.loads(files[f"{name}.error.json"])
    assert kept["error"] == error
    assert said in kept["message"]
    assert kept["video"] == f"s3://{stack.videos}/{name}"
    assert execution.endswith(kept["execution"])
    assert cloud.calls("check_video") == before + 1  # trying again would not help


def test_a_file_that_mediaconvert_cannot_read_leaves_its_error(cloud: Cloud) -> None:
    (execution,) = cloud.converting.upload("text.avi", b"this is no video" * 99)
    ended = cloud.converting.wait(execution)
    assert (ended["status"], ended["error"]) == ("FAILED", "ExtractionFailed")
    kept = json.loads(cloud.converting.files("text.avi.error.json")["text.avi.error.json"])
    assert kept["message"].startswith("MediaConvert: ERROR, code 1010: ")


def test_the_error_of_an_earlier_try_goes_when_a_later_one_succeeds(cloud: Cloud, video: bytes) -> None:
    (failing,) = cloud.plain.upload("again.mp4", b"no video")
    cloud.plain.wait(failing)
    assert "again.mp4.error.json" in cloud.plain.files("again.mp4")
    (working,) = cloud.plain.upload("again.mp4", video)
    assert cloud.plain.wait(working)["status"] == "SUCCEEDED"
    assert "again.mp4.error.json" not in cloud.plain.files("again.mp4")


def test_a_failing_function_is_tried_again_with_growing_pauses_and_its_error_kept(cloud: Cloud, video: bytes) -> None:
    stack, before = cloud.plain, cloud.calls("transcription")
    functions, name = cloud.account.client("lambda"), stack.names["Transcription"]
    variables = functions.get_function_configuration(FunctionName=name)["Environment"]["Variables"]
    variables = {key: str(value) for key, value in variables.items()}
    _set(functions, name, {**variables, "ENDPOINT": "gone"})
    try:
        (execution,) = stack.upload("failing.mp4", video)
        ended = stack.wait(execution)
    finally:
        _set(functions, name, variables)
    assert ended["status"] == "FAILED"
    assert ended["error"] == "ValidationError"
    assert cloud.calls("transcription") == before + 1 + RETRIES
    failures = [event for event in stack.history(execution) if event["type"] == "TaskFailed"]
    assert len(failures) == 1 + RETRIES
    times = [event["timestamp"] for event in failures]
    pauses = [(after - before).total_seconds() for before, after in pairwise(times)]
    assert pauses[-1] > 2 * pauses[0]
    kept = json.loads(stack.files("failing.mp4.error.json")["failing.mp4.error.json"])
    assert kept["error"] == "ValidationError"
    assert "Endpoint gone of account 123456789012 not found." in kept["message"]
    assert "Traceback" not in kept["message"]
    assert "stackTrace" not in kept["message"]


def test_a_throttled_function_is_tried_again_and_the_video_goes_on(cloud: Cloud, video: bytes) -> None:
    cloud.account.functions.throttled[HANDLER.format("check_video")] = 2
    (execution,) = cloud.plain.upload("throttled.mp4", video)
    assert cloud.plain.wait(execution)["status"] == "SUCCEEDED"
    refused = [event for event in cloud.plain.history(execution) if event["type"] == "TaskFailed"]
    assert [event["taskFailedEventDetails"]["error"] for event in refused] == ["Lambda.TooManyRequestsException"] * 2


def test_a_transcription_whose_worker_died_is_asked_for_again(cloud: Cloud, video: bytes) -> None:
    cloud.relay.dying, before = 1, len(cloud.relay.requests)
    (execution,) = cloud.plain.upload("died.mp4", video)
    assert cloud.plain.wait(execution)["status"] == "SUCCEEDED"
    asked = cloud.relay.requests[before:]
    assert len({one["X-Amzn-SageMaker-InputLocation"] for one in asked}) == 1
    assert len({one["X-Amzn-SageMaker-Inference-Id"] for one in asked}) == len(asked) == 2
    assert set(cloud.plain.files("died.mp4")) == {"died.mp4" + one for one in ("", ".json", ".txt", ".srt", ".vtt")}


def test_a_transcription_at_which_every_worker_dies_is_asked_for_twice_more(cloud: Cloud, video: bytes) -> None:
    cloud.relay.dying, before = 3, len(cloud.relay.requests)
    (execution,) = cloud.plain.upload("deadly.mp4", video)
    ended = cloud.plain.wait(execution)
    assert (ended["status"], ended["error"]) == ("FAILED", "EndpointFailed")
    assert (len(cloud.relay.requests), cloud.relay.dying) == (before + 3, 0)
    kept = json.loads(cloud.plain.files("deadly.mp4.error.json")["deadly.mp4.error.json"])
    assert "Received server error (500)" in kept["message"]
    entered = [event.get("stateEnteredEventDetails") for event in cloud.plain.history(execution)]
    (state,) = [json.loads(one["input"]) for one in entered if one and one["name"] == "KeepError"]
    looks = cloud.plain.visited(execution).count("LookAtTranscription")
    assert state["looks"]["transcription"] == looks  # of all tries, so that the limits of time and history hold


def test_an_extraction_that_never_ends_is_ended_by_its_limit(cloud: Cloud, video: bytes) -> None:
    stack = cloud.account.deploy(
        cloud.packaged, "short-extraction", **{**PARAMETERS, "ExtractAudio": "mediaconvert", "ExtractionLooks": "3"}
    )
    cloud.mediaconvert.stuck = True
    try:
        (execution,) = stack.upload("stuck.mp4", video)
        ended = stack.wait(execution)
    finally:
        cloud.mediaconvert.stuck = False
    assert (ended["status"], ended["error"]) == ("FAILED", "ExtractionTimedOut")
    assert stack.visited(execution).count("LookAtExtraction") == 3
    kept = json.loads(stack.files()["stuck.mp4.error.json"])
    assert kept["message"].startswith("MediaConvert was not done in 3 looks, 1 s apart")


def test_a_transcription_that_never_ends_is_ended_by_its_limit(cloud: Cloud, video: bytes) -> None:
    stack = cloud.account.deploy(cloud.packaged, "short-transcription", **{**PARAMETERS, "TranscriptionLooks": "2"})
    cloud.relay.held.set()
    try:
        (execution,) = stack.upload("stuck.mp4", video)
        ended = stack.wait(execution)
    finally:
        cloud.relay.held.clear()
    assert (ended["status"], ended["error"]) == ("FAILED", "TranscriptionTimedOut")
    assert stack.visited(execution).count("LookAtTranscription") == 2
    assert json.loads(stack.files()["stuck.mp4.error.json"])["error"] == "TranscriptionTimedOut"


def test_a_video_over_the_endpoints_limit_is_told_the_way_out(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    cloud.account.client("s3").put_object(Bucket="models", Key="large.mp4", Body=b"x" * 101)
    monkeypatch.setattr(check_video, "ENDPOINT_LIMIT", 100)
    monkeypatch.setenv("AWS_ENDPOINT_URL", cloud.account.url)
    for name, value in (("AWS_ACCESS_KEY_ID", "testing"), ("AWS_SECRET_ACCESS_KEY", "testing")):
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_DEFAULT_REGION", KEYS["region_name"])
    event = {"bucket": "models", "key": "large.mp4", "extract": "no"}
    with pytest.raises(VideoTooLarge, match="ExtractAudio=mediaconvert"):
        check_video.handler(event)
    assert check_video.handler({**event, "extract": "mediaconvert"})["size"] == 101


def test_an_error_without_a_cause_still_fails_the_execution_by_its_name(cloud: Cloud) -> None:
    states, failed = cloud.account.client("stepfunctions"), {"Failed": _machine()["States"]["Failed"]}
    machine = states.create_state_machine(
        name="failed",
        definition=json.dumps({"StartAt": "Failed", "States": failed}),
        roleArn="arn:aws:iam::123456789012:role/workflow",
    )
    error = {"Error": "Sandbox.Timedout"}
    started = states.start_execution(stateMachineArn=machine["stateMachineArn"], input=json.dumps({"error": error}))
    ended = cloud.plain.wait(started["executionArn"])
    assert (ended["status"], ended["error"], json.loads(ended["cause"])) == ("FAILED", "Sandbox.Timedout", error)


@pytest.mark.parametrize(
    ("cause", "shown"),
    [
        ('{"errorMessage": "It is empty.", "stackTrace": ["  File x"]}', "It is empty."),
        ("Rate Exceeded. (Service: AWSLambda)", "Rate Exceeded. (Service: AWSLambda)"),
        ("[1]", "[1]"),
        ("", NO_CAUSE),
        ('{"errorMessage": "", "errorType": "ValueError"}', NO_CAUSE),
    ],
)
def test_a_cause_is_shown_without_lines_of_code(cause: str, shown: str) -> None:
    assert message(cause) == shown


# --- The subtitles --------------------------------------------------------------------------------------------


def test_an_answer_renders_as_the_transcript_it_was_made_of() -> None:
    words = [Word(f" word{number}.", number, number + 0.9, 0.5, "SPEAKER_00") for number in range(40)]
    words += [Word(" 你好", 41, 42, 0.5, "SPEAKER_01"), Word("吗", 42, 43, 0.5, "SPEAKER_01")]
    chunks = [
        Chunk("".join(word.text for word in part), part[0].start, part[-1].end, tuple(part), part[0].speaker)
        for part in (words[:40], words[40:])
    ]
    original = Transcript(
        "".join(chunk.text for chunk in chunks).strip(), tuple(chunks), duration=44.0, language="en"
    )
    answer = json.loads(json.dumps(to_answer(original, Request(timestamps="word"))))
    for response_format in ("text", "srt", "vtt"):
        assert render(read_transcript(answer), response_format) == render(original, response_format)
    assert str(render(original, "srt")).count("-->") > len(chunks)  # long chunks are cut, so words are needed
    del answer["words"]
    assert str(render(read_transcript(answer), "srt")).count("-->") == len(chunks)


# --- The template and the state machine as files --------------------------------------------------------------


def test_the_packaged_template_has_no_error_or_warning(cloud: Cloud) -> None:
    assert _lint(cloud.packaged.read_text()) == []


def test_the_template_in_the_tree_says_only_that_it_is_to_be_packaged() -> None:
    assert {found.rule.id for found in _lint((REPOSITORY / VIDEO / "template.yaml").read_text())} == {"W3002"}


def test_the_state_machine_has_no_error_or_warning() -> None:
    assert _lint(_alone(_machine())) == []


def test_every_state_is_reached_and_every_state_that_is_named_is_there() -> None:
    """cfn-lint follows StartAt only, and moto fails where it gets to."""
    machine = _machine()
    assert _named(machine) == set(machine["States"])


@pytest.mark.parametrize(
    ("state", "broken"),
    [
        ("CheckVideo", {"Next": "Nowhere"}),
        ("Transcribed?", {"Default": "Nowhere"}),
        ("Extracted?", {"Choices": [{"Variable": "$.looks", "IsPresent": True, "Next": "Nowhere"}]}),
        ("KeepError", {"Catch": [{"ErrorEquals": ["States.ALL"], "Next": "Nowhere"}]}),
    ],
)
def test_a_state_that_is_not_there_is_found(state: str, broken: dict[str, Any]) -> None:
    machine = _machine()
    machine["States"][state] |= broken
    assert "Nowhere" in _named(machine)
    del machine["States"][state]
    assert state in _named(machine)


def test_the_lint_of_the_state_machine_finds_a_wrong_start_and_a_wrong_field() -> None:
    machine = _machine()
    machine["StartAt"] = "Nowhere"
    assert {found.rule.id for found in _lint(_alone(machine))} == {"E3601"}
    machine = _machine()
    machine["States"]["CheckVideo"]["Retries"] = []
    assert {found.rule.id for found in _lint(_alone(machine))} == {"E3601"}


def test_every_task_is_tried_again_has_a_time_limit_and_ends_where_errors_are_kept() -> None:
    tasks = {name: state for name, state in _machine()["States"].items() if state["Type"] == "Task"}
    assert len(tasks) == 8
    for name, state in tasks.items():
        assert state["TimeoutSeconds"] > 0
        assert {"States.TaskFailed", "Lambda.TooManyRequestsException"} <= {
            error for retry in state["Retry"] for error in retry["ErrorEquals"]
        }
        *others, catch = state["Catch"]
        assert [other["ErrorEquals"] for other in others] == [["EndpointFailed"]] * (name == "LookAtTranscription")
        assert catch["ErrorEquals"] == ["States.ALL"]
        assert catch["Next"] == ("Failed" if name == "KeepError" else "KeepError")


def test_the_limits_of_waiting_fit_each_other_and_those_of_aws() -> None:
    parameters, machine = _template()["Parameters"], _machine()
    default = {name: parameter.get("Default") for name, parameter in parameters.items()}
    queue = default["RequestTTLSeconds"] + default["InvocationTimeoutSeconds"]
    assert default["PollSeconds"] * default["TranscriptionLooks"] > queue
    looks = parameters["ExtractionLooks"]["MaxValue"] + parameters["TranscriptionLooks"]["MaxValue"]
    assert looks * parameters["PollSeconds"]["MaxValue"] < machine["TimeoutSeconds"]
    events = 11  # of one look in the history: four states, and a function's being called
    assert (looks + 2 * 3) * events < 25_000  # asking again is less than three looks, and the looks count on
    assert parameters["InvocationTimeoutSeconds"]["MaxValue"] == 3600


def test_no_role_may_do_everything_and_few_rights_have_no_resource() -> None:
    resources = _template()["Resources"]
    statements = [
        statement
        for one in resources.values()
        if one["Type"] in ("AWS::IAM::Role", "AWS::IAM::ManagedPolicy")
        for policy in [*one["Properties"].get("Policies", []), one["Properties"]]
        for statement in policy.get("PolicyDocument", {}).get("Statement", [])
    ]
    assert len(statements) > 20
    actions = [_list(statement["Action"]) for statement in statements]
    assert not [action for several in actions for action in several if "*" in action]
    everywhere = {
        action
        for statement, several in zip(statements, actions, strict=True)
        if "*" in _list(statement["Resource"])
        for action in several
    }
    assert {action.split(":")[0] for action in everywhere} == {"logs", "ecr", "cloudwatch"}
    functions = [one["Properties"] for one in resources.values() if one["Type"] == "AWS::Lambda::Function"]
    assert len({json.dumps(one["Role"]) for one in functions}) == len(functions) == 5


def test_a_function_without_its_right_is_refused_and_says_so(cloud: Cloud, video: bytes) -> None:
    """So the others, which succeed, have the rights in S3 that they need."""
    stack = cloud.account.deploy(cloud.packaged, "less", **PARAMETERS)
    roles, name = cloud.account.client("iam"), stack.names["WriteTranscriptRole"]
    roles.delete_role_policy(RoleName=name, PolicyName="write-beside-the-video")
    (execution,) = stack.upload("refused.mp4", video)
    ended = stack.wait(execution)
    assert (ended["status"], ended["error"]) == ("FAILED", "ClientError")
    assert set(stack.files()) == {"refused.mp4", "refused.mp4.error.json"}


def test_the_endpoint_scales_between_none_and_some_in_the_words_of_the_services(cloud: Cloud) -> None:
    """moto's CloudFormation has none of these resources; its services take the same properties."""
    resources = json.loads(json.dumps(_template()["Resources"]).replace('"Fn::GetAtt"', '"Ref"'))
    scaling, watch = cloud.account.client("application-autoscaling"), cloud.account.client("cloudwatch")
    target = resources["Instances"]["Properties"]
    resource = f"endpoint/{cloud.plain.endpoint}/variant/AllTraffic"
    assert target["ResourceId"] == {"Fn::Sub": "endpoint/${Endpoint.EndpointName}/variant/AllTraffic"}
    place = {
        "ServiceNamespace": "sagemaker",
        "ScalableDimension": target["ScalableDimension"],
        "ResourceId": resource,
    }
    scaling.register_scalable_target(**place, MinCapacity=target["MinCapacity"], MaxCapacity=2)
    arns = {}
    for name in ("ByBacklog", "FromZero"):
        properties = json.loads(json.dumps(resources[name]["Properties"]))
        assert properties.pop("ScalingTargetId") == {"Ref": "Instances"}
        metric = properties.get("TargetTrackingScalingPolicyConfiguration", {}).get("CustomizedMetricSpecification")
        if metric:
            metric["Dimensions"][0]["Value"] = cloud.plain.endpoint
        arns[name] = scaling.put_scaling_policy(**place, **properties)["PolicyARN"]
    alarm = dict(resources["BacklogWithoutInstance"]["Properties"])
    assert alarm["AlarmActions"] == [{"Ref": "FromZero"}]
    alarm |= {"AlarmActions": [arns["FromZero"]], "AlarmName": "backlog-without-instance"}
    alarm["Dimensions"] = [{"Name": "EndpointName", "Value": cloud.plain.endpoint}]
    watch.put_metric_alarm(**alarm)
    (made,) = watch.describe_alarms(AlarmNames=["backlog-without-instance"])["MetricAlarms"]
    assert made["MetricName"] == "HasBacklogWithoutCapacity"
    assert scaling.describe_scalable_targets(ServiceNamespace="sagemaker")["ScalableTargets"][0]["MinCapacity"] == 0


@pytest.mark.parametrize("instance", ["ml.g4dn.xlarge", "ml.c5.2xlarge"])
def test_the_endpoint_runs_on_a_gpu_or_a_cpu(cloud: Cloud, instance: str) -> None:
    name = "on-" + instance.split(".")[1]
    stack = cloud.account.deploy(cloud.packaged, name, **{**PARAMETERS, "InstanceType": instance})
    sagemaker = cloud.account.client("sagemaker")
    config = sagemaker.describe_endpoint(EndpointName=stack.endpoint)["EndpointConfigName"]
    described = sagemaker.describe_endpoint_config(EndpointConfigName=config)
    (variant,) = described["ProductionVariants"]
    assert variant["InstanceType"] == instance
    assert variant["ContainerStartupHealthCheckTimeoutInSeconds"] == 1800
    assert variant["ModelDataDownloadTimeoutInSeconds"] == 1800
    container = sagemaker.describe_model(ModelName=variant["ModelName"])["PrimaryContainer"]
    assert container["Environment"]["MAX_AUDIO_SECONDS"] == "14400"
    paths = described["AsyncInferenceConfig"]["OutputConfig"]
    work = stack.names["WorkBucket"]
    assert paths == {"S3OutputPath": f"s3://{work}/output", "S3FailurePath": f"s3://{work}/failure"}


def test_a_folder_is_laid_out_again_and_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "build" / "video"
    assert package.main([str(folder)]) == 0
    (folder / "packaged.yaml").touch()
    (folder / "code" / "turnscribe" / "old.py").touch()
    assert package.main([str(folder)]) == 0
    assert not (folder / "code" / "turnscribe" / "old.py").exists()
    assert {one.name for one in folder.iterdir()} > {"code", "template.yaml", "workflow.asl.json", "packaged.yaml"}
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("mine", ["code/mine.py", "template.yaml", "code/adapters/video/functions/media.py"])
def test_a_folder_with_other_files_is_refused_and_left_alone(
    mine: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / mine
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("mine")
    assert package.main([str(tmp_path)]) == 2
    assert (
        capsys.readouterr().err == f"error: {tmp_path} has files of another origin: name a new or an empty folder.\n"
    )
    assert [one for one in tmp_path.rglob("*") if one.is_file()] == [file]
    assert file.read_text() == "mine"
    with pytest.raises(SettingsError, match="name a new or an empty folder"):
        lay_out(file)  # which is none


def test_the_functions_need_nothing_but_python_and_boto3(tmp_path: Path) -> None:
    code = lay_out(tmp_path) / "code"
    modules = [f"adapters.video.functions.{file.stem}" for file in (code / VIDEO / "functions").glob("[!_]*.py")]
    assert len(modules) == 7
    program = (
        f"import sys, importlib; sys.path.insert(0, '.'); [importlib.import_module(name) for name in {modules}]; "
        "print(any(name in sys.modules for name in ('numpy', 'torch', 'pydantic', 'boto3')))"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", program], cwd=code, capture_output=True, text=True, check=True
    )
    assert done.stdout == "False\n"


# --- Helpers --------------------------------------------------------------------------------------------------


def _template() -> dict[str, Any]:
    return json.loads(json.dumps(load_template(str(REPOSITORY / VIDEO / "template.yaml"))))


def _machine() -> dict[str, Any]:
    return json.loads((REPOSITORY / VIDEO / "workflow.asl.json").read_text())


def _model_environment() -> dict[str, str]:
    """The model's variables as the template sets them, with the parameters of these tests."""
    variables = _template()["Resources"]["Model"]["Properties"]["PrimaryContainer"]["Environment"]
    given = {"ASR_MODEL": PARAMETERS["AsrModel"], "DIARIZATION_MODEL": PARAMETERS["DiarizationModel"]}
    return {**{name: value for name, value in variables.items() if isinstance(value, str)}, **given}


def _alone(machine: dict[str, Any]) -> str:
    """The state machine inside a template, since it is linted only there."""
    text = re.sub(
        r"\$\{(\w+)\}", lambda found: "1" if found[1].endswith(("s", "Looks")) else "x", json.dumps(machine)
    )
    properties = {"RoleArn": "arn:aws:iam::123456789012:role/workflow", "DefinitionString": text}
    return json.dumps(
        {"Resources": {"Workflow": {"Type": "AWS::StepFunctions::StateMachine", "Properties": properties}}}
    )


def _named(machine: dict[str, Any]) -> set[str]:
    """Every state that StartAt or another state goes on to."""
    named = {machine["StartAt"]}
    for state in machine["States"].values():
        for one in (state, *state.get("Catch", []), *state.get("Choices", [])):
            named |= {one[key] for key in ("Next", "Default") if key in one}
    return named


def _lint(template: str) -> list[Any]:
    return list(cfnlint.lint(template, regions=[KEYS["region_name"]]))


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _set(functions: Any, name: str, variables: dict[str, str]) -> None:
    functions.update_function_configuration(FunctionName=name, Environment={"Variables": variables})


def _until(done: Callable[[], bool], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.1)


def _film(file: Path, seconds: int) -> bytes:
    """The start of the demo conversation under a test picture."""
    picture = ["-f", "lavfi", "-i", "testsrc=size=160x120:rate=10"]
    sound = ["-i", str(REPOSITORY / "demo/conversation.flac")]
    codecs = ["-c:v", "libx264", "-preset", "ultrafast", "-c:a", "aac"]
    subprocess.run(["ffmpeg", "-v", "error", *picture, *sound, "-t", str(seconds), *codecs, str(file)], check=True)
    return file.read_bytes()


def _alike(text: str) -> float:
    """How much of the conversation's first seconds is in `text`, in order; 1 for every word and no other."""
    conversation = json.loads((REPOSITORY / "demo/conversation.json").read_text())["words"]
    said = [word["word"] for word in conversation if word["end"] < SECONDS]
    return difflib.SequenceMatcher(None, re.findall(r"\w+", text.lower()), said).ratio()
