"""Generates generated/ from protos/, and checks the contract: `python -m tools.protos generate|check|format`.

`generate` formats and lints the contract and writes generated/. `check` changes nothing and fails when the
contract is badly formatted, breaks a lint rule or what was committed before, and when generated/ is not
what it would generate.

The .proto files of others are not committed: they are laid out in third_party/ from the Python packages that
ship them.
"""

import argparse
import filecmp
import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROTOS = ROOT / "protos"
GENERATED = ROOT / "generated"
THIRD_PARTY = ROOT / "third_party"

# The last release whose source archive holds the rules' own .proto file; the runtime we call is newer.
VALIDATE_PACKAGE = "protovalidate==1.2.0"
VALIDATE_MEMBER = "upstream/proto/buf/validate/validate.proto"
VALIDATE_PROTO = "buf/validate/validate.proto"
GOOGLE_PACKAGE = "googleapis-common-protos"
VALIDATE_SHA256 = "817951eab518442950f1982be24b2c3154b214b40e42f49b915cbf5181e6ee80"


class ContractFailed(Exception):
    """A step failed; the message is one line for the developer."""


def main() -> None:
    """Runs one command; exits 1 with a line on standard error when a step fails."""
    parser = argparse.ArgumentParser(prog="tools.protos", description="Generates and checks the contract.")
    parser.add_argument("command", choices=["generate", "check", "format"])
    command = parser.parse_args().command
    try:
        lay_out_third_party()
        if command in ("generate", "format"):
            buf("format", "--write", "protos")
        if command == "generate":
            buf("lint", "protos")
            generate()
        if command == "check":
            check()
    except ContractFailed as failure:
        sys.exit(f"protos: {failure}")


def generate() -> None:
    """Writes generated/ anew, so that what left the contract leaves generated/ too."""
    with tempfile.TemporaryDirectory() as scratch:
        compile_to(Path(scratch))
        for package in ("moorage", "buf"):
            shutil.rmtree(GENERATED / package, ignore_errors=True)
            shutil.move(Path(scratch) / package, GENERATED / package)


def check() -> None:
    """Fails at the first thing about the contract that is not as it must be."""
    buf("lint", "protos")
    buf("format", "--diff", "--exit-code", "protos", fix="run `make fmt`")
    with tempfile.TemporaryDirectory() as scratch:
        compile_to(Path(scratch))
        stale = differences(Path(scratch), GENERATED)
    if stale:
        raise ContractFailed(f"generated/ is stale, run `make protos`: {', '.join(stale)}")
    check_nothing_breaks()


def compile_to(target: Path) -> None:
    """Compiles our contract, with gRPC stubs for asyncio, and the validation rules it is annotated with."""
    ours = sorted(str(path.relative_to(PROTOS)) for path in PROTOS.rglob("*.proto"))
    messages = [f"--python_out={target}", f"--mypy_out=quiet:{target}"]
    stubs = [f"--grpc_python_out={target}", f"--mypy_grpc_out=only_async,quiet:{target}"]
    protoc(*messages, *stubs, *ours)
    protoc(*messages, VALIDATE_PROTO)
    # PEP 561: a package of type stubs in a namespace package carries its marker here.
    (target / "moorage" / "py.typed").touch()
    (target / "buf" / "py.typed").touch()


def differences(fresh: Path, committed: Path) -> list[str]:
    """Returns the paths that only one of two trees has or that differ; compiled Python is not compared."""

    def files(tree: Path) -> set[str]:
        found = (path.relative_to(tree) for path in tree.rglob("*") if path.is_file())
        return {str(path) for path in found if "__pycache__" not in path.parts}

    ours, theirs = files(fresh), files(committed)
    _, changed, unreadable = filecmp.cmpfiles(fresh, committed, sorted(ours & theirs), shallow=False)
    return sorted({*(ours ^ theirs), *changed, *unreadable})


def check_nothing_breaks() -> None:
    """Holds the contract against the one that callers may have been built with.

    That is the contract where this branch left main; on main itself, that of the commit before. A commit
    since then with a `BREAKING CHANGE:` line in its message says that the break is meant, and why.
    """
    base = base_commit()
    if base is None:
        print("protos: no earlier commit has a contract: nothing to break")
        return
    meant = git("log", "--format=%h %s", "--grep=^BREAKING CHANGE:", f"{base}..HEAD")
    if meant:
        print(f"protos: a breaking change is announced by {meant.splitlines()[0]}")
        return
    with tempfile.TemporaryDirectory() as scratch:
        archive = Path(scratch) / "base.zip"
        git("archive", f"--output={archive}", base, "protos")
        shutil.unpack_archive(archive, scratch)
        (Path(scratch) / THIRD_PARTY.name).symlink_to(THIRD_PARTY)
        shutil.copyfile(ROOT / "buf.yaml", Path(scratch) / "buf.yaml")
        image = Path(scratch) / "base.binpb"
        buf("build", "protos", "--output", str(image), cwd=Path(scratch))
        buf("breaking", "protos", "--against", str(image), fix=f"it breaks callers of {base[:9]}")


