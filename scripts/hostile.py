"""`python -m scripts.hostile`: see `tools.hostile.command`."""

import signal
import sys

from tools.hostile.command import main

if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # which ends what was started, as Ctrl-C does
    sys.exit(main())
