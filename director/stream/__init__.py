"""The configuration stream: from the change log to what each Runtime is sent.

- `log_reader` reads, in one snapshot of the database, what the streams need of the changes since the last reading
- `view` keeps what is streamed now: each distinct set of groups is one View, however many Runtimes share it
- `encoding` makes the bytes that go over the wire
- `subscription` is one reader: a slot with the latest state, never a queue
- `admission` says how many may wait to be opened
- `hub` is the one loop that turns readings into new states, and the door for everybody else
"""
