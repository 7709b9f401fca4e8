"""The agent's connections: to the Director and the Connector, with the identity as it is now, where they are now."""

from contextlib import AsyncExitStack

import grpc
from moorage.connector.v1.connector_pb2_grpc import ConnectorStub
from moorage.connector.v1.enrolment_pb2 import PlaneAddresses
from moorage.director.v1.director_pb2_grpc import DirectorStub

from certs.identity import Identity
from mesh import telemetry
from mesh.address import AddressRefused
from mesh.channel import LiveChannel
from mesh.exits import Exit, Stopped

CALL_TIMEOUT = 10.0
"""Seconds that one attempt of a call may take."""

_log = telemetry.logger("plane")


class Plane:
    """Channels that follow the identity in its folder, and the addresses that the plane gives.

    `fixed` are the addresses of the agent's settings, which go before those of the plane. Raises `Stopped` (USAGE)
    where an address is not known.
    """

    def __init__(self, identity: Identity, fixed: PlaneAddresses, given: PlaneAddresses) -> None:
        self._identity = identity
        self._fixed = fixed
        self._left: list[LiveChannel] = []
        self._director = self._open("director", given)
        self._connector = self._open("connector", given)

    def director_channel(self) -> grpc.aio.Channel:
        """For streams. Raises `IdentityRefused` and `OSError`, as the others do, where there is no identity."""
        return self._director.channel

    def director(self) -> DirectorStub:
        """For a call."""
        return self._director.stub(DirectorStub)

    def connector(self) -> ConnectorStub:
        """For a call."""
        return self._connector.stub(ConnectorStub)

    def move(self, given: PlaneAddresses) -> None:
        """Use the addresses in `given` from now on; what is under way elsewhere goes on."""
        self._director = self._moved(self._director, "director", given)
        self._connector = self._moved(self._connector, "connector", given)

    async def close(self) -> None:
        """Close all channels, at once."""
        async with AsyncExitStack() as stack:
            for each in (self._director, self._connector, *self._left):
                stack.push_async_callback(each.close)

    def _moved(self, channel: LiveChannel, party: str, given: PlaneAddresses) -> LiveChannel:
        if self._address(party, given) in ("", channel.address):
            return channel
        try:
            moved = self._open(party, given)
        except AddressRefused as error:  # what the plane says is no reason to lose it
            _log.warning("the new address cannot be used", party=party, failure=str(error))
            return channel
        self._left.append(channel)
        return moved

    def _open(self, party: str, given: PlaneAddresses) -> LiveChannel:
        address = self._address(party, given)
        if not address:
            raise Stopped(Exit.USAGE, f"it is not known where the {party} is: set `{party}` in the agent's settings")
        return LiveChannel(address, self._identity)

    def _address(self, party: str, given: PlaneAddresses) -> str:
        address: str = getattr(self._fixed, party) or getattr(given, party)
        return address
