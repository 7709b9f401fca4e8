"""A process that logs: `log_child.py N` writes N lines to stderr, and says on stdout that it went on."""

import sys

from mesh import telemetry

telemetry.configure_logging("child")
log = telemetry.logger("part")
for number in range(int(sys.argv[1])):
    log.info("line", number=number, token="hush")
print("went on", flush=True)
