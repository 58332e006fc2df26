"""The page for people, in a headless Chromium: its edges against a stand-in of the server with canned answers, and
one conversation from end to end against the real server with the demo models.

    SCREENSHOT=build/page.png .venv/bin/pytest tests/serving/test_page.py -m models     keeps a picture of it
"""

from __future__ import annotations

import json
import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys

from tests.conftest import REPOSITORY
from tests.serving.page import CONTRAST, CONTRASTS, JOB, PAGE, POLICY, SAID, Browser, StandIn, answer, done, refusal
from turnscribe.formats import FORMATS
from turnscribe.serving.routes.page import add_page_routes
from turnscribe.waveform import to_wav

pytestmark = pytest.mark.serving

# --- The whole way --------------------------------------------------------------------------------------------


def test_upload_shows_progress_and_then_who_said_what(browser: Browser, server: StandIn, recording: Path) -> None:
    server.states = [
        {"id": JOB, "status": "queued", "progress": 0.0, "position": 2},
        {"id": JOB, "status": "running", "progress": 0.37, "stage": "asr"},
    ]
    browser.open(server.url)
    assert browser("#send").is_enabled() is False
    browser.until(lambda: browser("#language").is_displayed())
    browser.js("document.getElementById('language').value = 'de'")
    browser("#speakers").send_keys("3")
    browser("#assisted").click()
    browser("#file").send_keys(str(recording))
    assert "meeting.wav (168 kB)" in browser.text("#chosen")
    browser("#send").click()

    browser.until(lambda: browser.text("#phase") == "Waiting, 2 ahead in line …")
    browser.until(lambda: browser.text("#phase") == "Transcribing, 37 %")
    assert browser("#bar").get_attribute("value") == "0.37"
    assert browser.text("#status") == "Transcribing, 25 percent"
    server.states = [{"id": JOB, "status": "running", "progress": 0.8, "stage": "diarization", "remaining_s": 83.2}]
    browser.until(lambda: browser.text("#phase") == "Telling speakers apart, 80 %, about 2 min left")
    assert browser.js("return location.hash") == f"#job={JOB}"
    server.states = [done(answer())]

    browser.shown("#result")
    assert [name.text for name in browser.all(".name")] == ["SPEAKER_01", "SPEAKER_00", "SPEAKER_01", "SPEAKER_02"]
    assert [said.text for said in browser.all(".said")] == [text for _, text in SAID]
    assert browser.text("#facts") == "0:10 · English · 3 speakers · transcribed in 1.5 s"
    assert browser.text("#status").startswith("The transcript is ready")
    assert browser.text("#expires").startswith("The server forgets this transcript at ")
    sent = [server.field(name) for name in ("timestamps", "language", "num_speakers", "assisted")]
    assert sent == ["word", "de", "3", "true"]
    assert recording.read_bytes() in server.uploads[0]
    assert b'filename="meeting.wav"' in server.uploads[0]


def test_options_left_alone_are_not_sent_and_those_without_a_model_not_shown(
    browser: Browser, server: StandIn, recording: Path
) -> None:
    able = {"diarization": False, "assistant": False, "languages": ["en"], "multilingual": False}
    server.models = {"object": "list", "data": [{"id": "tiny.en", "turnscribe": able}]}
    browser.open(server.url)
    browser.until(lambda: not browser("#speakers-field").is_displayed())
    assert not browser("#language-field").is_displayed()
    assert not browser("#assisted-field").is_displayed()
    browser.upload(recording)
    sent = [server.field(name) for name in ("timestamps", "language", "num_speakers", "assisted")]
    assert sent == ["word", None, None, None]


def test_click_on_a_word_takes_the_audio_there(browser: Browser, server: StandIn, recording: Path) -> None:
    browser.open(server.url)
    browser.upload(recording)
    browser.word("question").click()
    browser.until(lambda: browser.now == pytest.approx(4.0, abs=0.01))
    assert browser.js("return document.getElementById('audio').paused")
    assert [word.text for word in browser.all(".word.lit")] == ["question"]
    assert browser.text("#now") == "0:04"
    assert browser.text("#speaking") == "SPEAKER_00"
    lanes = browser("#lanes")
    assert lanes.get_attribute("aria-valuetext") == "4 seconds, SPEAKER_00"


