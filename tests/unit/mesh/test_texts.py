"""No text with a NUL character gets into the plane."""

import pytest
from google.protobuf.message import Message
from hypothesis import given
from hypothesis import strategies as st
from moorage.director.v1.api_pb2 import Api, CreateApiRequest
from moorage.director.v1.application_pb2 import Application, CreateApplicationRequest
from moorage.director.v1.group_pb2 import AddGroupMembersRequest
from moorage.director.v1.specification_pb2 import Specification

from mesh.texts import nul_violations


def fields(request: Message) -> list[str]:
    return [each.field for each in nul_violations(request, request.SerializeToString())]


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (CreateApplicationRequest(application=Application(description="a\0b")), "application.description"),
        (CreateApplicationRequest(application=Application(labels={"tier": "\0"})), 'application.labels["tier"]'),
        (CreateApplicationRequest(application=Application(labels={"a\0": "b"})), "application.labels"),
        (AddGroupMembersRequest(runtime_ids=["", "\0"]), "runtime_ids[1]"),
    ],
)
def test_a_text_with_a_nul_character_is_named(request_: Message, field: str) -> None:
    assert fields(request_) == [field]


def test_bytes_may_hold_any() -> None:
    assert fields(CreateApiRequest(api=Api(specification=Specification(data=b"\0\0")))) == []


@given(st.text())
def test_exactly_the_texts_with_a_nul_character_are_refused(text: str) -> None:
    asked = CreateApplicationRequest(application=Application(description=text))
    assert bool(fields(asked)) == ("\0" in text)
