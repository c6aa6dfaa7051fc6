"""Arqway inside an application of somebody else: its router, its queue, its lifespan."""
