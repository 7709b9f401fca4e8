"""Provisioner: Runtimes created and removed as long-running operations, through drivers."""

import mesh  # noqa: F401 - before grpc, so that TLS 1.2 is never offered
