"""What a client of the HTTP service meets, beside a bare FastAPI endpoint, the tutorial's way, stock arq and SAQ."""
