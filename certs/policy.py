"""What leaves are issued: for each kind of party a list of small modifiers and validators, which the signer runs.

A modifier gives a draft another date; a validator lets a draft pass or raises. Both are plain functions, and a rule of
one's own is one more of them in a profile's list.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum, auto
from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple

from cryptography.hazmat.primitives.asymmetric import ec

from certs.authority import CLOCK_SKEW, Authority, AuthorityReason, AuthorityRefused
from certs.errors import CertsError
from certs.keys import checked_public_key_type
from certs.spiffe import Kind, SpiffeId


class IssueReason(StrEnum):
    """Why no certificate was issued."""

    FOREIGN_TRUST_DOMAIN = auto()
    SERVER_WITHOUT_HOST_NAME = auto()
    CLIENT_WITH_HOST_NAME = auto()
    BAD_DNS_NAME = auto()
    SELF_CHECK_FAILED = auto()


class IssueRefused(CertsError[IssueReason]):
    """What was asked for is not issued, or what was signed did not pass the check."""


class Draft(NamedTuple):
    """A leaf as it would be issued: what can differ from one to the next. All else is the same for all of them."""

    authority: Authority
    public_key: ec.EllipticCurvePublicKey
    spiffe_id: SpiffeId
    now: datetime
    """When it is issued, in whole seconds."""
    not_before: datetime
    not_after: datetime
    dns_names: Sequence[str] = ()
    ip_addresses: Sequence[IPv4Address | IPv6Address] = ()
    server: bool = False
    """Whether gRPC clients will compare its host names and addresses."""


Modifier = Callable[[Draft], Draft]
Validator = Callable[[Draft], None]


@dataclass(frozen=True, slots=True)
class Profile:
    """The template of one kind of certificate: its modifiers run first, in order, then its validators."""

    modifiers: Sequence[Modifier]
    validators: Sequence[Validator]

    def draft(
        self,
        authority: Authority,
        public_key: ec.EllipticCurvePublicKey,
        spiffe_id: SpiffeId,
        now: datetime,
        dns_names: Sequence[str] = (),
        ip_addresses: Sequence[IPv4Address | IPv6Address] = (),
        *,
        server: bool = False,
    ) -> Draft:
        """What is to be signed now, under this profile.

        Raises `IssueRefused`; `certs.spiffe.SpiffeIdRefused` for an identity that Moorage does not know;
        `certs.keys.KeyRefused` for a key not on P-256 or P-384; `certs.authority.AuthorityRefused` for a root (its key
        signs only authorities), for an authority not valid now, and for a lifetime under a second.
        """
        now = now.replace(microsecond=0)
        draft = Draft(authority, public_key, spiffe_id, now, now, now, dns_names, ip_addresses, server)
        for modifier in self.modifiers:
            draft = modifier(draft)
        for validator in self.validators:
            validator(draft)
        return draft


def profiles(
    lifetime: Callable[[Kind], timedelta],
    ceiling: Callable[[Kind], timedelta],
    back_date: timedelta = CLOCK_SKEW,
) -> Mapping[Kind, Profile]:
    """The template of each kind of party's certificate. Only a service's may have host names."""
    return {
        kind: Profile(
            modifiers=(
                lives(lifetime(kind)),
                lives_at_most(ceiling(kind)),
                is_dated_back(back_date),
                stays_within_its_authority,
            ),
            validators=EVERY_LEAF if kind is Kind.SERVICE else (*EVERY_LEAF, is_no_server),
        )
        for kind in Kind
    }


def plain_profile(lifetime: timedelta) -> Profile:
    """The template of a certificate for any party, with a life as it is given."""
    return Profile((lives(lifetime), is_dated_back(CLOCK_SKEW), stays_within_its_authority), EVERY_LEAF)


def lives(lifetime: timedelta) -> Modifier:
    """Ends it so long after now."""
    return lambda draft: draft._replace(not_after=draft.now + lifetime)


def lives_at_most(ceiling: timedelta) -> Modifier:
    """Ends it so long after now at the latest, whatever came before."""
    return lambda draft: draft._replace(not_after=min(draft.not_after, draft.now + ceiling))


def is_dated_back(by: timedelta) -> Modifier:
    """Begins it before now, for hosts whose clocks run behind."""
    return lambda draft: draft._replace(not_before=draft.now - by)


def stays_within_its_authority(draft: Draft) -> Draft:
    """Begins it with its authority at the earliest, and ends it with that at the latest."""
    issuer = draft.authority.certificate
    return draft._replace(
        not_before=max(draft.not_before, issuer.not_valid_before_utc),
        not_after=min(draft.not_after, issuer.not_valid_after_utc),
    )


def comes_from_an_issuing_authority(draft: Draft) -> None:
    """A root's key signs issuing authorities and nothing else."""
    if draft.authority.is_root:
        raise AuthorityRefused(
            AuthorityReason.NOT_AN_ISSUING_AUTHORITY, "a root's key signs issuing authorities, never leaves"
        )


