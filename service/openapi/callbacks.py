"""The OpenAPI description of the webhook for finished jobs. Its guide for receivers is docs/webhooks.md.

It is written once, as a path item, to which the callbacks of submissions and the ``webhooks`` section refer.
"""

from typing import Any

from arqway.service.openapi.examples import SUCCEEDED

NAME = "JobEnded"
_ITEM = {"$ref": f"#/components/pathItems/{NAME}"}

CALLBACK = {"jobEnded": {"$ref": f"#/components/callbacks/{NAME}"}}
"""``callbacks`` of a submission, whose ``callback_url`` is in the query."""
BATCH_CALLBACK = {"jobEnded": {"{$request.body#/jobs/0/callback_url}": _ITEM}}
"""``callbacks`` of a batch. An expression can refer to only one job; the others with a URL behave alike."""
WEBHOOKS = {"jobEnded": _ITEM}
COMPONENTS: dict[str, dict[str, Any]] = {"callbacks": {NAME: {"{$request.query.callback_url}": _ITEM}}}

_TYPES = ["job.succeeded", "job.failed", "job.cancelled"]
_STRING = {"type": "string"}


def _header(name: str, description: str, schema: dict[str, Any], example: str) -> dict[str, Any]:
    return {
        "name": name,
        "in": "header",
        "required": True,
        "description": description,
        "schema": schema,
        "example": example,
    }


_MESSAGE = {
    "type": "object",
    "required": ["type", "timestamp", "data"],
    "properties": {
        "type": {"type": "string", "enum": _TYPES},
        "timestamp": {"type": "string", "format": "date-time", "description": "When the job finished"},
        "data": {"$ref": "#/components/schemas/JobView"},
    },
}
_EXAMPLE = {"type": _TYPES[0], "timestamp": SUCCEEDED["finished_at"], "data": SUCCEEDED}

COMPONENTS["pathItems"] = {
    NAME: {
        "post": {
            "operationId": "job_ended",
            "tags": ["webhooks"],
            "summary": "A job has finished",
            "description": "Sent by the service to a job's `callback_url`, following Standard Webhooks 1.0.0: at least "
            "once, in any order, in up to 18 attempts over a day. Verify `webhook-signature` before trusting it.",
            "security": [],
            "parameters": [
                _header(
                    "webhook-id",
                    "Identifies the end of this job; the same in every attempt",
                    _STRING,
                    "msg_1176d035c7378396589cc5b6f857425e",
                ),
                _header("webhook-timestamp", "When it was sent, in Unix seconds", {"type": "integer"}, "1772357403"),
                _header(
                    "webhook-signature",
                    "One or more signatures, separated by spaces: `v1,` followed by the base64 HMAC-SHA256 of "
                    "`{webhook-id}.{webhook-timestamp}.{body}`",
                    _STRING,
                    "v1,zdjTdKtsxynH3cAq8uIMZatbWr1un5ZPZGmZvOgTe+8=",
                ),
            ],
            "requestBody": {
                "required": True,
                "content": {"application/json": {"schema": _MESSAGE, "examples": {"succeeded": {"value": _EXAMPLE}}}},
            },
            "responses": {
                "2XX": {"description": "Delivered"},
                "410": {"description": "Rejected; no further attempts are made"},
                "307": {"description": "The same request is sent to `Location`; 308 does the same"},
                "default": {"description": "Failed; retried later, as if there is no response within 15 s"},
            },
        }
    }
}
