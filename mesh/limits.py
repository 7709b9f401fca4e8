"""Limits that both ends of a connection have to agree upon."""

MAX_TRANSPORT_BYTES = 16 * 1024 * 1024
"""The largest message that the transport takes at all; beyond it grpc itself answers RESOURCE_EXHAUSTED."""
