"""`python -m scripts.models`: `turnscribe models`, from a clone."""

import sys
from pathlib import Path

if not __package__:  # run as a file: the repository is not on the path
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from turnscribe.cli.models import main

if __name__ == "__main__":
    sys.exit(main())
