"""A process that delivers an outbox, as the Director does: `process.py HOME PATIENCE`. It ends by being killed."""

import asyncio
import sys
from pathlib import Path

from certs.clock import system_clock
from director.keys import open_seal
from director.webhooks.delivery import Delivery, Patience
from director.webhooks.post import HttpPost
from mesh.database import Database
from mesh.durable import Durable
from mesh.sealing import KeyFile
from mesh.telemetry import configure_logging


async def main(home: Path, first_wait: float) -> None:
    configure_logging("director", "debug")
    database = Database.open(f"sqlite:///{home}/director.sqlite")
    patience = Patience(attempts=5, first_wait=first_wait, longest_wait=60.0)
    seal = await open_seal(database, KeyFile(home / "sealing.key"), system_clock)
    delivery = Delivery(database, seal, HttpPost(), system_clock, patience)
    durable = Durable(name="director", url=f"sqlite:///{home}/dbos.sqlite", workflows=delivery.workflows)
    await durable.launch()
    await delivery.run(durable)


asyncio.run(main(Path(sys.argv[1]), float(sys.argv[2])))
