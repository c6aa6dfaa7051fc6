"""``arqway convert --pickle``: a one-off conversion of a pickling arq producer's waiting jobs to JSON."""

import asyncio
from argparse import Namespace

from arqway.service.cli.terminal import FAILED, WRONG_INPUT, CommandError, say, say_table
from arqway.service.settings import ServiceSettings
from arqway.workers.client import conversion
from arqway.workers.contract.errors import StoreUnavailable
from arqway.workers.settings import read_settings

_WARNING = (
    "convert reads pickles, a format that must never come from strangers: give --pickle "
    "if nobody but you and your own programs can write to this Redis"
)


def convert(arguments: Namespace) -> int:
    """Convert the jobs. Returns 0 if no pickles are left, else 1."""
    if not arguments.pickle:
        raise CommandError(_WARNING, WRONG_INPUT)
    redis_url = read_settings(ServiceSettings).redis_url
    if redis_url is None:
        raise CommandError("REDIS_URL is not set: it names the server whose jobs are to be converted", WRONG_INPUT)

    async def run() -> conversion.Conversion:
        async with conversion.open_envelopes(redis_url.get_secret_value()) as envelopes:
            return await conversion.convert(envelopes, queue_key=arguments.queue, dry_run=arguments.dry_run)

    try:
        done = asyncio.run(run())
    except StoreUnavailable as error:
        raise CommandError(f"Redis does not answer: {error.__cause__}; run it again to continue") from None
    say(f"{'would convert' if arguments.dry_run else 'converted':<16}{done.converted:>8}")
    say(f"{'already JSON':<16}{done.already_json:>8}")
    say(f"{'running':<16}{done.running:>8}")
    say(f"{'cannot be JSON':<16}{len(done.unconvertible):>8}")
    if done.unconvertible:
        say()
        say_table(("ID", "FUNCTION", "HOLDS"), done.unconvertible)
    return 0 if done.complete else FAILED
