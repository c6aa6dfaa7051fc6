"""``python -m arqway.workers.webhooks TENANT``: print the secrets of a tenant's receivers, the newest first."""

import argparse
import sys

from arqway.workers.contract.errors import ConfigurationError
from arqway.workers.contract.keys import DEFAULT_TENANT, is_tenant_name
from arqway.workers.settings import Settings, read_settings
from arqway.workers.webhooks.signature import tenant_secret


def run() -> int:
    """Print one secret per line. Returns 2, after one line that says why, if there are none."""
    parser = argparse.ArgumentParser(
        prog="python -m arqway.workers.webhooks", description="Print a tenant's webhook secrets."
    )
    parser.add_argument("tenant", nargs="?", default=DEFAULT_TENANT, help=f"by default {DEFAULT_TENANT}")
    try:
        secrets = _secrets(parser.parse_args().tenant)
    except ConfigurationError as error:
        sys.stderr.write(f"webhooks: {error}\n")
        return 2
    sys.stdout.writelines(f"{secret}\n" for secret in secrets)
    return 0


def _secrets(tenant: str) -> list[str]:
    masters = read_settings(Settings).webhook_secrets
    if not is_tenant_name(tenant):
        raise ConfigurationError("a tenant is named by 1 to 63 of a-z 0-9 _ -")
    if not masters:
        raise ConfigurationError("ARQWAY_WEBHOOK_SECRETS is not set")
    return [tenant_secret(master.get_secret_value(), tenant) for master in masters]


if __name__ == "__main__":
    sys.exit(run())
