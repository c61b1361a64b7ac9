"""HTTP: lean ASGI routes for the hot path, FastAPI for everything else, one OpenAPI document."""
