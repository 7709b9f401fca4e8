"""What is found wrong with sets of gRPC file descriptors."""

import pytest
from google.protobuf import any_pb2, api_pb2, source_context_pb2
from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto, FileDescriptorSet
from grpc_health.v1 import health_pb2
from hypothesis import given, settings
from hypothesis import strategies as st
from moorage.director.v1 import director_pb2

from director.specifications.documents import GRPC_DESCRIPTOR_SET, problems_of


def found_in(*files: FileDescriptorProto) -> list[str]:
    return problems_of(GRPC_DESCRIPTOR_SET, FileDescriptorSet(file=files).SerializeToString())


def file(name: str, *dependencies: str, takes: str = "") -> FileDescriptorProto:
    """A file of a package of its own, with a message `M`; and a service, where it is said what its method takes."""
    file = FileDescriptorProto(name=f"{name}.proto", package=name, dependency=dependencies, syntax="proto3")
    file.message_type.add(name="M")
    if takes:
        file.service.add(name="S").method.add(name="Do", input_type=takes, output_type=takes)
    return file


def with_imports(*files: str) -> list[FileDescriptorProto]:
    """A compiled file with all that it imports, as a compiler writes them."""
    pool = director_pb2.DESCRIPTOR.pool
    seen: dict[str, FileDescriptorProto] = {}
    waiting = list(files)
    while waiting:
        name = waiting.pop()
        if name not in seen:
            descriptor = pool.FindFileByName(name)
            seen[name] = FileDescriptorProto.FromString(descriptor.serialized_pb)
            waiting.extend(each.name for each in descriptor.dependencies)
    return list(seen.values())


def test_a_set_with_a_service_and_all_that_it_imports_has_no_problems() -> None:
    assert found_in(*with_imports(director_pb2.DESCRIPTOR.name)) == []


def test_the_order_of_the_files_does_not_matter() -> None:
    files = [file("a", "b.proto", takes=".b.M"), file("b", "c.proto"), file("c")]
    assert found_in(*files) == found_in(*reversed(files)) == []


def test_the_well_known_types_need_not_be_in_the_set() -> None:
    assert found_in(file("a", "google/protobuf/api.proto", takes=".google.protobuf.Api")) == []


def test_the_well_known_types_may_be_in_the_set() -> None:
    modules = (api_pb2, any_pb2, source_context_pb2)
    brought = [FileDescriptorProto.FromString(module.DESCRIPTOR.serialized_pb) for module in modules]
    assert found_in(file("a", "google/protobuf/api.proto", takes=".google.protobuf.Api"), *brought) == []


def test_a_file_that_is_missing_is_told_by_the_files_that_import_it() -> None:
    found = found_in(file("a", "b.proto", takes=".b.M"), file("b", "gone.proto", "lost.proto"))
    assert found == ["b.proto: it imports what is not in the set: gone.proto, lost.proto"]


def test_a_type_that_does_not_exist_is_told_by_its_file() -> None:
    assert found_in(file("a", takes=".b.M"), file("c")) == ["a.proto: couldn't resolve name '.b.M'"]


def test_a_type_of_a_file_that_is_not_imported_does_not_count() -> None:
    assert found_in(file("a", takes=".b.M"), file("b")) == ["a.proto: couldn't resolve name '.b.M'"]


def test_files_that_import_each_other_are_told_once() -> None:
    [found] = found_in(file("a", "b.proto", takes=".a.M"), file("b", "c.proto"), file("c", "b.proto"))
    assert "its imports lead back to itself" in found


def test_a_set_without_a_service_is_told() -> None:
    assert found_in(file("a")) == found_in() == ["it has no service"]


def test_a_file_that_is_there_twice_is_told() -> None:
    assert found_in(file("a", takes=".a.M"), file("a")) == ["a.proto: it is there twice"]


def test_a_file_without_a_name_is_told() -> None:
    assert "it has a file without a name" in found_in(FileDescriptorProto(), file("a", takes=".a.M"))


def test_a_number_that_is_used_twice_is_told_by_its_file() -> None:
    bad = file("a", takes=".a.M")
    for name in ("x", "y"):
        bad.message_type[0].field.add(
            name=name, number=1, type=FieldDescriptorProto.TYPE_BOOL, label=FieldDescriptorProto.LABEL_OPTIONAL
        )
    [found] = found_in(bad)
    assert found.startswith("a.proto: ")


def test_one_set_is_not_seen_by_the_next() -> None:
    assert found_in(file("a", takes=".a.M"), file("b")) == []
    assert found_in(file("a", "b.proto", takes=".b.M")) == ["a.proto: it imports what is not in the set: b.proto"]


def test_a_long_chain_of_imports_is_followed() -> None:
    chain = [file(f"n{n}", f"n{n + 1}.proto") for n in range(2000)]
    assert found_in(file("a", "n0.proto", takes=".n0.M"), *chain, file("n2000")) == []


@pytest.mark.parametrize("content", [b"openapi: 3.0.0", b"\x0a\xff", b"\x0a\x05\x0a\x09abc"])
def test_bytes_that_are_no_set_are_told(content: bytes) -> None:
    assert problems_of(GRPC_DESCRIPTOR_SET, content) == ["it is not a serialized google.protobuf.FileDescriptorSet"]


GOOD = FileDescriptorSet(file=with_imports(health_pb2.DESCRIPTOR.name)).SerializeToString()


@settings(deadline=None)
@given(st.integers(0, len(GOOD) - 1), st.integers(0, 255))
def test_no_byte_that_is_changed_raises_anything_but_a_problem(place: int, value: int) -> None:
    changed = bytearray(GOOD)
    changed[place] = value
    assert isinstance(problems_of(GRPC_DESCRIPTOR_SET, bytes(changed)), list)
