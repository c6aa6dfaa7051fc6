"""Stock arq on both ends: its clients, and its functions on our worker."""
