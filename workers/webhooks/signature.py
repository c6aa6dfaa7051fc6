"""Signatures as specified by Standard Webhooks 1.0.0: HMAC-SHA256 of ``{id}.{timestamp}.{body}``, as ``v1,<base64>``.

Each tenant's receivers have a secret that is derived from the service's own. So the service keeps one secret, and no
receiver can sign for another tenant.
"""

import hmac
import re
import time
from base64 import b64encode
from collections.abc import Mapping, Sequence

from arqway.workers.contract.callback import SECRET_PREFIX, secret_key

ID_HEADER = "webhook-id"
TIMESTAMP_HEADER = "webhook-timestamp"
SIGNATURE_HEADER = "webhook-signature"

TOLERANCE_S = 300
"""How far apart the receiver's and the sender's clocks may be; an older message may be a replay."""
_SECONDS = re.compile(r"[0-9]{1,12}")


class InvalidSignature(Exception):  # noqa: N818
    """The request does not come from who it says, not now, or not unchanged."""


def tenant_secret(master: str, tenant: str) -> str:
    """Return the secret that a tenant's receivers verify with. Raises ValueError if ``master`` is not a ``whsec_…``."""
    key = hmac.digest(secret_key(master), f"arqway-webhook:{tenant}".encode(), "sha256")
    return SECRET_PREFIX + b64encode(key).decode()


def sign(secrets: Sequence[str], message_id: str, timestamp_s: int, body: bytes) -> str:
    """Return the ``webhook-signature`` header: one signature per secret, as receivers may know the old or the new.

    ``message_id`` must contain no dot, or one signature could match two messages.
    """
    return " ".join(_signature(secret, message_id, timestamp_s, body) for secret in secrets)


def verify(
    secret: str,
    headers: Mapping[str, str],
    body: bytes,
    *,
    now_s: float | None = None,
    tolerance_s: float = TOLERANCE_S,
) -> str:
    """Verify that a message was just sent by a holder of ``secret``; return its id, the same each time it is sent.

    Args:
        secret: The receiver's secret, ``whsec_…``.
        headers: Those of the request; names are case-insensitive.
        body: As received, not parsed and serialised again.
        now_s: Current time in Unix seconds; by default the clock's.
        tolerance_s: How old the message may be, or how far ahead the sender's clock.

    Raises:
        InvalidSignature: A header is missing or malformed, the time is out of tolerance, or no signature matches.
    """
    given = {name.lower(): value for name, value in headers.items()}
    message_id, timestamp = given.get(ID_HEADER, ""), given.get(TIMESTAMP_HEADER, "")
    if not message_id or not _SECONDS.fullmatch(timestamp):
        raise InvalidSignature("The headers webhook-id and webhook-timestamp are not as they should be.")
    if abs((time.time() if now_s is None else now_s) - int(timestamp)) > tolerance_s:
        raise InvalidSignature("The message is too old, or from the future.")
    expected = _signature(secret, message_id, int(timestamp), body).encode()
    signatures = given.get(SIGNATURE_HEADER, "").encode(errors="replace").split(b" ")
    if not any(hmac.compare_digest(expected, signature) for signature in signatures):
        raise InvalidSignature("No signature fits.")
    return message_id


def _signature(secret: str, message_id: str, timestamp_s: int, body: bytes) -> str:
    content = b"%b.%d.%b" % (message_id.encode(errors="replace"), timestamp_s, body)
    return f"v1,{b64encode(hmac.digest(secret_key(secret), content, 'sha256')).decode()}"
