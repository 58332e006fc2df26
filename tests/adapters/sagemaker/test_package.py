"""SageMaker's archive, and what its script makes of a request's headers; the script runs in `tests/adapters/aws`."""

from __future__ import annotations

import base64
import json
import re
import subprocess
import sys
import tarfile
import time
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

from adapters.sagemaker import inference
from adapters.sagemaker.command import weights_of
from adapters.sagemaker.package import _weights, build_archive, build_requirements
from tests.conftest import REPOSITORY
from turnscribe.checkpoints.catalogue import NAMED
from turnscribe.errors import BadAudio, BadParameters, InferenceFailed, SettingsError
from turnscribe.formats import FORMATS

ATTRIBUTES = "X-Amzn-SageMaker-Custom-Attributes"


@pytest.fixture
def whisper(tmp_path: Path) -> Path:
    """A folder as the Hub's cache has them: of links."""
    (tmp_path / "blobs").mkdir()
    (tmp_path / "blobs" / "1").write_bytes(b"weights" * 1000)
    folder = tmp_path / "whisper"
    (folder / ".cache").mkdir(parents=True)
    (folder / ".cache" / "lock").touch()
    (folder / "model.safetensors").symlink_to(tmp_path / "blobs" / "1")
    (folder / "config.json").write_text("{}")
    return folder


def contents(archive: Path) -> dict[str, bytes]:
    with tarfile.open(archive) as file:
        return {member.name: file.extractfile(member).read() for member in file.getmembers()}  # type: ignore[union-attr]


def test_a_named_model_goes_along_as_the_folder_that_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TURNSCRIBE_HOME", str(tmp_path))
    for file in NAMED[0].files:
        path = tmp_path / "models" / "whisper-base" / file.path
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as opened:
            opened.truncate(file.size)
    monkeypatch.chdir(tmp_path)
    weights = weights_of("whisper-base", lambda line, **_: None)
    assert weights == tmp_path / "models" / "whisper-base"
    assert weights_of("elsewhere", lambda line, **_: None) == Path("elsewhere")
    assert {name for name, _ in _weights("whisper", weights)} == {file.path for file in NAMED[0].files}


# The archive ----------------------------------------------------------------------------------------


def test_the_code_in_the_archive_is_all_the_script_needs(tmp_path: Path) -> None:
    with tarfile.open(build_archive(tmp_path / "model.tar.gz")) as archive:
        archive.extractall(tmp_path / "model", filter="data")
    program = """
import sys
import inference, handler
assert handler.__file__.startswith(sys.argv[1]), handler.__file__
try:
    inference.model_fn(sys.argv[1]).load()
except ValueError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "model")],
        env={"PYTHONPATH": str(tmp_path / "model" / "code")},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert "ASR_MODEL is not set" in done.stdout, done.stderr


def test_neither_caches_nor_tests_nor_other_scripts_go_along(tmp_path: Path) -> None:
    names = contents(build_archive(tmp_path / "model.tar.gz"))
    assert {name.split("/")[0] for name in names} == {"code"}
    assert {name.split("/")[1] for name in names} == {
        "inference.py",
        "requirements.txt",
        "handler.py",
        "config.py",
        "diarization_utils.py",
        "turnscribe",
    }
    assert "code/turnscribe/engine/decode.py" in names
    assert not [name for name in names if "__pycache__" in name]


def test_weights_stand_under_their_names(tmp_path: Path, whisper: Path) -> None:
    names = contents(build_archive(tmp_path / "model.tar.gz", models={"whisper": whisper, "draft": whisper}))
    assert names["whisper/model.safetensors"] == b"weights" * 1000
    assert {name for name in names if name.startswith("draft/")} == {"draft/model.safetensors", "draft/config.json"}


def test_equal_contents_make_equal_bytes(tmp_path: Path, whisper: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = build_archive(tmp_path / "a" / "model.tar.gz", models={"whisper": whisper}).read_bytes()
    (whisper / "config.json").touch()
    (whisper / "config.json").chmod(0o600)
    monkeypatch.setattr(time, "time", lambda: 2e9)
    assert build_archive(tmp_path / "b.tar.gz", models={"whisper": whisper}).read_bytes() == first


def test_progress_rises_to_one(tmp_path: Path, whisper: Path) -> None:
    shares: list[float] = []
    build_archive(tmp_path / "model.tar.gz", models={"whisper": whisper}, on_progress=shares.append)
    assert shares == sorted(shares)
    assert len(shares) > 10
    assert shares[-1] == 1.0


def test_an_interrupted_archive_leaves_the_earlier_one_alone(tmp_path: Path, whisper: Path) -> None:
    (tmp_path / "model.tar.gz").write_bytes(b"earlier")

    def interrupt(share: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_archive(tmp_path / "model.tar.gz", models={"whisper": whisper}, on_progress=interrupt)
    assert (tmp_path / "model.tar.gz").read_bytes() == b"earlier"
    assert not list(tmp_path.glob(".*.part"))


@pytest.mark.parametrize("name", ["code", "/opt/whisper", "../whisper", "a/b", "", ".hidden"])
def test_a_name_that_is_none_is_refused(name: str, tmp_path: Path, whisper: Path) -> None:
    with pytest.raises(SettingsError, match="cannot be called"):
        build_archive(tmp_path / "model.tar.gz", models={name: whisper})
    assert not (tmp_path / "model.tar.gz").exists()


def test_a_model_that_is_not_there_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for path in (tmp_path / "nowhere", tmp_path / "empty"):
        with pytest.raises(SettingsError, match="The model whisper is neither"):
            build_archive(tmp_path / "model.tar.gz", models={"whisper": path})


def test_the_containers_torch_stays() -> None:
    """torch 2.6 and 2.5, the containers' own, satisfy what is asked, and no newer one does."""
    lines = build_requirements((REPOSITORY / "requirements.txt").read_text()).splitlines()
    asked = {Requirement(line).name: Requirement(line) for line in lines}
    assert len(asked) == len(lines)
    assert list(asked)[:4] == ["torch", "torchvision", "torchaudio", "pyannote.audio"]
    assert list(asked["torch"].specifier.filter(["2.4.1", "2.5.1", "2.6.0", "2.7.0", "2.11.0"])) == ["2.5.1", "2.6.0"]
    assert asked["torchaudio"].specifier == asked["torch"].specifier
    assert not any(requirement.marker for requirement in asked.values())
    assert {"transformers", "av", "pydantic-settings", "tqdm"} <= set(asked)


