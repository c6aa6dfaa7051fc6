"""Signatures are those of Standard Webhooks: a receiver with the secret accepts what was sent, and nothing else."""

import base64
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arqway.workers.contract.callback import secret_key
from arqway.workers.webhooks.signature import TOLERANCE_S, InvalidSignature, sign, tenant_secret, verify

NOW_S = 1_614_265_330
EXAMPLE_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"  # noqa: S105 - published, as is what follows
EXAMPLE_ID, EXAMPLE_BODY = "msg_p5jXN8AQM9LWM0D4loKWxJek", b'{"test": 2432232314}'
EXAMPLE_SIGNATURE = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="

HEADERS = ["webhook-id", "webhook-timestamp", "webhook-signature"]
ODD_TIMES = ["", "soon", "1e9", "-5", " 1614265330", "١٦١٤٢٦٥٣٣٠", "9" * 5_000, "1614265330.0"]


def secret_of(key: bytes) -> str:
    """Return a key as it is handed out."""
    return f"whsec_{base64.b64encode(key).decode()}"


keys = st.binary(min_size=24, max_size=64)
secrets = keys.map(secret_of)
ids = st.text(string.ascii_letters + string.digits + "_", min_size=1)
bodies = st.binary()
moments = st.integers(0, 10**12 - 1)


def headers_of(secret: str, message_id: str, at_s: int, body: bytes) -> dict[str, str]:
    """Return the headers of a message."""
    signature = sign([secret], message_id, at_s, body)
    return {"webhook-id": message_id, "webhook-timestamp": str(at_s), "webhook-signature": signature}


def test_the_published_example_is_signed_as_published() -> None:
    """Source: standard-webhooks/standard-webhooks, ``test_sign_function`` of its Python library."""
    assert sign([EXAMPLE_SECRET], EXAMPLE_ID, NOW_S, EXAMPLE_BODY) == EXAMPLE_SIGNATURE


def test_the_published_example_is_accepted_among_others() -> None:
    """One fitting signature is enough, wherever it stands, beside those of other secrets and other schemes."""
    other = "Ceo5qEr07ixe2NLpvHk3FH9bwy/WavXrAFQ/9tdO6mc="
    listed = f"v1,{other} v2,{other} v1a,{other} {EXAMPLE_SIGNATURE} v1,{other}"
    headers = {"Webhook-Id": EXAMPLE_ID, "Webhook-Timestamp": str(NOW_S), "WEBHOOK-SIGNATURE": listed}
    assert verify(EXAMPLE_SECRET, headers, EXAMPLE_BODY, now_s=NOW_S) == EXAMPLE_ID


@given(secrets, ids, moments, bodies)
def test_what_was_signed_is_accepted(secret: str, message_id: str, at_s: int, body: bytes) -> None:
    """For every secret, id, time and body."""
    assert verify(secret, headers_of(secret, message_id, at_s, body), body, now_s=at_s) == message_id


@given(st.lists(secrets, min_size=2, max_size=4, unique=True), ids, bodies)
def test_each_secret_of_a_rotation_verifies_alone(masters: list[str], message_id: str, body: bytes) -> None:
    """A receiver may know the old secret or the new: the list has a signature for each, separated by spaces."""
    listed = sign(masters, message_id, NOW_S, body)
    headers = {"webhook-id": message_id, "webhook-timestamp": str(NOW_S), "webhook-signature": listed}
    assert len(listed.split(" ")) == len(masters)
    for master in masters:
        assert verify(master, headers, body, now_s=NOW_S) == message_id


@given(secrets, secrets, ids, bodies)
def test_another_secret_does_not_verify(ours: str, theirs: str, message_id: str, body: bytes) -> None:
    """Whoever lacks the secret cannot sign."""
    if secret_key(ours) != secret_key(theirs):
        with pytest.raises(InvalidSignature):
            verify(ours, headers_of(theirs, message_id, NOW_S, body), body, now_s=NOW_S)


