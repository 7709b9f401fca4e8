"""What is delivered: one wheel that holds every import package."""

import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
IMPORT_PACKAGES = {"agent", "buf", "certs", "cli", "connector", "director", "mesh", "moorage", "provisioner"}


def test_the_wheel_holds_every_import_package_and_nothing_else(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True, timeout=50)
    with zipfile.ZipFile(next(tmp_path.glob("moorage-*.whl"))) as wheel:
        names = wheel.namelist()
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == IMPORT_PACKAGES
    assert "moorage/director/v1/director_pb2_grpc.py" in names
    assert "moorage/py.typed" in names
    assert any(name.endswith("licenses/LICENSE") for name in names)
