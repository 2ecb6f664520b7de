"""What network is this, what method? Hashes of all that their answers depend on."""

from __future__ import annotations

import hashlib

from ..classifiers.identity import function_bytes, network_hash
from ..maps.method import Method

__all__ = ["method_hash", "network_hash"]


def method_hash(method: Method) -> str:
    """SHA-256 over what a method of one's own is: its name, kind and defaults, and the function by its qualified name,
    its code, its defaults and what it closes over.

    Functions that it calls are known by name: what changes inside them, or in the module's variables, is not noticed.
    """
    said = [method.name, method.kind, method.gradient, str(method.depth), *map(str, method.parameters)]
    digest = hashlib.sha256("\n".join(said).encode())
    digest.update(function_bytes(method.function))
    return digest.hexdigest()
