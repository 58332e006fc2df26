"""Pictures of a mended transcript, as the manual has them: on a desktop, in the dark, on a phone.

PICTURES=docs .venv/bin/pytest tests/serving/test_page_pictures.py      makes them anew
"""

from __future__ import annotations

import base64
import json
import os
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver.common.keys import Keys

from tests.conftest import REPOSITORY
from tests.serving.page import Browser, StandIn, done

pytestmark = pytest.mark.serving

NAMES = ("Ann", "Ben", "Chris", "Dana")
LARGEST = 200_000  # bytes of a picture in the manual
SIZES = {  # width, height, dots to a CSS pixel
    "page": (1280, 860, 1),
    "page-dark": (1280, 860, 1),
    "page-phone": (360, 740, 2),
}


def conversation() -> dict[str, Any]:
    """The demo conversation as the server would answer it; every seventh word is doubtful."""
    words = json.loads((REPOSITORY / "demo" / "conversation.json").read_text())["words"]
    told = [
        each
        | {"word": f" {each['word']}", "probability": 0.3 if number % 13 == 6 else 0.55 if number % 7 == 3 else 0.9}
        for number, each in enumerate(words)
    ]
    turns = [list(turn) for _, turn in groupby(told, key=lambda word: word["speaker"])]
    chunks = [
        {
            "text": "".join(word["word"] for word in turn),
            "timestamp": [turn[0]["start"], turn[-1]["end"]],
            "speaker": turn[0]["speaker"],
        }
        for turn in turns
    ]
    text = "".join(chunk["text"] for chunk in chunks).strip()
    last = words[-1]["end"]
    return {"text": text, "chunks": chunks, "speakers": chunks, "words": told, "language": "en", "duration": last}


def test_pictures_of_a_mended_transcript(browser: Browser, server: StandIn, tmp_path: Path) -> None:
    folder = Path(os.environ.get("PICTURES") or tmp_path)
    server.states = [done(conversation())]
    browser.open(server.url)
    browser.upload(REPOSITORY / "demo" / "conversation.flac")
    fields = len(browser.all("#names input"))
    for number, name in zip(range(fields), NAMES, strict=False):
        field = browser.all("#names input")[number]
        field.send_keys(Keys.CONTROL, "a")
        field.send_keys(name, Keys.ENTER)
    for number in range(3):
        browser.js("arguments[0].click()", browser.all(".said")[number].find_element("css selector", ".word"))
        browser("#edit-text").click()
        field = browser.shown(".editor")
        text = field.get_attribute("value") or ""
        field.send_keys(Keys.CONTROL, "a")
        field.send_keys(text.capitalize() + ".", Keys.ENTER)
    browser("#doubts").click()
    browser.js("document.querySelectorAll('.said')[2].querySelectorAll('.word')[1].click()")
    browser.js("document.activeElement.blur(); scrollTo(0, 0)")
    for name, (width, height, dots) in SIZES.items():
        browser.prefer(prefers_color_scheme="dark" if "dark" in name else "light", prefers_reduced_motion="reduce")
        size = {"width": width, "height": height, "deviceScaleFactor": dots, "mobile": dots > 1}
        browser.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        try:
            browser.js("scrollTo(0, 0)")
            taken = browser.driver.execute_cdp_cmd("Page.captureScreenshot", {"format": "png"})["data"]
        finally:
            browser.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        file = folder / f"{name}.png"
        file.write_bytes(base64.b64decode(taken))
        assert 10_000 < file.stat().st_size < LARGEST
