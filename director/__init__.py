"""Director: the registry of the plane's parties and APIs, and the stream of each Runtime's configuration."""

import mesh  # noqa: F401 - before grpc, so that TLS 1.2 is never offered
