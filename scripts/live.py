"""`python -m scripts.live`: `turnscribe live`."""

import sys
from pathlib import Path

if not __package__:  # run as a file: the repository is not on the path
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from turnscribe.cli.live import main

if __name__ == "__main__":
    sys.exit(main())