# A checkpoint of openai/whisper ---------------------------------------------------------------------


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    (tmp_path / "checkpoints").mkdir()
    path = tmp_path / "checkpoints" / "tiny.pt"
    path.write_bytes(b"checkpoint")
    return path


def test_a_checkpoint_has_the_vocabulary_beside_it(tmp_path: Path, checkpoint: Path) -> None:
    (checkpoint.parent / "multilingual.tiktoken").write_bytes(b"beside")
    names = contents(build_archive(tmp_path / "model.tar.gz", models={"whisper": checkpoint}))
    assert names["whisper/tiny.pt"] == b"checkpoint"
    assert names["whisper/multilingual.tiktoken"] == b"beside"


def test_a_checkpoint_takes_the_vocabularies_of_the_package(
    tmp_path: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assets = tmp_path / "site" / "whisper" / "assets"
    assets.mkdir(parents=True)
    (assets.parent / "__init__.py").write_text("raise AssertionError('the package need not be imported')")
    for name in ("gpt2.tiktoken", "multilingual.tiktoken"):
        (assets / name).write_bytes(name.encode())
    monkeypatch.delitem(sys.modules, "whisper", raising=False)
    monkeypatch.syspath_prepend(tmp_path / "site")
    names = contents(build_archive(tmp_path / "model.tar.gz", models={"whisper": checkpoint}))
    for name in ("gpt2.tiktoken", "multilingual.tiktoken"):
        assert names[f"whisper/{name}"] == name.encode()


@pytest.mark.parametrize(
    ("name", "beside", "needed"),
    [
        ("tiny.pt", None, "multilingual.tiktoken"),
        ("tiny.pt", "gpt2.tiktoken", "multilingual.tiktoken"),
        ("tiny.en.pt", "multilingual.tiktoken", "gpt2.tiktoken"),
        ("Tiny.EN.PT", "gpt2.tiktoken", None),
    ],
)
def test_a_checkpoint_without_its_vocabulary_is_refused(
    name: str,
    beside: str | None,
    needed: str | None,
    tmp_path: Path,
    checkpoint: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "whisper", None)  # as if it were not installed
    checkpoint = checkpoint.rename(checkpoint.with_name(name))
    if beside:
        (checkpoint.parent / beside).write_bytes(b"beside")
    if needed is None:
        names = contents(build_archive(tmp_path / "model.tar.gz", models={"whisper": checkpoint}))
        assert {f"whisper/{name}", f"whisper/{beside}"} <= set(names)
        return
    with pytest.raises(SettingsError, match=f"^{re.escape(name)} needs {re.escape(needed)} .*: install openai-wh"):
        build_archive(tmp_path / "model.tar.gz", models={"whisper": checkpoint})


# A request's headers --------------------------------------------------------------------------------


class Context:
    def __init__(self, **headers: str) -> None:
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}

    def get_all_request_header(self, index: int) -> dict[str, str]:
        assert index == 0
        return self.headers


