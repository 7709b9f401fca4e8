"""What to seal with in tests: a key file of a test's own, and a data key in its database."""

from datetime import UTC, datetime
from pathlib import Path

from director.keys import make_first, new_key
from director.store import keys
from director.times import to_micros
from mesh.sealing import KeyFile, Seal
from tests.unit.director.plane import Plane

BEGIN = datetime(2030, 1, 1, tzinfo=UTC)


def sealing(plane: Plane, key_file: Path) -> Seal:
    """The seal of a plane's database, which gets its first data key if it has none yet."""
    provider = KeyFile(key_file)
    with plane.transaction() as tx:
        if keys.active(tx) is None:
            make_first(tx, new_key(provider), to_micros(BEGIN))
    return Seal(provider, keys)
