"""gRPC: a `google.protobuf.FileDescriptorSet`, by protobuf's own descriptor pool.

What `protoc --include_imports --descriptor_set_out` writes, and what server reflection gives.
"""

from collections.abc import Iterator

from google.protobuf import (
    any_pb2,
    api_pb2,
    descriptor_pb2,
    duration_pb2,
    empty_pb2,
    field_mask_pb2,
    source_context_pb2,
    struct_pb2,
    timestamp_pb2,
    type_pb2,
    wrappers_pb2,
)
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError

from director.specifications.parsing import Unparsable

_WELL_KNOWN = {
    module.DESCRIPTOR.name: FileDescriptorProto.FromString(module.DESCRIPTOR.serialized_pb)
    for module in (
        any_pb2,
        api_pb2,
        descriptor_pb2,
        duration_pb2,
        empty_pb2,
        field_mask_pb2,
        source_context_pb2,
        struct_pb2,
        timestamp_pb2,
        type_pb2,
        wrappers_pb2,
    )
}
"""The files that every protobuf compiler brings along, so a set may leave them out."""

_Files = dict[str, FileDescriptorProto]


def problems(content: bytes) -> Iterator[str]:
    """A line for each thing that is wrong with a set, by the file that it is in; raises `Unparsable`."""
    try:
        files = FileDescriptorSet.FromString(content).file
    except DecodeError:
        raise Unparsable("it is not a serialized google.protobuf.FileDescriptorSet") from None
    by_name: _Files = {}
    for file in files:
        if not file.name:
            yield "it has a file without a name"
        elif by_name.setdefault(file.name, file) is not file:
            yield f"{file.name}: it is there twice"
    yield from _not_built(by_name)
    if not any(file.service for file in files):
        yield "it has no service"


def _not_built(files: _Files) -> Iterator[str]:
    """Why files cannot be built; those that only import such a file are not told of."""
    pool = DescriptorPool()
    known = {**_WELL_KNOWN, **files}
    built: set[str] = set()
    blamed: set[str] = set()  # or for want of one that is
    for name in _imported_first(files, known):
        imports = set(known[name].dependency)
        if imports <= built:
            try:
                pool.AddSerializedFile(known[name].SerializeToString())
                built.add(name)
                continue
            except TypeError as error:
                yield f"{name}: {str(error).removeprefix(_PREFIX)}"
        elif absent := sorted(imports - known.keys()):
            yield f"{name}: it imports what is not in the set: {', '.join(absent)}"
        elif not imports & blamed:
            yield f"{name}: its imports lead back to itself"
        blamed.add(name)


def _imported_first(files: _Files, known: _Files) -> Iterator[str]:
    """`files` and all that they import, each once and after what it imports, as far as there is such an order."""
    begun: set[str] = set()
    for first in files:
        waiting = [(first, False)]
        while waiting:
            name, imports_told = waiting.pop()
            if imports_told:
                yield name
            elif name not in begun and name in known:
                begun.add(name)
                waiting.append((name, True))
                waiting.extend((each, False) for each in reversed(known[name].dependency))


_PREFIX = "Couldn't build proto file into descriptor pool: "
