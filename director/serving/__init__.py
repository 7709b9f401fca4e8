"""An Application's own view, read once or streamed: the Runtimes that it serves, and where it sends its events."""
