"""The signature of Standard Webhooks: `v1`, HMAC-SHA256 with a secret of the endpoint.

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

import hmac
import secrets
from base64 import b64decode, b64encode
from typing import Final

_PREFIX: Final = "whsec_"
_SECRET_BYTES: Final = 32


def new_secret() -> str:
    """A random secret, as receivers configure it."""
    return _PREFIX + b64encode(secrets.token_bytes(_SECRET_BYTES)).decode()


def headers(secret: str, message_id: str, seconds: int, body: str) -> dict[str, str]:
    """The headers of one attempt, at so many seconds since 1970."""
    key = b64decode(secret.removeprefix(_PREFIX))
    digest = hmac.digest(key, f"{message_id}.{seconds}.{body}".encode(), "sha256")
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(seconds),
        "webhook-signature": f"v1,{b64encode(digest).decode()}",
    }
