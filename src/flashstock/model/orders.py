"""Order numbers: digits only, short enough to say on the phone, and telling nothing.

``<permuted index><buyer, 2 digits><check digit>``. The index counts confirmations per shard; a
keyed permutation over all numbers of that width hides how many there were. A wider index starts
a wider block, so numbers never collide and there is room to grow. The buyer's digits let a
sharded order store find the number without a look-up; the check digit (Luhn) catches a slip of
the tongue.
"""

from __future__ import annotations

import zlib
from hashlib import blake2b
from typing import Final

SHARD_COUNT_MAX: Final = 64
"""Order indexes interleave shards with this stride, so the shard count may grow up to it."""
WIDTH_MIN: Final = 8
ROUNDS: Final = 8


def order_number(secret: bytes, shard: int, order_index: int, buyer: str) -> str:
    """The number of the ``order_index``-th confirmation (from 1) of a shard.

    Deterministic, and unique over (shard, order_index) for one secret.
    """
    index = order_index * SHARD_COUNT_MAX + shard
    width = max(WIDTH_MIN, len(str(index)))
    body = f"{_permute(secret, index, width):0{width}d}{buyer_digits(buyer)}"
    return body + luhn_digit(body)


def buyer_digits(buyer: str) -> str:
    """Two digits derived from the buyer."""
    return f"{zlib.crc32(buyer.encode()) % 100:02d}"


def luhn_digit(body: str) -> str:
    """The Luhn check digit (ISO/IEC 7812-1) of a string of digits."""
    total = 0
    for position, character in enumerate(reversed(body)):
        digit = int(character)
        if position % 2 == 0:
            digit = digit * 2 - 9 if digit > 4 else digit * 2
        total += digit
    return str(-total % 10)


def _permute(secret: bytes, value: int, width: int) -> int:
    """A keyed bijection on ``[0, 10**width)``: a Feistel network over two decimal halves.

    Halves of unequal width alternate their moduli, as in NIST SP 800-38G (FF1); the numbers
    hide volume from a curious customer, they protect no secret.
    """
    low_width = width // 2
    moduli = (10 ** (width - low_width), 10**low_width)
    left, right = divmod(value, moduli[1])
    for number in range(ROUNDS):
        message = b"%d/%d/%d" % (width, number, right)
        mixed = int.from_bytes(blake2b(message, key=secret, digest_size=8).digest(), "big")
        left, right = right, (left + mixed) % moduli[number % 2]
    return int(left * moduli[1] + right)
