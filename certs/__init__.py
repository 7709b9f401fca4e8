"""X.509 and SPIFFE: authorities, requests, issuing, checks, one-time tokens and identities on disk.

Nothing in here knows of gRPC or SQL. Every refusal is a subclass of `certs.errors.CertsError` with a
`reason` from an enumeration, so that a caller can tell them apart without reading text.
"""
