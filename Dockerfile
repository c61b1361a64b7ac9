# syntax=docker/dockerfile:1
# One image for every role: `serve`, `serve --no-writer`, `writer`.

FROM python:3.13-slim AS build
WORKDIR /build
RUN python -m venv /opt/flashstock
ENV PATH=/opt/flashstock/bin:$PATH
# Dependencies first: this layer changes only when a pin does.
COPY constraints.txt ./
COPY pyproject.toml README.md LICENSE ./
COPY src/flashstock/__init__.py src/flashstock/__init__.py
COPY lua lua
RUN pip install --no-cache-dir -c constraints.txt '.[tracing]'
COPY src src
RUN pip install --no-cache-dir --no-deps --force-reinstall .

FROM python:3.13-slim
RUN useradd --system --create-home --home-dir /var/lib/flashstock flashstock
COPY --from=build /opt/flashstock /opt/flashstock
ENV PATH=/opt/flashstock/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    FLASHSTOCK_DATA_DIR=/var/lib/flashstock/data
USER flashstock
WORKDIR /var/lib/flashstock
EXPOSE 8080
# SIGTERM drains: requests in flight get their answer before the process ends.
STOPSIGNAL SIGTERM
ENTRYPOINT ["flashstock"]
CMD ["serve"]
