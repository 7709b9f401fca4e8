"""Scripts for development; none of them is in the wheel."""
