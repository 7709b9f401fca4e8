"""A document whose content was looked into."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from moorage.director.v1.specification_pb2 import Specification, SpecificationFormat, SpecificationState


@dataclass(frozen=True)
class InspectedSpecification:
    """A document as it is stored, with what its format's parser found."""

    format: SpecificationFormat.ValueType
    """What it is written in."""

    content: str
    """The document itself."""

    sha256: str
    """SHA-256 of `content` in UTF-8, lowercase hexadecimal."""

    size_bytes: int
    """Length of `content` in UTF-8."""

    problems: tuple[str, ...]
    """What makes it invalid, a line each; none where it is valid."""

    @classmethod
    def of(cls, sent: Specification, problems: Sequence[str]) -> Self:
        """The document that was `sent`, with the problems found in it."""
        encoded = sent.content.encode()
        digest = hashlib.sha256(encoded).hexdigest()
        return cls(sent.format, sent.content, digest, len(encoded), tuple(problems))

    @property
    def state(self) -> SpecificationState.ValueType:
        """Whether a parser for the format accepts it."""
        if self.problems:
            return SpecificationState.SPECIFICATION_STATE_INVALID
        return SpecificationState.SPECIFICATION_STATE_VALID
