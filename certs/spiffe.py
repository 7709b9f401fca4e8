"""SPIFFE IDs: the names of everybody who takes part (SPIFFE-ID standard, section 2).

A SPIFFE ID is kept in its one spelling: nothing is folded, decoded or normalised, so two IDs are the same
exactly when their text is. Text that would need any of that is refused.
"""

import re
import uuid
from dataclasses import dataclass
from enum import StrEnum, auto
from typing import Self

from certs.errors import CertsError

MAX_TRUST_DOMAIN_BYTES = 255
MAX_ID_BYTES = 2048

SERVICES = frozenset({"director", "connector", "provisioner"})


class Kind(StrEnum):
    """What a Moorage identity stands for: the first segment of its path."""

    ADMIN = auto()
    VIEWER = auto()
    APPLICATION = auto()
    RUNTIME = auto()
    SERVICE = auto()


class SpiffeIdReason(StrEnum):
    """Why a text is not a SPIFFE ID, or not one of Moorage's."""

    TOO_LONG = auto()
    SCHEME = auto()
    TRUST_DOMAIN = auto()
    TRUST_DOMAIN_TOO_LONG = auto()
    PATH = auto()
    UNKNOWN_KIND = auto()


class SpiffeIdRefused(CertsError[SpiffeIdReason]):
    """The text breaks a rule of the SPIFFE-ID standard, or the path is none that Moorage gives out."""


@dataclass(frozen=True, slots=True)
class SpiffeId:
    """One SPIFFE ID. `path` is empty, for the ID of an authority, or starts with a slash.

    Every instance is valid: the constructor raises `SpiffeIdRefused` as `parse` does. IDs with paths that
    Moorage does not give out are valid SPIFFE IDs all the same; only `kind` and `name` refuse them.
    """

    trust_domain: str
    path: str = ""

    def __post_init__(self) -> None:
        _check_trust_domain(self.trust_domain)
        _check_path(self.path)
        if len(str(self)) > MAX_ID_BYTES:
            raise SpiffeIdRefused(SpiffeIdReason.TOO_LONG, f"a SPIFFE ID has at most {MAX_ID_BYTES} bytes")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `spiffe://TRUST_DOMAIN[/PATH]`; raises `SpiffeIdRefused`."""
        if len(text) > MAX_ID_BYTES:
            raise SpiffeIdRefused(SpiffeIdReason.TOO_LONG, f"a SPIFFE ID has at most {MAX_ID_BYTES} bytes")
        if not text.startswith(_SCHEME):
            raise SpiffeIdRefused(SpiffeIdReason.SCHEME, f"a SPIFFE ID starts with {_SCHEME}")
        trust_domain, slash, path = text.removeprefix(_SCHEME).partition("/")
        return cls(trust_domain, slash + path)

    @classmethod
    def authority(cls, trust_domain: str) -> Self:
        """The ID that signing certificates carry: the trust domain alone."""
        return cls(trust_domain)

    @classmethod
    def admin(cls, trust_domain: str, name: str) -> Self:
        """An administrator; `name` is one path segment."""
        return cls._of_kind(trust_domain, Kind.ADMIN, name)

    @classmethod
    def viewer(cls, trust_domain: str, name: str) -> Self:
        """An administrator who may only read; `name` is one path segment."""
        return cls._of_kind(trust_domain, Kind.VIEWER, name)

    @classmethod
    def application(cls, trust_domain: str, application_id: uuid.UUID | str) -> Self:
        """An Application by its UUID, which as text must be in canonical form."""
        return cls._of_kind(trust_domain, Kind.APPLICATION, str(application_id))

    @classmethod
    def runtime(cls, trust_domain: str, runtime_id: uuid.UUID | str) -> Self:
        """A Runtime by its UUID, which as text must be in canonical form."""
        return cls._of_kind(trust_domain, Kind.RUNTIME, str(runtime_id))

    @classmethod
    def service(cls, trust_domain: str, name: str) -> Self:
        """One of Moorage's own services: director, connector or provisioner."""
        return cls._of_kind(trust_domain, Kind.SERVICE, name)

    @property
    def kind(self) -> Kind:
        """What this identity stands for; raises `SpiffeIdRefused` (UNKNOWN_KIND) for none of Moorage's.

        It raises rather than answering None, so that a forgotten case is a refusal and never a pass.
        """
        return self._kind_and_name()[0]

    @property
    def name(self) -> str:
        """The NAME or canonical UUID after the kind; raises as `kind` does."""
        return self._kind_and_name()[1]

    @property
    def is_authority(self) -> bool:
        """Whether this is a trust domain alone, which only signing certificates carry."""
        return not self.path

    def __str__(self) -> str:
        return f"{_SCHEME}{self.trust_domain}{self.path}"

    @classmethod
    def _of_kind(cls, trust_domain: str, kind: Kind, name: str) -> Self:
        spiffe_id = cls(trust_domain, f"/{kind}/{name}")
        spiffe_id._kind_and_name()
        return spiffe_id

    def _kind_and_name(self) -> tuple[Kind, str]:
        match self.path.split("/"):
            case ["", ("admin" | "viewer") as kind, name]:
                return Kind(kind), name
            case ["", ("application" | "runtime") as kind, name] if _is_canonical_uuid(name):
                return Kind(kind), name
            case ["", "service", name] if name in SERVICES:
                return Kind.SERVICE, name
        raise SpiffeIdRefused(
            SpiffeIdReason.UNKNOWN_KIND,
            f"{self} is no identity of Moorage: it knows /admin/NAME, /viewer/NAME, /application/UUID, "
            "/runtime/UUID and /service/{director,connector,provisioner}",
        )


_SCHEME = "spiffe://"
_TRUST_DOMAIN = re.compile(r"[a-z0-9._-]+")
_SEGMENT = re.compile(r"[a-zA-Z0-9._-]+")


def _check_trust_domain(trust_domain: str) -> None:
    # Section 2.1. The character set leaves no room for userinfo, port, percent-encoding or upper case.
    if len(trust_domain) > MAX_TRUST_DOMAIN_BYTES:
        raise SpiffeIdRefused(
            SpiffeIdReason.TRUST_DOMAIN_TOO_LONG,
            f"a trust domain has at most {MAX_TRUST_DOMAIN_BYTES} bytes",
        )
    if not _TRUST_DOMAIN.fullmatch(trust_domain):
        raise SpiffeIdRefused(
            SpiffeIdReason.TRUST_DOMAIN,
            "a trust domain is one or more of lowercase letters, digits, dots, dashes and underscores",
        )


def _check_path(path: str) -> None:
    # Section 2.2. The character set leaves no room for query, fragment or percent-encoding.
    if not path:
        return
    first, *segments = path.split("/")
    if first or not all(_SEGMENT.fullmatch(each) and each not in {".", ".."} for each in segments):
        raise SpiffeIdRefused(
            SpiffeIdReason.PATH,
            "a path is one or more segments, each a slash and then letters, digits, dots, dashes and "
            "underscores; no segment is empty, '.' or '..'",
        )


def _is_canonical_uuid(text: str) -> bool:
    try:
        return str(uuid.UUID(text)) == text
    except ValueError:
        return False
