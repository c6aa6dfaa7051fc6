"""The report that comes with Arqway."""
