"""The JSON that the service takes and answers with: its shapes, as OpenAPI tells them.

One rule for all answers: a part that does not apply is an absent key, never a null. Views are plain dictionaries, so
that an answer is written once, straight to JSON.
"""