@given(secrets, ids, bodies, st.sampled_from([*HEADERS, "body"]), st.data())
def test_nothing_can_be_changed_on_the_way(
    secret: str, message_id: str, body: bytes, part: str, data: st.DataObject
) -> None:
    """A message with another id, time, signature or body is refused, whatever the other is."""
    headers = headers_of(secret, message_id, NOW_S, body)
    if part == "body":
        body = data.draw(bodies.filter(lambda other: other != body))
    else:
        near = st.integers(NOW_S - TOLERANCE_S, NOW_S + TOLERANCE_S).map(str)
        anything = near if part == "webhook-timestamp" else st.text()
        headers[part] = data.draw(anything.filter(lambda other: headers[part] not in other))
    with pytest.raises(InvalidSignature):
        verify(secret, headers, body, now_s=NOW_S)


@pytest.mark.parametrize("name", HEADERS)
def test_a_missing_header_is_refused(name: str) -> None:
    """All three are needed."""
    headers = headers_of(EXAMPLE_SECRET, EXAMPLE_ID, NOW_S, EXAMPLE_BODY)
    del headers[name]
    with pytest.raises(InvalidSignature):
        verify(EXAMPLE_SECRET, headers, EXAMPLE_BODY, now_s=NOW_S)


@pytest.mark.parametrize("timestamp", ODD_TIMES)
def test_an_odd_timestamp_is_refused(timestamp: str) -> None:
    """Only whole seconds in plain digits are a time."""
    headers = headers_of(EXAMPLE_SECRET, EXAMPLE_ID, NOW_S, EXAMPLE_BODY) | {"webhook-timestamp": timestamp}
    with pytest.raises(InvalidSignature):
        verify(EXAMPLE_SECRET, headers, EXAMPLE_BODY, now_s=NOW_S)


@given(st.floats(-4 * TOLERANCE_S, 4 * TOLERANCE_S))
def test_a_message_is_accepted_within_the_tolerance_only(apart_s: float) -> None:
    """A replay of an old message is refused, and so is one from the future."""
    headers = headers_of(EXAMPLE_SECRET, EXAMPLE_ID, NOW_S, EXAMPLE_BODY)
    if abs(NOW_S + apart_s - NOW_S) <= TOLERANCE_S:
        assert verify(EXAMPLE_SECRET, headers, EXAMPLE_BODY, now_s=NOW_S + apart_s) == EXAMPLE_ID
    else:
        with pytest.raises(InvalidSignature):
            verify(EXAMPLE_SECRET, headers, EXAMPLE_BODY, now_s=NOW_S + apart_s)


@given(secrets, st.text(string.ascii_lowercase, min_size=1), st.text(string.ascii_lowercase, min_size=1))
def test_each_tenant_has_a_secret_of_its_own(master: str, one: str, other: str) -> None:
    """It is a secret of 32 bytes, always the same, and says nothing about the master or another tenant's."""
    given_out = tenant_secret(master, one)
    assert given_out == tenant_secret(master, one)
    assert len(secret_key(given_out)) == 32
    assert given_out != master
    assert (given_out == tenant_secret(master, other)) == (one == other)


def test_a_tenants_secret_does_not_change_with_a_release() -> None:
    """Receivers keep it for years: it is HMAC-SHA256 of the tenant's name with our prefix, under the master."""
    assert tenant_secret(EXAMPLE_SECRET, "acme") == "whsec_3ZIUkZTvgE7G4QE+F4AYlTt846VEWh5drGulw5IciyY="


@given(keys)
def test_a_secret_is_read_with_and_without_padding(key: bytes) -> None:
    """Base64 is handed out in both forms."""
    assert secret_key(secret_of(key)) == secret_key(secret_of(key).rstrip("=")) == key


@given(st.text() | st.binary(max_size=23).map(secret_of) | st.binary(min_size=65, max_size=90).map(secret_of))
def test_what_is_no_secret_is_refused_without_being_shown(text: str) -> None:
    """Too short, too long, or something else: the error does not repeat it."""
    with pytest.raises(ValueError, match="a webhook secret is whsec_") as caught:
        secret_key(text)
    assert str(caught.value) == "a webhook secret is whsec_ followed by the base64 of 24 to 64 random bytes"


@pytest.mark.parametrize("text", [EXAMPLE_SECRET.removeprefix("whsec_"), f"{EXAMPLE_SECRET[:-1]}!", "whsec_"])
def test_a_near_miss_is_no_secret(text: str) -> None:
    """The prefix is needed, and nothing but base64 after it."""
    with pytest.raises(ValueError, match="whsec_"):
        secret_key(text)
