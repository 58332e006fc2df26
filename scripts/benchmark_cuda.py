"""`python -m scripts.benchmark_cuda`: see `tools.benchmarks.cuda.command`."""

import sys

from tools.benchmarks.cuda.command import main

if __name__ == "__main__":
    sys.exit(main())
