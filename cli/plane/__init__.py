"""The embedded plane: what `moorage up` makes in its home, and how it keeps the three services running."""
