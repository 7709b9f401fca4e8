"""The configuration stream, measured beside a bare grpc.aio server with as many mTLS connections, in the same run.

- `agents` is the process that holds the streams, one connection with a certificate of its own each
- `fleet` is what a benchmark does with that process
- `servers` are the Director, alone and on a registry of a given size, and the bare server
- `quiet` and `load` measure
"""
