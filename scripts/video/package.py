"""`python -m scripts.video.package`: see `adapters.video.package`."""

import sys

from adapters.video.package import main

if __name__ == "__main__":
    sys.exit(main())
