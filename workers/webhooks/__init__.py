"""Webhooks: telling a job's end to the URL that its submitter named, after the Standard Webhooks specification.

Read ``delivery`` first: it is the job that does so. ``sender`` makes the request, ``address`` guards where it may go,
and ``signature`` proves to the receiver who sent it.
"""
