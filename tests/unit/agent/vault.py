"""Credentials of applications that are known by their numbers, and who gives them out."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import grpc
from google.protobuf import json_format
from grpc.aio import AioRpcError, Metadata
from moorage.director.v1.configuration_pb2 import ApplicationConfiguration
from moorage.director.v1.credential_pb2 import (
    BearerCredential,
    Credential,
    FetchCredentialsRequest,
    FetchCredentialsResponse,
)
from moorage.director.v1.director_pb2_grpc import DirectorStub

from agent.credentials import Credentials
from tests.support.configurations import application, application_id_of

RUNTIME = "99999999-2222-4333-8444-555555555555"


def sharing(number: int, credentials_revision: int) -> ApplicationConfiguration:
    """Application `number`, which last changed a credential that it shares at that revision."""
    shared = application(number)
    shared.credentials_revision = credentials_revision
    return shared


@dataclass
class Vault:
    """The Director, as far as it gives out credentials: bearer tokens by the number of their application.

    Each application is on a page of its own. While `failing`, it is not there.
    """

    tokens: dict[int, str] = field(default_factory=dict)
    failing: bool = False
    calls: list[FetchCredentialsRequest] = field(default_factory=list)

    def credentials(self, folder: Path) -> Credentials:
        return Credentials(folder, RUNTIME, lambda: cast(DirectorStub, self))

    async def FetchCredentials(self, request: FetchCredentialsRequest, **options: Any) -> FetchCredentialsResponse:
        self.calls.append(FetchCredentialsRequest.FromString(request.SerializeToString()))
        if self.failing:
            raise AioRpcError(grpc.StatusCode.UNAVAILABLE, Metadata(), Metadata(), "nobody is there")
        page = int(request.page_token or 0)
        pages = sorted(self.tokens.items())
        found = [
            Credential(application_id=application_id_of(number), bearer=BearerCredential(token=token))
            for number, token in pages[page : page + 1]
        ]
        return FetchCredentialsResponse(
            credentials=found, next_page_token=str(page + 1) if page + 1 < len(pages) else ""
        )

    @property
    def fetches(self) -> int:
        """How often all of them were asked for."""
        return sum(not call.page_token for call in self.calls)


def tokens_in(folder: Path) -> dict[str, str]:
    """The bearer tokens in a folder, by the name of their file."""
    found = {}
    for path in folder.glob("*-*.json"):
        response = json_format.Parse(path.read_text(), FetchCredentialsResponse())
        [credential] = response.credentials
        found[path.stem] = credential.bearer.token
    return found


def tokens_of(tokens: dict[int, str]) -> dict[str, str]:
    return {application_id_of(number): token for number, token in tokens.items()}
