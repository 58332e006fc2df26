"""`python -m scripts.soak`: see `tools.soak.command`."""

import signal
import sys

from tools.soak.command import main

if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # which ends what was started, as Ctrl-C does
    sys.exit(main())
