"""What the Connector's calls have in common: the parts that they use, and where a call came from."""

from dataclasses import dataclass
from typing import Any

import grpc
from moorage.connector.v1.connector_pb2_grpc import ConnectorServicer
from moorage.connector.v1.enrolment_pb2 import PlaneAddresses

from certs.clock import Clock
from connector.authority import IssuingAuthority
from connector.enrolment import Enrolment
from connector.limits import RateLimits
from connector.recovery import Recovery
from connector.renewal import Renewal
from connector.revocation_list import RevocationLists
from connector.revocation_stream import Hub
from connector.store import Origin
from connector.tokens import TokenIssuer
from mesh.call import current_address, current_caller, current_request_id
from mesh.database import Database

Context = grpc.aio.ServicerContext[Any, Any]


@dataclass(frozen=True)
class Parts:
    """What the calls work with."""

    database: Database
    authority: IssuingAuthority
    clock: Clock
    addresses: PlaneAddresses
    limits: RateLimits
    tokens: TokenIssuer
    enrolment: Enrolment
    renewal: Renewal
    hub: Hub
    revocation_lists: RevocationLists
    recovery: Recovery


class Calls(ConnectorServicer):
    """Some of the Connector's calls."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._database = parts.database


def newcomers_origin() -> Origin:
    """Where the call at hand came from, made by a party that has not proved an identity."""
    return Origin("", current_address(), current_request_id())


def callers_origin() -> Origin:
    """Where the call at hand came from, made by a party with a certificate."""
    return Origin(current_caller().uri, current_address(), current_request_id())
