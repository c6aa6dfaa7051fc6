"""The engine: what a job is, where its state is kept, and the worker that runs it."""
