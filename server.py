"""`python -m server`: `turnscribe serve` with this repository's own settings and rules."""

from __future__ import annotations

import sys

from adapters.repository import REPOSITORY
from turnscribe.serving.server import main

if __name__ == "__main__":
    sys.exit(main(deployment=REPOSITORY, prog="server"))
