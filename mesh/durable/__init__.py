"""Durable work on DBOS: workflows whose steps are remembered, so that after kill -9 they go on where they were.

DBOS lives on a thread and an event loop of its own, imported only when `launch` is called: neither its import (about a
second) nor its database ever holds up the service's loop. The bodies of the steps run on the service's loop, where the
channels and the database are.

On PostgreSQL any number of instances share what is remembered. Each workflow is run by one of them at a time; those of
an instance that has gone are gone on with by the others.

What DBOS remembers is stored in clear text, as JSON: a step's result must hold no secret.
"""

from mesh.durable.durable import Durable
from mesh.durable.run import Json, Run, Workflow

__all__ = ["Durable", "Json", "Run", "Workflow"]
