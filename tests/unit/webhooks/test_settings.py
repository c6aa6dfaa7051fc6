"""The settings of webhooks: read from three variables, checked at once, and secrets stay secret."""

from ipaddress import ip_network

import pytest
from pydantic import ValidationError

from arqway.workers.settings import Settings, first_problem

NEW, OLD = "whsec_" + "bmV3" * 8, "whsec_" + "b2xk" * 8


def test_webhooks_are_off_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """No secret, no webhooks; a variable that is empty says the same, as compose files have it."""
    assert Settings().webhook_secrets == ()
    monkeypatch.setenv("ARQWAY_WEBHOOK_SECRETS", "")
    monkeypatch.setenv("ARQWAY_WEBHOOK_ALLOW", "")
    settings = Settings()
    assert (settings.webhook_secrets, settings.webhook_allow) == ((), ())
    assert settings.served_queues == ("default",)


def test_secrets_and_networks_are_lists(monkeypatch: pytest.MonkeyPatch) -> None:
    """Separated by commas, secrets in the order in which they are given."""
    monkeypatch.setenv("ARQWAY_WEBHOOK_SECRETS", f"{NEW}, {OLD}")
    monkeypatch.setenv("ARQWAY_WEBHOOK_ALLOW", "10.0.0.0/8, fd00::/8,127.0.0.1")
    settings = Settings()
    assert [secret.get_secret_value() for secret in settings.webhook_secrets] == [NEW, OLD]
    assert settings.webhook_allow == (ip_network("10.0.0.0/8"), ip_network("fd00::/8"), ip_network("127.0.0.1/32"))
    assert settings.served_queues == ("default", "webhooks")
    shown = f"{settings} {settings!r} {settings.model_dump()} {settings.model_dump_json()}"
    assert NEW not in shown
    assert OLD not in shown


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("ARQWAY_WEBHOOK_SECRETS", "hunter2"),
        ("ARQWAY_WEBHOOK_SECRETS", f"{NEW},"),
        ("ARQWAY_WEBHOOK_SECRETS", f"{NEW},whsec_hunter2"),
        ("ARQWAY_WEBHOOK_ALLOW", "10.0.0.1/8"),
        ("ARQWAY_WEBHOOK_ALLOW", "localhost"),
        ("ARQWAY_WEBHOOK_ALLOW", "10.0.0.0/8,"),
        ("ARQWAY_WEBHOOK_SLOTS", "0"),
        ("ARQWAY_QUEUES", "default,webhooks"),
    ],
)
def test_what_cannot_be_used_names_its_variable(monkeypatch: pytest.MonkeyPatch, variable: str, text: str) -> None:
    """In one line without any secret; and the queue of deliveries is no queue for jobs."""
    monkeypatch.setenv(variable, text)
    with pytest.raises(ValidationError) as caught:
        Settings()
    told = first_problem(caught.value)
    assert told.startswith(f"{variable}: ")
    assert "hunter2" not in f"{told} {caught.value}"
    assert NEW not in f"{told} {caught.value}"
