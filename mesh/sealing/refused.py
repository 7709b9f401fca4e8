"""What sealing refuses, and why."""

from enum import StrEnum, auto


class SealingReason(StrEnum):
    """Why a secret cannot be unsealed, or a key not be used."""

    KEY_FILE = auto()
    """The file of a key-encryption key is missing, of another length, or others may read it."""

    KEY_COMMAND = auto()
    """The program that wraps and unwraps data keys failed, or did not answer in time or in form."""

    FOREIGN_KEY = auto()
    """It was sealed, or wrapped, under a key that is not here."""

    TAMPERED = auto()
    """It is not what was sealed or wrapped, or not for this owner."""


class SealingRefused(Exception):
    """A sealed secret or a key is not what it should be. The message holds no part of either."""

    def __init__(self, reason: SealingReason, message: str) -> None:
        super().__init__(message)
        self.reason = reason
