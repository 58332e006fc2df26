"""`python -m scripts.train_demo_models`: see `tools.train_demo_models.command`."""

import sys

from tools.train_demo_models.command import main

if __name__ == "__main__":
    sys.exit(main())
