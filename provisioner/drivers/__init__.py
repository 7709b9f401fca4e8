"""Drivers: how a Runtime's workload comes to run somewhere."""