class Model:
    """Keeps what it was asked."""

    asked: dict[str, Any]

    def __call__(self, request: dict[str, Any]) -> dict[str, Any]:
        self.asked = request
        return {"text": "größer", "formatted": f"as {request['parameters'].get('response_format')}"}


@pytest.mark.parametrize(
    ("accept", "response_format"),
    [
        (None, None),
        ("", None),
        ("*/*", None),
        ("application/json", None),
        ("Application/JSON; charset=utf-8", None),
        ("text/plain", "text"),
        ("text/plain; charset=utf-8", "text"),
        ("application/x-subrip", "srt"),
        ("text/srt", "srt"),
        ("text/vtt", "vtt"),
        ("text/markdown", "md"),
        ("text/x-ssa", "ass"),
        ("text/*", "text"),
        ("text/html, text/vtt, application/json", "vtt"),
        ("text/plain;q=0.2, text/vtt;q=0.9", "vtt"),
        ("text/plain;q=0, application/json;q=0.1", None),
    ],
)
def test_accept_chooses_the_first_form_there_is(accept: str | None, response_format: str | None) -> None:
    assert inference.choose_format(accept) == response_format


@pytest.mark.parametrize("accept", ["image/png", "text/plain;q=0", "text/plain;q=high", "text", ";"])
def test_an_accept_that_cannot_be_met_names_what_can(accept: str) -> None:
    model = Model()
    types = "application/json, text/plain, application/x-subrip, text/vtt, text/tab-separated-values"
    with pytest.raises(BadParameters, match=f"ask for {types}"):
        inference.transform_fn(model, b"audio", "audio/wav", accept)
    assert not hasattr(model, "asked")  # before any work


@pytest.mark.parametrize(
    ("text", "parameters"),
    [
        ("", {}),
        (" language=en&timestamps=word ", {"language": "en", "timestamps": "word"}),
        ("prompt=J%C3%BCrgen+M%26M", {"prompt": "Jürgen M&M"}),
        ('{"language": "en", "num_speakers": 2, "prompt": "J\\u00fcrgen"}', {"language": "en", "num_speakers": 2}),
    ],
)
def test_custom_attributes_are_parameters(text: str, parameters: dict[str, Any]) -> None:
    assert inference.parse_attributes(text).items() >= parameters.items()


@pytest.mark.parametrize("text", ["c0ffee-4711", "language=en&x", "{", '{"a": 1', "[1]", '{"a":' * 5000])
def test_custom_attributes_that_are_no_parameters_say_what_would_be(text: str) -> None:
    with pytest.raises(BadParameters, match="send parameters as language=en&timestamps=word") as caught:
        inference.transform_fn(Model(), b"audio", "audio/wav", None, Context(**{ATTRIBUTES: text}))
    assert len(str(caught.value)) < 150  # of what was sent, nothing


@pytest.mark.parametrize("header", [ATTRIBUTES, ATTRIBUTES.lower()])
def test_a_recording_as_it_is_takes_its_parameters_from_the_header(header: str) -> None:
    model = Model()
    answer = inference.transform_fn(model, bytearray(b"audio"), None, None, Context(**{header: "language=en"}))
    assert model.asked == {"inputs": b"audio", "parameters": {"language": "en"}}
    assert json.loads(answer)["text"] == "größer"
    assert "größer" in answer  # as it is, not as \u escapes three times as long


@pytest.mark.parametrize("convert", [str, lambda text: bytearray(text.encode())], ids=["str", "bytearray"])
def test_a_json_body_has_parameters_of_its_own_and_they_go_first(convert: Any) -> None:
    model = Model()
    body = convert(json.dumps({"inputs": "UklGRg==", "parameters": {"language": "de"}}))
    context = Context(**{ATTRIBUTES: "language=en&task=translate"})
    inference.transform_fn(model, body, "application/json; charset=utf-8", "text/vtt", context)
    parameters = {"language": "de", "task": "translate", "response_format": "vtt"}
    assert model.asked == {"inputs": "UklGRg==", "parameters": parameters}


