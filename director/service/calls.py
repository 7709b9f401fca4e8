"""What the Director's calls have in common: the parts that they use, and the unit of work that each one is."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import grpc
from google.protobuf.message import Message
from moorage.director.v1.director_pb2_grpc import DirectorServicer

from certs.clock import Clock
from director.downloads import Downloads
from director.fleet.hub import RuntimeHub
from director.mutate import Occasion, Unit, mutate
from director.pairing import Pairing
from director.serving.hub import ApplicationHub
from director.specifications.inspector import Inspector
from director.stream.hub import Hub
from mesh.call import current_caller, current_request_id
from mesh.database import Database
from mesh.sealing import Seal

Context = grpc.aio.ServicerContext[Any, Any]
Request = TypeVar("Request", bound=Message)
Response = TypeVar("Response", bound=Message)


@dataclass(frozen=True)
class Parts:
    """What the calls work with."""

    database: Database
    hub: Hub
    application_hub: ApplicationHub
    runtime_hub: RuntimeHub
    downloads: Downloads
    inspector: Inspector
    seal: Seal
    pairing: Pairing
    trust_domain: str
    clock: Clock
    new_id: Callable[[], str]
    """Gives the UUIDs of new resources."""


class Calls(DirectorServicer):
    """Some of the Director's calls."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._database = parts.database

    async def _change(self, unit: Unit[Request, Response], request: Request) -> Response:
        """Run a mutation."""
        occasion = Occasion(
            self._parts.clock(), str(current_caller().spiffe_id), current_request_id(), self._parts.new_id
        )
        return await self._database.write(mutate, occasion, unit, request)
