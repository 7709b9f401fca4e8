"""One file a migration; `mesh.migration` says how they are named."""