def test_a_json_body_needs_no_parameters() -> None:
    model = Model()
    inference.transform_fn(model, '{"inputs": "UklGRg==", "parameters": null}', "application/json", None)
    assert model.asked == {"inputs": "UklGRg==", "parameters": {}}


@pytest.mark.parametrize("body", ["", "{", "[]", "1", b"\xff", "[" * 100_000, None])
def test_a_json_body_that_is_no_object_says_what_would_be(body: Any) -> None:
    with pytest.raises(BadParameters, match="send an object with inputs and parameters"):
        inference.transform_fn(Model(), body, "application/json", None)


def test_accept_and_response_format_may_not_disagree() -> None:
    model = Model()
    context = Context(**{ATTRIBUTES: "response_format=srt"})
    assert inference.transform_fn(model, b"audio", None, "application/x-subrip", context) == "as srt"
    assert json.loads(inference.transform_fn(model, b"audio", None, None, context))["formatted"] == "as srt"
    with pytest.raises(BadParameters, match="Accept asks for vtt and response_format for something else"):
        inference.transform_fn(model, b"audio", None, "text/vtt", context)


def test_a_word_document_is_bytes() -> None:
    class Writer(Model):
        def __call__(self, request: dict[str, Any]) -> dict[str, Any]:
            return {"formatted": base64.b64encode(b"PK\x03\x04").decode()}

    accept = FORMATS["docx"].media_type
    assert inference.transform_fn(Writer(), b"audio", None, accept) == b"PK\x03\x04"


def test_a_text_of_several_instances_is_refused() -> None:
    with pytest.raises(BadParameters, match="ask for application/json"):
        inference.transform_fn(Model(), '{"instances": ["UklGRg=="]}', "application/json", "text/vtt")


@pytest.mark.parametrize("error", [BadAudio("Wrong."), InferenceFailed("Failed under 4711.")])
def test_an_errors_causes_stay_behind(error: Exception) -> None:
    """The PyTorch container sends the whole traceback to the caller."""

    def model(request: dict[str, Any]) -> dict[str, Any]:
        raise error from RuntimeError("what was said")

    with pytest.raises(type(error)) as caught:
        inference.transform_fn(model, b"audio", None, None)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_the_causes_of_a_wrong_setting_stay_behind_too(monkeypatch: pytest.MonkeyPatch) -> None:
    import handler

    def broken(path: str) -> None:
        raise SettingsError("ASR_MODEL is wrong.") from RuntimeError("/home/somebody")

    monkeypatch.setattr(handler, "EndpointHandler", broken)
    with pytest.raises(SettingsError, match=r"ASR_MODEL is wrong\.") as caught:
        inference.transform_fn(inference.model_fn("/opt/ml/model"), b"audio", None, None)
    assert caught.value.__cause__ is None


def test_what_breaks_while_loading_goes_to_the_log_alone(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    import handler

    def broken(path: str) -> None:
        raise RuntimeError("driver too old")

    monkeypatch.setattr(handler, "EndpointHandler", broken)
    with pytest.raises(SettingsError, match="could not be loaded; the container's log has the details") as caught:
        inference.transform_fn(inference.model_fn("/opt/ml/model"), b"audio", None, None)
    assert "driver" not in str(caught.value)
    assert "driver too old" in caplog.text


def test_what_could_not_be_loaded_is_loaded_by_the_first_request_that_can_and_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import handler

    loads: list[str] = []

    def busy(path: str) -> Any:
        loads.append(path)
        if len(loads) < 3:
            raise SettingsError("The Hub is busy.")
        return lambda request: {"text": "hello"}

    monkeypatch.setattr(handler, "EndpointHandler", busy)
    model = inference.model_fn("/opt/ml/model")
    with pytest.raises(SettingsError, match="busy"):
        inference.transform_fn(model, b"audio", None, None)
    for _ in range(2):
        assert json.loads(inference.transform_fn(model, b"audio", None, None)) == {"text": "hello"}
    assert loads == ["/opt/ml/model"] * 3


def test_nothing_is_imported_by_the_archives_maker_that_a_laptop_lacks() -> None:
    program = (
        "import sys, adapters.sagemaker.package; print(sorted({'torch', 'boto3', 'transformers'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
