"""What the page keeps in the browser: transcripts as they were mended, their audio, and the jobs under way."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver.common.keys import Keys

from tests.serving.page import JOB, Browser, StandIn, answer, done, refusal

pytestmark = pytest.mark.serving

WITHOUT_FILES = (
    "if (globalThis.StorageManager) Object.defineProperty(StorageManager.prototype, 'getDirectory',"
    " {value: () => Promise.reject(Error('none'))})"
)


@pytest.fixture(params=["files of its own", "blobs"])
def either(browser: Browser, request: pytest.FixtureRequest) -> Iterator[Browser]:
    """A browser whose pages have a file system of their own, or have none."""
    if request.param == "files of its own":
        yield browser
        return
    script = {"source": WITHOUT_FILES}
    added = browser.driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", script)
    yield browser
    browser.driver.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", added)


def running(share: float = 0.4) -> dict[str, Any]:
    return {"status": "running", "progress": share, "stage": "asr"}


def listed(browser: Browser, selector: str) -> list[str]:
    return [each.text.replace("\n", " ") for each in browser.all(f"{selector} > li")]


def test_a_reload_loses_nothing_even_when_the_server_has_forgotten(
    either: Browser, server: StandIn, recording: Path
) -> None:
    browser = either
    browser.open(server.url)
    browser.upload(recording)
    browser.word("question").click()
    browser("#edit-text").click()
    browser.shown(".editor").send_keys(" or two", Keys.ENTER)
    field = browser("[aria-label='Name of SPEAKER_00']")
    field.send_keys(Keys.CONTROL, "a")
    field.send_keys("Bo", Keys.ENTER)
    server.states = [refusal("There is no such job.", 404)]
    browser.driver.refresh()
    browser.shown("#result")
    assert browser.text("#result-title") == "meeting.wav"
    assert browser.all(".turn")[1].get_attribute("aria-label") == "Bo, 0:02"
    assert browser.all(".said")[1].text == "hello i have one question or two"
    browser.until(lambda: browser("#play").is_enabled())
    browser.word("report").click()
    browser.until(lambda: browser.now == pytest.approx(6.0, abs=0.01))
    assert browser.downloaded("txt").splitlines()[1] == "Bo: hello i have one question or two"
    assert not browser("#error").is_displayed()


def test_what_is_kept_is_listed_opened_and_deleted(either: Browser, server: StandIn, recording: Path) -> None:
    browser = either
    browser.open(server.url)
    assert not browser("#kept").is_displayed()
    browser.upload(recording)
    browser("#anew").click()
    browser.until(lambda: "audio 168 kB" in browser.text("#kept-list"))
    assert browser.text("#kept-list .link") == "meeting.wav"
    assert "0:10 · audio 168 kB" in browser.text("#kept-list")
    browser("#kept-list .link").click()
    browser.shown("#result")
    browser.until(lambda: browser("#play").is_enabled())
    assert browser.js("return location.hash") == f"#job={JOB}"
    browser("#anew").click()
    browser.shown("[aria-label='Delete audio: meeting.wav']").click()
    browser.until(lambda: "no audio" in browser.text("#kept-list"))
    browser("[aria-label='Delete: meeting.wav']").click()
    browser.until(lambda: not browser("#kept").is_displayed())
    stores = ("transcripts", "documents", "recordings", "orders")
    assert [browser.kept(store) for store in stores] == [0, 0, 0, 0]


def test_several_files_are_transcribed_one_after_the_other(
    browser: Browser, server: StandIn, recording: Path, tmp_path: Path
) -> None:
    server.jobs = {
        "job_a": [running()],
        "job_b": [{"status": "failed", "error": {"message": "The recording is damaged."}}],
        "job_c": [{"status": "queued", "position": 1}],
    }
    files = [tmp_path / f"{name}.wav" for name in "abc"]
    for file in files:
        file.write_bytes(recording.read_bytes())
    browser.open(server.url)
    browser("#file").send_keys("\n".join(map(str, files)))
    assert browser.text("#chosen") == "3 files (504 kB): a.wav, b.wav, c.wav"
    assert not browser("#play-in").is_enabled()
    browser("#send").click()
    browser.until(lambda: "Transcribing, 40 % · 168 kB" in browser.text("#under-way-list"))
    browser.until(lambda: "Waiting, 1 ahead in line" in browser.text("#under-way-list"))
    browser.until(lambda: "The recording is damaged." in browser.text("#under-way-list"))
    assert [name.text for name in browser.all(".listed-name")] == ["a.wav", "b.wav", "c.wav"]
    browser("[aria-label='Dismiss: b.wav']").click()
    browser.until(lambda: len(browser.all("#under-way-list > li")) == 2)

    browser.driver.refresh()
    browser.until(lambda: len(browser.all("#under-way-list > li")) == 2)
    server.jobs["job_a"] = [done(answer())]
    browser.until(lambda: browser.text("#kept-list .link") == "a.wav")
    browser("[aria-label='Cancel: c.wav']").click()
    browser.until(lambda: ("DELETE", "/v1/jobs/job_c") in server.requests)
    browser.until(lambda: not browser("#under-way").is_displayed())
    browser("#kept-list .link").click()
    browser.shown("#result")
    assert browser.text("#result-title") == "a.wav"
    browser.until(lambda: browser("#play").is_enabled())


def test_what_was_not_uploaded_before_a_reload_is_uploaded_after_it(
    browser: Browser, server: StandIn, recording: Path, tmp_path: Path
) -> None:
    server.jobs = {"job_meeting": [done(answer())], "job_other": [done(answer())]}
    other = tmp_path / "other.wav"
    other.write_bytes(recording.read_bytes() + b"other")
    server.takes_uploads.clear()
    browser.open(server.url)
    browser("#file").send_keys(f"{recording}\n{other}")
    browser("#send").click()
    browser.until(lambda: len(browser.all("#under-way-list > li")) == 2)
    browser.until(lambda: browser.kept("recordings") == 2)
    browser.driver.refresh()
    browser.until(lambda: len(browser.all("#under-way-list > li")) == 2)
    server.takes_uploads.set()
    browser.until(lambda: len(browser.all("#kept-list > li")) == 2)
    assert any(other.read_bytes() in upload for upload in server.uploads)


def test_a_job_that_is_left_goes_on_in_the_list(browser: Browser, server: StandIn, recording: Path) -> None:
    server.states = [running()]
    browser.open(server.url)
    browser("#file").send_keys(str(recording))
    browser("#send").click()
    browser.until(lambda: browser.text("#phase") == "Transcribing, 40 %")
    browser("#anew").click()
    browser.until(lambda: listed(browser, "#under-way-list") == ["meeting.wav Transcribing, 40 % · 168 kB Cancel"])
    server.states = [done(answer())]
    browser.until(lambda: browser.text("#kept-list .link") == "meeting.wav")
    assert not browser("#under-way").is_displayed()
