"""`python -m scripts.load_test`: see `tools.load_test.command`."""

import sys

from tools.load_test.command import main

if __name__ == "__main__":
    sys.exit(main())
