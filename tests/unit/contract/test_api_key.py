"""Tokens, scopes and rates are read as they were written, and nothing shows a secret by accident."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arqway.workers.contract.api_key import ALL_SCOPES, ApiKey, Rate, Scope, Token, is_key_name, proves

ids = st.from_regex(r"[0-9a-f]{12}", fullmatch=True)
tokens = st.builds(Token, id=ids, secret=st.from_regex(r"[0-9a-f]{64}", fullmatch=True))
rates = st.builds(Rate, per_s=st.floats(0.001, 10_000), burst=st.integers(1, 100_000))
moments = st.none() | st.integers(0, 2**53)
api_keys = st.builds(
    ApiKey,
    id=ids,
    digest=st.from_regex(r"[0-9a-f]{64}", fullmatch=True),
    name=st.text(min_size=1),
    tenant=st.just("shop"),
    scopes=st.frozensets(st.sampled_from(Scope)),
    rate=st.none() | rates,
    created_ms=st.integers(0, 2**53),
    expires_ms=moments,
    revoked_ms=moments,
)


@given(tokens)
def test_a_token_is_read_as_it_was_shown(token: Token) -> None:
    """What its holder gets is what names the key and proves it."""
    assert Token.parse(token.reveal()) == token


@pytest.mark.parametrize(
    "text",
    [
        "",
        "arqway",
        "arqway__",
        f"arqway_{'0' * 12}_{'0' * 63}",
        f"arqway_{'0' * 12}_{'0' * 65}",
        f"arqway_{'0' * 12}_{'A' * 64}",
        f"arqway_{'0' * 12}_{'0' * 64}\n",
        f"Arqway_{'0' * 12}_{'0' * 64}",
        f"arqway_{'٣' * 12}_{'0' * 64}",
    ],
)
def test_what_is_no_token_is_not_read(text: str) -> None:
    """Only the one form that is handed out counts."""
    assert Token.parse(text) is None


@given(tokens, api_keys)
def test_no_repr_holds_a_secret(token: Token, key: ApiKey) -> None:
    """Neither the secret nor its digest shows where an object is printed."""
    assert token.secret not in repr(token)
    assert key.digest not in repr(key)


@given(tokens, tokens, api_keys)
def test_only_its_own_secret_proves_a_key(token: Token, other: Token, key: ApiKey) -> None:
    """Its digest is that of the secret; nothing proves a key that is not there."""
    held = ApiKey.from_hash(key.id, {**key.to_hash(), "created_ms": "1", "digest": token.digest})
    assert proves(token, held)
    assert proves(other, held) == (other.secret == token.secret)
    assert not proves(token, None)


@given(api_keys)
def test_a_key_is_read_as_it_was_written(key: ApiKey) -> None:
    """The hash has all but the times, which the server writes, and a reader of it passes over what it does not know."""
    names = ("created_ms", "expires_ms", "revoked_ms")
    times = {name: str(value) for name in names if (value := getattr(key, name)) is not None}
    raw = {**key.to_hash(), **times, "colour": "green"}
    raw["scopes"] += " dream"
    assert ApiKey.from_hash(key.id, raw) == key
    assert set(key.to_hash()).isdisjoint(names)


@given(api_keys, st.integers(0, 2**53))
def test_a_key_can_be_used_until_it_expires_or_is_revoked(key: ApiKey, now_ms: int) -> None:
    """What is left of its time is 0 from that moment on, and never more than until that moment."""
    left_ms = key.usable_ms(now_ms)
    usable = key.revoked_ms is None and (key.expires_ms is None or now_ms < key.expires_ms)
    assert (left_ms > 0) == usable
    assert key.expires_ms is None or left_ms <= max(0, key.expires_ms - now_ms)


@given(rates)
def test_a_rate_is_read_as_it_was_written(rate: Rate) -> None:
    """Its text says all of it."""
    assert Rate.parse(str(rate)) == rate


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("100/s", Rate(100, 100)),
        ("100/s burst 200", Rate(100, 200)),
        ("0.5/s", Rate(0.5, 1)),
        ("2.5/s", Rate(2.5, 2)),
        ("10000/s burst 1", Rate(10_000, 1)),
    ],
)
def test_a_rate_is_written_as_people_would(text: str, rate: Rate) -> None:
    """Without a burst, a second's worth is allowed at once, and one request at least."""
    assert Rate.parse(text) == rate


@pytest.mark.parametrize(
    "text",
    [
        *("", "100", "100/m", "-1/s", "0/s", "10001/s", "0.0001/s", "1e3/s", "nan/s", "1 /s", "٣/s", f"{'9' * 500}/s"),
        *("1/s burst", "1/s burst 0", "1/s burst -1", "1/s burst 100001"),
    ],
)
def test_a_rate_out_of_range_is_refused(text: str) -> None:
    """So is one that cannot be read."""
    with pytest.raises(ValueError, match=re.compile("rate|burst")):
        Rate.parse(text)


@given(rates)
def test_the_interval_is_a_whole_number_and_close(rate: Rate) -> None:
    """It differs from the exact one by half a microsecond at most, and is never 0."""
    assert rate.interval_us >= 100
    assert abs(rate.interval_us - 1_000_000 / rate.per_s) <= 0.5


@pytest.mark.parametrize(("name", "good"), [("web shop", True), ("é", True), ("x" * 64, True), ("x" * 65, False)])
def test_a_name_is_short(name: str, good: bool) -> None:
    """64 characters at most."""
    assert is_key_name(name) == good


@pytest.mark.parametrize("name", ["", " a", "a ", "a\nb", "a\x1b[31m", "a\u202eb"])
def test_a_name_forges_no_line(name: str) -> None:
    """What a terminal or a log would act upon is in no name."""
    assert not is_key_name(name)


def test_the_scopes_are_these() -> None:
    """Keys and documentation name them."""
    assert {scope.value for scope in ALL_SCOPES} == {"submit", "read", "operate"}
