from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import HfApi, errors

from tests.checkpoints import index_stand_in
from tests.cli.hub_stand_in import online
from turnscribe.checkpoints.catalogue import NAMED, NamedModel
from turnscribe.checkpoints.hub import available_model, explain, loading, resolve_model
from turnscribe.errors import ModelUnavailable, SettingsError

TOKEN = "hf_abcdefghijklmnopqrstuvwxyz"
SECRETS = f"401 for https://huggingface.co/acme/gated with Bearer {TOKEN}\nin /srv/cache/models--acme"
MODEL = "acme/gated"
PAGE = "https://huggingface.co/acme/gated"


def response(status: int) -> Any:
    """What the installed huggingface_hub's errors carry: of httpx from 1.0 on, of requests before."""
    library = sys.modules[errors.Response.__module__.split(".")[0]]
    if library.__name__ == "requests":
        made = errors.Response()
        made.status_code = status
        return made
    return errors.Response(status, request=library.Request("GET", PAGE))


def http(kind: type[Exception], status: int) -> Exception:
    return kind(SECRETS, response=response(status))  # type: ignore[call-arg]


def no_answer() -> Exception:
    """What the installed huggingface_hub's library raises where nobody listens."""
    library: Any = sys.modules[errors.Response.__module__.split(".")[0]]
    raised: Exception = (library.ConnectionError if library.__name__ == "requests" else library.ConnectError)(SECRETS)
    return raised


def not_here(because: Exception) -> Exception:
    """What huggingface_hub raises where the first look at a file failed and the cache has none."""
    return chained(errors.LocalEntryNotFoundError(SECRETS), because)


def chained(outer: Exception, inner: Exception, *, named: bool = True) -> Exception:
    """`outer` as raised while `inner` was handled: `from inner` where `named`."""
    try:
        try:
            raise inner
        except Exception as error:
            if named:
                raise outer from error
            raise outer  # noqa: B904
    except Exception as raised:
        return raised


def sentence(error: BaseException, variable: str = "ASR_MODEL", model: str = MODEL) -> str:
    text = str(explain(error, variable, model))
    assert text.startswith(f"{variable} ")
    assert text.endswith(".")
    assert "\n" not in text
    assert TOKEN not in text
    assert "/srv" not in text
    return text


MISSING_FILE = getattr(errors, "RemoteEntryNotFoundError", errors.EntryNotFoundError)

KNOWN: dict[str, tuple[Callable[[], Exception], list[str]]] = {
    "gated": (
        lambda: http(errors.GatedRepoError, 403),
        ["acme/gated is gated", f"accept its terms at {PAGE}", "HF_TOKEN"],
    ),
    "no such": (
        lambda: http(errors.RepositoryNotFoundError, 401),
        ["acme/gated was not found", f"check the name at {PAGE}", "HF_TOKEN"],
    ),
    "offline": (lambda: errors.LocalEntryNotFoundError(SECRETS), ["not on this machine", "network"]),
    "offline mode": (lambda: errors.OfflineModeIsEnabled(SECRETS), ["not on this machine", "network"]),
    "401": (lambda: http(errors.HfHubHTTPError, 401), ["refused by the Hub (401)", "HF_TOKEN", PAGE]),
    "403": (lambda: http(errors.HfHubHTTPError, 403), ["refused by the Hub (403)", "HF_TOKEN", PAGE]),
    "408": (lambda: http(errors.HfHubHTTPError, 408), ["the Hub answered 408", "try again later"]),
    "500": (lambda: http(errors.HfHubHTTPError, 500), ["the Hub answered 500", "try again later"]),
    "429": (lambda: http(errors.HfHubHTTPError, 429), ["the Hub answered 429", "try again later"]),
    "400": (lambda: http(errors.HfHubHTTPError, 400), ["refused by the Hub (400)", "HF_TOKEN", PAGE]),
    "no answer": (no_answer, ["not on this machine", "the Hub cannot be reached", "network"]),
    "no first answer": (lambda: not_here(no_answer()), ["not on this machine", "the Hub cannot be reached"]),
    "first 503": (lambda: not_here(http(errors.HfHubHTTPError, 503)), ["the Hub answered 503", "try again later"]),
    "first 403": (lambda: not_here(http(errors.HfHubHTTPError, 403)), ["refused by the Hub (403)", "HF_TOKEN"]),
    "first offline": (lambda: not_here(errors.OfflineModeIsEnabled(SECRETS)), ["not on this machine", "network"]),
    "no id": (lambda: errors.HFValidationError(SECRETS), ["neither a model folder nor a Hub id", "owner/model"]),
    "file": (lambda: http(MISSING_FILE, 404), ["could not be loaded", "complete model of the right kind"]),
    "memory": (lambda: MemoryError(SECRETS), ["does not fit into memory", "smaller model"]),
    "other": (lambda: KeyError(SECRETS), ["could not be loaded (KeyError)", "complete model of the right kind"]),
}