def test_the_word_being_played_is_lit(browser: Browser, server: StandIn, recording: Path) -> None:
    browser.open(server.url)
    browser.upload(recording)
    browser("#play").click()
    browser.until(lambda: [word.text for word in browser.all(".word.lit")] == ["team"])
    assert browser("#play").get_attribute("aria-label") == "Pause"
    browser.until(lambda: [word.text for word in browser.all(".word.lit")] == ["please"])
    browser("#play").click()
    browser.until(lambda: browser("#play").get_attribute("aria-label") == "Play")
    assert len(browser.all("[aria-current=true]")) == 1


def test_click_in_the_timeline_seeks(browser: Browser, server: StandIn, recording: Path) -> None:
    browser.open(server.url)
    browser.upload(recording)
    lanes = browser("#lanes")
    ActionChains(browser.driver).move_to_element_with_offset(lanes, lanes.size["width"] // 4, 0).click().perform()
    browser.until(lambda: browser.now == pytest.approx(10.5 * 0.75, abs=0.1))
    browser.js("arguments[0].focus()", lanes)
    browser.press(Keys.ARROW_LEFT)
    browser.until(lambda: browser.now == pytest.approx(10.5 * 0.75 - 5, abs=0.1))
    browser.press(Keys.END)
    browser.until(lambda: browser.now == pytest.approx(10.5, abs=0.05))
    drawn = "const c = arguments[0]; const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;"
    colours = browser.js(
        drawn + "const s = new Set(); for (let i = 0; i < d.length; i += 4) if (d[i + 3] === 255)"
        " s.add(`${d[i]},${d[i + 1]},${d[i + 2]}`); return [...s]",
        browser("#canvas"),
    )
    assert {"36,87,197", "165,71,11", "13,111,82"} <= set(colours)  # a lane for each speaker


def test_keys_move_by_word_and_turn_and_play(browser: Browser, server: StandIn, recording: Path) -> None:
    browser.open(server.url)
    browser.upload(recording)
    assert len(browser.all("#transcript [tabindex='0']")) == 1
    browser.js("document.querySelector('#transcript [tabindex=\"0\"]').focus()")
    walk = {
        Keys.ARROW_RIGHT: "team",
        Keys.END: "listen",
        Keys.ARROW_DOWN: "hello",
        Keys.ARROW_LEFT: "listen",
        Keys.ARROW_UP: "hello",
    }
    for key, word in walk.items():
        browser.press(key)
        assert browser.focused() == word
    browser.press(Keys.ARROW_DOWN, Keys.ARROW_DOWN)
    assert browser.focused() == "we"
    assert len(browser.all("#transcript [tabindex='0']")) == 1
    assert browser.now == 0
    browser.press(Keys.ENTER)
    browser.until(lambda: browser.now > 4.5)
    browser.press(Keys.SPACE)
    browser.until(lambda: browser.js("return document.getElementById('audio').paused"))
    ActionChains(browser.driver).key_down(Keys.CONTROL).send_keys(Keys.END).key_up(Keys.CONTROL).perform()
    assert browser.focused() == "early"


def test_a_speakers_new_name_is_shown_and_downloaded(browser: Browser, server: StandIn, recording: Path) -> None:
    browser.open(server.url)
    browser.upload(recording)
    for speaker, name in {"SPEAKER_01": "Ann & <Bo>", "SPEAKER_00": "SPEAKER_01"}.items():
        field = browser(f"[aria-label='Name of {speaker}']")
        field.send_keys(Keys.CONTROL, "a")
        field.send_keys(name, Keys.ENTER)
    assert [name.text for name in browser.all(".name")] == ["Ann & <Bo>", "SPEAKER_01", "Ann & <Bo>", "SPEAKER_02"]
    assert browser(".turn").get_attribute("aria-label") == "Ann & <Bo>, 0:00"
    srt = browser.downloaded("srt")
    assert "Ann & <Bo>: hello team please listen\n" in srt
    assert "\nSPEAKER_01: hello i have one question\n" in srt
    assert "<v Ann &amp; &lt;Bo&gt;>hello team" in browser.downloaded("vtt")
    assert browser.downloaded("txt").startswith("Ann & <Bo>: hello team please listen\nSPEAKER_01: hello i")
    saved = json.loads(browser.downloaded("json"))
    assert [part["speaker"] for part in saved["speakers"]] == ["Ann & <Bo>", "SPEAKER_01", "Ann & <Bo>", "SPEAKER_02"]
    browser.driver.refresh()
    browser.shown("#result")
    assert browser.all(".name")[0].text == "Ann & <Bo>"


def test_recording_from_the_microphone(browser: Browser, server: StandIn) -> None:
    browser.open(server.url)
    browser("#record").click()
    browser.until(lambda: re.fullmatch(r"Stop, 0:(0[2-9]|[1-5]\d)", browser.text("#record-label")))
    assert not browser("#send").is_enabled()
    browser("#record").click()
    browser.until(lambda: browser("#send").is_enabled())
    assert re.match(r"recording-\d{4}-\d\d-\d\d-\d{4}\.webm \(", browser.text("#chosen"))
    browser("#send").click()
    browser.shown("#result")
    browser.until(lambda: browser("#play").is_enabled())
    assert b"\x1aE\xdf\xa3" in server.uploads[0]  # EBML: a webm file
    assert 1.5 < browser.js("return document.getElementById('audio').duration") < 60  # its file does not say it
    browser.word("please").click()
    browser.until(lambda: browser.now == pytest.approx(1.0, abs=0.02))


# --- Formats --------------------------------------------------------------------------------------------------


def test_every_format_of_the_registry_is_offered(browser: Browser, server: StandIn) -> None:
    server.states = [done(answer())]
    browser.open(f"{server.url}#job={JOB}")
    browser.shown("#download-menu summary").click()
    suffixes = [button.get_attribute("data-format") for button in browser.all("#download-buttons button")]
    assert sorted(suffixes) == sorted(["print", *(format.suffix for format in FORMATS.values())])
    assert all(button.is_displayed() for button in browser.all("#download-buttons button"))
    assert [browser(f"[data-format={suffix}]").accessible_name for suffix in ("txt", "srt", "vtt", "json")] == [
        "TXT plain text",
        "SRT subtitles",
        "VTT subtitles for the web",
        "JSON everything",
    ]
    browser("[data-format=srt]").send_keys(Keys.ESCAPE)
    assert not browser("[data-format=srt]").is_displayed()
    assert browser.focused() == "Download"


def test_a_format_that_needs_speakers_is_not_offered_without_them(browser: Browser, server: StandIn) -> None:
    server.states = [done(answer([(None, "hello there")]))]
    browser.open(f"{server.url}#job={JOB}")
    browser.shown("#downloads")
    suffixes = {button.get_attribute("data-format") for button in browser.all("#download-buttons button")}
    assert suffixes == {"print"} | {format.suffix for format in FORMATS.values() if not format.needs_speakers}


def test_a_new_format_needs_no_line_in_the_page(browser: Browser, server: StandIn) -> None:
    """A few formats are a row of buttons; what the server refuses of one is said."""
    server.states = [done(answer())]
    new = {"name": "sign", "suffix": "sgn", "media_type": "text/plain", "needs_speakers": False}
    server.formats = [*server.formats[:2], new]
    browser.open(f"{server.url}#job={JOB}")
    button = browser.shown("[data-format=sgn]")
    assert button.text == "SGN"
    button.click()
    assert browser.error().startswith("response_format is 'sign': give one of json, ")
    assert server.orders[-1]["response_format"] == "sign"


def test_tables_and_json_shapes_have_the_new_names_too(browser: Browser, server: StandIn) -> None:
    server.states = [done(answer())]
    browser.open(f"{server.url}#job={JOB}")
    browser.shown("#downloads")
    browser("[aria-label='Name of SPEAKER_01']").send_keys(Keys.CONTROL, "a")
    browser("[aria-label='Name of SPEAKER_01']").send_keys('Ann "Bo"  Lee', Keys.ENTER)
    rows = browser.downloaded("tsv").splitlines()
    assert rows[:2] == ["start\tend\ttext\tspeaker", '0\t1950\thello team please listen\tAnn "Bo" Lee']
    line = "SPEAKER meeting 1 0.000 1.950 <NA> <NA> Ann_Bo_Lee <NA> <NA>"
    assert browser.downloaded("rttm").splitlines()[0] == line.replace("meeting", "Transcript")
    segments = json.loads(browser.downloaded("verbose.json"))["segments"]
    assert [segment["speaker"] for segment in segments[:2]] == ['Ann "Bo" Lee', "SPEAKER_00"]


def test_the_server_lists_the_formats_of_the_registry() -> None:
    from fastapi import FastAPI
    from fastapi.testclient import TestClient

    app = FastAPI()
    add_page_routes(app, cast(Any, None))  # these routes ask the service for nothing
    response = TestClient(app).get("/ui/formats.json")
    assert response.headers["content-type"] == "application/json"
    assert response.headers["content-security-policy"] == POLICY
    assert [each["name"] for each in response.json()] == list(FORMATS)
    srt = {"name": "srt", "suffix": "srt", "media_type": FORMATS["srt"].media_type, "needs_speakers": False}
    assert {**srt, "is_binary": False} in response.json()


def test_the_page_works_below_the_prefix_of_a_proxy(browser: Browser, server: StandIn, recording: Path) -> None:
    server.prefix = "/speech/v2"
    browser.open(server.url)
    browser.until(lambda: browser("#language").is_displayed())
    browser.upload(recording)
    assert browser.downloaded("srt").startswith("1\n00:00:00,000 --> 00:00:01,950\nSPEAKER_01: hello team")
    assert all(path.startswith("/speech/v2/v1/") for _, path in server.requests)


# --- Refusals -------------------------------------------------------------------------------------------------


def test_a_key_is_asked_for_and_kept_in_the_tab(browser: Browser, server: StandIn, recording: Path) -> None:
    server.key = "sesame"
    browser.open(server.url)
    browser.shown("#key-form")
    assert browser.text("#key-reason") == "This server needs an API key."
    assert browser.js("return document.activeElement.id") == "key"
    browser("#key").send_keys("wrong", Keys.ENTER)
    browser.until(lambda: browser("#key").get_attribute("value") == "" and browser("#key-form").is_displayed())
    browser("#key").send_keys("sesame", Keys.ENTER)
    browser.until(lambda: browser("#language").is_displayed())
    browser.upload(recording)
    browser.driver.refresh()
    browser.shown("#result")
    assert not browser("#key-form").is_displayed()
    assert browser.js("return Object.keys(localStorage).length + document.cookie.length") == 0


def test_a_key_that_expires_before_the_upload_sends_it_again(
    browser: Browser, server: StandIn, recording: Path
) -> None:
    browser.open(server.url)
    browser.until(lambda: browser("#language").is_displayed())
    server.key = "new"
    browser("#file").send_keys(str(recording))
    browser("#send").click()
    browser.shown("#key-form")
    browser("#key").send_keys("new", Keys.ENTER)
    browser.shown("#result")
    assert len(server.uploads) == 1


def test_a_failed_job_says_why(browser: Browser, server: StandIn, recording: Path) -> None:
    sentence = "The recording is damaged: <b>send</b> another file."
    server.states = [{"id": JOB, "status": "failed", "progress": 0.1, "error": {"message": sentence}}]
    browser.open(server.url)
    browser("#file").send_keys(str(recording))
    browser("#send").click()
    assert browser.error() == sentence
    assert browser("#send").is_enabled()  # the file is still chosen
    assert browser.js("return location.hash") == ""


def test_a_full_server_says_when_to_try_again(browser: Browser, server: StandIn, recording: Path) -> None:
    server.refusals = [
        refusal("The queue is full.", 503, **{"Retry-After": "90"}),
        refusal("The file is larger than 10 bytes.", 413),
        (502, {}, "no JSON object"),
    ]
    browser.open(server.url)
    browser("#file").send_keys(str(recording))
    for said in (
        "The queue is full. Try again in 1 minute 30 seconds.",
        "The file is larger than 10 bytes.",
        "The server answered with status 502 and said no more.",
    ):
        browser("#send").click()
        browser.until(lambda said=said: browser("#error").text == said)
    browser("#send").click()
    browser.shown("#result")
    assert not browser("#error").is_displayed()


def test_cancel_removes_the_job(browser: Browser, server: StandIn, recording: Path) -> None:
    server.states = [{"id": JOB, "status": "running", "progress": 0.2}]
    browser.open(server.url)
    browser("#file").send_keys(str(recording))
    browser("#send").click()
    browser.until(lambda: browser.text("#phase") == "Transcribing, 20 %")
    browser("#cancel").click()
    browser.until(lambda: ("DELETE", f"/v1/jobs/{JOB}") in server.requests)
    assert browser("#send").is_displayed()
    assert browser.js("return location.hash") == ""


def test_reload_goes_on_and_the_recording_that_was_deleted_can_be_chosen_again(
    browser: Browser, server: StandIn, recording: Path, tmp_path: Path
) -> None:
    server.states = [{"id": JOB, "status": "running", "progress": 0.2}]
    browser.open(server.url)
    browser("#file").send_keys(str(recording))
    browser("#send").click()
    browser.until(lambda: browser.text("#phase") == "Transcribing, 20 %")
    browser.until(lambda: browser.kept("recordings") == 1)
    browser.driver.refresh()
    browser.until(lambda: browser.text("#phase") == "Transcribing, 20 %")
    server.states = [done(answer())]
    browser.shown("#result")
    browser("#anew").click()
    browser.shown("[aria-label='Delete audio: meeting.wav']").click()
    browser.until(lambda: "no audio" in browser.text("#kept-list"))
    browser("#kept-list .link").click()
    browser.shown("#result")
    assert browser("#absent").is_displayed()
    assert "Choose the file again" in browser.text("#absent-text")
    assert not browser("#play").is_enabled()
    browser.word("question").click()  # reading along works all the same
    assert browser.text("#now") == "0:04"

    other = tmp_path / "other.wav"
    other.write_bytes(to_wav(np.zeros(8000, np.float32), sample_rate=8000))
    browser("#again").send_keys(str(other))
    assert browser.error() == "This file lasts 0:01, the transcript 0:10: it may be another recording."
    noise = tmp_path / "noise.mp3"
    noise.write_bytes(b"no audio")
    browser("#again").send_keys(str(noise))
    browser.until(lambda: "cannot play that file" in browser.text("#absent-text"))
    browser("#again").send_keys(str(recording))
    browser.until(lambda: not browser("#absent").is_displayed())
    assert not browser("#error").is_displayed()
    browser.word("question").click()
    browser.until(lambda: browser.now == pytest.approx(4.0, abs=0.01))


def test_an_address_with_an_unknown_job_says_so(browser: Browser, server: StandIn) -> None:
    browser.open(server.url + "#job=job_%3Cimg%3E/../x")
    assert browser.error() == "There is no such job: it was removed, or never there."
    assert browser("#file").is_enabled()
    assert ("GET", "/v1/jobs/job_%3Cimg%3E%2F..%2Fx") in server.requests


def test_a_server_that_pauses_is_asked_again(browser: Browser, server: StandIn) -> None:
    server.states = [refusal("The models are still loading.", 503), done(answer())]
    browser.open(f"{server.url}#job={JOB}")
    browser.until(lambda: "The models are still loading. This page keeps asking." in browser("#error").text)
    browser.shown("#result")
    assert not browser("#error").is_displayed()


# --- Answers of every kind ------------------------------------------------------------------------------------


def test_hostile_text_is_shown_as_text(browser: Browser, server: StandIn) -> None:
    hostile = "<img/src=x/onerror=document.title='owned'>"
    result = answer([(hostile, f"hello {hostile}"), ("__proto__", "&amp; bye")])
    result["warnings"] = [hostile]
    server.states = [done(result)]
    browser.open(f"{server.url}#job={JOB}")
    browser.shown("#result")
    assert browser.all(".name")[0].text == hostile
    assert browser.all(".name")[1].text == "__proto__"
    assert browser.all(".word")[1].text == hostile
    assert browser.all(".word")[2].text == "&amp;"
    assert browser("#warnings li").text == hostile
    assert not browser.all("main img")
    assert "owned" not in browser.driver.title


def test_without_speakers_and_words_the_chunks_are_shown(browser: Browser, server: StandIn) -> None:
    chunks = [{"text": " hello there", "timestamp": [0.5, 1.5]}, {"text": " again", "timestamp": [3.0, 3.5]}]
    server.states = [done({"text": "hello there again", "chunks": chunks, "speakers": [], "duration": 4.0})]
    browser.open(f"{server.url}#job={JOB}")
    browser.shown("#result")
    assert [word.text for word in browser.all(".word")] == ["hello there", "again"]
    assert not browser.all(".name")
    assert not browser("#names").is_displayed()
    assert browser.text("#facts") == "0:04"
    assert not browser("#doubts").is_displayed()
    browser("#edit-text").click()
    browser.shown(".editor").send_keys(" all", Keys.ENTER)
    assert [word.text for word in browser.all(".word")] == ["hello", "there", "again", "all"]
    saved = json.loads(browser.downloaded("json"))
    assert [chunk["text"] for chunk in saved["chunks"]] == [" hello there", " again all"]
    assert "words" not in saved


def test_silence_is_said_to_be_silent(browser: Browser, server: StandIn) -> None:
    server.states = [done({"text": "", "chunks": [], "speakers": [], "words": [], "language": None, "duration": 4.0})]
    browser.open(f"{server.url}#job={JOB}")
    browser.shown("#result")
    assert browser.text("#transcript") == "Nothing was said in this recording."


def test_two_hours_stay_responsive(browser: Browser, server: StandIn) -> None:
    said = [(f"SPEAKER_{number % 4:02d}", " ".join(["word"] * 25)) for number in range(800)]
    server.states = [done(answer(said, step=0.36))]
    browser.open(server.url)
    browser.js(
        "window.longest = 0; new PerformanceObserver((list) => { for (const entry of list.getEntries())"
        " window.longest = Math.max(window.longest, entry.duration); }).observe({type: 'longtask'})"
    )
    began = time.monotonic()
    browser.js(f"location.hash = 'job={JOB}'")
    browser.until(lambda: browser.js("return document.querySelectorAll('.word').length") == 20_000, 60)
    assert time.monotonic() - began < 30
    assert browser.js("return window.longest") < 1500  # on two busy cores; 150 on free ones
    took = browser.js(
        "const words = document.querySelectorAll('.word'); const began = performance.now();"
        "for (let i = 0; i < 20; i++) { words[(i * 997) % 20000].click(); document.body.offsetHeight; }"
        "return (performance.now() - began) / 20"
    )
    assert took < 300  # milliseconds from a click to the laid out page
    assert browser.text("#now") == "1:53:39"


# --- For everybody --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_enough_contrast(browser: Browser, server: StandIn, scheme: str) -> None:
    browser.prefer(prefers_color_scheme=scheme, prefers_reduced_motion="reduce")
    result = answer([(f"SPEAKER_{number:02d}", f"word{number}") for number in range(10)])
    server.states = [done(result | {"warnings": ["Something to know."]})]
    server.key = "sesame"
    browser.open(server.url)
    browser.shown("#key-form")
    views = browser.js(CONTRASTS)
    browser("#key").send_keys("sesame", Keys.ENTER)
    browser.until(lambda: browser("#language").is_displayed())
    views += browser.js(CONTRASTS)
    browser.js(f"location.hash = 'job={JOB}'")
    browser.shown("#result")
    for number in range(10):
        browser.js("arguments[0].click()", browser.word(f"word{number}"))
        views += browser.js(CONTRASTS)
    browser.js("document.getElementById('error').hidden = false; document.getElementById('error').textContent = 'x'")
    views += browser.js(CONTRASTS)
    assert len(views) > 300
    assert [name for ratio, name in views if ratio < CONTRAST] == []


def test_controls_have_names_and_the_page_landmarks(browser: Browser, server: StandIn, recording: Path) -> None:
    browser.open(server.url)
    browser.until(lambda: browser("#language").is_displayed())
    for view in ("start", "result"):
        if view == "result":
            browser.upload(recording)
        controls = [each for each in browser.all("button, input, select, [role=slider]") if each.is_displayed()]
        assert len(controls) >= 6
        assert [each.get_attribute("outerHTML") for each in controls if not each.accessible_name.strip()] == []
    tree = browser.driver.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    named = {(node["role"]["value"], node.get("name", {}).get("value")) for node in tree if not node["ignored"]}
    assert {"banner", "main", "status", "slider", "region"} <= {role for role, _ in named}
    assert {
        ("region", "Player"),
        ("heading", "meeting.wav"),
        ("group", "SPEAKER_02, 0:07"),
        ("slider", "Position in the recording"),
        ("button", "Undo"),
        ("combobox", "Speaker of this turn"),
        ("searchbox", "Find in the text"),
        ("textbox", "Name of SPEAKER_02"),
    } <= named


def test_reduced_motion_is_honoured(browser: Browser, server: StandIn) -> None:
    server.states = [{"id": JOB, "status": "queued", "progress": 0.0, "position": 0}]
    moving = "return document.getAnimations().length"
    browser.open(f"{server.url}#job={JOB}")
    browser.until(lambda: "next in line" in browser.text("#phase"))
    assert browser.js(moving)
    browser.prefer(prefers_color_scheme="light", prefers_reduced_motion="reduce")
    browser.until(lambda: not browser.js(moving))


@pytest.mark.parametrize("width", [360, 1280])
def test_nothing_is_cut_off_at_the_side(browser: Browser, server: StandIn, recording: Path, width: int) -> None:
    size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": False}
    browser.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    try:
        browser.open(server.url)
        for view in ("start", "result"):
            if view == "result":
                browser.upload(recording)
            page = "document.documentElement"
            assert browser.js(f"return {page}.scrollWidth - {page}.clientWidth") == 0
    finally:
        browser.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_axe_finds_nothing(
    browser: Browser, server: StandIn, recording: Path, axe: Callable[[Browser], None]
) -> None:
    server.states = [done(answer())]
    for scheme in ("light", "dark"):
        browser.prefer(prefers_color_scheme=scheme, prefers_reduced_motion="reduce")
        browser.driver.execute_cdp_cmd("Page.setBypassCSP", {"enabled": True})
        try:
            browser.open(server.url)
            for view in ("start", "result"):
                if view == "result":
                    browser.upload(recording)
                axe(browser)
        finally:
            browser.driver.execute_cdp_cmd("Page.setBypassCSP", {"enabled": False})


def test_the_page_is_complete_in_itself() -> None:
    """No address outside, no inline script or style, and no way from a string to markup."""
    for file in (each for each in PAGE.rglob("*") if each.is_file()):
        text = file.read_text().replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"\w+://|innerHTML|outerHTML|insertAdjacent|document\.write|eval\(|@import", text), file
        if file.suffix == ".html":
            assert not re.search(r"\son\w+=|style=|<style|<script(?![^>]*\ssrc=)", text), file


