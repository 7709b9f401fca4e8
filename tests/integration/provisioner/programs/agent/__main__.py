"""Stands for the agent: `python -m agent --config FILE`. It says in its folder that it runs, and waits to be ended."""

import os
import signal
import sys
import tomllib
from pathlib import Path

home = Path(tomllib.loads(Path(sys.argv[2]).read_text())["agent"]["home"])
(home / "applied").write_text(str(os.getpid()))
signal.pause()
