"""The common shape of everything that this package refuses."""

from enum import StrEnum
from typing import Generic, TypeVar

ReasonT = TypeVar("ReasonT", bound=StrEnum)


class CertsError(Exception, Generic[ReasonT]):
    """A refusal: `reason` is for programs, the text for people. Neither ever holds a secret."""

    def __init__(self, reason: ReasonT, message: str) -> None:
        super().__init__(message)
        self.reason: ReasonT = reason
