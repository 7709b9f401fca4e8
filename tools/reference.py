"""Writes what is read from elsewhere: `python -m tools.reference generate|check`.

docs/reference.md comes from the contract, examples/moorage_full.toml from the settings of the services and the agent.
`check` changes nothing and fails when one of the two is not what `generate` would write.
"""

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from google.protobuf.descriptor_pb2 import (
    EnumValueDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
    MethodDescriptorProto,
)
from google.rpc import code_pb2
from moorage.access.v1 import access_pb2
from moorage.access.v1.access_pb2 import Grant, Role
from moorage.errors.v1 import errors_pb2

from tools.protos import PROTOS, ROOT, ContractFailed, lay_out_third_party, protoc
from tools.settings import settings_file

SERVICES = ("director", "connector", "provisioner")


def main() -> None:
    """Runs one command; exits 1 with a line on standard error when it fails."""
    parser = argparse.ArgumentParser(prog="tools.reference", description="Writes and checks what is derived.")
    parser.add_argument("command", choices=["generate", "check"])
    command = parser.parse_args().command
    try:
        written = {file: write() for file, write in PAGES.items()}
    except ContractFailed as failure:
        sys.exit(f"reference: {failure}")
    if command == "generate":
        for file, text in written.items():
            file.write_text(text)
    elif stale := [str(file.relative_to(ROOT)) for file, text in written.items() if _content(file) != text]:
        sys.exit(f"reference: stale, run `make reference`: {', '.join(stale)}")


def reference_page() -> str:
    """docs/reference.md: the methods of the contract, who may call them, and the reasons for refusals."""
    lay_out_third_party()
    contract = Contract.compiled()
    services = "\n".join(_service_section(contract.file(f"moorage/{name}/v1/{name}.proto")) for name in SERVICES)
    roles = _roles_table(contract.file("moorage/access/v1/access.proto"))
    reasons = _reasons_table(contract.file("moorage/errors/v1/errors.proto"))
    return _PAGE.format(services=services, roles=roles, reasons=reasons)


PAGES: Mapping[Path, Callable[[], str]] = {
    ROOT / "docs" / "reference.md": reference_page,
    ROOT / "examples" / "moorage_full.toml": settings_file,
}


@dataclass(frozen=True)
class ProtoFile:
    """One file of the contract with the comments in it, which generated code does not carry."""

    descriptor: FileDescriptorProto

    def comment(self, *path: int) -> str:
        """What stands above the element at `path` (descriptor.proto, `SourceCodeInfo.Location`), in one line."""
        for location in self.descriptor.source_code_info.location:
            if tuple(location.path) == path:
                lines = (line.strip() for line in location.leading_comments.splitlines())
                return " ".join(line for line in lines if line and not line.startswith("buf:lint:ignore"))
        return ""


@dataclass(frozen=True)
class Contract:
    """The files of protos/, by name."""

    files: Mapping[str, FileDescriptorProto]

    @classmethod
    def compiled(cls) -> "Contract":
        """Compile protos/ anew. Raises `ContractFailed`."""
        with tempfile.TemporaryDirectory() as scratch:
            target = Path(scratch) / "contract.binpb"
            sources = sorted(str(path.relative_to(PROTOS)) for path in PROTOS.rglob("*.proto"))
            protoc("--include_source_info", f"--descriptor_set_out={target}", *sources)
            compiled = FileDescriptorSet.FromString(target.read_bytes())
        return cls({file.name: file for file in compiled.file})

    def file(self, name: str) -> ProtoFile:
        """The file of this name."""
        return ProtoFile(self.files[name])


_PAGE = """\
# Reference

Written by `make reference` from protos/: change it there. What each message holds, and what is valid, stands there too,
beside each field; a running service tells it by reflection (`grpcurl ... describe`).

"Who may call" is what the call pipeline enforces. The roles are explained [below](#roles), and so are the
[reasons](#reasons-for-refusals) that a call is refused for.

{services}
## Roles

What a caller is stands in the path of the SPIFFE ID in its certificate.

| role | caller |
|---|---|
{roles}

## Reasons for refusals

Each refusal carries `google.rpc.ErrorInfo` with the domain `moorage` and one of these reasons, and its remedy as
`google.rpc.LocalizedMessage` (AIP-193).

| reason | status code | what happened | what to do |
|---|---|---|---|
{reasons}
"""

_SECTION = """\
## {name}

{comment}

| method of `{full_name}` | what it does | who may call |
|---|---|---|
{methods}

Beside it:

| standard methods | who may call |
|---|---|
{borrowed}
"""

# Numbers of the fields by which a path leads to an element: FileDescriptorProto.service and .enum_type,
# ServiceDescriptorProto.method, EnumDescriptorProto.value.
_SERVICE, _ENUM, _METHOD, _VALUE = 6, 5, 2, 2


def _service_section(file: ProtoFile) -> str:
    (service,) = file.descriptor.service
    methods = (
        (
            _method_name(method),
            file.comment(_SERVICE, 0, _METHOD, number),
            _callers(method.options.Extensions[access_pb2.allow].grants),
        )
        for number, method in enumerate(service.method)
    )
    borrowed = (
        (f"`{each.method.removeprefix('/')}`", _callers(each.allow.grants))
        for each in service.options.Extensions[access_pb2.borrowed]
    )
    return _SECTION.format(
        name=service.name,
        comment=file.comment(_SERVICE, 0),
        full_name=f"{file.descriptor.package}.{service.name}",
        methods=_rows(methods),
        borrowed=_rows(borrowed),
    )


def _method_name(method: MethodDescriptorProto) -> str:
    if method.server_streaming:
        return f"`{method.name}` (stream)"
    response = method.output_type.removeprefix(".")
    return f"`{method.name}`" if response.endswith(f".{method.name}Response") else f"`{method.name}` (`{response}`)"


def _callers(grants: Iterable[Grant]) -> str:
    return "; ".join(_caller(grant) for grant in grants)


def _caller(grant: Grant) -> str:
    bounds = []
    if grant.own:
        bounds.append(f"`{grant.own}` is its own id")
    if grant.has:
        bounds.append(f"`{grant.has}` is set")
    role = _role(Role.Name(grant.role))
    return f"{role}, where {' and '.join(bounds)}" if bounds else role


def _role(name: str) -> str:
    return name.removeprefix("ROLE_").lower()


def _roles_table(file: ProtoFile) -> str:
    return _rows((_role(value.name), comment) for value, comment in _values(file, "Role"))


def _reasons_table(file: ProtoFile) -> str:
    def row(value: EnumValueDescriptorProto, comment: str) -> tuple[str, ...]:
        definition = value.options.Extensions[errors_pb2.definition]
        name = value.name.removeprefix("REASON_")
        return f"`{name}`", code_pb2.Code.Name(definition.code), comment, definition.remedy

    return _rows(row(value, comment) for value, comment in _values(file, "Reason"))


def _values(file: ProtoFile, name: str) -> Iterator[tuple[EnumValueDescriptorProto, str]]:
    """The values of an enum with their comments, without the one that stands for nothing."""
    for place, enum in enumerate(file.descriptor.enum_type):
        if enum.name == name:
            for number, value in enumerate(enum.value):
                if value.number:
                    yield value, file.comment(_ENUM, place, _VALUE, number)


def _rows(rows: Iterable[Iterable[str]]) -> str:
    return "\n".join(f"| {' | '.join(cell.replace('|', '&#124;') for cell in row)} |" for row in rows)


def _content(file: Path) -> str | None:
    return file.read_text() if file.exists() else None


if __name__ == "__main__":
    main()
