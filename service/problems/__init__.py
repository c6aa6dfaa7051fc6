"""Problems: the errors of the HTTP API, how each one is reported, and what it means."""
