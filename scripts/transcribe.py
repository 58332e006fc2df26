"""`python -m scripts.transcribe`: `turnscribe transcribe` with this repository's own settings and rules."""

import sys
from pathlib import Path

if not __package__:  # run as a file: the repository is not on the path
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from adapters.repository import REPOSITORY
from turnscribe.cli.transcribe import main

if __name__ == "__main__":
    sys.exit(main(deployment=REPOSITORY))
