"""An Application with an API and a bundle, Runtimes that it serves and one that it does not, and their credentials."""

from functools import partial
from typing import Any

from moorage.director.v1.credential_pb2 import (
    BearerCredential,
    Credential,
    DeleteCredentialRequest,
    FetchCredentialsRequest,
    ListCredentialsRequest,
    UpdateCredentialRequest,
)

from director import credentials
from director.store import tables
from mesh.sealing import Seal
from tests.unit.director.plane import Plane


class Vault:
    def __init__(self, plane: Plane, seal: Seal) -> None:
        self.plane = plane
        self.seal = seal
        self.application = plane.application().application_id
        self.api = plane.api(self.application).api_id
        self.bundle = plane.bundle(self.application).bundle_id
        self.runtime, self.neighbour, self.stranger = (plane.runtime().runtime_id for _ in range(3))
        self.group = plane.group("", [self.application], [self.runtime, self.neighbour]).group_id

    def set(self, token: str = "", *, runtime: str = "", validate_only: bool = False, **more: Any) -> Credential:
        """Sets a credential, of the API unless `more` says otherwise."""
        if token:
            more["bearer"] = BearerCredential(token=token)
        if "bundle_id" not in more:
            more.setdefault("api_id", self.api)
        credential = Credential(application_id=more.pop("application_id", self.application), runtime_id=runtime, **more)
        request = UpdateCredentialRequest(credential=credential, validate_only=validate_only)
        return self.plane.change(partial(credentials.update_credential, seal=self.seal), request).credential

    def delete(self, runtime: str = "", **target: Any) -> None:
        request = DeleteCredentialRequest(
            application_id=self.application, runtime_id=runtime, **(target or {"api_id": self.api})
        )
        self.plane.change(credentials.delete_credential, request)

    def listed(self) -> list[Credential]:
        request = ListCredentialsRequest(application_id=self.application)
        return list(self.plane.read(credentials.list_credentials, request).credentials)

    def fetched(self, runtime: str, **more: Any) -> list[Credential]:
        request = FetchCredentialsRequest(runtime_id=runtime, **more)
        unit = partial(credentials.fetch_credentials, seal=self.seal)
        return list(self.plane.read(unit, request).credentials)

    def tokens(self, runtime: str) -> list[str]:
        return sorted(each.bearer.token for each in self.fetched(runtime))

    def revisions(self, runtime: str) -> tuple[int, int, int]:
        """The `credentials_revision` and `configuration_revision` of the Application, and the former of a Runtime."""
        [application] = self.plane.rows(tables.applications)
        [found] = [row for row in self.plane.rows(tables.runtimes) if row["runtime_id"] == runtime]
        return (
            application["credentials_revision"],
            application["configuration_revision"],
            found["credentials_revision"],
        )
