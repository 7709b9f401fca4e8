"""The credentials that the Runtime calls its Applications with, on disk for what runs beside the agent.

    <application_id>.json    those of one Application: a FetchCredentialsResponse in the protobuf JSON mapping
    revisions.json           what they were fetched for

Only the agent's user can look into the folder (mode 0700, its files 0600), and the agent keeps secrets nowhere else.
They are those that hold now: a configuration that fails is taken back, and they are not.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import grpc
import msgspec
from google.protobuf import json_format
from moorage.director.v1.credential_pb2 import Credential, FetchCredentialsRequest, FetchCredentialsResponse
from moorage.director.v1.director_pb2_grpc import DirectorStub

from agent.configuration import Configuration
from agent.plane import CALL_TIMEOUT
from certs import files
from certs.identity import IdentityRefused
from mesh.errors import Problem


class CredentialsFailed(Exception):
    """They cannot be fetched; the message says why, for the operator."""


class Credentials:
    """The credentials in `folder`. What says that it is on the disk is for one thread at a time, and raises `OSError`.

    `director` gives the Director; it raises `IdentityRefused` or `OSError` where there is no identity to call it with.
    """

    def __init__(self, folder: Path, runtime_id: str, director: Callable[[], DirectorStub]) -> None:
        self._folder = folder
        self._runtime_id = runtime_id
        self._director = director
        self._held = _NOTHING

    def open(self) -> None:
        """On the disk: make the folder if need be, and clear it of what was not fetched as a whole."""
        self._folder.mkdir(mode=0o700, exist_ok=True)
        self._folder.chmod(0o700)
        try:
            self._held = msgspec.json.decode((self._folder / _REVISIONS).read_bytes(), type=_Revisions)
        except (FileNotFoundError, msgspec.MsgspecError):
            self._held = _NOTHING
        self._remove_all_but(self._held.applications)

    def hold(self, configuration: Configuration) -> bool:
        """Whether they are here as `configuration` asks for them."""
        return _Revisions.of(configuration) == self._held

    def forget(self, configuration: Configuration) -> None:
        """On the disk: remove those of the Applications that are not in `configuration`."""
        held = self._held
        kept = {key: revision for key, revision in held.applications.items() if key in configuration.applications}
        if len(kept) < len(held.applications):
            self._remove_all_but(kept)
            self._note(_Revisions.known(held.plane_id, held.own, kept))

    async def fetch(self) -> list[Credential]:
        """Ask the Director for all of them; raises `CredentialsFailed`."""
        request, found = FetchCredentialsRequest(runtime_id=self._runtime_id), list[Credential]()
        try:
            while True:
                page = await self._director().FetchCredentials(request, timeout=CALL_TIMEOUT, wait_for_ready=True)
                found += page.credentials
                if not page.next_page_token:
                    return found
                request.page_token = page.next_page_token
        except grpc.aio.AioRpcError as error:
            problem = Problem.of(error)
            why = f"{problem.code.name}: {problem.message}"
        except (IdentityRefused, OSError) as error:
            why = str(error)
        raise CredentialsFailed(f"the credentials cannot be fetched: {why}")

    def keep(self, configuration: Configuration, fetched: Iterable[Credential]) -> None:
        """On the disk: have those that were fetched for `configuration`, and no others."""
        by_application = defaultdict[str, list[Credential]](list)
        for each in fetched:
            if each.application_id in configuration.applications:
                by_application[each.application_id].append(each)
        self._remove_all_but(by_application)
        for application_id, credentials in by_application.items():
            self._replace(f"{application_id}{_JSON}", _rendered(credentials))
        self._note(_Revisions.of(configuration))

    def _remove_all_but(self, application_ids: Iterable[str]) -> None:
        kept = {_REVISIONS, *(f"{each}{_JSON}" for each in application_ids)}
        for path in self._folder.iterdir():
            if path.name not in kept:
                path.unlink()

    def _note(self, revisions: "_Revisions") -> None:
        self._replace(_REVISIONS, msgspec.json.format(msgspec.json.encode(revisions), indent=2) + b"\n")
        self._held = revisions

    def _replace(self, name: str, content: bytes) -> None:
        path = self._folder / name
        if not path.exists() or path.read_bytes() != content:
            files.replace(path, content, files.PRIVATE)


class _Revisions(msgspec.Struct, frozen=True):
    """At which revisions credentials were last changed: those of the Runtime alone, and those that Applications share.

    Applications that can have none are left out: those that share none, while the Runtime has none of its own.
    """

    plane_id: str
    own: int
    applications: Mapping[str, int]

    @classmethod
    def of(cls, configuration: Configuration) -> "_Revisions":
        """What `configuration` asks for."""
        own = configuration.credentials_revision
        shared = {key: each.credentials_revision for key, each in configuration.applications.items()}
        applications = {key: revision for key, revision in shared.items() if own or revision}
        return cls.known(configuration.plane_id, own, applications)

    @classmethod
    def known(cls, plane_id: str, own: int, applications: Mapping[str, int]) -> "_Revisions":
        """The same for none at all, of whatever plane."""
        return cls(plane_id, own, applications) if own or applications else _NOTHING


_NOTHING = _Revisions("", 0, {})
_REVISIONS = "revisions.json"
_JSON = ".json"


def _rendered(credentials: list[Credential]) -> bytes:
    return f"{json_format.MessageToJson(FetchCredentialsResponse(credentials=credentials))}\n".encode()
