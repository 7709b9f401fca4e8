"""OpenAPI 2 (Swagger), 3.0, 3.1 and 3.2, by openapi-spec-validator."""

import re
from collections.abc import Iterator
from typing import Any

from openapi_spec_validator import (
    OpenAPIV2SpecValidator,
    OpenAPIV30SpecValidator,
    OpenAPIV31SpecValidator,
    OpenAPIV32SpecValidator,
)

from director.specifications.schema_errors import describe

_VERSIONS = {
    ("swagger", r"2\.0"): OpenAPIV2SpecValidator,
    ("openapi", r"3\.0\.\d+"): OpenAPIV30SpecValidator,
    ("openapi", r"3\.1\.\d+"): OpenAPIV31SpecValidator,
    ("openapi", r"3\.2\.\d+"): OpenAPIV32SpecValidator,
}


def problems(document: dict[str, Any]) -> Iterator[str]:
    """A line for each thing that is wrong with an OpenAPI document whose references are whole."""
    for (field, pattern), specification in _VERSIONS.items():
        version = document.get(field)
        if isinstance(version, str) and re.fullmatch(pattern, version):
            validator = specification(document)
            break
    else:
        yield "it says neither swagger: '2.0' nor openapi: '3.0.x', '3.1.x' or '3.2.x'"
        return
    # Not `iter_errors`, which keeps every document that it ever saw; and what the document means is looked into only
    # when its form is right.
    errors = list(validator.schema_validator.iter_errors(document)) or validator.root_validator(validator.schema_path)
    yield from map(describe, errors)
