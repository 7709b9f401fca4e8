"""Handing a one-time token to the Application that it is for: one POST to its pairing webhook, from memory.

The token is never stored nor logged, so there is no second attempt: the Connector learns what came of the first, and
whoever asked for the token asks for another.
"""

import json
from dataclasses import dataclass

from google.protobuf.timestamp_pb2 import Timestamp
from moorage.director.v1.webhook_pb2 import DeliverTokenRequest, DeliverTokenResponse
from moorage.errors.v1.errors_pb2 import Reason

from certs.clock import Clock
from director.store import Transaction, notices
from director.times import from_timestamp, to_micros, to_timestamp
from director.webhooks.post import Post, Posted
from director.webhooks.settings import require_application
from mesh import telemetry
from mesh.database import Database
from mesh.errors import Refusal
from mesh.sealing import Seal, SealingRefused

TYPE = "PAIRING_TOKEN"
"""`type` of what is posted."""

_LAST_SECOND = 253402300799  # of the year 9999, the last that a timestamp may have
_log = telemetry.logger("pairing")


@dataclass(frozen=True)
class Pairing:
    """Posts tokens to Applications."""

    database: Database
    seal: Seal
    post: Post
    clock: Clock

    async def deliver(self, request: DeliverTokenRequest) -> DeliverTokenResponse:
        """Post the token once, and say what came of it; without a token, only look whether there is where to.

        Raises `Refusal`: APPLICATION_NOT_FOUND, PAIRING_URL_MISSING, and FIELD_INVALID for an end that is no time.
        """
        expire_time = _checked(request.expire_time)
        url, secret = await self.database.read(self._read, request.application_id)
        if not request.token:
            return DeliverTokenResponse()
        now = self.clock()
        if isinstance(secret, Posted):
            posted = secret
        else:
            body = _body(request, to_timestamp(to_micros(now)), expire_time)
            posted = await self.post(request.token_id, url, body, secret, now)
        failure = " ".join(posted.failure.split())
        _log.info(
            "token handed over" if posted.arrived else "token not handed over",
            token_id=request.token_id,
            application_id=request.application_id,
            failure=failure,
        )
        return DeliverTokenResponse(
            delivered=posted.arrived, failure=failure, attempt_time=to_timestamp(to_micros(now))
        )

    def _read(self, tx: Transaction, application_id: str) -> tuple[str, str | Posted]:
        """Where to, and what it is signed with or why it cannot be."""
        require_application(tx, application_id)
        webhook = notices.find_webhook(tx, application_id)
        if webhook is None or not webhook["pairing_url"]:
            raise Refusal(
                Reason.REASON_PAIRING_URL_MISSING,
                f"application {application_id} has no pairing URL",
                field="application_id",
            )
        try:
            return webhook["pairing_url"], self.seal.unseal(tx, webhook["sealed_secret"], application_id).decode()
        except SealingRefused as error:
            failure = f"the webhook's secret cannot be read, set it again: {error}"
            return webhook["pairing_url"], Posted(failure=failure)


def _body(request: DeliverTokenRequest, now: Timestamp, expire_time: Timestamp) -> str:
    # The form that the Standard Webhooks specification recommends, as of the notices.
    data = {
        "application_id": request.application_id,
        "token_id": request.token_id,
        "token": request.token,
        "expire_time": expire_time.ToJsonString(),
    }
    return json.dumps({"type": TYPE, "timestamp": now.ToJsonString(), "data": data}, separators=(",", ":"))


def _checked(time: Timestamp) -> Timestamp:
    if not (0 <= time.seconds <= _LAST_SECOND and 0 <= time.nanos < 1_000_000_000):
        raise Refusal(Reason.REASON_FIELD_INVALID, "must be a time from the year 1970 to 9999", field="expire_time")
    return to_timestamp(from_timestamp(time))
