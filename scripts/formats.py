"""`python -m scripts.formats`: see `tools.formats.command`."""

import sys

from tools.formats.command import main

if __name__ == "__main__":
    sys.exit(main())
