"""The routes. Each names a call of the queue, chooses a status and shapes a view: no ``try``, no business rule.

They are added to the application's own router, since with FastAPI 0.165 an included one costs each request 9 µs more.
"""
