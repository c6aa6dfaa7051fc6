"""What wrk prints is read as it is meant, and a load with refusals is no measurement."""

import pytest

from benchmarks.http.load import Load, read
from benchmarks.stage import Stalled

_TOLD = """Running 8s test @ http://127.0.0.1:40001/jobs/noop
  1 threads and 32 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     2.62ms  812.45us  31.20ms   97.50%
    Req/Sec    11.93k   340.11    12.40k    81.25%
  Latency Distribution
     50%    {p50}
     75%    2.70ms
     90%    3.01ms
     99%    {p99}
  95001 requests in 8.00s, 17.58MB read
{rest}Requests/sec:  11874.53
Transfer/sec:      2.20MB
"""


@pytest.mark.parametrize(
    ("p50", "p99", "ms"),
    [("2.62ms", "5.28ms", (2.62, 5.28)), ("812.45us", "1.02s", (0.81245, 1020)), ("1.50s", "1.10m", (1500, 66_000))],
)
def test_every_unit_of_wrk_becomes_milliseconds(p50: str, p99: str, ms: tuple[float, float]) -> None:
    """Microseconds, milliseconds, seconds and minutes; the share of 97.50 % in the head is no percentile."""
    assert read(_TOLD.format(p50=p50, p99=p99, rest="")) == pytest.approx(Load(95_001, 11_874.53, *ms))


@pytest.mark.parametrize(
    "refused",
    ["  Non-2xx or 3xx responses: 12\n", "  Socket errors: connect 0, read 3, write 0, timeout 1\n"],
    ids=["refused", "broken"],
)
def test_a_load_with_refusals_is_no_measurement(refused: str) -> None:
    """A fast refusal would look like a fast service."""
    with pytest.raises(Stalled, match=refused.strip()):
        read(_TOLD.format(p50="1.00ms", p99="2.00ms", rest=refused))


def test_a_missing_figure_is_told() -> None:
    """What wrk did not print is not made up."""
    with pytest.raises(Stalled, match="requests in"):
        read("unable to connect")
