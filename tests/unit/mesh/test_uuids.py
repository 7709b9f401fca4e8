"""UUIDs are taken in either case."""

from collections.abc import Iterator

import pytest
from buf.validate import validate_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from moorage.connector.v1 import connector_pb2
from moorage.director.v1 import director_pb2
from moorage.director.v1.api_pb2 import Api, CreateApiRequest
from moorage.director.v1.application_pb2 import Application, CreateApplicationRequest, GetApplicationRequest
from moorage.director.v1.group_pb2 import AddGroupMembersRequest, BatchUpdateGroupMembersRequest, GroupMembersChange
from moorage.director.v1.specification_pb2 import Specification
from moorage.provisioner.v1 import provisioner_pb2

from mesh.uuids import lower_uuids

ID = "0b8a6d64-93a2-4e53-b9bb-0f2b0f4a5a1e"
OTHER_ID = "7c0f5ab0-5e0c-4a43-a0e3-9d6f3b6d1c77"


def lowered(request: Message) -> Message:
    lower_uuids(request)
    return request


@pytest.mark.parametrize(
    ("sent", "taken"),
    [
        (GetApplicationRequest(application_id=ID.upper()), GetApplicationRequest(application_id=ID)),
        (GetApplicationRequest(application_id=ID[:-1] + "E"), GetApplicationRequest(application_id=ID)),
        (CreateApiRequest(api=Api(bundle_id=ID.upper())), CreateApiRequest(api=Api(bundle_id=ID))),
        (
            AddGroupMembersRequest(runtime_ids=[ID, OTHER_ID.upper()]),
            AddGroupMembersRequest(runtime_ids=[ID, OTHER_ID]),
        ),
        (
            BatchUpdateGroupMembersRequest(changes=[GroupMembersChange(group_id=ID.upper())]),
            BatchUpdateGroupMembersRequest(changes=[GroupMembersChange(group_id=ID)]),
        ),
    ],
)
def test_a_uuid_in_uppercase_is_the_one_in_lowercase(sent: Message, taken: Message) -> None:
    assert lowered(sent) == taken


def test_what_only_looks_like_a_uuid_stays_as_it_is() -> None:
    for request in (
        CreateApplicationRequest(application=Application(description=ID.upper(), labels={"id": ID.upper()})),
        CreateApiRequest(api=Api(specification=Specification(content=ID.upper()))),
    ):
        before = request.SerializeToString(deterministic=True)
        assert lowered(request).SerializeToString(deterministic=True) == before


def test_no_map_of_a_request_holds_messages_or_uuids() -> None:
    for service in (
        director_pb2.DESCRIPTOR.services_by_name["Director"],
        connector_pb2.DESCRIPTOR.services_by_name["Connector"],
        provisioner_pb2.DESCRIPTOR.services_by_name["Provisioner"],
    ):
        for method in service.methods:
            for field, entry in maps_of(method.input_type):
                rules = field.GetOptions().Extensions[validate_pb2.field].map
                assert not rules.keys.string.uuid
                assert not rules.values.string.uuid
                assert entry.fields_by_name["value"].message_type is None


def maps_of(message: Descriptor) -> Iterator[tuple[FieldDescriptor, Descriptor]]:
    for field in message.fields:
        entry = field.message_type
        if entry is not None and entry.GetOptions().map_entry:
            yield field, entry
        elif entry is not None:  # no message of a request holds itself
            yield from maps_of(entry)
