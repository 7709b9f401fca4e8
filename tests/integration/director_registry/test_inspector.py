"""The real inspecting child: it answers, it is confined, and whatever a document does to it, the next one is served."""

import asyncio
import os
import sys
import textwrap
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from google.protobuf import empty_pb2
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from moorage.director.v1.specification_pb2 import Specification, SpecificationFormat, SpecificationState
from moorage.errors.v1.errors_pb2 import Reason

from director.specifications.documents import MAX_PROBLEMS
from director.specifications.inspector import MAX_INSPECTED_BYTES, ChildDidNotStart, Inspector
from mesh.errors import Refusal

GOOD = 'openapi: 3.1.0\ninfo: {title: t, version: "1"}\npaths: {}\n'
VALID = SpecificationState.SPECIFICATION_STATE_VALID
INVALID = SpecificationState.SPECIFICATION_STATE_INVALID


def openapi(content: str) -> Specification:
    return Specification(format=SpecificationFormat.SPECIFICATION_FORMAT_OPENAPI, content=content)


def child(folder: Path, answer: str) -> list[str]:
    """A command that answers null first, as the child does, and then runs `answer` for each `document`."""
    script = folder / "child.py"
    body = textwrap.indent(textwrap.dedent(answer), "    ")
    script.write_text(
        "import json, os, sys\nsys.stdin.buffer.readline()\nprint('null', flush=True)\n"
        "for line in sys.stdin.buffer:\n"
        f"    document = sys.stdin.buffer.read(json.loads(line)[1]).decode()\n{body}"
    )
    return [sys.executable, str(script)]


@pytest.fixture
async def inspector() -> AsyncIterator[Inspector]:
    inspector = Inspector()
    yield inspector
    await inspector.close()


async def test_documents_good_and_bad_are_told_apart(inspector: Inspector) -> None:
    good = await inspector.inspect(openapi(GOOD))
    assert (good.state, good.problems, good.size_bytes) == (VALID, (), len(GOOD))
    bad = await inspector.inspect(openapi("openapi: 3.1.0\npaths: {}\n"))
    assert bad.state == INVALID
    assert bad.problems == ("/: 'info' is a required property",)


async def test_problems_of_every_kind_are_told_though_the_child_can_open_no_file(inspector: Inspector) -> None:
    info = 'info: {title: t, version: "1"}\n'
    for content in (
        f"openapi: 3.1.0\n{info}components: {{schemas: {{a: {{type: [1]}}}}}}\n",
        f"openapi: 3.0.0\n{info}paths: {{/a: {{get: 1}}}}\n",
        f"openapi: 3.0.0\n{info}paths: {{}}\ncomponents: {{schemas: {{a: {{type: string, default: 1}}}}}}\n",
        f"swagger: '2.0'\n{info}paths: {{/a: {{get: {{}}}}}}\n",
        f"openapi: 3.1.0\n{info}paths: {{'/a/{{b}}': {{get: {{}}}}}}\n",
    ):
        found = await inspector.inspect(openapi(content))
        assert found.problems
        assert not any("could not be checked" in line for line in found.problems), found.problems


@pytest.mark.parametrize("text", ["\N{GRINNING FACE}", "\\u0001"])
async def test_problems_that_are_longest_in_json_are_told_too(inspector: Inspector, text: str) -> None:
    references = ", ".join(f'{{"$ref": "#/x{text * 300}{n}"}}' for n in range(MAX_PROBLEMS))
    found = await inspector.inspect(openapi(f'{{"openapi": "3.1.0", "x-a": [{references}]}}'))
    assert len(found.problems) == MAX_PROBLEMS


