"""structlog, imported without rich.

structlog imports rich wherever there is one, for a renderer that shows lines to people; the services write JSON. That
import is a sixth of what a service computes before it is ready. Where nothing was said of logging, as in tests, a
traceback is then as Python writes it, and not drawn by rich, which takes half a second for each.
"""

import sys

_is_loaded = "rich" in sys.modules
if not _is_loaded:
    sys.modules["rich"] = None  # type: ignore[assignment]  # so the import system says that there is no such module
try:
    import structlog
    from structlog.typing import FilteringBoundLogger
finally:
    if not _is_loaded:
        del sys.modules["rich"]

__all__ = ["FilteringBoundLogger", "structlog"]
