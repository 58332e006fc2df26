"""`python -m scripts.ray.figures`: see `adapters.ray.figures`."""

import sys

from adapters.ray.figures import main

if __name__ == "__main__":
    sys.exit(main())
