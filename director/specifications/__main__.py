"""The inspecting child: documents come in on standard input, their problems go out on standard output.

A question is a line of JSON, `[format, size, cpu_seconds]`, and then so many bytes of document; an answer is a line of
JSON. A document that takes more than so many seconds to compute upon ends the child by SIGPROF.

Once it answers, it can open no file and no socket any more, whatever a document asks for.
"""

import json
import os
import resource
import signal
import sys
from typing import Any, BinaryIO

from director.specifications.documents import ASYNCAPI, GRPC_DESCRIPTOR_SET, ODATA_EDMX, OPENAPI, problems_of

MEMORY_BYTES = 1 << 30
"""Address space that the child may take; a document that needs more has a problem."""

ORPHAN_PER_CPU = 3
"""How many times that a document may take if the parent, whose own limit is lower, is no longer there to end it."""

_INFO = 'info: {title: t, version: "1"}'
_REHEARSAL = (
    (OPENAPI, f'swagger: "2.0"\n{_INFO}\npaths: {{}}\n'),
    (OPENAPI, f"openapi: 3.0.3\n{_INFO}\npaths: {{/a: {{get: {{responses: {{200: {{description: d}}}}}}}}}}\n"),
    (OPENAPI, f"openapi: 3.1.0\n{_INFO}\ncomponents: {{schemas: {{s: {{type: string, default: a}}}}}}\n"),
    (OPENAPI, '{"openapi": "3.1.0", "info": {"title": 1}}'),
    (OPENAPI, f"openapi: 3.2.0\n{_INFO}\ncomponents: {{schemas: {{s: {{type: string, default: a}}}}}}\n"),
    (ASYNCAPI, f"asyncapi: 2.6.0\n{_INFO}\nchannels: {{}}\n"),
    (ASYNCAPI, "asyncapi: 3.0.0\ninfo: {title: t}\n"),
    (ODATA_EDMX, "<Edmx/>"),
    (GRPC_DESCRIPTOR_SET, "\n\x00"),
)


def main() -> None:
    """Answer until standard input ends. The first question, null, is whether the child has started."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # that is for the parent, who ends us
    for format, content in _REHEARSAL:
        problems_of(format, content.encode())  # loads what is loaded on first use, while that is still possible
    _confine()
    for line in sys.stdin.buffer:
        sys.stdout.write(json.dumps(_answer(json.loads(line), sys.stdin.buffer)) + "\n")
        sys.stdout.flush()


def _answer(question: Any, documents: BinaryIO) -> Any:
    if question is None:
        return None
    format, size, cpu_seconds = question
    signal.setitimer(signal.ITIMER_REAL, cpu_seconds * ORPHAN_PER_CPU)
    signal.setitimer(signal.ITIMER_PROF, cpu_seconds)
    try:
        return problems_of(format, documents.read(size))
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)


def _confine() -> None:
    os.nice(10)  # the calls that the Director answers meanwhile go first
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))


if __name__ == "__main__":
    main()
