"""What a parcel costs."""

_CENTS_UP_TO_GRAMS = ((500, 290), (2_000, 490), (10_000, 790))
_CENTS_ABOVE = 1490


def postage_cents(grams: int) -> int:
    """Return the postage of a parcel of this weight."""
    return next((cents for limit, cents in _CENTS_UP_TO_GRAMS if grams <= limit), _CENTS_ABOVE)
