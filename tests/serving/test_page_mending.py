"""Mending on the page: the value and its edits as pure functions, in a Chromium, and the views of them."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select

from tests.serving.page import JOB, SAID, Browser, StandIn, answer, done

pytestmark = pytest.mark.serving

# --- The value ------------------------------------------------------------------------------------------------

DOCUMENT = "mended/document.js"
HELLO = [("A", "hello team please listen"), ("B", "one question"), ("A", "yes please"), ("C", "thanks")]


def words(*texts: str, step: float = 0.5) -> list[dict[str, Any]]:
    times = [(index * step, index * step + step * 0.9) for index in range(len(texts))]
    return [
        {"text": text, "space": True, "start": start, "end": end, "probability": 0.9, "chunk": 0}
        for text, (start, end) in zip(texts, times, strict=True)
    ]


def document(browser: Browser, said: list[tuple[str | None, str]] = HELLO) -> dict[str, Any]:
    return browser.module("mended/answers.js", "return module.fromAnswer(given[0])", answer(list(said)))


def edit(browser: Browser, doc: dict[str, Any], call: str) -> dict[str, Any]:
    """The document after a call, and whether each paragraph is the same object as before."""
    script = (
        f"const doc = given[0]; const after = module.{call};"
        "return {...after, same: after.paragraphs.map((each) => doc.paragraphs.includes(each))};"
    )
    return browser.module(DOCUMENT, script, doc)


def spoken(doc: dict[str, Any]) -> list[tuple[str | None, str, bool]]:
    return [
        (part["speaker"], " ".join(word["text"] for word in part["words"]), part["opens"])
        for part in doc["paragraphs"]
    ]


@pytest.fixture
def page(browser: Browser, server: StandIn) -> Browser:
    browser.open(server.url)
    return browser


def rewritten(
    browser: Browser, old: list[dict[str, Any]], text: str, **around: Any
) -> list[tuple[str, float, float]]:
    found = browser.module("mended/rewriting.js", "return module.rewritten(...given)", old, text, around)
    return [(word["text"], word["start"], word["end"]) for word in found]


def test_words_that_stay_keep_their_times_and_new_ones_share_what_they_replace(page: Browser) -> None:
    old = words("hello", "tim", "please", "listen")
    assert rewritten(page, old, "hello team, please listen") == [
        ("hello", 0.0, 0.45),
        ("team,", 0.5, 0.95),
        ("please", 1.0, 1.45),
        ("listen", 1.5, 1.95),
    ]
    two = rewritten(page, old, "hello my dear please listen")
    assert two[1][0] == "my"
    assert two[1][1] == 0.5
    assert two[1][2] == two[2][1]
    assert two[2][2] == 0.95
    assert two[3] == ("please", 1.0, 1.45)


def test_an_inserted_word_lies_between_its_neighbours_and_none_reaches_into_the_next_paragraph(page: Browser) -> None:
    old = words("hello", "listen")
    assert rewritten(page, old, "hello, listen")[1] == ("listen", 0.5, 0.95)
    assert rewritten(page, old, "hello dear listen")[1] == ("dear", 0.45, 0.5)
    last = rewritten(page, old, "hello listen now", after=1.1)[2]
    assert last == ("now", 0.95, 1.1)
    first = rewritten(page, words("x", "hello")[1:], "so hello", before=0.0)[0]
    assert first == ("so", pytest.approx(0.1), 0.5)
    assert rewritten(page, old, "  ") == []


def test_text_without_spaces_is_mended_by_its_letters(page: Browser) -> None:
    old = [word | {"space": False} for word in words("今日", "は", "天気", "が", "いい")]
    found = rewritten(page, old, "今日は電気がいい", language="ja")
    assert [(text, start) for text, start, _ in found if text in "今日は"] == [("今日", 0.0), ("は", 0.5)]
    assert "".join(text for text, _, _ in found) == "今日は電気がいい"
    assert found[-1] == ("いい", 2.0, 2.45)


def test_an_edit_leaves_all_other_paragraphs_the_same_objects(page: Browser) -> None:
    doc = document(page)
    after = edit(page, doc, "rewrite(doc, 1, 'no questions')")
    assert spoken(after)[1] == ("B", "no questions", True)
    assert after["same"] == [True, False, True, True]
    assert after["paragraphs"][1]["words"][0]["probability"] is None
    assert page.module(DOCUMENT, "return module.rewrite(given[0], 1, ' one  question ') === given[0]", doc)
    gone = edit(page, doc, "rewrite(doc, 3, '')")
    assert [speaker["id"] for speaker in gone["speakers"]] == ["A", "B"]


def test_turns_are_given_away_split_and_joined(page: Browser) -> None:
    doc = document(page)
    split = edit(page, doc, "split(doc, 0, 2)")
    assert spoken(split)[:2] == [("A", "hello team", True), ("A", "please listen", True)]
    given = edit(page, split, "assign(doc, 1, 'B')")
    assert spoken(given)[:3] == [("A", "hello team", True), ("B", "please listen", True), ("B", "one question", True)]
    assert spoken(edit(page, given, "join(doc, 2)"))[2] == ("B", "one question", False)
    new = edit(page, doc, "assignNew(doc, 2)")
    assert spoken(new)[2] == ("Speaker 4", "yes please", True)
    assert new["speakers"][-1] == {"id": "Speaker 4", "name": "Speaker 4", "colour": 3}
    assert page.module(DOCUMENT, "return module.split(given[0], 1, 0) === given[0]", doc)


def test_two_speakers_with_one_name_are_one(page: Browser) -> None:
    doc = edit(page, document(page), "rename(doc, 'A', ' Ann  Lee ')")
    assert [speaker["name"] for speaker in doc["speakers"]] == ["Ann Lee", "B", "C"]
    one = edit(page, doc, "rename(doc, 'B', 'Ann Lee')")
    assert [speaker["id"] for speaker in one["speakers"]] == ["A", "C"]
    assert spoken(one) == [
        ("A", "hello team please listen", True),
        ("A", "one question", False),
        ("A", "yes please", False),
        ("C", "thanks", True),
    ]
    assert one["same"] == [True, False, False, True]


def test_undo_and_redo_go_through_the_states(page: Browser) -> None:
    script = (
        "const {begun, edited, undone, redone} = module; let h = edited(edited(begun('a'), 'b', 'x'), 'c', 'y');"
        "const back = undone(undone(h)); const other = edited(back, 'd', 'z');"
        "return [h.present, back.present, undone(back), redone(back).present, other.future.length,"
        " edited(h, 'c', 'same') === h]"
    )
    assert page.module("mended/history.js", script) == ["c", "a", None, "b", 0, True]


def test_an_answer_comes_back_as_it_was(page: Browser) -> None:
    said = answer(list(HELLO))
    said["chunks"] = [
        {"text": " hello team please listen", "timestamp": [0.0, 1.95], "speaker": "A"},
        {"text": " one", "timestamp": [2.0, 2.45], "speaker": "B"},
        {"text": " question", "timestamp": [2.5, 2.95], "speaker": "B"},
        {"text": " yes please", "timestamp": [3.0, 3.95], "speaker": "A"},
        {"text": " thanks", "timestamp": [4.0, 4.45], "speaker": "C"},
    ]
    back = page.module("mended/answers.js", "return module.toAnswer(module.fromAnswer(given[0]))", said)
    assert {name: back[name] for name in ("text", "chunks", "words", "language", "duration")} == {
        name: said[name] for name in ("text", "chunks", "words", "language", "duration")
    }
    assert [part["text"] for part in back["speakers"]] == [text for _, text in HELLO]


# --- The page -------------------------------------------------------------------------------------------------


def shown(browser: Browser) -> list[str]:
    return [
        " ".join(text.split())
        for text in browser.js(
            "return [...document.querySelectorAll('.turn')].map((turn) =>"
            " `${turn.querySelector('.name')?.textContent ?? ''}: ${turn.querySelector('.said').textContent}`)"
        )
    ]


@pytest.fixture
def desk(browser: Browser, server: StandIn) -> Browser:
    server.states = [done(answer())]
    browser.open(f"{server.url}#job={JOB}")
    browser.shown("#result")
    return browser


def chord(browser: Browser, *keys: str) -> None:
    *held, last = keys
    actions = ActionChains(browser.driver)
    for key in held:
        actions.key_down(key)
    actions.send_keys(last)
    for key in held:
        actions.key_up(key)
    actions.perform()


def write(browser: Browser, text: str, *more: str) -> None:
    field = browser.shown(".editor")
    field.send_keys(Keys.CONTROL, "a")
    field.send_keys(text, *more)


def test_text_is_mended_in_place_undone_and_downloaded(desk: Browser, server: StandIn) -> None:
    desk.js("window.third = document.querySelectorAll('.turn')[2]")
    desk.word("question").click()
    desk("#edit-text").click()
    assert desk("textarea.editor").get_attribute("value") == "hello i have one question"
    assert desk(".editor").accessible_name == "Text of SPEAKER_00 at 0:02"
    write(desk, "hello i have two questions", Keys.ENTER)
    assert shown(desk)[1] == "SPEAKER_00: hello i have two questions"
    assert desk.js("return window.third === document.querySelectorAll('.turn')[2]"), "only its turn is painted anew"
    assert desk.text("#status") == "The text is changed."
    assert "hello i have two questions" in desk.downloaded("srt")
    saved = json.loads(desk.downloaded("json"))["words"]
    assert [(word["word"], word["start"]) for word in saved[4:9]] == [
        (" hello", 2.0),
        (" i", 2.5),
        (" have", 3.0),
        (" two", 3.5),
        (" questions", pytest.approx(3.78, abs=0.1)),
    ]
    assert "probability" not in saved[7]
    desk.js("document.activeElement.blur()")
    chord(desk, Keys.CONTROL, "z")
    assert shown(desk)[1] == "SPEAKER_00: hello i have one question"
    assert desk("#undo").is_enabled() is False
    assert desk("#redo").accessible_name == "Redo changing text"
    chord(desk, Keys.CONTROL, Keys.SHIFT, "z")
    assert shown(desk)[1] == "SPEAKER_00: hello i have two questions"
    desk("#undo").click()
    desk("#redo").click()
    desk.word("team").click()
    desk.press(Keys.F2)
    write(desk, "nothing of this", Keys.ESCAPE)
    assert shown(desk)[0] == "SPEAKER_01: hello team please listen"
    assert desk.focused() == "team"


def test_a_turn_is_split_and_given_to_another_and_to_a_new_speaker(desk: Browser) -> None:
    desk.word("please").click()
    assert desk("#split").accessible_name == "Split before “please”"
    chord(desk, Keys.CONTROL, Keys.ENTER)
    assert shown(desk)[:2] == ["SPEAKER_01: hello team", "SPEAKER_01: please listen"]
    assert desk.focused() == "please"
    Select(desk("#turn-speaker")).select_by_visible_text("SPEAKER_02")
    assert shown(desk)[1] == "SPEAKER_02: please listen"
    desk.word("sorry").click()
    Select(desk("#turn-speaker")).select_by_visible_text("New speaker")
    assert shown(desk)[4].startswith("Speaker 4: sorry my")
    fields = [field.get_attribute("value") for field in desk.all("#names input")]
    assert fields == ["SPEAKER_01", "SPEAKER_00", "SPEAKER_02", "Speaker 4"]
    assert "4 speakers" in desk.text("#facts")
    desk.word("we").click()
    desk("#join").click()
    assert shown(desk)[3] == ": we send the report on friday"
    for _ in range(4):
        desk("#undo").click()
    assert shown(desk) == [f"{speaker}: {text}" for speaker, text in SAID]
    assert not desk("#undo").is_enabled()


def test_the_same_name_makes_two_speakers_one(desk: Browser) -> None:
    field = desk("[aria-label='Name of SPEAKER_00']")
    field.send_keys(Keys.CONTROL, "a")
    field.send_keys("SPEAKER_01", Keys.ENTER)
    assert desk.text("#status") == "SPEAKER_00 and SPEAKER_01 are one speaker now."
    assert shown(desk)[:3] == [
        "SPEAKER_01: hello team please listen",
        ": hello i have one question",
        ": we send the report on friday",
    ]
    assert "2 speakers" in desk.text("#facts")
    desk("#undo").click()
    assert "3 speakers" in desk.text("#facts")


def test_text_is_found(desk: Browser) -> None:
    desk("#find").send_keys("HELLO")
    desk.until(lambda: desk.text("#found") == "2 places")
    desk.press(Keys.ENTER, Keys.ENTER)
    assert desk.text("#found") == "2 of 2"
    assert desk.js("return document.querySelector('.found-now').closest('.turn').ariaLabel") == "SPEAKER_00, 0:02"
    desk("#find-next").click()
    assert desk.text("#found") == "1 of 2"
    desk("#find").send_keys(Keys.CONTROL, "a")
    desk("#find").send_keys("one quest")
    desk.until(lambda: [word.text for word in desk.all(".found")] == ["one", "question"])
    desk("#find").send_keys("x")
    desk.until(lambda: desk.text("#found") == "no places")
    assert not desk.all(".found")


def test_doubtful_words_are_shaded_and_say_how_sure(browser: Browser, server: StandIn) -> None:
    result = answer()
    result["words"][1]["probability"] = 0.5
    result["words"][2]["probability"] = 0.12
    server.states = [done(result)]
    browser.open(f"{server.url}#job={JOB}")
    browser.shown("#result")
    ground = "return getComputedStyle(arguments[0]).textDecorationLine"
    assert browser.js(ground, browser.word("team")) == "none"
    browser("#doubts").click()
    assert [browser.js(ground, browser.word(text)) for text in ("hello", "team", "please")] == [
        "none",
        "underline",
        "underline",
    ]
    word = browser.word("please")
    ActionChains(browser.driver).move_to_element(word).perform()
    assert word.get_attribute("title") == "12 % sure"
    word.click()
    node = browser.driver.execute_cdp_cmd(
        "Accessibility.queryAXTree",
        {
            "objectId": browser.driver.execute_cdp_cmd("Runtime.evaluate", {"expression": "document.body"})["result"][
                "objectId"
            ],
            "role": "button",
            "accessibleName": "please",
        },
    )["nodes"][0]
    assert node["description"]["value"].startswith("12 % sure")


def test_the_text_is_copied(desk: Browser) -> None:
    desk.driver.execute_cdp_cmd("Browser.grantPermissions", {"permissions": ["clipboardReadWrite"]})
    read = "navigator.clipboard.readText().then(arguments[0], (error) => arguments[0](String(error)))"
    desk("#copy-all").click()
    desk.until(lambda: desk.text("#status") == "Copied.")
    assert desk.driver.execute_async_script(read) == "\n".join(f"{speaker}: {text}" for speaker, text in SAID)
    desk.word("question").click()
    desk("#copy-turn").click()
    desk.until(lambda: desk.driver.execute_async_script(read) == "SPEAKER_00: hello i have one question")


def test_an_edit_of_two_hours_repaints_only_its_turn(browser: Browser, server: StandIn) -> None:
    said = [(f"SPEAKER_{number % 4:02d}", " ".join(["word"] * 24 + [f"w{number}"])) for number in range(800)]
    server.states = [done(answer(said, step=0.36))]
    browser.open(f"{server.url}#job={JOB}")
    browser.until(lambda: browser.js("return document.querySelectorAll('.word').length") == 20_000, 60)
    browser.js(
        "window.made = 0;"
        "new MutationObserver((all) => { for (const each of all) window.made += each.addedNodes.length; })"
        ".observe(document.getElementById('transcript'), {childList: true})"
    )
    browser.js("[...document.querySelectorAll('.word')].find((word) => word.textContent === 'w400').click()")
    browser("#edit-text").click()
    browser.js("document.querySelector('.editor').value = 'another text'")
    took = browser.js(
        "const began = performance.now();"
        "document.querySelector('.editor').dispatchEvent(new KeyboardEvent('keydown', {key: 'Enter'}));"
        "document.body.offsetHeight; return performance.now() - began"
    )
    browser.until(lambda: "another text" in browser.text("#transcript"))
    assert browser.js("return window.made") == 1
    print(f"an edit of 20,000 words: {took:.0f} ms")
    assert took < 1000  # milliseconds, on two busy cores
    began = time.monotonic()
    browser("#undo").click()
    assert time.monotonic() - began < 5
    assert browser.js("return document.querySelectorAll('.word').length") == 20_000