MAY_PASS = {"408", "429", "500", "no answer", "no first answer", "first 503"}


@pytest.mark.parametrize("case", KNOWN)
@pytest.mark.parametrize("variable", ["ASR_MODEL", "ASSISTANT_MODEL", "DIARIZATION_MODEL"])
def test_a_failed_load_says_what_to_do(case: str, variable: str) -> None:
    error, parts = KNOWN[case]
    text = sentence(error(), variable)
    assert [part for part in parts if part not in text] == []


@pytest.mark.parametrize("case", KNOWN)
def test_only_what_may_pass_is_worth_loading_again(case: str) -> None:
    error, _ = KNOWN[case]
    raised = chained(OSError(SECRETS), error())
    assert {type(explain(each, "ASR_MODEL", MODEL)) for each in (error(), raised)} == {
        ModelUnavailable if case in MAY_PASS else SettingsError
    }


@pytest.mark.parametrize(
    ("refusals", "expected", "words"),
    [
        ([(503, "")], ModelUnavailable, "the Hub answered 503"),
        ([(401, "")], SettingsError, "complete model of the right kind"),
        ([], SettingsError, "complete model of the right kind"),
    ],
)
def test_where_weights_are_said_to_be_missing_the_hub_is_asked_whether_it_is_busy(
    refusals: list[tuple[int, str]], expected: type, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To transformers, weights that it cannot fetch are not there."""
    from huggingface_hub import constants

    with online(monkeypatch) as server:
        monkeypatch.setattr(constants, "ENDPOINT", server.url)
        server.models[MODEL] = {}
        server.refusals[f"GET /api/models/{MODEL}"] = refusals
        found = explain(ValueError("Could not load model acme/gated with any of these classes"), "ASR_MODEL", MODEL)
    assert type(found) is expected
    assert words in str(found)
    assert [path for _, path, _, _ in server.requests] == [f"/api/models/{MODEL}"]


@pytest.mark.parametrize("case", [case for case in KNOWN if case not in ("memory", "other", "file")])
@pytest.mark.parametrize("named", [True, False])
def test_the_cause_is_found_behind_the_error_transformers_raises(case: str, named: bool) -> None:
    error, parts = KNOWN[case]
    raised = chained(RuntimeError("pipeline"), chained(OSError(SECRETS), error(), named=named), named=named)
    text = sentence(raised)
    assert [part for part in parts if part not in text] == []


def test_a_chain_that_bites_its_tail_ends() -> None:
    first, second = OSError(SECRETS), ValueError(SECRETS)
    first.__cause__, second.__cause__ = second, first
    assert "could not be loaded (OSError)" in sentence(first)


def test_out_of_memory_on_the_device_is_told_from_a_broken_model() -> None:
    import torch

    assert "does not fit into memory" in sentence(torch.OutOfMemoryError(SECRETS))


@pytest.mark.parametrize("model", ["/srv/models/large", "../srv/models/large", "srv/models/large", "~/large"])
def test_a_missing_folder_is_called_by_its_last_name(model: str) -> None:
    text = sentence(OSError(SECRETS), model=model)
    assert text == (
        "ASR_MODEL large is neither a model folder nor a Hub id: name a folder that exists, or owner/model."
    )


@pytest.mark.parametrize("case", KNOWN)
def test_no_sentence_holds_a_path_of_the_server(case: str) -> None:
    assert " large " in sentence(KNOWN[case][0](), model="/srv/models/large")


@pytest.mark.parametrize("case", KNOWN)
def test_no_sentence_about_a_folder_that_exists_says_it_does_not(case: str, tmp_path: Path) -> None:
    text = sentence(KNOWN[case][0](), model=str(tmp_path))
    assert "neither a model folder" not in text
    assert str(tmp_path.parent) not in text


def test_an_incomplete_folder_is_said_to_be_incomplete(tmp_path: Path) -> None:
    assert "complete model of the right kind" in sentence(OSError("no model.safetensors"), model=str(tmp_path))


# --- loading --------------------------------------------------------------------------------------------------


def test_loading_turns_any_error_into_a_setting_to_mend() -> None:
    cause = http(errors.GatedRepoError, 403)
    with pytest.raises(SettingsError, match="DIARIZATION_MODEL acme/gated is gated") as caught:  # noqa: SIM117
        with loading("DIARIZATION_MODEL", MODEL):
            raise cause
    assert caught.value.__cause__ is cause


@pytest.mark.parametrize("kind", [SettingsError, ModelUnavailable])
def test_loading_lets_a_sentence_through_that_is_one_already(kind: type[SettingsError]) -> None:
    with pytest.raises(kind, match=r"^as it is$") as caught, loading("ASR_MODEL", MODEL):
        raise kind("as it is")
    assert type(caught.value) is kind


def test_loading_says_where_it_is_worth_trying_again() -> None:
    with pytest.raises(ModelUnavailable, match="the Hub answered 503"), loading("ASR_MODEL", MODEL):
        raise not_here(http(errors.HfHubHTTPError, 503))


def test_loading_is_no_bar_to_ctrl_c() -> None:
    with pytest.raises(KeyboardInterrupt), loading("ASR_MODEL", MODEL):
        raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("/srv/models/large", "large is neither a model folder nor a Hub id"),
        ("not a model!", "not a model! is neither a model folder nor a Hub id"),
        ("acme/unheard-of", "acme/unheard-of is not on this machine and the Hub cannot be reached"),
    ],
)
def test_what_transformers_itself_raises_is_understood(model: str, words: str) -> None:
    """Offline (`conftest.py`), so nothing leaves this machine."""
    from transformers import AutoConfig

    with pytest.raises(SettingsError) as caught, loading("ASR_MODEL", model):
        AutoConfig.from_pretrained(model)
    assert type(caught.value) is SettingsError
    assert words in str(caught.value)
    assert "/srv" not in str(caught.value)


def test_what_transformers_raises_for_an_empty_folder_is_understood(tmp_path: Path) -> None:
    from transformers import BertModel

    (tmp_path / "whisper").mkdir()
    with pytest.raises(SettingsError, match=r"^ASR_MODEL whisper could not be loaded.*complete"):  # noqa: SIM117
        with loading("ASR_MODEL", str(tmp_path / "whisper")):
            BertModel.from_pretrained(str(tmp_path / "whisper"))


# --- resolve_model --------------------------------------------------------------------------------------------


def test_a_model_is_sought_in_the_repository_then_here_then_on_the_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, here = tmp_path / "root", tmp_path / "here"
    for base in (root, here):
        (base / "demo" / "whisper").mkdir(parents=True)
    monkeypatch.chdir(here)
    assert resolve_model("demo/whisper", root) == str(root / "demo" / "whisper")
    (root / "demo" / "whisper").rmdir()
    assert resolve_model("demo/whisper", root) == str(here / "demo" / "whisper")
    (here / "demo" / "whisper").rmdir()
    assert resolve_model("demo/whisper", root) == "demo/whisper"


def test_an_absolute_folder_is_itself(tmp_path: Path) -> None:
    assert resolve_model(str(tmp_path), Path("/somewhere/else")) == str(tmp_path)


# --- named models ---------------------------------------------------------------------------------------------


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TURNSCRIBE_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def put(model: NamedModel, home: Path) -> str:
    """Files of its sizes: by them a model is known to be there."""
    for file in model.files:
        path = home / "models" / model.name / file.path
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as opened:
            opened.truncate(file.size)
    return str(home / "models" / model.name)


def test_a_named_model_is_sought_in_folders_of_its_name_then_in_the_store(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert resolve_model("whisper-base", tmp_path) == "whisper-base"  # not there: nothing is fetched
    assert resolve_model("open", tmp_path) == "open-diarizer"
    stored = put(NAMED[0], home)
    assert resolve_model("whisper-base", tmp_path) == stored
    (tmp_path / "whisper-base").mkdir()
    assert resolve_model("whisper-base", tmp_path) == str(tmp_path / "whisper-base")
    assert available_model("ASR_MODEL", "whisper-base", tmp_path) == str(tmp_path / "whisper-base")


def test_a_named_model_that_is_missing_is_fetched_for_loading(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with online(monkeypatch) as server:
        server.models[index_stand_in.REPOSITORY_ID] = {"bytes": index_stand_in.CONTENTS}
        folder = available_model(
            "ASR_MODEL", "small", tmp_path, catalogue=index_stand_in.CATALOGUE, api=HfApi(endpoint=server.url)
        )
    assert index_stand_in.contents(Path(folder)) == index_stand_in.CONTENTS
    assert "tiny: 0 MB from the Hub" in caplog.text


@pytest.mark.parametrize(
    ("variable", "name", "words"),
    [
        ("ASR_MODEL", "open", "ASR_MODEL open-diarizer is a diarizer: name a Whisper model."),
        ("ASSISTANT_MODEL", "open-diarizer", "ASSISTANT_MODEL open-diarizer is a diarizer: name a Whisper model."),
        ("DIARIZATION_MODEL", "whisper-base", "DIARIZATION_MODEL whisper-base is a Whisper model: name a diarizer."),
        (
            "DIARIZATION_MODEL",
            "open",
            "DIARIZATION_MODEL open-diarizer is not on this machine and HF_HUB_OFFLINE is set: "
            "run `turnscribe models get open-diarizer` first.",
        ),
    ],
)
def test_what_cannot_be_fetched_is_one_sentence(
    variable: str, name: str, words: str, home: Path, tmp_path: Path
) -> None:
    with pytest.raises(SettingsError) as caught:
        available_model(variable, name, tmp_path)
    assert str(caught.value) == words


@pytest.mark.parametrize("variable", ["ASR_MODEL", "ASSISTANT_MODEL", "DIARIZATION_MODEL"])
def test_no_loader_takes_a_name_for_a_hub_id(variable: str, home: Path, tmp_path: Path) -> None:
    from turnscribe.asr.registry import load_asr
    from turnscribe.diarization.diarizer import load_diarizer

    load: dict[str, Callable[[], object]] = {
        "ASR_MODEL": lambda: load_asr("whisper-base", root=tmp_path),
        "ASSISTANT_MODEL": lambda: load_asr(str(tmp_path), assistant="whisper-tiny.en", root=tmp_path),
        "DIARIZATION_MODEL": lambda: load_diarizer("open", root=tmp_path),
    }
    with pytest.raises(SettingsError, match=f"^{variable} .* is not on this machine and HF_HUB_OFFLINE is set"):
        load[variable]()
