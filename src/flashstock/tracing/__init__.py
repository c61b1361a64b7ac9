"""OpenTelemetry traces: spans by hand, in wrappers that are there only where tracing is on.

Off, nothing of this is imported and nothing on the hot path knows of it. Needs the extra
``flashstock[tracing]``.
"""
