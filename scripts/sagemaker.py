"""`python -m scripts.sagemaker`: see `adapters.sagemaker.command`."""

import sys

from adapters.sagemaker.command import main

if __name__ == "__main__":
    sys.exit(main())
