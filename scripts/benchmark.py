"""`python -m scripts.benchmark`: see `tools.benchmarks.command`."""

import sys

from tools.benchmarks.command import main

if __name__ == "__main__":
    sys.exit(main())
