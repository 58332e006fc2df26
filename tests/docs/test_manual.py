"""The manual as it is built: strict, every page in the navigation, and nothing in it loaded from another address."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
import yaml

from tests.conftest import REPOSITORY
from tests.manual import PAGES, read

DOCS = REPOSITORY / "docs"
LOADING_LINKS = {
    "stylesheet",
    "preconnect",
    "preload",
    "modulepreload",
    "dns-prefetch",
    "prefetch",
    "icon",
    "manifest",
}
OUTSIDE = re.compile(r"\s*(?:https?:)?//", flags=re.IGNORECASE)
CSS_URL = re.compile(r"""(?:url\(\s*|@import\s+)["']?([^"')\s]+)""")
SCRIPT_LOADS = re.compile(r"""(?:importScripts|import|fetch|\.src\s*=)\s*\(?\s*["'`]((?:https?:)?//[^"'`]+)""")
NAMED_FILE = re.compile(r"`((?:turnscribe|adapters|tools|scripts|tests|docs|demo)/[\w./-]*)`")


class Loaded(HTMLParser):
    """The addresses that a browser loads by itself when it shows a page."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "link":
            if LOADING_LINKS & set(given.get("rel", "").lower().split()):
                self.addresses.append(given.get("href", ""))
        else:
            self.addresses += [given[name] for name in ("src", "poster", "data") if name in given]
            self.addresses += [part.split()[0] for part in given.get("srcset", "").split(",") if part.split()]
        self.addresses += CSS_URL.findall(given.get("style", ""))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return folder


def loaded_by(file: Path) -> list[str]:
    text = file.read_text()
    if file.suffix == ".html":
        page = Loaded()
        page.feed(text)
        return page.addresses + CSS_URL.findall("".join(re.findall(r"<style[^>]*>(.*?)</style>", text, re.DOTALL)))
    return CSS_URL.findall(text) if file.suffix == ".css" else SCRIPT_LOADS.findall(text)


def test_no_built_page_loads_anything_from_another_address(site: Path) -> None:
    files = [file for file in site.rglob("*") if file.suffix in (".html", ".css", ".js")]
    assert {file.suffix for file in files} == {".html", ".css", ".js"}
    outside = {(file.name, address) for file in files for address in loaded_by(file) if OUTSIDE.match(address)}
    assert not outside


def test_what_is_loaded_from_elsewhere_is_found(tmp_path: Path) -> None:
    pages = {
        "a.html": "<script src='https://cdn.example/a.js'></script>",
        "b.html": "<link rel=preconnect href=//fonts.example>",
        "c.html": "<img srcset='a.png, https://img.example/a.png 2x'>",
        "d.html": "<style>@import 'https://a.example/a.css';</style>",
        "e.css": "a { background: url(https://a.example/a.png) }",
        "f.js": "importScripts('https://a.example/a.js')",
    }
    for name, text in pages.items():
        (tmp_path / name).write_text(text)
        assert [address for address in loaded_by(tmp_path / name) if OUTSIDE.match(address)], name


def test_every_page_is_in_the_navigation_and_is_built(site: Path) -> None:
    pages = {str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md")}
    navigation = re.findall(r": (\S+\.md)$", read("mkdocs.yml").partition("\nnav:")[2], flags=re.MULTILINE)
    assert sorted(navigation) == sorted(pages)
    assert all((site / page).with_suffix(".html").is_file() for page in pages)


def test_the_settings_are_the_ones_that_keep_the_pages_at_home() -> None:
    settings = yaml.safe_load(read("mkdocs.yml"))
    assert settings["theme"]["font"] is False
    assert settings["site_dir"] == "build/site"
    assert "analytics" not in settings.get("extra", {})


def test_every_file_that_a_page_names_is_there() -> None:
    for page in PAGES:
        missing = [name for name in NAMED_FILE.findall(read(page)) if not (REPOSITORY / name).exists()]
        assert not missing, f"{page} names {missing}"


def test_every_folder_is_in_the_map_of_the_architecture() -> None:
    folders = {str(file.parent.relative_to(REPOSITORY)) for file in (REPOSITORY / "turnscribe").glob("*/__init__.py")}
    assert folders
    assert all(f"| `{folder}/` |" in read("docs/architecture.md") for folder in folders)


def test_every_file_that_a_page_outside_the_manual_links_to_is_there() -> None:
    """mkdocs looks after the links of the manual's own pages."""
    for page in [*PAGES, "CHANGELOG.md"]:
        if page.startswith("docs/"):
            continue
        for link in re.findall(r"\]\(([^)\s]+)\)", read(page)):
            if OUTSIDE.match(link) or link.startswith("#"):
                continue
            target, _, anchor = link.partition("#")
            file = (REPOSITORY / page).parent / target
            assert file.exists(), f"{page} links to {target}"
            if anchor:
                assert anchor in anchors(file.read_text()), f"{page} links to {link}"


def anchors(text: str) -> set[str]:
    """Of a page's headings, as mkdocs and the sites that show repositories make them.

    >>> sorted(anchors("# The answer\\n## OpenAI's client"))
    ['openais-client', 'the-answer']
    """
    titles = re.findall(r"^#+ (.*)$", text, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title).strip().lower().replace(" ", "-") for title in titles}


def test_the_readme_is_short() -> None:
    assert len(read("README.md").splitlines()) <= 180
