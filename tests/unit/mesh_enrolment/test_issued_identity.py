"""What is checked of an identity that the Connector sent, before it is written."""

import uuid
from datetime import timedelta

import pytest
from moorage.connector.v1.enrolment_pb2 import IssuedIdentity

from certs.keys import new_key
from certs.spiffe import SpiffeId
from mesh.enrolment import IssuedIdentityRefused, checked, trust_bundle
from tests.support.identities import TRUST_DOMAIN, Mint
from tests.unit.certs.forge import of_version_9
from tests.unit.mesh_enrolment.clockwork import START
from tests.unit.mesh_enrolment.connector_double import issued_identity

RUNTIME = SpiffeId.runtime(TRUST_DOMAIN, uuid.UUID(int=1))


def test_an_identity_for_ones_own_key_under_a_trusted_root_is_taken(mint: Mint) -> None:
    key = new_key()

    assert checked(issued_identity(mint, key.public_key(), RUNTIME), key, [mint.root.certificate], START) == RUNTIME


def test_a_certificate_for_another_key_is_refused(mint: Mint) -> None:
    issued = issued_identity(mint, new_key().public_key(), RUNTIME)

    with pytest.raises(IssuedIdentityRefused, match="another key"):
        checked(issued, new_key(), [mint.root.certificate], START)


def test_a_certificate_under_another_root_is_refused(mint: Mint, other_mint: Mint) -> None:
    key = new_key()
    issued = issued_identity(mint, key.public_key(), RUNTIME)

    with pytest.raises(IssuedIdentityRefused):
        checked(issued, key, [other_mint.root.certificate], START)


def test_a_certificate_that_has_expired_is_refused(mint: Mint) -> None:
    key = new_key()
    issued = issued_identity(mint, key.public_key(), RUNTIME, timedelta(seconds=10))

    with pytest.raises(IssuedIdentityRefused):
        checked(issued, key, [mint.root.certificate], START + timedelta(seconds=11))


@pytest.mark.parametrize("text", ["", "not a certificate"])
def test_what_is_no_chain_or_bundle_at_all_is_refused(mint: Mint, text: str) -> None:
    with pytest.raises(IssuedIdentityRefused):
        checked(IssuedIdentity(certificate_chain_pem=text), new_key(), [mint.root.certificate], START)
    with pytest.raises(IssuedIdentityRefused):
        trust_bundle(IssuedIdentity(trust_bundle_pem=text))


def test_a_chain_or_bundle_of_a_version_that_there_is_not_is_refused(mint: Mint) -> None:
    text = of_version_9(mint.root.certificate).decode()
    with pytest.raises(IssuedIdentityRefused):
        checked(IssuedIdentity(certificate_chain_pem=text), new_key(), [mint.root.certificate], START)
    with pytest.raises(IssuedIdentityRefused):
        trust_bundle(IssuedIdentity(trust_bundle_pem=text))