async def test_a_document_of_each_format_is_looked_into_though_the_child_can_open_no_file(inspector: Inspector) -> None:
    edmx = (
        "<Edmx xmlns='http://docs.oasis-open.org/odata/ns/edmx' Version='4.0'><DataServices>"
        "<Schema xmlns='http://docs.oasis-open.org/odata/ns/edm' Namespace='a'/></DataServices></Edmx>"
    )
    empty = empty_pb2.DESCRIPTOR.serialized_pb
    services = FileDescriptorSet(file=[FileDescriptorProto(name="a.proto", dependency=["google/protobuf/empty.proto"])])
    method = services.file[0].service.add(name="S").method.add(name="M")
    method.input_type = method.output_type = ".google.protobuf.Empty"
    services.file.add().ParseFromString(empty)
    for format, content in (
        (SpecificationFormat.SPECIFICATION_FORMAT_OPENAPI, GOOD.encode()),
        (SpecificationFormat.SPECIFICATION_FORMAT_OPENAPI, GOOD.replace("3.1.0", "3.2.0").encode()),
        (SpecificationFormat.SPECIFICATION_FORMAT_ASYNCAPI, b'asyncapi: 3.0.0\ninfo: {title: t, version: "1"}\n'),
        (SpecificationFormat.SPECIFICATION_FORMAT_ODATA_EDMX, edmx.encode()),
        (SpecificationFormat.SPECIFICATION_FORMAT_GRPC_DESCRIPTOR_SET, services.SerializeToString()),
    ):
        good = await inspector.inspect_content(format, content)
        assert (good.content, good.problems) == (content, ())
        bad = await inspector.inspect_content(format, content[: len(content) // 2])
        assert bad.problems
        assert not any("could not be checked" in line for line in bad.problems), bad.problems


async def test_a_document_in_data_is_looked_into_as_one_in_content(inspector: Inspector) -> None:
    binary = SpecificationFormat.SPECIFICATION_FORMAT_GRPC_DESCRIPTOR_SET
    found = await inspector.inspect(Specification(format=binary, data=b"\n\x00"))
    assert (found.content, found.problems) == (b"\n\x00", ("it has a file without a name", "it has no service"))


async def test_a_document_of_the_largest_size_is_answered_and_a_larger_one_is_a_fault_of_the_caller(
    inspector: Inspector,
) -> None:
    openapi = SpecificationFormat.SPECIFICATION_FORMAT_OPENAPI
    largest = GOOD.encode() + b"#" * (MAX_INSPECTED_BYTES - len(GOOD))
    assert (await inspector.inspect_content(openapi, largest)).state == VALID
    with pytest.raises(ValueError, match="16777217 bytes"):
        await inspector.inspect_content(openapi, largest + b"#")
    assert (await inspector.inspect_content(openapi, GOOD.encode())).state == VALID


async def test_many_at_once_are_each_answered(inspector: Inspector) -> None:
    found = await asyncio.gather(*(inspector.inspect(openapi(GOOD if n % 2 else "a: 1")) for n in range(20)))
    assert [each.state for each in found] == [VALID if n % 2 else INVALID for n in range(20)]


async def test_a_document_that_takes_too_much_computing_has_a_problem_and_the_next_one_is_served() -> None:
    inspector = Inspector(cpu_seconds=0.3, wait_seconds=60)
    paths = "".join(f"  /{n}: {{get: {{responses: {{200: {{description: d}}}}}}}}\n" for n in range(2000))
    heavy = await inspector.inspect(openapi(GOOD.replace("paths: {}", f"paths:\n{paths}")))
    assert heavy.problems == ("it could not be checked: it takes more than 0.3 s of computing",)
    assert (await inspector.inspect(openapi(GOOD))).state == VALID
    await inspector.close()


async def test_a_host_that_is_too_busy_to_answer_says_nothing_of_the_document(tmp_path: Path) -> None:
    slow_then_quick = """
        if "slow" in document:
            sys.stdin.buffer.readline()  # for an answer that never comes
        print("[]", flush=True)
    """
    inspector = Inspector(wait_seconds=0.5, command=child(tmp_path, slow_then_quick))
    with pytest.raises(Refusal) as caught:
        await inspector.inspect(openapi("slow"))
    assert (caught.value.reason, bool(caught.value.retry_after)) == (Reason.REASON_NOT_READY, True)
    assert (await inspector.inspect(openapi("quick"))).state == VALID
    await inspector.close()


async def test_a_document_that_ends_the_child_has_a_problem_and_the_next_one_is_served(tmp_path: Path) -> None:
    crashing = """
        if "crash" in document:
            os.abort()
        print("[]", flush=True)
    """
    inspector = Inspector(command=child(tmp_path, crashing))
    assert (await inspector.inspect(openapi("crash"))).state == INVALID
    assert (await inspector.inspect(openapi("quick"))).state == VALID
    await inspector.close()


async def test_a_caller_who_gives_up_leaves_no_answer_behind_for_the_next_one(tmp_path: Path) -> None:
    waits = """
        if "slow" in document:
            open(os.path.join(os.path.dirname(__file__), "asked"), "w").close()
            sys.stdin.buffer.readline()
        print('["slow"]' if "slow" in document else "[]", flush=True)
    """
    os.mkfifo(tmp_path / "asked")
    inspector = Inspector(command=child(tmp_path, waits))
    asking = asyncio.create_task(inspector.inspect(openapi("slow")))
    await asyncio.to_thread((tmp_path / "asked").read_bytes)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert (await inspector.inspect(openapi("quick"))).problems == ()
    await inspector.close()


async def test_a_caller_who_gives_up_while_the_child_starts_leaves_the_start_to_the_next_one(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "started")
    os.mkfifo(tmp_path / "go")
    script = tmp_path / "child.py"
    script.write_text(
        "import sys\n"
        f"open({str(tmp_path / 'started')!r}, 'w').close(); open({str(tmp_path / 'go')!r}).close()\n"
        "for line in sys.stdin:\n"
        "    if line == 'null\\n': print('null', flush=True)\n"
        "    elif line == 'a document\\n': print('[]', flush=True)\n"
    )
    inspector = Inspector(command=[sys.executable, str(script)])
    asking = asyncio.create_task(inspector.inspect(openapi("a document\n")))
    await asyncio.to_thread((tmp_path / "started").read_bytes)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    again = asyncio.create_task(inspector.inspect(openapi("a document\n")))
    await asyncio.to_thread((tmp_path / "go").write_bytes, b"")
    async with asyncio.timeout(20):
        assert (await again).state == VALID
    await inspector.close()


async def test_a_child_that_still_starts_ends_with_the_inspector(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "started")
    pipe = str(tmp_path / "started")
    script = f"import os\nwith open({pipe!r}, 'w') as pipe: pipe.write(str(os.getpid()))\ninput(); input()"
    inspector = Inspector(command=[sys.executable, "-c", script])
    asking = asyncio.create_task(inspector.inspect(openapi("a document\n")))
    pid = int(await asyncio.to_thread((tmp_path / "started").read_text))
    asking.cancel()
    await asyncio.wait({asking})
    await inspector.close()
    async with asyncio.timeout(20):
        await _ended(pid)


async def test_nothing_in_the_current_directory_stands_in_for_a_module(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "yaml.py").write_text("raise SystemExit('not the module that was meant')")
    monkeypatch.chdir(tmp_path)
    inspector = Inspector()
    assert (await inspector.inspect(openapi(GOOD))).state == VALID
    await inspector.close()


async def test_a_child_that_does_not_start_is_no_fault_of_the_document() -> None:
    inspector = Inspector(command=[sys.executable, "-c", "raise SystemExit(1)"])
    with pytest.raises(ChildDidNotStart):
        await inspector.inspect(openapi(GOOD))


async def test_the_child_can_open_neither_files_nor_sockets() -> None:
    confined = """
        import socket
        from director.specifications import __main__ as child
        child._confine()
        for attempt in (lambda: open("/etc/passwd"), lambda: socket.socket()):
            try:
                attempt()
            except OSError:
                continue
            raise SystemExit("it could")
    """
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", textwrap.dedent(confined))
    async with asyncio.timeout(30):
        assert await process.wait() == 0


async def test_the_child_ends_when_the_director_is_gone(tmp_path: Path) -> None:
    parent = """
        import asyncio, os
        from director.specifications.inspector import Inspector
        from moorage.director.v1.specification_pb2 import Specification
        async def main():
            inspector = Inspector()
            await inspector.inspect(Specification(format=1, content="a: 1"))
            print(inspector._child.pid, flush=True)
            os.kill(os.getpid(), 9)
        asyncio.run(main())
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", textwrap.dedent(parent), stdout=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(30):
        output, _ = await process.communicate()
        await _ended(int(output))


async def _ended(pid: int) -> None:
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    ended, loop = asyncio.Event(), asyncio.get_running_loop()
    loop.add_reader(descriptor, ended.set)
    await ended.wait()
    loop.remove_reader(descriptor)
    os.close(descriptor)
