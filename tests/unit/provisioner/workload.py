"""A workload for the process driver: `workload.py CONFIGURATION EVENTS`.

It writes `started PID` to the named pipe EVENTS and waits to be ended. The file `ways` beside CONFIGURATION may say
otherwise: `stubborn` ignores SIGTERM, `parent` has a child in its group (`child PID`), `fail` exits with 14.
"""

import os
import signal
import subprocess
import sys
from pathlib import Path

configuration, events = map(Path, sys.argv[1:])
ways = configuration.with_name("ways").read_text().split() if configuration.with_name("ways").exists() else []


def tell(event: str) -> None:
    with events.open("a") as pipe:
        pipe.write(f"{event}\n")


if "stubborn" in ways:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
if "parent" in ways:
    tell(f"child {subprocess.Popen(['sleep', '600']).pid}")
tell(f"started {os.getpid()}")
if "fail" in ways:
    sys.exit(sys.stderr.write("agent: the token was refused\n") and 14)
signal.pause()
