"""Picking the pinned root out of an unverified chain."""

import pytest
from cryptography.hazmat.primitives import hashes

from mesh.probe import PinMismatch, pinned_root
from tests.support.identities import Mint


def pin_of(mint: Mint) -> bytes:
    return mint.root.certificate.fingerprint(hashes.SHA256())


def test_the_certificate_with_a_pinned_sum_is_picked(mint: Mint) -> None:
    chain = [mint.issuing.certificate, mint.root.certificate]

    assert pinned_root(chain, [pin_of(mint)]) == mint.root.certificate


@pytest.mark.check("trust-09")
def test_either_of_two_pins_is_enough(mint: Mint, other_mint: Mint) -> None:
    pins = [pin_of(other_mint), pin_of(mint)]

    assert pinned_root([mint.root.certificate], pins) == mint.root.certificate
    assert pinned_root([other_mint.root.certificate], pins) == other_mint.root.certificate


@pytest.mark.check("trust-09")
def test_a_chain_without_a_pinned_certificate_is_a_mismatch(mint: Mint, other_mint: Mint) -> None:
    chain = [other_mint.issuing.certificate, other_mint.root.certificate]

    with pytest.raises(PinMismatch):
        pinned_root(chain, [pin_of(mint)])


def test_an_empty_chain_is_a_mismatch(mint: Mint) -> None:
    with pytest.raises(PinMismatch):
        pinned_root([], [pin_of(mint)])
