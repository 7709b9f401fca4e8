"""Violations of a JSON Schema, as lines for the author of the document."""

from jsonschema.exceptions import ValidationError, best_match  # type: ignore[import-untyped]  # it has no types of its own


def describe(error: ValidationError) -> str:
    """Where a document breaks its schema, as an RFC 6901 pointer, and how."""
    deepest = best_match([error]) or error
    pointer = "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in deepest.absolute_path)
    return f"{pointer or '/'}: {deepest.message}"
