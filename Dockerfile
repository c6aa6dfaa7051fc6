# One image for both processes: `arqway api` (the default) and `arqway worker`. Needs REDIS_URL; keeps its files in /data.
FROM python:3.11-slim-bookworm

RUN useradd --uid 10001 --no-create-home arqway && install -d -o arqway -g arqway /data

WORKDIR /src
COPY pyproject.toml constraints.txt ./
# The libraries first, in a layer that stays when only our code changes.
RUN python -m venv /opt/arqway \
    && python -c "import tomllib; p = tomllib.load(open('pyproject.toml', 'rb'))['project']; \
print(*p['dependencies'], *p['optional-dependencies']['report'], sep='\n')" > requirements.txt \
    && /opt/arqway/bin/pip install --no-cache-dir -r requirements.txt -c constraints.txt
COPY README.md LICENSE ./
COPY arqway arqway
COPY service service
COPY workers workers
RUN /opt/arqway/bin/pip install --no-cache-dir --no-deps .

ENV PATH=/opt/arqway/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    MPLCONFIGDIR=/tmp/matplotlib \
    ARQWAY_HOME=/data
WORKDIR /data
VOLUME /data
USER arqway
EXPOSE 8000
CMD ["arqway", "api"]
