"""All Runtimes as operators watch them: how each stands, and what it is to run."""
