"""The manual's pages and the commands in them: what the tests of the README and of the platforms run."""

from __future__ import annotations

import re

from tests.conftest import REPOSITORY

PAGES = sorted(
    str(page.relative_to(REPOSITORY))
    for pattern in (
        "README.md",
        "CONTRIBUTING.md",
        "SECURITY.md",
        "docs/**/*.md",
        "adapters/*/README.md",
        "deploy/README.md",
        "demo/*.md",
    )
    for page in REPOSITORY.glob(pattern)
)
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", flags=re.MULTILINE | re.DOTALL)


def read(page: str) -> str:
    return (REPOSITORY / page).read_text()


def blocks(page: str) -> list[tuple[str, str]]:
    """Language and text of each block of a page; pictures (`text`) are none."""
    return [(language, text) for language, text in BLOCK.findall(read(page)) if language != "text"]


def block(language: str, marker: str) -> str:
    """The only block of a language that holds the marker. Where two pages have it, both have it word for word."""
    (found,) = {text for page in PAGES for name, text in blocks(page) if name == language and marker in text}
    return found
