"""What every page of ours tells the browser that shows it."""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

CONTENT_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:;"
    " connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
"""Nothing is loaded from elsewhere, no script or style stands in the HTML, no frame shows it."""
PAGE_HEADERS: Final = MappingProxyType(
    {
        "content-security-policy": CONTENT_POLICY,
        "x-content-type-options": "nosniff",
        # Not `no-referrer`: with that, browsers don't say where a form came from either.
        "referrer-policy": "same-origin",
        "cross-origin-opener-policy": "same-origin",
    }
)
