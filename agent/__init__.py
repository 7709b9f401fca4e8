"""Agent: it speaks for one Runtime: enrols, renews, streams its configuration and applies it."""

import mesh  # noqa: F401 - before grpc, so that TLS 1.2 is never offered
