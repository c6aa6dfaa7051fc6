"""The webhook that tells a job's end, as the OpenAPI document describes it: docs/webhooks.md is for its receivers.

It is written once, as a path item; the callbacks of the submissions and the section ``webhooks`` refer to it.
"""

from typing import Any

from arqway.service.openapi.examples import SUCCEEDED

NAME = "JobEnded"
_ITEM = {"$ref": f"#/components/pathItems/{NAME}"}

CALLBACK = {"jobEnded": {"$ref": f"#/components/callbacks/{NAME}"}}
"""``callbacks`` of a submission with ``callback_url`` in its query."""
BATCH_CALLBACK = {"jobEnded": {"{$request.body#/jobs/0/callback_url}": _ITEM}}
"""``callbacks`` of a batch. An expression can name one job only; it is the same for each that has a URL."""
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
        "timestamp": {"type": "string", "format": "date-time", "description": "When the job ended"},
        "data": {"$ref": "#/components/schemas/JobView"},
    },
}
_EXAMPLE = {"type": _TYPES[0], "timestamp": SUCCEEDED["finished_at"], "data": SUCCEEDED}

COMPONENTS["pathItems"] = {
    NAME: {
        "post": {
            "operationId": "job_ended",
            "tags": ["webhooks"],
            "summary": "A job has ended",
            "description": "Sent by the service to a job's `callback_url`, after Standard Webhooks 1.0.0: at least "
            "once, in any order, 18 times at most, over a day. Verify `webhook-signature` before you believe it.",
            "security": [],
            "parameters": [
                _header(
                    "webhook-id",
                    "Names this end of this job; the same each time it is sent",
                    _STRING,
                    "msg_1176d035c7378396589cc5b6f857425e",
                ),
                _header("webhook-timestamp", "When this was sent, Unix seconds", {"type": "integer"}, "1772357403"),
                _header(
                    "webhook-signature",
                    "One or more, separated by spaces: `v1,` and the base64 of HMAC-SHA256 of "
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
                "2XX": {"description": "It is delivered"},
                "410": {"description": "It is not sent again"},
                "307": {"description": "The same request goes to `Location`; so for 308"},
                "default": {"description": "It is sent again later, as after no answer within 15 s"},
            },
        }
    }
}
