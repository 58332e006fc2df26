"""`openai_parameters.py` with the SDK of November 2025."""

import runpy
from pathlib import Path

runpy.run_path(str(Path(__file__).with_name("openai_parameters.py")), run_name="__main__")
