"""Webhooks, from the end of a job to its receiver."""
