"""`python -m scripts.precision`: see `tools.benchmarks.precision`."""

import sys

from tools.benchmarks.precision import main

if __name__ == "__main__":
    sys.exit(main())
