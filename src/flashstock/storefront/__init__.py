"""The page at ``/demo``: a small shop, to try the service as a buyer.

It plays the customer and reaches the service as any shop would, by ``flashstock.client`` over
HTTP. Nothing here knows a store.
"""
