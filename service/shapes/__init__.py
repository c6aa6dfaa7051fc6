"""The JSON that the service accepts and answers with.

Each shape is declared once, here: routes answer with it, OpenAPI documents describe it, ``service.client`` reads it.

In every answer a part that does not apply is an absent key, never a null. Views are plain dictionaries, so that an
answer is written straight to JSON.
"""
