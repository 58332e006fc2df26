"""The page's views for everybody: on a phone, on paper, in the dark, by axe-core; its options."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from selenium.webdriver.support.ui import Select

from tests.serving.page import CONTRAST, CONTRASTS, JOB, Browser, StandIn, answer, done

pytestmark = pytest.mark.serving


@contextmanager
def phone(browser: Browser, *, height: int = 740) -> Iterator[None]:
    size = {"width": 360, "height": height, "deviceScaleFactor": 2, "mobile": True}
    browser.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.driver.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": True})
    try:
        yield
    finally:
        browser.driver.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": False})
        browser.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_all_options_are_sent_that_were_filled_in(browser: Browser, server: StandIn, recording: Path) -> None:
    browser.open(server.url)
    browser.until(lambda: browser("#language").is_displayed())
    assert not browser("#prompt").is_displayed()
    browser(".more summary").click()
    Select(browser("#task")).select_by_value("translate")
    Select(browser("#channels")).select_by_value("split")
    browser("#min-speakers").send_keys("2")
    browser("#max-speakers").send_keys("4")
    browser("#keywords").send_keys("Turnscribe, Ann Lee\nWhisper,")
    browser("#prompt").send_keys("A call about Grüße.")
    browser.upload(recording)
    names = ("task", "channels", "min_speakers", "max_speakers", "keywords", "prompt")
    sent = [server.field(name) for name in names]
    assert sent == ["translate", "split", "2", "4", "Turnscribe,Ann Lee,Whisper", "A call about Grüße."]


def test_a_phone_shows_names_whole_and_the_text_has_the_room(
    browser: Browser, server: StandIn, recording: Path
) -> None:
    with phone(browser):
        browser.open(server.url)
        browser.upload(recording)
        assert not browser("#keys").is_displayed()
        height = browser.js("return innerHeight")
        assert browser("#player").size["height"] <= height / 5
        assert browser("#mending").size["height"] <= height / 6
        cut = (
            "return [...document.querySelectorAll('#names input')].map((each) => each.scrollWidth - each.clientWidth)"
        )
        assert browser.js(cut) == [0, 0, 0]
        assert browser.js("return document.documentElement.scrollWidth") == 360
        browser.js("arguments[0].click()", browser.word("question"))
        browser("#edit-text").click()
        assert browser.js("return document.documentElement.scrollWidth") == 360


def test_paper_has_the_title_the_facts_and_the_turns(browser: Browser, server: StandIn) -> None:
    server.states = [done(answer())]
    browser.open(f"{server.url}#job={JOB}")
    browser.shown("#result")
    browser.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    try:
        for selector in ("#player", "#downloads", "#mending", ".find", "#keys", ".banner", "#remove"):
            assert not browser(selector).is_displayed(), selector
        for selector in ("#result-title", "#facts", ".turn .name", ".said"):
            assert browser(selector).is_displayed(), selector
    finally:
        browser.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})


STATES = {
    "several files and the kept ones": (
        "location.hash = ''; document.getElementById('under-way').hidden = false;"
        " document.querySelector('.more').open = true"
    ),
    "an edited text": "document.getElementById('edit-text').click()",
    "the menu of formats": "document.getElementById('download-menu').open = true",
    "doubtful and found words": (
        "document.getElementById('doubts').click(); const find = document.getElementById('find');"
        " find.value = 'hello'; find.dispatchEvent(new Event('input'))"
    ),
}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("state", STATES)
def test_the_new_views_are_for_everybody(
    browser: Browser, server: StandIn, recording: Path, axe: Callable[[Browser], None], scheme: str, state: str
) -> None:
    """Enough contrast, and nothing for axe-core to find."""
    browser.prefer(prefers_color_scheme=scheme, prefers_reduced_motion="reduce")
    result = answer()
    result["words"][1]["probability"] = 0.5
    result["words"][2]["probability"] = 0.1
    server.states = [done(result)]
    server.jobs = {"job_meeting": [done(result)], "job_other": [{"status": "running", "progress": 0.3}]}
    browser.driver.execute_cdp_cmd("Page.setBypassCSP", {"enabled": True})
    try:
        browser.open(server.url)
        browser.upload(recording)
        browser.js(STATES[state])
        if "several" in state:
            browser.shown("#start")
        if "found" in state:
            browser.until(lambda: len(browser.all(".found")) == 2)
        views = browser.js(CONTRASTS)
        assert len(views) > 10
        assert [(ratio, name) for ratio, name in views if ratio < CONTRAST] == []
        axe(browser)
    finally:
        browser.driver.execute_cdp_cmd("Page.setBypassCSP", {"enabled": False})
