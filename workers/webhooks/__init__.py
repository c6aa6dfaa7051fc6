"""Webhooks: reporting a job's end to the URL that its submitter named, as specified by Standard Webhooks.

Read ``delivery`` first: it is the job that does so. ``sender`` makes the request, ``address`` restricts where it may
go, and ``signature`` proves to the receiver who sent it.
"""
