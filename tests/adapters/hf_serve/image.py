"""What the image of hf-serve sets, read from its Dockerfile."""

from __future__ import annotations

import re

from tests.conftest import REPOSITORY

FILE = "adapters/hf_serve/Dockerfile"


def variables() -> dict[str, str]:
    """The environment that the image gives to hf-serve."""
    text = (REPOSITORY / FILE).read_text().replace("\\\n", " ")
    return dict(
        pair.split("=", 1) for line in re.findall(r"^ENV (.*)$", text, flags=re.MULTILINE) for pair in line.split()
    )
