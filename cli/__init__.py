"""The `moorage` command."""

import mesh  # noqa: F401 - before grpc, so that TLS 1.2 is never offered
