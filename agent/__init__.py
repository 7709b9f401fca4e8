"""Agent: it speaks for one Runtime: enrols, renews, streams its configuration and applies it."""
