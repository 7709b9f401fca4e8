"""The Director's own units of work, to test on a real SQLite file, with a clock that ticks at each change."""

import json
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import count
from typing import Any, TypeVar

from google.protobuf.message import Message
from moorage.director.v1.api_pb2 import Api, CreateApiRequest
from moorage.director.v1.application_pb2 import Application, CreateApplicationRequest
from moorage.director.v1.bundle_pb2 import Bundle, CreateBundleRequest
from moorage.director.v1.credential_pb2 import CredentialType
from moorage.director.v1.document_pb2 import CreateDocumentRequest, Document
from moorage.director.v1.event_api_pb2 import CreateEventApiRequest, EventApi
from moorage.director.v1.group_pb2 import CreateGroupRequest, Group
from moorage.director.v1.runtime_pb2 import CreateRuntimeRequest, Runtime
from moorage.director.v1.runtime_state_pb2 import RuntimeState
from moorage.director.v1.specification_pb2 import Specification, SpecificationFormat
from sqlalchemy import insert, select, update

from director import apis, applications, bundles, documents, event_apis, groups, runtimes
from director.changes import Change, Mutation, read_plane, read_since
from director.mutate import Occasion, mutate
from director.specifications.inspected import InspectedSpecification
from director.store import Transaction, tables
from director.store.changes import create_plane
from mesh.database import Database, RolledBack
from mesh.migration import prepare

ADMIN = "spiffe://plane.test/admin/root"
BEGIN = datetime(2030, 1, 1, tzinfo=UTC)

Request = TypeVar("Request", bound=Message)
Response = TypeVar("Response", bound=Message)


def new_id() -> str:
    return str(uuid.uuid4())


def openapi(content: str, *problems: str) -> InspectedSpecification:
    return _inspected(SpecificationFormat.SPECIFICATION_FORMAT_OPENAPI, content, problems)


def asyncapi(content: str, *problems: str) -> InspectedSpecification:
    return _inspected(SpecificationFormat.SPECIFICATION_FORMAT_ASYNCAPI, content, problems)


def _inspected(format: SpecificationFormat.ValueType, content: str, problems: Sequence[str]) -> InspectedSpecification:
    return InspectedSpecification.of(format, content.encode(), problems)


def sent(document: InspectedSpecification) -> Specification:
    """The document as a client sends it."""
    return Specification(format=document.format, content=document.text)


