"""A document whose content was looked into."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from moorage.director.v1.specification_pb2 import SpecificationFormat, SpecificationState


@dataclass(frozen=True)
class InspectedSpecification:
    """A document as it is stored, with what its format's parser found."""

    format: SpecificationFormat.ValueType
    """What it is written in."""

    content: bytes
    """The document itself; in UTF-8 where the format is text and the document is not broken."""

    sha256: str
    """SHA-256 of `content`, lowercase hexadecimal."""

    problems: tuple[str, ...]
    """What makes it invalid, a line each; none where it is valid."""

    @classmethod
    def of(cls, format: SpecificationFormat.ValueType, content: bytes, problems: Sequence[str]) -> Self:
        """A document with the problems found in it."""
        return cls(format, content, hashlib.sha256(content).hexdigest(), tuple(problems))

    @property
    def size_bytes(self) -> int:
        """Length of `content`."""
        return len(self.content)

    @property
    def text(self) -> str:
        """`content` as text; raises `UnicodeDecodeError` where it is none."""
        return self.content.decode()

    @property
    def state(self) -> SpecificationState.ValueType:
        """Whether a parser for the format accepts it."""
        if self.problems:
            return SpecificationState.SPECIFICATION_STATE_INVALID
        return SpecificationState.SPECIFICATION_STATE_VALID
