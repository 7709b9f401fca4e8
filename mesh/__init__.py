"""How any two parties of the plane talk: servers, channels, the call pipeline, errors, settings, units of work."""

import os
import sys

TLS_1_3_ONLY = "grpc" not in sys.modules
"""Whether what follows could take effect: grpc reads it when it is imported, so this package must come first."""

# TLS 1.3 only. grpc offers 1.2 too and has no switch for it; a 1.2 suite that needs an RSA certificate, which no party
# of the plane has, leaves 1.2 without a suite in common and does not touch 1.3.
os.environ["GRPC_SSL_CIPHER_SUITES"] = "ECDHE-RSA-AES256-GCM-SHA384"

# grpc's own lines on stderr are neither JSON in a service's log nor one line in a command's error; what matters of them
# reaches the caller as a status. An operator who hunts a fault can still ask for them.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
