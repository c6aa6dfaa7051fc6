"""The engine: job definitions, the store that keeps their state, and the worker that runs them."""
