"""sha256 as Python has it built in: loading OpenSSL's, as hashlib does, takes longer than the digests of a thousand scripts.

For large files (verify, archives) hashlib's is the faster one.
"""

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from hashlib import sha256
else:
    try:
        if sys.version_info >= (3, 12):
            from _sha2 import sha256
        else:
            from _sha256 import sha256
    except ImportError:  # a Python built without it
        from hashlib import sha256

__all__ = ["sha256"]