# --- From end to end ------------------------------------------------------------------------------------------


@pytest.fixture
def address(demo_handler: Any, tmp_path: Path) -> Iterator[str]:
    """The real server with the demo models, on a free port of this machine."""
    import uvicorn

    from turnscribe.serving.app import create_app
    from turnscribe.settings import ServerSettings

    app = create_app(demo_handler.pipeline, ServerSettings(jobs_folder=tmp_path / "jobs"))
    uvicorn_server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="warning"))
    thread = threading.Thread(target=uvicorn_server.run, daemon=True)
    thread.start()
    while not uvicorn_server.started:
        assert thread.is_alive(), "the server did not start"
        time.sleep(0.05)
    yield f"http://127.0.0.1:{uvicorn_server.servers[0].sockets[0].getsockname()[1]}/ui"
    uvicorn_server.should_exit = True
    thread.join(20)


@pytest.mark.models
def test_a_conversation_from_upload_to_subtitles(browser: Browser, address: str) -> None:
    browser.open(address)
    browser.until(lambda: browser("#language").is_displayed())
    browser.upload(REPOSITORY / "demo" / "conversation.flac", seconds=240)
    speakers = {name.text for name in browser.all(".name")}
    assert len(speakers) >= 2
    assert len(browser.all("#names input")) == len(speakers)

    word = browser.word("customer")
    word.click()
    reference = json.loads((REPOSITORY / "demo" / "conversation.json").read_text())["words"]
    (start, *_) = [each["start"] for each in reference if each["word"] == "customer"]
    browser.until(lambda: browser.now == pytest.approx(start, abs=0.5))
    assert "lit" in word.get_attribute("class")
    if os.environ.get("SCREENSHOT"):
        browser.driver.save_screenshot(os.environ["SCREENSHOT"])

    srt = browser.downloaded("srt")
    assert srt.startswith("1\n00:00:0")
    assert all(f"\n{speaker}: " in srt for speaker in speakers)
    assert "customer" in srt
    assert browser.downloaded("vtt").startswith("WEBVTT\n")
    assert browser.downloaded("txt").startswith(tuple(speakers))
    assert json.loads(browser.downloaded("json"))["words"]
    browser.driver.refresh()
    browser.shown("#result")
    browser.until(lambda: browser("#play").is_enabled())
    browser("#remove").click()
    browser.shown("#start")
    browser.driver.get(f"{address}#job=job_gone")
    assert browser.error()
