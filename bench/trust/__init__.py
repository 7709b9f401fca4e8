"""Trust, measured: enrolment, renewal and revocation by a real Connector, beside a bare grpc.aio server.

- `floor` is the bare server: what any answer costs that shakes hands, checks a request and signs
- `newcomers` open a connection each for one call, as whoever enrols does
- `enrolment`, `renewal` and `revocation` measure; `parts` puts them together
"""