def comes_from_an_authority_valid_now(draft: Draft) -> None:
    """An authority whose time is over, or has not begun, signs nothing."""
    issuer = draft.authority.certificate
    if not issuer.not_valid_before_utc <= draft.now < issuer.not_valid_after_utc:
        raise AuthorityRefused(
            AuthorityReason.NOT_VALID_NOW,
            f"the signing authority is valid from {issuer.not_valid_before_utc.isoformat()} to "
            f"{issuer.not_valid_after_utc.isoformat()}, and now is {draft.now.isoformat()}",
        )


def has_a_key_of_a_kind_that_is_taken(draft: Draft) -> None:
    """P-256 and P-384 are."""
    checked_public_key_type(draft.public_key)


def names_a_party_of_its_authoritys_trust_domain(draft: Draft) -> None:
    """And one of the kinds that there are."""
    draft.spiffe_id.kind  # noqa: B018 - raises for what is none of Moorage's identities
    if draft.spiffe_id.trust_domain != draft.authority.trust_domain:
        raise IssueRefused(
            IssueReason.FOREIGN_TRUST_DOMAIN,
            f"{draft.spiffe_id} is not in {draft.authority.trust_domain}, the authority's trust domain",
        )


def lives_a_second_or_more(draft: Draft) -> None:
    """Certificates have no smaller unit."""
    if draft.not_after - draft.now < timedelta(seconds=1):
        raise AuthorityRefused(AuthorityReason.BAD_LIFETIME, "a certificate lives at least one second")


def has_host_names_as_a_server(draft: Draft) -> None:
    """One or more, since gRPC clients compare them; anybody else has none."""
    if draft.server and not (draft.dns_names or draft.ip_addresses):
        raise IssueRefused(
            IssueReason.SERVER_WITHOUT_HOST_NAME,
            f"a {draft.spiffe_id.kind} that serves needs a DNS name or an IP address",
        )
    if not draft.server and (draft.dns_names or draft.ip_addresses):
        raise IssueRefused(
            IssueReason.CLIENT_WITH_HOST_NAME,
            f"a {draft.spiffe_id.kind} that does not serve gets no DNS name or IP address",
        )


def has_well_formed_host_names(draft: Draft) -> None:
    """RFC 1123 host names in lowercase; no wildcards."""
    for name in draft.dns_names:
        if not _DNS_NAME.fullmatch(name):
            raise IssueRefused(IssueReason.BAD_DNS_NAME, f"{name!r} is not a host name in lowercase")


def is_no_server(draft: Draft) -> None:
    """Only the plane's own services serve."""
    if draft.server:
        raise IssueRefused(IssueReason.CLIENT_WITH_HOST_NAME, f"a {draft.spiffe_id.kind} does not serve")


EVERY_LEAF: tuple[Validator, ...] = (
    comes_from_an_issuing_authority,
    has_a_key_of_a_kind_that_is_taken,
    names_a_party_of_its_authoritys_trust_domain,
    has_host_names_as_a_server,
    has_well_formed_host_names,
    comes_from_an_authority_valid_now,
    lives_a_second_or_more,
)
"""What holds of every leaf, whoever it is for."""

_DNS_NAME = re.compile(r"(?=.{1,253}$)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*")
