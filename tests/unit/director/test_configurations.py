"""What Runtimes know of an Application."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp
from moorage.director.v1.api_pb2 import Api, CreateApiRequest
from moorage.director.v1.application_pb2 import Application, UpdateApplicationRequest
from moorage.director.v1.configuration_pb2 import (
    ApiConfiguration,
    ApplicationConfiguration,
    BundleConfiguration,
    EventApiConfiguration,
)
from moorage.director.v1.event_api_pb2 import CreateEventApiRequest, EventApi
from moorage.director.v1.version_pb2 import ApiVersion
from sqlalchemy import event

from director.apis import create_api
from director.applications import update_application
from director.event_apis import create_event_api
from director.store import tables
from director.store.views import read_configurations
from tests.unit.director.plane import Plane, openapi, sent

VERSION = ApiVersion(
    value="v2", deprecated=True, deprecation_notice="use v3", removal_time=Timestamp(seconds=4102444800)
)


def configurations(plane: Plane, application_ids: Sequence[str]) -> dict[str, tuple[int, ApplicationConfiguration]]:
    with plane.transaction() as tx:
        return {each.application_id: (revision, each) for revision, each in read_configurations(tx, application_ids)}


def configuration(plane: Plane, application_id: str) -> ApplicationConfiguration:
    return configurations(plane, [application_id])[application_id][1]


def test_a_bare_application_is_just_that(plane: Plane) -> None:
    application = plane.application("shop", "sells")
    bare = ApplicationConfiguration(application_id=application.application_id, name="shop", description="sells")
    assert configurations(plane, [application.application_id]) == {application.application_id: (plane.revision, bare)}


def test_all_that_an_application_has_for_runtimes_is_in_it(plane: Plane) -> None:
    id = plane.application("shop").application_id
    about = Application(application_id=id, provider="Acme", base_url="https://shop.test")
    plane.change(update_application, UpdateApplicationRequest(application=about))
    bundle = plane.bundle(id, "orders")
    of_bundle: dict[str, Any] = {"bundle_id": bundle.bundle_id, "version": VERSION, "version_group": "orders"}
    document = openapi("{}")
    api = Api(
        application_id=id,
        name="orders",
        target_url="https://api.test",
        description="d",
        specification=sent(document),
        **of_bundle,
    )
    api = plane.change(partial(create_api, document=document), CreateApiRequest(api=api)).api
    event_api = EventApi(application_id=id, name="placed", **of_bundle)
    request = CreateEventApiRequest(event_api=event_api)
    event_api = plane.change(partial(create_event_api, document=None), request).event_api
    assert configuration(plane, id) == ApplicationConfiguration(
        application_id=id,
        name="shop",
        provider="Acme",
        base_url="https://shop.test",
        apis=[
            ApiConfiguration(
                api_id=api.api_id,
                name="orders",
                description="d",
                target_url="https://api.test",
                specification_format=document.format,
                specification_sha256=document.sha256,
                **of_bundle,
            )
        ],
        event_apis=[EventApiConfiguration(event_api_id=event_api.event_api_id, name="placed", **of_bundle)],
        bundles=[BundleConfiguration(bundle_id=bundle.bundle_id, name="orders")],
    )


def test_an_offer_of_no_version_and_in_no_bundle_has_neither(plane: Plane) -> None:
    id = plane.application().application_id
    plane.api(id)
    plane.event_api(id)
    known = configuration(plane, id)
    for each in (known.apis[0], known.event_apis[0]):
        assert not each.HasField("version")
        assert (each.version_group, each.bundle_id) == ("", "")


def test_what_an_application_has_is_ordered_by_its_ids(plane: Plane) -> None:
    id = plane.application().application_id
    apis = [plane.api(id).api_id for _ in range(5)]
    event_apis = [plane.event_api(id).event_api_id for _ in range(5)]
    bundles = [plane.bundle(id).bundle_id for _ in range(5)]
    known = configuration(plane, id)
    assert [each.api_id for each in known.apis] == sorted(apis)
    assert [each.event_api_id for each in known.event_apis] == sorted(event_apis)
    assert [each.bundle_id for each in known.bundles] == sorted(bundles)


def test_documents_are_no_part_of_it(plane: Plane) -> None:
    id = plane.application().application_id
    before = configurations(plane, [id])
    plane.document(id, content="text")
    assert configurations(plane, [id]) == before


def test_it_says_when_a_shared_credential_changed(plane: Plane) -> None:
    id = plane.application().application_id
    bundle = plane.bundle(id)
    assert configuration(plane, id).credentials_revision == 0
    with plane.transaction() as tx:
        tx.execute(tables.applications.update().values(credentials_revision=bundle.revision))
    assert configuration(plane, id).credentials_revision == bundle.revision


def test_many_applications_take_no_more_queries_than_one(plane: Plane) -> None:
    ids = [plane.application().application_id for _ in range(12)]
    for id in ids:
        plane.api(id)
        plane.event_api(id)
        plane.bundle(id)

    def queries(application_ids: Sequence[str]) -> int:
        statements: list[str] = []

        def note(_: Any, __: Any, statement: str, *___: Any) -> None:
            statements.append(statement)

        event.listen(plane.database.engine, "before_cursor_execute", note)
        assert configurations(plane, application_ids).keys() == set(application_ids)
        event.remove(plane.database.engine, "before_cursor_execute", note)
        return len(statements)

    assert queries(ids) == queries(ids[:1])
