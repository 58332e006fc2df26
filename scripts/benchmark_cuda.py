"""`python -m scripts.benchmark_cuda`: see `tools.benchmarks.cuda`."""

import sys

from tools.benchmarks.cuda import main

if __name__ == "__main__":
    sys.exit(main())
