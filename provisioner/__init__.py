"""Provisioner: Runtimes created and removed as long-running operations, through drivers."""
