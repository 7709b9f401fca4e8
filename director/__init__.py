"""Director: the registry of the plane's parties and APIs, and the stream of each Runtime's configuration."""
