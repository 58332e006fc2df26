"""`python -m scripts.short_clips`: see `tools.load_test.short_clips`."""

import sys

from tools.load_test.short_clips import main

if __name__ == "__main__":
    sys.exit(main())
