"""The use cases: what a caller may ask, whatever the transport. Between the stores and the API."""
