from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import pytest
from huggingface_hub import constants

from turnscribe.checkpoints import hub
from turnscribe.checkpoints.hub import loading
from turnscribe.checkpoints.reach import Reach, offline
from turnscribe.errors import ModelUnavailable


@pytest.fixture
def silent(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A Hub that takes connections and never answers."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{listening.getsockname()[1]}")
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(hub, "REACH", Reach(within=0.2))
        yield


@pytest.mark.usefixtures("silent")
def test_a_hub_that_does_not_answer_is_one_sentence_in_seconds() -> None:
    began = time.monotonic()
    with (
        pytest.raises(ModelUnavailable, match=r"^ASR_MODEL acme/none is not on this machine and the Hub cannot be"),
        loading("ASR_MODEL", "acme/none"),
    ):
        raise AssertionError("loaded")
    assert time.monotonic() - began < 5


@pytest.mark.usefixtures("silent")
def test_what_is_in_the_cache_is_loaded_without_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "is_cached", lambda model: True)
    with loading("ASR_MODEL", "acme/there"):
        assert constants.HF_HUB_OFFLINE
    assert not constants.HF_HUB_OFFLINE


@pytest.mark.usefixtures("silent")
def test_the_hub_is_asked_once_for_several_models() -> None:
    reach = Reach(within=0.3)
    began = time.monotonic()
    assert [reach.is_there() for _ in range(5)] == [False] * 5
    assert time.monotonic() - began < 1.4


def test_a_folder_asks_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    class Never(Reach):
        def is_there(self) -> bool:
            raise AssertionError("asked")

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(hub, "REACH", Never())
    with loading("ASR_MODEL", "tests"):
        pass


def test_offline_ends_with_the_block() -> None:
    before = constants.HF_HUB_OFFLINE
    with offline():
        assert constants.HF_HUB_OFFLINE
    assert before == constants.HF_HUB_OFFLINE
