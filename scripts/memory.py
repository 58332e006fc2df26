"""`python -m scripts.memory`: see `tools.benchmarks.memory`."""

import sys

from tools.benchmarks.memory import main

if __name__ == "__main__":
    sys.exit(main())
