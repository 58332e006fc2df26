"""`python -m scripts.flyte.compare`: see `adapters.flyte.compare`."""

import sys

from adapters.flyte.compare import main

if __name__ == "__main__":
    sys.exit(main())
