"""`python -m scripts.ray`: see `adapters.ray.command`."""

import sys

from adapters.ray.command import main

if __name__ == "__main__":
    sys.exit(main())
