"""`python -m turnscribe`: the console command (see `turnscribe.cli.main`)."""

import sys

from turnscribe.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
