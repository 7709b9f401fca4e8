"""Help comes at once: nothing that is slow is loaded for it."""

import subprocess
import sys


def test_help_of_every_noun_loads_no_grpc() -> None:
    script = """
import sys
from cli import exits
from cli.__main__ import moorage
for noun in ("application", "api", "event-api", "group", "runtime", "operation", "token", "pair"):
    assert exits.run(lambda: moorage.main([noun, "--help"], standalone_mode=False)) == 0
print(sorted({"grpc", "google.protobuf", "cryptography", "rich", "structlog"} & sys.modules.keys()), file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=30, check=True)
    assert done.stderr == "[]\n"