def base_commit() -> str | None:
    """Returns the commit to compare with, or None where git, history or an earlier contract is missing."""
    if shutil.which("git") is None:
        return None
    head = git("rev-parse", "--verify", "--quiet", "HEAD")
    forks = (git("merge-base", "HEAD", main) for main in ("origin/main", "main"))
    candidates = [fork for fork in forks if fork and fork != head]
    candidates.append(git("rev-parse", "--verify", "--quiet", "HEAD~1"))
    base = next((commit for commit in candidates if commit), None)
    return base if base and git("ls-tree", base, "protos") else None


def lay_out_third_party() -> None:
    """Puts the .proto files that ours import under third_party/; does nothing when they are there already."""
    sources = f"{VALIDATE_PACKAGE} {VALIDATE_SHA256} {GOOGLE_PACKAGE}=={version(GOOGLE_PACKAGE)}\n"
    stamp = THIRD_PARTY / ".sources"
    if stamp.exists() and stamp.read_text() == sources:
        return
    shutil.rmtree(THIRD_PARTY, ignore_errors=True)
    lay_out_google(THIRD_PARTY / "google")
    validate = THIRD_PARTY / VALIDATE_PROTO
    validate.parent.mkdir(parents=True)
    validate.write_bytes(fetched_validate_proto())
    stamp.write_text(sources)


def lay_out_google(target: Path) -> None:
    """Copies google/api, google/rpc and google/longrunning out of the installed googleapis-common-protos."""
    import google.rpc

    installed = Path(google.rpc.__path__[0]).parent
    for package in ("api", "longrunning", "rpc"):
        (target / package).mkdir(parents=True)
        for proto in (installed / package).glob("*.proto"):
            # Its descriptor and its Python module say operations.proto; only the file is called otherwise.
            name = "operations.proto" if proto.name == "operations_proto.proto" else proto.name
            shutil.copyfile(proto, target / package / name)


def fetched_validate_proto() -> bytes:
    """Returns validate.proto out of protovalidate's source archive, once its SHA-256 is the pinned one."""
    with tempfile.TemporaryDirectory() as scratch:
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
        # Of this package alone: pip looks into a source archive with its build tools, and they may come as wheels.
        run(
            [*pip, "--no-deps", "--no-binary", VALIDATE_PACKAGE.partition("==")[0], "--dest", scratch, VALIDATE_PACKAGE]
        )
        archive = next(Path(scratch).glob("protovalidate-*.tar.gz"))
        with tarfile.open(archive) as tar:
            member = tar.extractfile(f"{archive.name.removesuffix('.tar.gz')}/{VALIDATE_MEMBER}")
            content = member.read() if member else b""
    if hashlib.sha256(content).hexdigest() != VALIDATE_SHA256:
        raise ContractFailed(f"{VALIDATE_MEMBER} of {VALIDATE_PACKAGE} does not have the pinned SHA-256")
    return content


def protoc(*arguments: str) -> None:
    """Runs grpcio-tools' protoc over our sources and third_party/."""
    includes = [f"--proto_path={PROTOS}", f"--proto_path={THIRD_PARTY}"]
    run([sys.executable, "-m", "grpc_tools.protoc", *includes, *arguments])


def buf(*arguments: str, cwd: Path = ROOT, fix: str = "") -> None:
    """Runs buf; `fix` tells the developer what a failure means."""
    run(["buf", *arguments], cwd=cwd, fix=fix)


def git(*arguments: str) -> str:
    """Returns what git prints, or "" when it fails, as it does in a clone without the history asked for."""
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""


def run(command: list[str], *, cwd: Path = ROOT, fix: str = "") -> None:
    """Runs a command of this environment, its output shown.

    Raises:
        ContractFailed: The command is missing or failed.
    """
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    if shutil.which(command[0], path=path) is None:
        raise ContractFailed(f"{command[0]} is missing; run `make setup`")
    if subprocess.run(command, cwd=cwd, env={**os.environ, "PATH": path}, check=False).returncode != 0:
        shown = " ".join([Path(command[0]).name, *command[1:3]])
        raise ContractFailed(f"`{shown}` failed: {fix or 'see above'}")


if __name__ == "__main__":
    main()
