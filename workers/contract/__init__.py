"""The contract between the worker, which owns a job's life, and its clients.

Data and pure functions only: no I/O, no clock, no randomness. Any package may import it; it imports no other package
of Arqway.
"""
