-- One reservation the plain SQL way: take a unit if there is one, and write down who took it.
-- One statement, so one round trip, and the row lock is held for as short as it can be.
\set buyer random(1, 1000000000)
WITH taken AS (
  UPDATE pools SET available = available - 1, held = held + 1
  WHERE id = 1 AND available >= 1
  RETURNING id
)
INSERT INTO reservations (pool, buyer, quantity, state, deadline)
SELECT id, :buyer, 1, 'held', now() + interval '15 minutes' FROM taken;