class Plane:
    """The registry, with short ways to put something into it."""

    def __init__(self, url: str) -> None:
        self.database = Database.open(url)
        prepare(self.database.engine, tables.metadata, "director")
        self._connection = self.database.engine.connect()
        with self.transaction() as tx:
            create_plane(tx, new_id())
        self._ticks = (BEGIN + timedelta(seconds=n) for n in count())
        self._names = (f"n{n:06d}" for n in count())

    def close(self) -> None:
        self._connection.close()
        self.database.close()

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """On a connection that is kept: making one for each would take most of a test's time."""
        with self._connection.begin():
            yield self._connection

    def change(
        self, unit: Callable[[Transaction, Mutation, Request], Response], request: Request, actor: str = ADMIN
    ) -> Response:
        occasion = Occasion(next(self._ticks), actor, "call", new_id)
        try:
            with self.transaction() as tx:
                return mutate(tx, occasion, unit, request)
        except RolledBack as rolled_back:
            result: Response = rolled_back.result
            return result

    def read(self, unit: Callable[[Transaction, Request], Response], request: Request) -> Response:
        with self.transaction() as tx:
            return unit(tx, request)

    @property
    def revision(self) -> int:
        with self.transaction() as tx:
            return read_plane(tx).revision

    def changes_since(self, revision: int) -> list[Change]:
        with self.transaction() as tx:
            return read_since(tx, revision)

    def rows(self, table: Any) -> list[dict[str, Any]]:
        """All rows: in the order of their revisions where the table has such, of their keys otherwise."""
        order = [*(column for column in table.c if column.name == "revision"), *table.primary_key]
        with self.transaction() as tx:
            return [dict(row) for row in tx.execute(select(table).order_by(*order)).mappings()]

    def application(self, name: str = "", description: str = "") -> Application:
        request = CreateApplicationRequest(
            application=Application(name=name or next(self._names), description=description)
        )
        return self.change(applications.create_application, request).application

    def api(self, application_id: str, name: str = "", document: InspectedSpecification | None = None) -> Api:
        api = Api(application_id=application_id, name=name or next(self._names), target_url="https://api.test")
        if document is not None:
            api.specification.CopyFrom(sent(document))
        return self.change(partial(apis.create_api, document=document), CreateApiRequest(api=api)).api

    def event_api(
        self, application_id: str, name: str = "", document: InspectedSpecification | None = None
    ) -> EventApi:
        event_api = EventApi(application_id=application_id, name=name or next(self._names))
        if document is not None:
            event_api.specification.CopyFrom(sent(document))
        request = CreateEventApiRequest(event_api=event_api)
        return self.change(partial(event_apis.create_event_api, document=document), request).event_api

    def bundle(self, application_id: str, name: str = "") -> Bundle:
        bundle = Bundle(application_id=application_id, name=name or next(self._names))
        return self.change(bundles.create_bundle, CreateBundleRequest(bundle=bundle)).bundle

    def document(self, application_id: str, name: str = "", **fields: Any) -> Document:
        document = Document(application_id=application_id, name=name or next(self._names), **fields)
        return self.change(documents.create_document, CreateDocumentRequest(document=document)).document

    def group(self, name: str = "", application_ids: Sequence[str] = (), runtime_ids: Sequence[str] = ()) -> Group:
        request = CreateGroupRequest(
            group=Group(name=name or next(self._names)), application_ids=application_ids, runtime_ids=runtime_ids
        )
        return self.change(groups.create_group, request).group

    def runtime(self, name: str = "", event_url: str = "", group_ids: Sequence[str] = ()) -> Runtime:
        runtime = Runtime(name=name or next(self._names), event_url=event_url)
        request = CreateRuntimeRequest(runtime=runtime, group_ids=group_ids)
        return self.change(runtimes.create_runtime, request).runtime

    def make_ready(self, runtime_id: str, since: int = 0) -> None:
        ready = update(tables.runtimes).values(state=RuntimeState.RUNTIME_STATE_READY, ready_time=since)
        with self.transaction() as tx:
            tx.execute(ready.where(tables.runtimes.c.runtime_id == runtime_id))

    def add_webhook(self, application_id: str) -> None:
        row = {"application_id": application_id, "url": "https://app.test", "sealed_secret": b"", "update_time": 0}
        with self.transaction() as tx:
            tx.execute(insert(tables.webhooks).values(**row))

    def add_credential(self, application_id: str, target_id: str, runtime_id: str = "") -> None:
        """A bearer token for a target, shared unless it is for a Runtime, without what goes with setting one."""
        row = {"application_id": application_id, "target_id": target_id, "runtime_id": runtime_id, "target_kind": "API"}
        secret = {"type": CredentialType.CREDENTIAL_TYPE_BEARER, "sealed": b"", "update_time": 0, "revision": 0}
        with self.transaction() as tx:
            tx.execute(insert(tables.credentials).values(**row, **secret))

    def add_access_request(self, application_id: str, target_id: str, runtime_id: str) -> None:
        whose = {"application_id": application_id, "target_id": target_id, "runtime_id": runtime_id}
        about = {"target_kind": "API", "purpose": "", "state": 1, "create_time": 0, "revision": 0}
        with self.transaction() as tx:
            tx.execute(insert(tables.access_requests).values(access_request_id=new_id(), **whose, **about))

    def served(self, runtime_id: str, at: int | None = None) -> set[str]:
        """The applications that a runtime sees, now or at an earlier revision, by the rule of the tables."""
        revision = self.revision if at is None else at

        def held(table: Any) -> Iterator[dict[str, Any]]:
            for row in self.rows(table):
                if row["added_revision"] <= revision and (row["removed_revision"] or revision + 1) > revision:
                    yield row

        mine = {row["group_id"] for row in held(tables.group_runtimes) if row["runtime_id"] == runtime_id}
        return {row["application_id"] for row in held(tables.group_applications) if row["group_id"] in mine}

    def problems_stored(self) -> list[list[str]]:
        return [json.loads(row["problems"]) for row in self.rows(tables.specifications)]
