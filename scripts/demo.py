"""`python -m scripts.demo`: see `tools.demo`."""

import sys

from tools.demo import main

if __name__ == "__main__":
    sys.exit(main())
