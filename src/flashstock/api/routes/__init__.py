"""The routes FastAPI serves, by what they are about, and descriptions of those it does not."""
